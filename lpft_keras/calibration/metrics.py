"""Calibration metrics of top-label predictions, in float64."""

import numpy as np
from scipy.special import log_softmax


def _checked(predictions: np.ndarray, labels: np.ndarray, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return predictions in float64 and labels as integers, or say what is wrong with them."""
    predictions = np.asarray(predictions, dtype=np.float64)
    labels = np.asarray(labels)
    if predictions.ndim != 2 or predictions.shape[1] < 2:
        raise ValueError(f"{name} must be of shape [rows, classes] with two classes or more, not {predictions.shape}")
    if labels.shape != predictions.shape[:1]:
        raise ValueError(f"labels must be of shape {predictions.shape[:1]}, one a row of {name}, not {labels.shape}")
    if not len(labels):
        raise ValueError(f"{name} hold no rows")
    if not np.issubdtype(labels.dtype, np.integer):
        raise TypeError(f"labels must be integers (class ids), not {labels.dtype}")
    if labels.min() < 0 or labels.max() >= predictions.shape[1]:
        raise ValueError(
            f"labels must lie in 0..{predictions.shape[1] - 1}, found {labels.min()}..{labels.max()}; "
            f"{name} have {predictions.shape[1]} columns"
        )
    if not np.isfinite(predictions).all():
        raise ValueError(f"{name} hold NaN or infinity, first in row {np.argwhere(~np.isfinite(predictions))[0][0]}")
    return predictions, labels


def _checked_probabilities(probabilities: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    probabilities, labels = _checked(probabilities, labels, "probabilities")
    off = np.abs(probabilities.sum(axis=1) - 1) > 1e-4
    if off.any() or probabilities.min() < 0:
        row = int(np.argmax(off)) if off.any() else int(np.argmin(probabilities.min(axis=1)))
        raise ValueError(f"row {row} of probabilities is no distribution; for logits, take their softmax first")
    return probabilities, labels


def _bin_gaps(probabilities: np.ndarray, labels: np.ndarray, bins: int) -> tuple[np.ndarray, np.ndarray]:
    """Return each non-empty bin's |accuracy - confidence| and its share of the rows."""
    if bins < 1:
        raise ValueError(f"bins must be 1 or more, not {bins}")
    probabilities, labels = _checked_probabilities(probabilities, labels)
    confidence = probabilities.max(axis=1)
    correct = probabilities.argmax(axis=1) == labels
    # Bins are (lower, upper], so a value on an edge belongs below it: searchsorted from the left on the upper edges.
    which = np.searchsorted(np.linspace(0, 1, bins + 1)[1:-1], confidence, side="left")
    count = np.bincount(which, minlength=bins)
    gap = np.abs(np.bincount(which, weights=correct - confidence, minlength=bins))
    filled = count > 0
    return gap[filled] / count[filled], count[filled] / len(labels)


def expected_calibration_error(probabilities: np.ndarray, labels: np.ndarray, bins: int = 15) -> float:
    r"""Return the expected calibration error (ECE) of the top label.

    \(\sum_b \frac{|B_b|}{n} |\mathrm{acc}(B_b) - \mathrm{conf}(B_b)|\) over equal-width bins (lower, upper] of the
    greatest probability (Guo et al. 2017; Tomihari and Sato 2024, 15 bins).

    Args:
        probabilities: Float array of shape [rows, classes]; each row sums to 1.
        labels: Integer array of shape [rows].
        bins: Number of equal-width bins over [0, 1].

    Returns:
        A fraction in [0, 1] (the paper prints per cent).

    Raises:
        ValueError: Shapes don't fit, a row is no distribution, a label is out of range, or there are no rows.
        TypeError: The labels are no integers.

    Example:
        >>> expected_calibration_error(np.array([[0.8, 0.2], [0.6, 0.4]]), np.array([0, 1]))
        0.4
    """
    gaps, shares = _bin_gaps(probabilities, labels, bins)
    return float(gaps @ shares)


def maximum_calibration_error(probabilities: np.ndarray, labels: np.ndarray, bins: int = 15) -> float:
    r"""Return the maximum calibration error (MCE) of the top label.

    \(\max_b |\mathrm{acc}(B_b) - \mathrm{conf}(B_b)|\) over the non-empty bins; bins as in
    `expected_calibration_error`.

    Args:
        probabilities: Float array of shape [rows, classes]; each row sums to 1.
        labels: Integer array of shape [rows].
        bins: Number of equal-width bins over [0, 1].

    Returns:
        A fraction in [0, 1].

    Raises:
        ValueError: Shapes don't fit, a row is no distribution, a label is out of range, or there are no rows.
        TypeError: The labels are no integers.

    Example:
        >>> maximum_calibration_error(np.array([[0.8, 0.2], [0.6, 0.4]]), np.array([0, 1]))
        0.6
    """
    gaps, _ = _bin_gaps(probabilities, labels, bins)
    return float(gaps.max())


def brier_score(probabilities: np.ndarray, labels: np.ndarray) -> float:
    r"""Return the Brier score, \(\frac{1}{n}\sum_i \sum_k (p_{ik} - [k = y_i])^2\).

    This is Brier's own sum over the classes. The code of Tomihari and Sato averages over them: divide by the number
    of classes to compare.

    Args:
        probabilities: Float array of shape [rows, classes]; each row sums to 1.
        labels: Integer array of shape [rows].

    Returns:
        A number in [0, 2].

    Raises:
        ValueError: Shapes don't fit, a row is no distribution, a label is out of range, or there are no rows.
        TypeError: The labels are no integers.

    Example:
        >>> round(brier_score(np.array([[0.8, 0.2]]), np.array([0])), 3)
        0.08
    """
    probabilities, labels = _checked_probabilities(probabilities, labels)
    return float(np.square(probabilities - np.eye(probabilities.shape[1])[labels]).sum(axis=1).mean())


def negative_log_likelihood(logits: np.ndarray, labels: np.ndarray) -> float:
    r"""Return the mean negative log-likelihood (cross-entropy).

    \(-\frac{1}{n}\sum_i \log \mathrm{softmax}(f_i)_{y_i}\).

    Args:
        logits: Float array of shape [rows, classes]; the logarithms of probabilities are logits too.
        labels: Integer array of shape [rows].

    Returns:
        A number of 0 or more, in nats.

    Raises:
        ValueError: Shapes don't fit, a value is not finite, a label is out of range, or there are no rows.
        TypeError: The labels are no integers.

    Example:
        >>> round(negative_log_likelihood(np.array([[0.0, 0.0]]), np.array([1])), 4)
        0.6931
    """
    logits, labels = _checked(logits, labels, "logits")
    return float(-log_softmax(logits, axis=1)[np.arange(len(labels)), labels].mean())
