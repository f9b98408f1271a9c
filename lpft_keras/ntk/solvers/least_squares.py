"""Least squares, or kernel ridge regression (the solver "lstsq" of Malladi et al. 2023)."""

import math

import numpy as np

from lpft_keras.ntk.solvers.base import KernelSolver
from lpft_keras.ntk.solvers.inputs import CheckedKernel, check_not_negative


class KernelLeastSquares(KernelSolver):
    """The coefficients of least norm among those that fit y - f0 / s best; ridge regression with a regularisation.

    Takes asymmetric kernels too, the sign on the training side. Time O((N C)^3).

    Args:
        regularization: lambda in K + lambda sigma_max(K) I; 0 interpolates where the kernel has full rank.
        f0_scaling: s, above 0; infinity leaves f0 out.
        tolerance: Singular values up to this share of the greatest count as zero; None takes N C times float64's
            epsilon. Raise it to 1e-6 or so for a singular kernel that was computed in float32.

    Attributes:
        dual_coef_: alpha, float64 [N, C].
        intercept_: 0.
        rank_: Numerical rank of the regularised kernel.

    Example:
        >>> ridge = KernelLeastSquares(regularization=0.01).fit(train.total, train_labels)
        >>> ridge.accuracy(test.total, test_labels)
    """

    def __init__(self, regularization: float = 0.0, f0_scaling: float = math.inf, tolerance: float | None = None):
        self.regularization = regularization
        self.f0_scaling = f0_scaling
        self.tolerance = tolerance

    def _wants_symmetric(self) -> bool:
        return False

    def _check_parameters(self) -> None:
        super()._check_parameters()
        if self.tolerance is not None:
            check_not_negative(self, "tolerance", most=1)

    def _solve(self, kernel: CheckedKernel, targets: np.ndarray, start: np.ndarray) -> tuple[np.ndarray, float]:
        left, values, right = kernel.svd
        share = len(values) * np.finfo(float).eps if self.tolerance is None else self.tolerance
        kept = values > share * values[0]
        self.rank_ = int(kept.sum())
        return right[kept].T @ (left.T[kept] @ (targets - start).reshape(-1) / values[kept]), 0.0
