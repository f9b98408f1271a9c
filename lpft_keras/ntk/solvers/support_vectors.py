"""Support vector machines on a kernel: scikit-learn's (the solvers "svc" and "svr" of Malladi et al. 2023)."""

import math

import numpy as np
from sklearn.svm import SVC, SVR

from lpft_keras.ntk.solvers.base import KernelSolver
from lpft_keras.ntk.solvers.inputs import CheckedKernel, check_not_negative, check_positive


class KernelSVC(KernelSolver):
    """Support vector classification of the kernel's rows, one machine for all logits. Knows no f0.

    Args:
        inverse_strength: scikit-learn's C.
        regularization: lambda in K + lambda sigma_max(K) I.

    Attributes:
        dual_coef_: alpha, float64 [N, C]; zero where a row is no support vector.
        intercept_: b.

    Example:
        >>> KernelSVC(inverse_strength=10.0).fit(train.total, train_labels).accuracy(test.total, test_labels)
    """

    _signed = True

    def __init__(self, inverse_strength: float = 1.0, regularization: float = 0.0):
        self.inverse_strength = inverse_strength
        self.regularization = regularization

    def _check_parameters(self) -> None:
        super()._check_parameters()
        check_positive(self, "inverse_strength")

    def _solve(self, kernel: CheckedKernel, targets: np.ndarray, start: np.ndarray) -> tuple[np.ndarray, float]:
        targets = targets.reshape(-1)
        if targets.min() == targets.max():
            # One logit, and one class: scikit-learn refuses what has an answer.
            return np.zeros(len(targets)), float(targets[0])
        return _coefficients(SVC(C=self.inverse_strength, kernel="precomputed").fit(kernel.matrix, targets))


class KernelSVR(KernelSolver):
    """Support vector regression of y - f0 / s, one machine for all logits.

    Args:
        inverse_strength: scikit-learn's C.
        epsilon: Half the width of the tube in which no error counts.
        regularization: lambda in K + lambda sigma_max(K) I.
        f0_scaling: s, above 0; infinity leaves f0 out.

    Attributes:
        dual_coef_: alpha, float64 [N, C]; zero where a row is no support vector.
        intercept_: b.

    Example:
        >>> KernelSVR().fit(train.total, train_labels).accuracy(test.total, test_labels)
    """

    def __init__(
        self,
        inverse_strength: float = 1.0,
        epsilon: float = 0.1,
        regularization: float = 0.0,
        f0_scaling: float = math.inf,
    ):
        self.inverse_strength = inverse_strength
        self.epsilon = epsilon
        self.regularization = regularization
        self.f0_scaling = f0_scaling

    def _check_parameters(self) -> None:
        super()._check_parameters()
        check_positive(self, "inverse_strength")
        check_not_negative(self, "epsilon")

    def _solve(self, kernel: CheckedKernel, targets: np.ndarray, start: np.ndarray) -> tuple[np.ndarray, float]:
        machine = SVR(C=self.inverse_strength, epsilon=self.epsilon, kernel="precomputed")
        return _coefficients(machine.fit(kernel.matrix, (targets - start).reshape(-1)))


def _coefficients(machine: SVC | SVR) -> tuple[np.ndarray, float]:
    coefficients = np.zeros(machine.shape_fit_[0])
    coefficients[machine.support_] = machine.dual_coef_[0]
    return coefficients, float(machine.intercept_[0])
