"""What kernel solvers take, checked before anything is computed: kernels, labels, parameters."""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator

from lpft_keras.arrays import as_array, class_ids
from lpft_keras.errors import InputError
from lpft_keras.ntk.statistics import as_matrix

# How far from symmetric and positive semi-definite, relative to the greatest eigenvalue, a kernel may be by rounding.
# Products in bfloat16 are off by some 4e-3; an A-SignGD kernel is off by far more.
_ROUNDING = 1e-2


@dataclass(frozen=True, eq=False)
class CheckedKernel:
    """A kernel that was checked, and what solvers that share it would compute again.

    Attributes:
        matrix: float64 [M C, N C].
        shape: (M, C).
    """

    matrix: np.ndarray
    shape: tuple[int, int]

    @cached_property
    def spectral_norm(self) -> float:
        """The greatest singular value."""
        return float(np.linalg.norm(self.matrix, 2))

    @cached_property
    def svd(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """U, the singular values, and V^T."""
        return np.linalg.svd(self.matrix)

    @cached_property
    def eigh(self) -> tuple[np.ndarray, np.ndarray]:
        """Eigenvalues, ascending, and their vectors, where the matrix is symmetric."""
        values, vectors = np.linalg.eigh(self.matrix)
        return values, vectors

    @cached_property
    def symmetric(self) -> "CheckedKernel":
        """The mean of this kernel and its transpose."""
        return CheckedKernel((self.matrix + self.matrix.T) / 2, self.shape)

    @cached_property
    def _ridged(self) -> "dict[float, CheckedKernel]":
        return {}

    def ridged(self, strength: float) -> "CheckedKernel":
        """Return K + strength sigma_max I; the last one is kept, as grids go through all else first."""
        if not strength:
            return self
        if strength not in self._ridged:
            self._ridged.clear()
            matrix = self.matrix + strength * self.spectral_norm * np.eye(len(self.matrix))
            self._ridged[strength] = CheckedKernel(matrix, self.shape)
        return self._ridged[strength]


def checked_kernel(kernel: Any, name: str) -> CheckedKernel:
    """Return a kernel as a matrix, or say what is wrong with it; one that was checked goes through.

    Args:
        kernel: What the user gave.
        name: The argument's name.

    Returns:
        The matrix, and the shape of what it predicts.

    Raises:
        InputError: It is of another shape, or holds a value that is not finite.
    """
    if isinstance(kernel, CheckedKernel):
        return kernel
    array = as_array(kernel, name)
    if not array.size:
        raise InputError(f"{name} holds no examples")
    matrix = as_matrix(array).astype("float64")
    if not np.isfinite(matrix).all():
        raise InputError(f"{name} holds NaN or infinity")
    return CheckedKernel(matrix, array.shape[:2])


def checked_square(kernel: Any, symmetric: bool = True) -> CheckedKernel:
    """Return a kernel of examples with themselves as a matrix.

    Args:
        kernel: What the user gave.
        symmetric: Whether it must be symmetric, up to rounding; what is returned then is so exactly.

    Returns:
        The matrix, float64 [N C, N C], and (N, C).

    Raises:
        InputError: It is not square, or not symmetric, or as for `checked_kernel`.
    """
    checked = checked_kernel(kernel, "kernel")
    matrix = checked.matrix
    if matrix.shape[0] != matrix.shape[1]:
        raise InputError(f"a training kernel has the shape [N, C, N, C], not {_full_shape(checked)}")
    if not symmetric:
        return checked
    if np.abs(matrix - matrix.T).max() > _ROUNDING * np.abs(matrix).max():
        raise InputError("kernel is not symmetric; AsymmetricLeastSquaresSVM and KernelLeastSquares take such ones")
    return checked.symmetric


def eigenpairs(kernel: CheckedKernel, tolerance: float | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Return the eigenvalues of a kernel that are not null, and their vectors.

    A kernel rounded to float32 has eigenvalues a little below zero where it should have none: those are null, too.

    Args:
        kernel: Symmetric, n rows.
        tolerance: Eigenvalues up to this share of the greatest are null; None takes n times float64's epsilon.

    Returns:
        Values [r], all positive, ascending, and vectors [n, r].

    Raises:
        InputError: An eigenvalue is negative by more than rounding.
    """
    values, vectors = kernel.eigh
    greatest = np.abs(values).max()
    if not greatest:
        raise InputError("kernel is zero")
    if values[0] < -_ROUNDING * greatest:
        raise InputError(
            f"kernel is not positive semi-definite: its least eigenvalue is {values[0] / greatest:.2g} of the greatest"
        )
    share = len(values) * np.finfo(float).eps if tolerance is None else tolerance
    kept = values > share * greatest
    return values[kept], vectors[:, kept]


def check_columns(kernel: CheckedKernel, fitted: tuple[int, ...], name: str) -> None:
    """Raise an `InputError` where a kernel to predict with has other columns than (N, C) of `fit`."""
    found = _full_shape(kernel)
    if found[2:] != fitted:
        raise InputError(f"{name} must be of shape [M, {fitted[1]}, {fitted[0]}, {fitted[1]}], not {found}")


def _full_shape(kernel: CheckedKernel) -> tuple[int, ...]:
    count, classes = kernel.shape
    return count, classes, kernel.matrix.shape[1] // classes, classes


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
