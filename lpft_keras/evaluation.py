"""The numbers every run reports, from logits and labels.

SciPy and scikit-learn are imported where they are called: tasks know metrics by name, and a typo shall be told at once.
"""

import logging
from collections.abc import Callable

import numpy as np

from lpft_keras.errors import InputError, unknown_name
from lpft_keras.representation import cosine_similarity, feature_change, fisher_discriminant_ratio

log = logging.getLogger(__name__)

METRIC_NAMES = {
    "accuracy": "accuracy",
    "macro_f1": "macro-F1",
    "f1": "F1",
    "matthews_correlation": "Matthews' correlation",
    "nll": "NLL",
    "brier": "Brier score",
    "ece": "ECE",
    "mce": "MCE",
}
"""The metrics of a run as people read them."""


def accuracy(logits: np.ndarray, labels: np.ndarray) -> float:
    """Return the share of rows whose greatest logit is that of their label."""
    from sklearn.metrics import accuracy_score

    return float(accuracy_score(labels, logits.argmax(axis=1)))


def macro_f1(logits: np.ndarray, labels: np.ndarray) -> float:
    """Return the mean of the classes' F1 scores, over the classes that occur in labels or predictions."""
    from sklearn.metrics import f1_score

    return float(f1_score(labels, logits.argmax(axis=1), average="macro", zero_division=0))


def f1(logits: np.ndarray, labels: np.ndarray) -> float:
    """Return the F1 score of class 1, the positive one of two classes."""
    from sklearn.metrics import f1_score

    return float(f1_score(labels, logits.argmax(axis=1), pos_label=1, zero_division=0))


def matthews_correlation(logits: np.ndarray, labels: np.ndarray) -> float:
    """Return Matthews' correlation of predictions and labels, 0 where either is constant (Gorodkin 2004 for C > 2)."""
    from sklearn.metrics import matthews_corrcoef

    return float(matthews_corrcoef(labels, logits.argmax(axis=1)))


METRICS: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "accuracy": accuracy,
    "macro_f1": macro_f1,
    "f1": f1,
    "matthews_correlation": matthews_correlation,
}
"""What a task may name as its metric: functions of (logits, labels), greater is better."""


def check_metric(metric: str, classes: int) -> None:
    """Raise an `InputError` where a task of so many classes can't be measured by a metric."""
    if metric not in METRICS:
        raise unknown_name("metric", metric, METRICS)
    if metric == "f1" and classes != 2:
        raise InputError(f"metric 'f1' is that of the positive of two classes, and there are {classes}; take macro_f1")


def evaluate(logits: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Return all metrics of one split's predictions.

    Args:
        logits: Float array of shape [rows, classes].
        labels: Integer array of shape [rows].

    Returns:
        accuracy, macro_f1, f1 (of two classes only), matthews_correlation, nll (nats), brier (sum over the classes),
        ece and mce (fractions, 15 bins).
    """
    from scipy.special import softmax

    from lpft_keras.calibration import (
        brier_score,
        expected_calibration_error,
        maximum_calibration_error,
        negative_log_likelihood,
    )

    probabilities = softmax(logits.astype(np.float64), axis=1)
    return {
        **{name: metric(logits, labels) for name, metric in METRICS.items() if name != "f1" or logits.shape[1] == 2},
        "nll": negative_log_likelihood(logits, labels),
        "brier": brier_score(probabilities, labels),
        "ece": expected_calibration_error(probabilities, labels),
        "mce": maximum_calibration_error(probabilities, labels),
    }


def collapsed(logits: np.ndarray, labels: np.ndarray) -> bool:
    """Return whether every row of several classes is given the same one."""
    return len(np.unique(logits.argmax(axis=1))) == 1 < len(np.unique(labels))


def warn_if_collapsed(logits: np.ndarray, labels: np.ndarray) -> None:
    """Log a warning where every validation row is given the same class."""
    if collapsed(logits, labels):
        log.warning(
            "the trained classifier gives all %d validation rows the same class: it learnt nothing of use; "
            "another learning rate, backbone or pooling may help",
            len(labels),
        )


def best_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """Return the temperature that suits held-out rows best; 1, with a warning, where none is finite."""
    from lpft_keras.calibration import TemperatureScaling

    scaling = TemperatureScaling().fit(logits, labels)
    if not scaling.finite_:
        log.warning("so these rows say nothing of how sure the classifier may be: its temperature stays 1")
    return scaling.temperature_ if scaling.finite_ else 1.0


def evaluate_features(features: np.ndarray, pretrained: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Return the representation measures of one split's features.

    Args:
        features: Float array of shape [rows, d], after training.
        pretrained: The same rows by the pre-trained backbone.
        labels: Integer array of shape [rows].

    Returns:
        feature_change, cosine_similarity and fisher_discriminant_ratio; NaN where the rows allow none.
    """
    measures: dict[str, Callable[[], float]] = {
        "feature_change": lambda: feature_change(features, pretrained),
        "cosine_similarity": lambda: cosine_similarity(features),
        "fisher_discriminant_ratio": lambda: fisher_discriminant_ratio(features, labels),
    }
    found: dict[str, float] = {}
    for name, measure in measures.items():
        try:
            found[name] = measure()
        except InputError:  # one row, one class only, or features all alike
            found[name] = float("nan")
    return found
