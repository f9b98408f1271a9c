"""The smooth calibration error: no bins, and a bandwidth that chooses itself."""

from typing import Any

import numpy as np
from scipy.fft import dct, idct
from scipy.optimize import brentq

from lpft_keras.calibration.inputs import top_label

_CELLS = 8192
"""Cells that [0, 1] is cut into; the kernel is not narrower than `_LEAST`, some eight of them."""
_LEAST = 1e-3


def smooth_calibration_error(probabilities: Any, labels: Any) -> float:
    r"""Return the smooth expected calibration error (smECE) of the top label (Blasiok and Nakkiran 2024).

    \(\mathrm{smECE}_\sigma = \int_0^1 |\frac1n \sum_i (y_i - f_i) \tilde K_\sigma(t, f_i)| dt\) with the Gaussian
    kernel reflected at 0 and 1, at the \(\sigma\) for which \(\mathrm{smECE}_\sigma = \sigma\). The residuals are put
    on a grid of 8,192 cells, where smoothing is a product in the cosine basis: time O(rows), then some twenty
    transforms.

    Args:
        probabilities: Float array of shape [rows, classes]; each row sums to 1.
        labels: Integer array of shape [rows].

    Returns:
        A fraction in [0, 1]; no \(\sigma\) below 1e-3 is tried.

    Raises:
        InputError: As `expected_calibration_error`.

    Example:
        >>> p = np.tile([[0.9, 0.1]], (10, 1))
        >>> round(smooth_calibration_error(p, np.array([0] * 5 + [1] * 5)), 3)
        0.4
    """
    confidence, correct = top_label(probabilities, labels)
    # Each residual is shared by the two nearest cell centres, by its distance from them.
    place = (confidence * _CELLS - 0.5).clip(0, _CELLS - 1)
    cell = np.minimum(place.astype(np.int64), _CELLS - 2)
    upper = (correct - confidence) * (place - cell)
    lower = (correct - confidence) - upper
    grid = np.bincount(cell, lower, _CELLS) + np.bincount(cell + 1, upper, _CELLS)
    spectrum = dct(grid / len(confidence), norm="ortho")
    frequencies = np.pi * np.arange(_CELLS)

    def at(sigma: float) -> float:
        # Heat on a rod that loses none at its ends: exactly the Gaussian, reflected.
        smoothed = idct(spectrum * np.exp(-np.square(frequencies * sigma) / 2), norm="ortho")
        return float(np.abs(smoothed).sum())

    if at(_LEAST) <= _LEAST:
        return at(_LEAST)
    # smECE falls with sigma and is 1 at most, so that it crosses sigma once.
    return float(brentq(lambda sigma: at(sigma) - sigma, _LEAST, 1.01, xtol=1e-9))
