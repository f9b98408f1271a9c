"""Small models and rows that the tests share."""

import keras_hub
import numpy as np

from lpft_keras.models.backbones import TextBackbone
from lpft_keras.models.classifier import build_classifier
from lpft_keras.models.packing import Tokens
from lpft_keras.training.batches import Encoded

MAX_LENGTH = 32


def small_backbone(seed=0, dropout=0.0, pooling="first"):
    """Return a two-layer RoBERTa whose weights are drawn by NumPy, large enough that its outputs differ."""
    model = keras_hub.models.RobertaBackbone(
        vocabulary_size=50,
        num_layers=2,
        num_heads=2,
        hidden_dim=16,
        intermediate_dim=32,
        dropout=dropout,
        max_sequence_length=MAX_LENGTH,
    )
    rng = np.random.default_rng(seed)
    for variable in model.trainable_variables:
        if len(variable.shape) > 1:
            variable.assign(rng.normal(0, 0.3, variable.shape))
    return TextBackbone(name="small", model=model, preprocessor=None, pooling=pooling, source={})


def small_classifier(classes=3, seed=0, dropout=0.0, **kwargs):
    return build_classifier(small_backbone(dropout=dropout, **kwargs), classes, dropout=dropout, seed=seed)


def small_tokens(rng, rows, segments=False):
    """Return tokens of random lengths; padding is filled with garbage that no result may depend on."""
    ids = rng.integers(3, 50, (rows, MAX_LENGTH)).astype("int32")
    lengths = rng.integers(4, MAX_LENGTH + 1, rows).astype("int32")
    second = np.minimum(lengths, 6) if segments else None
    return Tokens(ids, lengths, np.zeros(rows, bool), second)


def small_data(rng, rows, classes=3):
    """Return rows whose label can be learnt: it depends on the second token."""
    tokens = small_tokens(rng, rows)
    return Encoded(tokens, (tokens.token_ids[:, 1] % classes).astype("int64"))


def stamps(directory):
    """Return when each file below a directory was written."""
    return {path: path.stat().st_mtime_ns for path in directory.rglob("*") if path.is_file()}
