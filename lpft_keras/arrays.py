"""Numbers as users bring them: arrays, lists and tensors of any framework, and whole numbers."""

from typing import Any

import ml_dtypes
import numpy as np

from lpft_keras.errors import InputError, first_line


def as_array(value: Any, name: str) -> np.ndarray:
    """Return a list, array, tensor or variable as a NumPy array.

    Args:
        value: A (nested) list, or what NumPy, Keras, TensorFlow, JAX or PyTorch hold numbers in.
        name: The argument's name, for the error.

    Returns:
        The array, in its own dtype.

    Raises:
        InputError: It is no array of real numbers.
    """
    inner = getattr(value, "value", None)
    if hasattr(value, "assign") and inner is not None and not callable(inner):
        value = inner  # a variable of Keras
    if hasattr(value, "detach"):  # a tensor of PyTorch, which NumPy reads on the CPU, without gradient
        value = value.detach().cpu()
        if str(value.dtype) == "torch.bfloat16":
            value = value.float().numpy().astype(ml_dtypes.bfloat16)
    try:
        array = np.asarray(value)
    except (ValueError, TypeError) as error:
        raise InputError(f"{name} can't be read as an array: {first_line(error)}") from error
    if array.dtype.kind not in "fiub" and array.dtype != ml_dtypes.bfloat16:
        raise InputError(f"{name} must be real numbers, not {array.dtype}")
    return array


def is_float(array: np.ndarray) -> bool:
    """Return whether an array holds floats, bfloat16 (which NumPy has no kind for) among them."""
    return array.dtype.kind == "f" or array.dtype == ml_dtypes.bfloat16


def class_ids(labels: Any, rows: int, of: str) -> np.ndarray:
    """Return labels as an integer array of shape [rows].

    Args:
        labels: What the user gave.
        rows: How many there must be.
        of: The name of the argument that they belong to.

    Returns:
        The array.

    Raises:
        InputError: They are of another shape, or no integers.
    """
    array = as_array(labels, "labels")
    if array.shape != (rows,):
        raise InputError(f"labels must be of shape ({rows},), one a row of {of}, not {array.shape}")
    if array.dtype.kind not in "iu":
        raise InputError(f"labels must be integers (class ids), not {array.dtype}")
    return array


def whole_number(value: Any, name: str, least: int = 1) -> int:
    """Return a whole number of at least so many, or raise an `InputError` that names the argument."""
    if isinstance(value, bool) or not hasattr(value, "__index__") or value < least:
        raise InputError(f"{name} must be a whole number of {least} or more, not {value!r}")
    return int(value)


def real_number(value: Any, name: str, above: float, below: float) -> float:
    """Return a number between two others, or raise an `InputError` that names the argument.

    Args:
        value: What the user gave; NumPy's numbers will do.
        name: The argument's name.
        above: What it must be greater than.
        below: What it must be smaller than.

    Returns:
        The number.

    Raises:
        InputError: It is no number, or not between them.
    """
    number = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
    if not number or not above < value < below:
        raise InputError(f"{name} must be a number above {above:g} and below {below:g}, not {value!r}")
    return float(value)
