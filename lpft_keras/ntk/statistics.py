"""What the paper reads off a kernel (Tomihari and Sato 2024, Tables 2 and 9, Figures 2 and 7 to 9). NumPy only.

Kernels are arrays of shape [N1, C, N2, C]; as a matrix they have N1 C rows and N2 C columns, classes running fastest.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.special import softmax

from lpft_keras.errors import InputError


def as_matrix(kernel: np.ndarray) -> np.ndarray:
    """Return a kernel [N1, C, N2, C] as its matrix, [N1 C, N2 C]."""
    kernel = np.asarray(kernel)
    if kernel.ndim != 4 or kernel.shape[1] != kernel.shape[3]:
        raise InputError(f"a kernel has the shape [N1, C, N2, C], not {kernel.shape}")
    return kernel.reshape(kernel.shape[0] * kernel.shape[1], -1)


def _finite(matrix: np.ndarray) -> np.ndarray:
    if not np.isfinite(matrix).all():
        raise InputError("the kernel holds NaN or infinite values; compute it from a model whose outputs are finite")
    return matrix


def same_shape(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return two kernels as matrices; raise an `InputError` where their shapes differ."""
    first, second = as_matrix(first), as_matrix(second)
    if first.shape != second.shape:
        raise InputError(f"the kernels are of unlike shapes: {first.shape} and {second.shape}")
    return first, second


def singular_values(kernel: np.ndarray, normalized: bool = False) -> np.ndarray:
    """Return the singular values of a kernel's matrix, greatest first (Figures 2 and 7).

    Args:
        kernel: Array of shape [N1, C, N2, C].
        normalized: Whether to divide by the greatest.

    Returns:
        float64 array of shape [min(N1, N2) C].
    """
    values = np.linalg.svd(_finite(as_matrix(kernel)).astype("float64"), compute_uv=False)
    return values / values[0] if normalized and values[0] > 0 else values


def rank(kernel: np.ndarray, tolerance: str | float = "float32") -> int:
    """Return the numerical rank of a kernel's matrix (Tables 2 and 9).

    Args:
        kernel: Array of shape [N1, C, N2, C].
        tolerance: "float32" is what fits the paper's numbers, `matrix_rank` in float32: singular values count above the
            greatest times the longer side times float32's epsilon. "float64" is the same in float64, far stricter. A
            number counts singular values above that share of the greatest.

    Returns:
        The rank.
    """
    matrix = _finite(as_matrix(kernel))
    if tolerance == "float32":
        return int(np.linalg.matrix_rank(matrix.astype("float32")))
    if tolerance == "float64":
        return int(np.linalg.matrix_rank(matrix.astype("float64")))
    if isinstance(tolerance, str) or not 0 < tolerance < 1:
        raise InputError(f'tolerance must be "float32", "float64" or a number between 0 and 1, not {tolerance!r}')
    return int((singular_values(kernel, normalized=True) > tolerance).sum())


def frobenius_norm(kernel: np.ndarray) -> float:
    """Return the Frobenius norm of a kernel (Tables 2 and 9)."""
    return float(np.linalg.norm(as_matrix(kernel).astype("float64")))


def residuals(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return delta = onehot(y) - softmax(f(x)), float64 [N, C], by which the kernel moves the logits (Proposition 1).

    Args:
        logits: Float array of shape [N, C], at the start of fine-tuning.
        labels: Integer array of shape [N].
    """
    logits = np.asarray(logits, "float64")
    return np.eye(logits.shape[1])[np.asarray(labels)] - softmax(logits, axis=1)


def ft_ratio(pretrain: np.ndarray, finetune: np.ndarray, delta: np.ndarray) -> float:
    """Return the share of F in the first change of the logits, averaged over examples (Tables 2 and 9).

    The mean over x of ||sum_i F(x, x_i) delta_i|| / ||sum_i (P + F)(x, x_i) delta_i||; it may exceed 1.

    Args:
        pretrain: P, [N1, C, N, C].
        finetune: F, likewise.
        delta: What `residuals` gives for the N training examples.

    Returns:
        The ratio.
    """
    by_f = as_matrix(finetune) @ np.asarray(delta).reshape(-1)
    by_p = as_matrix(pretrain) @ np.asarray(delta).reshape(-1)
    shape = finetune.shape[:2]
    norms = (np.linalg.norm(change.reshape(shape), axis=1) for change in (by_f, by_p + by_f))
    return float(np.mean(next(norms) / next(norms)))


def trace_norms(kernel: np.ndarray) -> np.ndarray:
    """Return the nuclear norm (sum of singular values) of each C x C block, [N1, N2] (Figures 8 and 9)."""
    as_matrix(kernel)
    return np.linalg.svd(np.moveaxis(np.asarray(kernel, "float64"), 1, 2), compute_uv=False).sum(axis=-1)


def by_class(matrix: np.ndarray, rows: np.ndarray, columns: np.ndarray | None = None) -> np.ndarray:
    """Return a matrix [N1, N2] with examples of one class side by side, as Figures 8 and 9 show them.

    Args:
        matrix: Array of shape [N1, N2].
        rows: Labels of its rows, [N1].
        columns: Labels of its columns, [N2]; None takes those of the rows.
    """
    columns = rows if columns is None else columns
    return matrix[np.ix_(np.argsort(rows, kind="stable"), np.argsort(columns, kind="stable"))]


def alignment(first: np.ndarray, second: np.ndarray, centered: bool = False) -> float:
    """Return how alike two kernels are, 1 where one is the other times a number.

    Args:
        first: Array of shape [N1, C, N2, C].
        second: Likewise.
        centered: Whether to take the mean over examples off first, which gives CKA (Kornblith et al. 2019).

    Returns:
        <K, K'> / (||K|| ||K'||).

    Raises:
        InputError: Their shapes differ.
    """
    if centered:
        first, second = (_centered(np.asarray(kernel, "float64")) for kernel in (first, second))
    first, second = same_shape(first, second)
    return float((first * second).sum() / (np.linalg.norm(first) * np.linalg.norm(second)))


def _centered(kernel: np.ndarray) -> np.ndarray:
    kernel = kernel - kernel.mean(axis=0, keepdims=True)
    return kernel - kernel.mean(axis=2, keepdims=True)


def scalar_fit(kernel: np.ndarray, reference: np.ndarray) -> tuple[float, float]:
    """Return the number that turns one kernel into another best, and what is left (Proposition 2: LoRA against FT).

    Args:
        kernel: Array of shape [N1, C, N2, C], for example F of LoRA.
        reference: Likewise, for example F of FT.

    Returns:
        The factor s that minimises ||K - s R||, and ||K - s R|| / ||K||.
    """
    kernel, reference = as_matrix(kernel), as_matrix(reference)
    factor = float((kernel * reference).sum() / (reference * reference).sum())
    return factor, float(np.linalg.norm(kernel - factor * reference) / np.linalg.norm(kernel))


def statistics(kernel: Any, delta: np.ndarray, tolerance: str | float = "float32") -> Mapping[str, Any]:
    """Return a kernel's rows of Tables 2 and 9.

    Args:
        kernel: An `NTK` of the training examples with themselves.
        delta: What `residuals` gives for them.
        tolerance: As for `rank`.

    Returns:
        `rank` and `frobenius_norm` of "pretrain", "finetune" and "total", and `ft_ratio`.
    """
    parts = {"pretrain": kernel.pretrain, "finetune": kernel.finetune, "total": kernel.total}
    return {
        "rank": {name: rank(part, tolerance) for name, part in parts.items()},
        "frobenius_norm": {name: frobenius_norm(part) for name, part in parts.items()},
        "ft_ratio": ft_ratio(kernel.pretrain, kernel.finetune, delta),
    }
