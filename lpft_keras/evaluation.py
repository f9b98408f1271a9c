"""The numbers every run reports, from logits and labels."""

from collections.abc import Callable

import numpy as np
from scipy.special import softmax
from sklearn.metrics import accuracy_score, f1_score

from lpft_keras.calibration import (
    brier_score,
    expected_calibration_error,
    maximum_calibration_error,
    negative_log_likelihood,
)


def accuracy(logits: np.ndarray, labels: np.ndarray) -> float:
    """Return the share of rows whose greatest logit is that of their label."""
    return float(accuracy_score(labels, logits.argmax(axis=1)))


def macro_f1(logits: np.ndarray, labels: np.ndarray) -> float:
    """Return the mean of the classes' F1 scores, over the classes that occur in labels or predictions."""
    return float(f1_score(labels, logits.argmax(axis=1), average="macro", zero_division=0))


METRICS: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {"accuracy": accuracy, "macro_f1": macro_f1}
"""What a task may name as its metric: functions of (logits, labels), greater is better."""


def evaluate(logits: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Return all metrics of one split.

    Args:
        logits: Float array of shape [rows, classes].
        labels: Integer array of shape [rows].

    Returns:
        accuracy, macro_f1, nll (nats), brier (sum over the classes), ece and mce (fractions, 15 bins).
    """
    probabilities = softmax(logits.astype(np.float64), axis=1)
    return {
        **{name: metric(logits, labels) for name, metric in METRICS.items()},
        "nll": negative_log_likelihood(logits, labels),
        "brier": brier_score(probabilities, labels),
        "ece": expected_calibration_error(probabilities, labels),
        "mce": maximum_calibration_error(probabilities, labels),
    }
