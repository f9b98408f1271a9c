"""Calibration errors of the top label: how sure a classifier is of its guess, and how often the guess is right.

Which number of which library each equals is tabulated in docs/calibration.md, and tested.
"""

from typing import Any

import numpy as np

from lpft_keras.calibration.bins import reliability_bins
from lpft_keras.calibration.inputs import top_label


def expected_calibration_error(probabilities: Any, labels: Any, bins: int = 15) -> float:
    r"""Return the expected calibration error (ECE) of the top label.

    \(\sum_b \frac{|B_b|}{n} |\mathrm{acc}(B_b) - \mathrm{conf}(B_b)|\) over equal-width bins (lower, upper] of the
    greatest probability (Guo et al. 2017; Tomihari and Sato 2024, 15 bins). Ten million rows of two classes take about
    a second and 100 MB beside the input.

    Args:
        probabilities: Float array of shape [rows, classes] (any framework's, or a list); each row sums to 1.
        labels: Integer array of shape [rows].
        bins: Number of equal-width bins over [0, 1].

    Returns:
        A fraction in [0, 1] (the paper prints per cent).

    Raises:
        InputError: Shapes don't fit, a row is no distribution, a label is no class id, there are no rows, or `bins`
            is no whole number of 1 or more.

    Example:
        >>> expected_calibration_error(np.array([[0.8, 0.2], [0.6, 0.4]]), np.array([0, 1]))
        0.4
    """
    return reliability_bins(probabilities, labels, bins).expected_error


def maximum_calibration_error(probabilities: Any, labels: Any, bins: int = 15) -> float:
    r"""Return the maximum calibration error (MCE) of the top label.

    \(\max_b |\mathrm{acc}(B_b) - \mathrm{conf}(B_b)|\) over the non-empty bins; bins as in
    `expected_calibration_error`.

    Args:
        probabilities: As for `expected_calibration_error`, like the other arguments.
        labels: Integer array of shape [rows].
        bins: Number of equal-width bins over [0, 1].

    Returns:
        A fraction in [0, 1].

    Raises:
        InputError: As `expected_calibration_error`.

    Example:
        >>> maximum_calibration_error(np.array([[0.8, 0.2], [0.6, 0.4]]), np.array([0, 1]))
        0.6
    """
    return reliability_bins(probabilities, labels, bins).maximum_error


def equal_mass_calibration_error(probabilities: Any, labels: Any, bins: int = 15) -> float:
    """Return the ECE of the top label over bins of equally many rows ("adaptive" ECE; Nguyen and O'Connor 2015).

    The edges are quantiles of the confidences, so that sparse bins don't decide. Equal confidences stay together, so
    that bins may hold unequally many, or none.

    Args:
        probabilities: As for `expected_calibration_error`, like the other arguments.
        labels: Integer array of shape [rows].
        bins: Number of bins.

    Returns:
        A fraction in [0, 1].

    Raises:
        InputError: As `expected_calibration_error`.

    Example:
        >>> equal_mass_calibration_error(np.array([[0.8, 0.2], [0.6, 0.4]]), np.array([0, 1]), bins=1)
        0.2
    """
    return reliability_bins(probabilities, labels, bins, strategy="quantile").expected_error


def average_calibration_error(probabilities: Any, labels: Any, bins: int = 15) -> float:
    """Return the mean gap of the non-empty bins, each bin counting alike (netcal's "ACE"; Neumann et al. 2018).

    Not the *adaptive* calibration error: that is `thresholded_adaptive_calibration_error` with threshold 0.

    Args:
        probabilities: As for `expected_calibration_error`, like the other arguments.
        labels: Integer array of shape [rows].
        bins: Number of equal-width bins over [0, 1].

    Returns:
        A fraction in [0, 1].

    Raises:
        InputError: As `expected_calibration_error`.

    Example:
        >>> average_calibration_error(np.array([[0.8, 0.2], [0.6, 0.4]]), np.array([0, 1]))
        0.4
    """
    return float(np.abs(reliability_bins(probabilities, labels, bins).gaps).mean())


def root_mean_square_calibration_error(
    probabilities: Any, labels: Any, bins: int = 15, *, debiased: bool = False
) -> float:
    r"""Return the root-mean-square calibration error of the top label (l2 calibration error).

    \(\sqrt{\sum_b \frac{|B_b|}{n} (\mathrm{acc}(B_b) - \mathrm{conf}(B_b))^2}\), over equal-width bins.

    Args:
        probabilities: As for `expected_calibration_error`, like the other arguments.
        labels: Integer array of shape [rows].
        bins: Number of equal-width bins over [0, 1].
        debiased: Take what the chance of few rows adds away from each bin's square,
            \(\mathrm{acc}(1 - \mathrm{acc}) / (|B_b| - 1)\) (Kumar et al. 2019); a bin of one row counts as 0.

    Returns:
        A fraction in [0, 1].

    Raises:
        InputError: As `expected_calibration_error`.

    Example:
        >>> round(root_mean_square_calibration_error(np.array([[0.8, 0.2], [0.6, 0.4]]), np.array([0, 1])), 4)
        0.4472
    """
    held = reliability_bins(probabilities, labels, bins)
    squares = np.square(held.gaps)
    if debiased:
        count, accuracy = held.count[held.filled], held.accuracy[held.filled]
        chance = accuracy * (1 - accuracy) / np.maximum(count - 1, 1)
        squares = np.where(count > 1, squares - chance, 0)
    return float(np.sqrt(max(held.shares @ squares, 0.0)))


def overconfidence(probabilities: Any, labels: Any) -> float:
    """Return mean confidence less accuracy: above 0, the classifier is too sure of itself; below 0, not sure enough.

    Args:
        probabilities: Float array of shape [rows, classes]; each row sums to 1.
        labels: Integer array of shape [rows].

    Returns:
        A number in [-1, 1]. No bins are involved; its absolute value is the ECE with one bin.

    Raises:
        InputError: As `expected_calibration_error`.

    Example:
        >>> round(overconfidence(np.array([[0.8, 0.2], [0.6, 0.4]]), np.array([0, 1])), 4)
        0.2
    """
    confidence, correct = top_label(probabilities, labels)
    return float(confidence.mean() - correct.mean())


def overconfidence_error(probabilities: Any, labels: Any, bins: int = 15) -> float:
    r"""Return the overconfidence error (Thulasidasan et al. 2019).

    \(\sum_b \frac{|B_b|}{n} \mathrm{conf}(B_b) \max(\mathrm{conf}(B_b) - \mathrm{acc}(B_b), 0)\): only being too sure
    counts, and more so where confidence is high.

    Args:
        probabilities: As for `expected_calibration_error`, like the other arguments.
        labels: Integer array of shape [rows].
        bins: Number of equal-width bins over [0, 1].

    Returns:
        A fraction in [0, 1].

    Raises:
        InputError: As `expected_calibration_error`.

    Example:
        >>> round(overconfidence_error(np.array([[0.8, 0.2], [0.6, 0.4]]), np.array([0, 1])), 4)
        0.18
    """
    held = reliability_bins(probabilities, labels, bins)
    return float(held.shares @ (held.confidence[held.filled] * np.maximum(-held.gaps, 0)))
