"""Features and logits of many rows, without dropout."""

from collections.abc import Callable

import keras
import numpy as np

from lpft_keras.models.classifier import with_features
from lpft_keras.models.packing import Tokens
from lpft_keras.training.batches import EvaluationBatches

Forward = Callable[[Tokens], tuple[np.ndarray, np.ndarray]]


def forward_function(classifier: keras.Model, batch_size: int = 32) -> Forward:
    """Return a function that computes features and logits, batches sorted by length.

    It follows the classifier's variables, so that one function serves before, during and after training.

    Args:
        classifier: A model of `build_classifier`.
        batch_size: Rows a batch.

    Returns:
        A function of token arrays that gives (features, float32 [rows, d]; logits, float32 [rows, classes]).
    """
    model = with_features(classifier)
    model.compile(jit_compile=keras.backend.backend() == "jax")

    def forward(tokens: Tokens) -> tuple[np.ndarray, np.ndarray]:
        batches = EvaluationBatches(tokens, batch_size)
        parts = model.predict(batches.for_keras(), steps=batches.total, verbose=0)
        real = batches.rows >= 0
        order = np.argsort(batches.rows[real])
        features, logits = (np.asarray(part)[real][order] for part in parts)
        return features, logits

    return forward
