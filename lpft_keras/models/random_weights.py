"""Encoders with random weights that are the same on every backend: for tests, and to show what pre-training gives."""

import keras
import keras_hub
import numpy as np


def tiny_encoder(vocabulary_size: int, dropout: float | None, dtype: str | None) -> keras.Model:
    """Return a RoBERTa of two layers, two heads and width 32, for at most 512 tokens, with random weights.

    Args:
        vocabulary_size: Rows of the token table.
        dropout: The rate everywhere; None for 0.1.
        dtype: A Keras dtype or policy, or None for Keras's own.

    Returns:
        The encoder.
    """
    model = keras_hub.models.RobertaBackbone(
        vocabulary_size=vocabulary_size,
        num_layers=2,
        num_heads=2,
        hidden_dim=32,
        intermediate_dim=64,
        dropout=0.1 if dropout is None else dropout,
        max_sequence_length=512,
        **({} if dtype is None else {"dtype": dtype}),
    )
    randomize(model)
    return model


def randomize(model: keras.Model) -> None:
    """Draw all weights anew from a fixed NumPy generator, so that they are equal on every backend.

    Matrices and tables get N(0, 0.02) at width 768 and, in inverse proportion to the root of the width, more
    where it is less: an encoder's outputs then vary with its inputs as much as those of a full-sized one.
    """
    generator = np.random.default_rng(0)
    scale = 0.02 * (768 / model.hidden_dim) ** 0.5
    for variable in model.weights:
        kind = variable.path.rsplit("/", 1)[-1]
        if kind in ("gamma", "scale"):
            value = np.ones(variable.shape)
        elif kind in ("beta", "bias"):
            value = np.zeros(variable.shape)
        else:
            value = generator.normal(0, scale, variable.shape)
        variable.assign(value.astype("float32"))
