"""A least-squares support vector machine for asymmetric kernels (the solver "asym" of Malladi et al. 2023)."""

import math
from typing import Any

import numpy as np

from lpft_keras.errors import InputError
from lpft_keras.ntk.solvers.base import KernelSolver
from lpft_keras.ntk.solvers.inputs import (
    CheckedKernel,
    check_columns,
    check_not_negative,
    check_positive,
    checked_kernel,
)


class AsymmetricLeastSquaresSVM(KernelSolver):
    """Two classifiers at once, one for each side that the sign can be on (He et al. 2023; no biases).

    `fit` takes K[i, j] = <grad f(x_i), sign grad f(x_j)>, the sign on the training side. With targets y of -1 and 1 and
    H_ij = y_i K_ij y_j it solves, in float64,

        [ I / gamma   H^T       ] [alpha]
        [ H           I / gamma ] [beta ] = 1 - y * f0 / s  (twice)

    and predicts mixing K (alpha * y) + (1 - mixing) K_flipped (beta * y) + f0 / s, where K_flipped has the sign on the
    evaluated side (of training examples with themselves it is the transpose of K). Along each pair of singular vectors
    of H the system is one of two unknowns, whatever gamma: time O((N C)^3). Where it is singular, which it is for a
    singular value of 1 / gamma, it is solved by least squares of least norm.

    The original code puts y - f0 / s in the place of y in H and in the prediction, where it no longer is a label; here
    f0 is on the right-hand side, so that y f = 1 - error holds for the whole f. The two are one without f0.

    Args:
        gamma: Weight of the errors against the norm, above 0; the original's default is 1.
        mixing: Weight of the first classifier, 0 to 1 ("lambda", which the original code uses and gives no value).
        regularization: lambda in K + lambda sigma_max(K) I.
        f0_scaling: s, above 0; infinity leaves f0 out.

    Attributes:
        dual_coef_: alpha * y, float64 [N, C].
        flipped_coef_: beta * y, likewise.
        intercept_: 0.

    Example:
        >>> train, test = train_test_ntk(model, train_images, test_images, kind="asymmetric-signgd")
        >>> flipped = empirical_ntk(model, test_images, train_images, kind="asymmetric-signgd-flipped")
        >>> machine = AsymmetricLeastSquaresSVM().fit(train.total, train_labels)
        >>> machine.accuracy(test.total, test_labels, flipped=flipped.total)
    """

    _signed = True

    def __init__(
        self,
        gamma: float = 1.0,
        mixing: float = 0.5,
        regularization: float = 0.0,
        f0_scaling: float = math.inf,
    ):
        self.gamma = gamma
        self.mixing = mixing
        self.regularization = regularization
        self.f0_scaling = f0_scaling

    def _wants_symmetric(self) -> bool:
        return False

    def _check_parameters(self) -> None:
        super()._check_parameters()
        check_positive(self, "gamma")
        check_not_negative(self, "mixing", most=1)

    def _solve(self, kernel: CheckedKernel, targets: np.ndarray, start: np.ndarray) -> tuple[np.ndarray, float]:
        left, values, right = kernel.svd
        # H's singular vectors are those of K times y, and y * y = 1.
        goal = targets.reshape(-1) - start.reshape(-1)
        first, second = right @ goal, left.T @ goal
        both, apart = 1 / self.gamma + values, 1 / self.gamma - values
        null = np.abs(apart) <= np.finfo(float).eps * both.max()
        total = (first + second) / both
        difference = np.where(null, 0, first - second) / np.where(null, 1, apart)
        self.flipped_coef_ = (left @ (total - difference) / 2).reshape(targets.shape)
        return right.T @ (total + difference) / 2, 0.0

    def _rows(self, matrix: np.ndarray, flipped: Any) -> np.ndarray:
        first = super()._rows(matrix, flipped)
        if self.mixing == 1:
            return first
        if flipped is None:
            raise InputError(f"mixing={self.mixing} wants the kernel with the sign on the evaluated side: flipped=")
        other = checked_kernel(flipped, "flipped")
        check_columns(other, self.dual_coef_.shape, "flipped")
        count, classes = other.shape
        if count * classes != len(matrix):
            raise InputError(f"flipped has {count} examples, kernel {len(matrix) // classes}")
        return self.mixing * first + (1 - self.mixing) * (other.matrix @ self.flipped_coef_.reshape(-1))
