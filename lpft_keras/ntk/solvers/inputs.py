"""What kernel solvers take, checked before anything is computed: kernels, labels, parameters."""

import math
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator

from lpft_keras.arrays import as_array, class_ids
from lpft_keras.errors import InputError
from lpft_keras.ntk.statistics import as_matrix

# How far from symmetric and positive semi-definite, relative to the greatest eigenvalue, a kernel may be by rounding.
# Products in bfloat16 are off by some 4e-3; an A-SignGD kernel is off by far more.
_ROUNDING = 1e-2


def checked_kernel(kernel: Any, name: str) -> tuple[np.ndarray, tuple[int, int]]:
    """Return a kernel's matrix, float64 [M C, N C], and (M, C), or say what is wrong with it.

    Args:
        kernel: What the user gave.
        name: The argument's name.

    Returns:
        The matrix, and the shape of what it predicts.

    Raises:
        InputError: It is of another shape, or holds a value that is not finite.
    """
    array = as_array(kernel, name)
    if not array.size:
        raise InputError(f"{name} holds no examples")
    matrix = as_matrix(array).astype("float64")
    if not np.isfinite(matrix).all():
        raise InputError(f"{name} holds NaN or infinity")
    return matrix, array.shape[:2]


def checked_square(kernel: Any, symmetric: bool = True) -> tuple[np.ndarray, tuple[int, int]]:
    """Return the matrix of a kernel of examples with themselves.

    Args:
        kernel: What the user gave.
        symmetric: Whether it must be symmetric, up to rounding; what is returned then is so exactly.

    Returns:
        float64 array [N C, N C], and (N, C).

    Raises:
        InputError: It is not square, or not symmetric, or as for `checked_kernel`.
    """
    matrix, shape = checked_kernel(kernel, "kernel")
    if matrix.shape[0] != matrix.shape[1]:
        raise InputError(f"a training kernel has the shape [N, C, N, C], not {np.shape(kernel)}")
    if not symmetric:
        return matrix, shape
    if np.abs(matrix - matrix.T).max() > _ROUNDING * np.abs(matrix).max():
        raise InputError("kernel is not symmetric; AsymmetricLeastSquaresSVM and KernelLeastSquares take such ones")
    return (matrix + matrix.T) / 2, shape


def eigenpairs(matrix: np.ndarray, tolerance: float | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Return the eigenvalues of a kernel that are not null, and their vectors.

    A kernel rounded to float32 has eigenvalues a little below zero where it should have none: those are null, too.

    Args:
        matrix: Symmetric float64 array [n, n].
        tolerance: Eigenvalues up to this share of the greatest are null; None takes n times float64's epsilon.

    Returns:
        Values [r], all positive, ascending, and vectors [n, r].

    Raises:
        InputError: An eigenvalue is negative by more than rounding.
    """
    values, vectors = np.linalg.eigh(matrix)
    greatest = np.abs(values).max()
    if not greatest:
        raise InputError("kernel is zero")
    if values[0] < -_ROUNDING * greatest:
        raise InputError(
            f"kernel is not positive semi-definite: its least eigenvalue is {values[0] / greatest:.2g} of the greatest"
        )
    share = len(matrix) * np.finfo(float).eps if tolerance is None else tolerance
    kept = values > share * greatest
    return values[kept], vectors[:, kept]


def check_columns(matrix: np.ndarray, shape: tuple[int, int], fitted: tuple[int, ...], name: str) -> None:
    """Raise an `InputError` where a kernel to predict with has other columns than (N, C) of `fit`."""
    if shape[1] != fitted[1] or matrix.shape[1] != fitted[0] * fitted[1]:
        found = (*shape, matrix.shape[1] // shape[1], shape[1])
        raise InputError(f"{name} must be of shape [M, {fitted[1]}, {fitted[0]}, {fitted[1]}], not {found}")


def checked_labels(labels: Any, count: int, classes: int) -> np.ndarray:
    """Return labels as class ids of shape [count], 0 or 1 where `classes` is 1, or raise an `InputError`."""
    array = class_ids(labels, count, "kernel")
    most = max(classes, 2) - 1
    if array.min() < 0 or array.max() > most:
        raise InputError(f"labels must lie in 0..{most}, found {array.min()}..{array.max()}")
    return array


def check_positive(solver: BaseEstimator, name: str, infinite: bool = False) -> None:
    """Raise an `InputError` where a parameter is no number above 0; infinity will do where it is said so."""
    value = getattr(solver, name)
    if not _is_number(value) or not value > 0 or (math.isinf(value) and not infinite):
        raise InputError(f"{name} must be a number above 0{' (or inf)' if infinite else ''}, not {value!r}")


def check_not_negative(solver: BaseEstimator, name: str, most: float = math.inf) -> None:
    """Raise an `InputError` where a parameter is no finite number from 0 to `most`."""
    value = getattr(solver, name)
    if not _is_number(value) or not 0 <= value <= most or math.isinf(value):
        wanted = "of 0 or more" if math.isinf(most) else f"from 0 to {most:g}"
        raise InputError(f"{name} must be a number {wanted}, not {value!r}")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
