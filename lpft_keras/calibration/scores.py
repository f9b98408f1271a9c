"""Proper scores: negative log-likelihood, the Brier score, and what of it is calibration."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import log_softmax
from sklearn.isotonic import isotonic_regression

from lpft_keras.calibration.inputs import checked_labels, checked_logits, checked_probabilities


def brier_score(probabilities: Any, labels: Any) -> float:
    r"""Return the Brier score, \(\frac{1}{n}\sum_i \sum_k (p_{ik} - [k = y_i])^2\) (Brier 1950).

    For two classes this is twice the score of P(class 1) alone, which many libraries call by the same name.

    Args:
        probabilities: Float array of shape [rows, classes]; each row sums to 1.
        labels: Integer array of shape [rows].

    Returns:
        A number in [0, 2].

    Raises:
        InputError: Shapes don't fit, a row is no distribution, a label is no class id, or there are no rows.

    Example:
        >>> round(brier_score(np.array([[0.8, 0.2]]), np.array([0])), 3)
        0.08
    """
    return _brier(*_checked(probabilities, labels))


def _checked(probabilities: Any, labels: Any) -> tuple[np.ndarray, np.ndarray]:
    checked = checked_probabilities(probabilities).astype(np.float64)
    return checked, checked_labels(labels, checked)


def _brier(probabilities: np.ndarray, labels: np.ndarray) -> float:
    own = probabilities[np.arange(len(labels)), labels]
    return float((np.square(probabilities).sum(axis=1) - 2 * own + 1).mean())


def class_mean_brier_score(probabilities: Any, labels: Any) -> float:
    """Return the Brier score as the code of Tomihari and Sato has it: the mean over the classes, not their sum.

    Args:
        probabilities: Float array of shape [rows, classes]; each row sums to 1.
        labels: Integer array of shape [rows].

    Returns:
        `brier_score` divided by the number of classes. For two classes, scikit-learn's `brier_score_loss` of P(class
        1).

    Raises:
        InputError: As `brier_score`.

    Example:
        >>> round(class_mean_brier_score(np.array([[0.8, 0.2]]), np.array([0])), 3)
        0.04
    """
    probabilities, labels = _checked(probabilities, labels)
    return _brier(probabilities, labels) / probabilities.shape[1]


@dataclass(frozen=True)
class BrierDecomposition:
    """What a Brier score consists of: `calibration + refinement`, and `refinement = uncertainty - resolution`.

    Attributes:
        calibration: What recalibrating each class's probability would save (0 is best).
        refinement: What remains then: how well the probabilities tell rows apart.
        resolution: How much less that is than without any classifier.
        uncertainty: The score of the classes' shares, given to every row.
    """

    calibration: float
    refinement: float
    resolution: float
    uncertainty: float


def brier_decomposition(probabilities: Any, labels: Any) -> BrierDecomposition:
    """Split the Brier score into calibration and refinement (CORP; Dimitriadis, Gneiting and Jordan 2021).

    Each class's probability is recalibrated against the other classes by isotonic regression on the rows themselves;
    what that saves is calibration. Where probabilities take few values and order the classes' shares rightly, this is
    the decomposition of DeGroot and Fienberg (1983) over those values. No bins are chosen; both parts are never
    negative and add up to `brier_score`. On few rows isotonic regression finds structure in chance: calibration is
    then too large.

    Args:
        probabilities: Float array of shape [rows, classes]; each row sums to 1.
        labels: Integer array of shape [rows].

    Returns:
        The parts.

    Raises:
        InputError: As `brier_score`.

    Example:
        >>> p = np.array([[0.8, 0.2], [0.8, 0.2], [0.4, 0.6], [0.4, 0.6]])
        >>> parts = brier_decomposition(p, np.array([0, 1, 1, 1]))
        >>> round(parts.calibration, 3), round(parts.refinement, 3)
        (0.25, 0.25)
    """
    probabilities, labels = _checked(probabilities, labels)
    total = _brier(probabilities, labels)
    refinement = uncertainty = 0.0
    for k, values in enumerate(probabilities.T):
        hits = (labels == k).astype(np.float64)
        # Rows of equal probability are one value, however they are ordered.
        groups, which, counts = np.unique(values, return_inverse=True, return_counts=True)
        shares = np.bincount(which, hits, len(groups)) / counts
        best = isotonic_regression(shares, sample_weight=counts.astype(np.float64))
        refinement += float(np.square(best[which] - hits).mean())
        uncertainty += float(hits.mean() * (1 - hits.mean()))
    return BrierDecomposition(max(total - refinement, 0.0), refinement, uncertainty - refinement, uncertainty)


def negative_log_likelihood(logits: Any, labels: Any) -> float:
    r"""Return the mean negative log-likelihood (cross-entropy).

    \(-\frac{1}{n}\sum_i \log \mathrm{softmax}(f_i)_{y_i}\).

    Args:
        logits: Float array of shape [rows, classes]; the logarithms of probabilities are logits too.
        labels: Integer array of shape [rows].

    Returns:
        A number of 0 or more, in nats.

    Raises:
        InputError: Shapes don't fit, a value is not finite, a label is no class id, or there are no rows.

    Example:
        >>> round(negative_log_likelihood(np.array([[0.0, 0.0]]), np.array([1])), 4)
        0.6931
    """
    logits = checked_logits(logits)
    labels = checked_labels(labels, logits, "logits")
    return float(-log_softmax(logits, axis=1)[np.arange(len(labels)), labels].mean())
