"""What the toolkit takes, checked before anything is computed, without holding a copy of millions of rows."""

from typing import Any

import numpy as np

from lpft_keras.arrays import as_array, class_ids, is_float
from lpft_keras.errors import InputError

BLOCK = 1 << 16
"""Rows looked at at a time."""


def checked_labels(labels: Any, of: np.ndarray, name: str = "probabilities") -> np.ndarray:
    """Return labels as class ids, or say what is wrong with them.

    Args:
        labels: What the user gave.
        of: The checked predictions that they belong to, [rows, classes].
        name: The name of that argument.

    Returns:
        Integer array of shape [rows].

    Raises:
        InputError: They are of another shape, no integers, or out of range.
    """
    rows, classes = of.shape
    labels = class_ids(labels, rows, name)
    least, most = labels.min(), labels.max()
    if least < 0 or most >= classes:
        raise InputError(f"labels must lie in 0..{classes - 1}, found {least}..{most}; {name} have {classes} columns")
    return labels


def _checked_matrix(values: Any, name: str) -> np.ndarray:
    array = as_array(values, name)
    if array.ndim == 1 and name == "probabilities" and len(array):
        raise InputError(
            "probabilities must be of shape [rows, classes]; for P(class 1) of two classes give "
            "numpy.stack([1 - p, p], axis=1)"
        )
    if array.ndim != 2 or array.shape[1] < 2:
        raise InputError(f"{name} must be of shape [rows, classes] with two classes or more, not {array.shape}")
    if not len(array):
        raise InputError(f"{name} hold no rows")
    return array if is_float(array) else array.astype(np.float64)


def checked_logits(logits: Any) -> np.ndarray:
    """Return logits as float64 of shape [rows, classes], all finite, or raise an `InputError` that says where not."""
    array = _checked_matrix(logits, "logits").astype(np.float64)
    finite = np.isfinite(array).all(axis=1)
    if not finite.all():
        raise InputError(f"logits hold NaN or infinity, first in row {int(np.argmin(finite))}")
    return array


def checked_probabilities(probabilities: Any) -> np.ndarray:
    """Return probabilities in their own float dtype, shape [rows, classes].

    Args:
        probabilities: What the user gave.

    Returns:
        The array, not copied where it was one.

    Raises:
        InputError: The shape is wrong, a value is not finite or negative, or a row does not sum to 1 (to 1e-4; to 1e-2
            in formats of 16 bits).
    """
    array = _checked_matrix(probabilities, "probabilities")
    tolerance = 1e-2 if array.dtype.itemsize < 4 else 1e-4
    for start in range(0, len(array), BLOCK):
        columns = np.ascontiguousarray(array[start : start + BLOCK].T, dtype=np.float64)
        good = np.abs(columns.sum(axis=0) - 1) <= tolerance  # false for NaN too
        good &= columns.min(axis=0) >= 0
        if not good.all():
            at = int(np.argmin(good))
            wrong = columns[:, at]
            if not np.isfinite(wrong).all():
                raise InputError(f"probabilities hold NaN or infinity, first in row {start + at}")
            what = f"holds {wrong.min():g}" if wrong.min() < 0 else f"sums to {wrong.sum():.6g}"
            raise InputError(
                f"row {start + at} of probabilities is no distribution, it {what}; take the softmax of logits, and "
                "divide rounded probabilities by their row's sum"
            )
    return array


def top_label(probabilities: Any, labels: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return what top-label calibration is about: how sure each row is, and whether it is right.

    Args:
        probabilities: Float array of shape [rows, classes].
        labels: Integer array of shape [rows].

    Returns:
        The greatest probability, float64 [rows], and whether it is that of the label (the first of equal ones counts),
        bool [rows].

    Raises:
        InputError: Either is wrong.
    """
    probabilities = checked_probabilities(probabilities)
    labels = checked_labels(labels, probabilities)
    confidence = np.empty(len(labels))
    correct = np.empty(len(labels), bool)
    for start in range(0, len(labels), BLOCK):
        part = slice(start, start + BLOCK)
        block = probabilities[part]
        if block.shape[1] > 16:
            which = block.argmax(axis=1)
            best = np.take_along_axis(block, which[:, None], axis=1)[:, 0]
        else:
            # NumPy's argmax along a short axis is slow: ten million rows of two would take a second by itself.
            columns = np.ascontiguousarray(block.T)
            best, which = columns[0], np.zeros(len(block), np.int64)
            for k, column in enumerate(columns[1:], start=1):
                better = column > best
                best = np.maximum(best, column)
                which[better] = k
        confidence[part] = best
        correct[part] = which == labels[part]
    return np.minimum(confidence, 1, out=confidence), correct  # a row may sum to a little over 1
