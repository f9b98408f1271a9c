"""Calibration errors of every class's probability, not of the top label's alone."""

from typing import Any

import numpy as np

from lpft_keras.arrays import real_number, whole_number
from lpft_keras.calibration.bins import bin_edges, fill
from lpft_keras.calibration.inputs import checked_labels, checked_probabilities


def class_wise_calibration_error(probabilities: Any, labels: Any, bins: int = 15) -> float:
    r"""Return the class-wise expected calibration error (Kull et al. 2019; "marginal" in Kumar et al. 2019).

    The mean over the classes of \(\sum_b \frac{|B_{b,k}|}{n} |\mathrm{freq}_k(B_{b,k}) - \bar p_k(B_{b,k})|\), over
    equal-width bins of each class's probability.

    Args:
        probabilities: Float array of shape [rows, classes]; each row sums to 1.
        labels: Integer array of shape [rows].
        bins: Number of equal-width bins over [0, 1].

    Returns:
        A fraction in [0, 1].

    Raises:
        InputError: As `expected_calibration_error`.

    Example:
        >>> round(class_wise_calibration_error(np.array([[0.8, 0.2], [0.6, 0.4]]), np.array([0, 1])), 4)
        0.4
    """
    edges = bin_edges(bins)
    probabilities = checked_probabilities(probabilities)
    labels = checked_labels(labels, probabilities)
    errors = []
    for k in range(probabilities.shape[1]):
        errors.append(fill(probabilities[:, k].astype(np.float64), labels == k, edges).expected_error)
    return float(np.mean(errors))


def thresholded_adaptive_calibration_error(
    probabilities: Any, labels: Any, bins: int = 15, *, threshold: float = 0.01
) -> float:
    r"""Return the thresholded adaptive calibration error (TACE; Nixon et al. 2019).

    \(\frac{1}{KR} \sum_k \sum_r |\mathrm{freq}_k(r) - \bar p_k(r)|\): the probabilities of each class above the
    threshold, sorted and cut into R ranges of equally many.

    Args:
        probabilities: Float array of shape [rows, classes]; each row sums to 1.
        labels: Integer array of shape [rows].
        bins: Number of ranges, R.
        threshold: Probabilities up to this one are left out; 0 gives Nixon's adaptive calibration error (ACE).

    Returns:
        A fraction in [0, 1].

    Raises:
        InputError: As `expected_calibration_error`, or the threshold is not in [0, 1).

    Example:
        >>> p = np.array([[0.8, 0.2], [0.6, 0.4]])
        >>> round(thresholded_adaptive_calibration_error(p, np.array([0, 1]), bins=1), 4)
        0.2
    """
    bins = whole_number(bins, "bins")
    threshold = threshold if threshold == 0 else real_number(threshold, "threshold", 0, 1)
    probabilities = checked_probabilities(probabilities)
    labels = checked_labels(labels, probabilities)
    total = 0.0
    for k in range(probabilities.shape[1]):
        rows = np.flatnonzero(probabilities[:, k] > threshold)
        rows = rows[np.argsort(probabilities[rows, k], kind="stable")]
        for part in np.array_split(rows, bins):
            if len(part):
                total += abs((labels[part] == k).mean() - probabilities[part, k].mean(dtype=np.float64))
    return float(total / (probabilities.shape[1] * bins))
