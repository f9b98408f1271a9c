"""Training of the linearised model on the squared loss, in closed form."""

import math
from typing import Any

import numpy as np
from scipy.linalg import eigh

from lpft_keras.arrays import whole_number
from lpft_keras.errors import InputError
from lpft_keras.ntk.solvers.base import KernelSolver
from lpft_keras.ntk.solvers.inputs import CheckedKernel, check_not_negative, check_positive, checked_square, eigenpairs


class GradientFlow(KernelSolver):
    r"""What gradient descent on the mean squared loss comes to where the kernel stays what it is.

    The loss is \(\frac{1}{2N} \sum_i \|f(x_i) - y_i\|^2\), N the number of examples, so that
    \(df/dt = -\frac1N K (f - y)\) and

    \(f_t(x) = f_0(x) + K(x, X) K^+ (I - e^{-t K / N}) (y - f_0(X))\)

    (Jacot et al. 2018; Lee et al. 2019). After n steps of gradient descent with learning rate eta
    \((I - \eta K / N)^n\) stands in the place of the exponential. By eigenvectors, one function of each eigenvalue;
    null directions never move, so that the end of training is the solution of least norm. Time O((N C)^3), whatever
    the number of steps.

    Args:
        time: t, 0 to infinity; the end of training where it is infinite.
        learning_rate: eta of full-batch gradient descent; then `steps` is needed, and `time` left as it is.
        steps: n.
        f0_scaling: s; 1 starts where the model is, infinity at 0.
        tolerance: Eigenvalues up to this share of the greatest are null; None takes N C times float64's epsilon. Raise
            it to 1e-6 or so for a kernel that was computed in float32 where time is long.

    Attributes:
        dual_coef_: alpha, float64 [N, C].
        intercept_: 0.

    Example:
        >>> flow = GradientFlow(time=100.0).fit(train.total, train_labels, train_logits)
        >>> flow.accuracy(test.total, test_labels, test_logits)
    """

    def __init__(
        self,
        time: float = math.inf,
        learning_rate: float | None = None,
        steps: int | None = None,
        f0_scaling: float = 1.0,
        tolerance: float | None = None,
    ):
        self.time = time
        self.learning_rate = learning_rate
        self.steps = steps
        self.f0_scaling = f0_scaling
        self.tolerance = tolerance

    def _check_parameters(self) -> None:
        super()._check_parameters()
        if self.tolerance is not None:
            check_not_negative(self, "tolerance", most=1)
        if self.learning_rate is None and self.steps is None:
            if self.time != math.inf:
                check_not_negative(self, "time")
            return
        if self.learning_rate is None or self.steps is None or self.time != math.inf:
            raise InputError("give time, or learning_rate and steps")
        check_positive(self, "learning_rate")
        whole_number(self.steps, "steps", least=0)

    def _solve(self, kernel: CheckedKernel, targets: np.ndarray, start: np.ndarray) -> tuple[np.ndarray, float]:
        values, vectors = eigenpairs(kernel, self.tolerance)
        gone = self._gone(values / len(targets))
        if not np.isfinite(gone).all():
            greatest = 2 * len(targets) / values[-1]
            raise InputError(f"learning_rate {self.learning_rate:g} is above {greatest:.3g}: gradient descent diverges")
        return vectors @ (gone / values * (vectors.T @ (targets - start).reshape(-1))), 0.0

    def _gone(self, rates: np.ndarray) -> np.ndarray:
        """Return which share of the way to the target each direction has gone, by its eigenvalue over N."""
        if self.learning_rate is None or self.steps is None:
            return -np.expm1(-self.time * rates)
        left = self.learning_rate * rates
        with np.errstate(divide="ignore", over="ignore"):
            # Small rates lose their digits in 1 - (1 - x)^n.
            small = -np.expm1(self.steps * np.log1p(-np.minimum(left, 0.5)))
            return np.where(left < 0.5, small, 1 - (1 - left) ** self.steps)


def largest_learning_rate(kernel: Any) -> float:
    r"""Return the rate above which full-batch gradient descent diverges where the kernel stays what it is.

    \(2 N / \lambda_{\max}(K)\), N the number of examples, for the mean squared loss
    \(\frac{1}{2N} \sum_i \|f(x_i) - y_i\|^2\); for \(\frac1N\) in place of \(\frac{1}{2N}\) it is half of that.

    Args:
        kernel: Kernel of the training examples with themselves, float [N, C, N, C].

    Returns:
        The rate; infinity for a kernel of zeros.

    Raises:
        InputError: The kernel is not square and symmetric.
    """
    square = checked_square(kernel)
    last = len(square.matrix) - 1
    greatest = float(eigh(square.matrix, eigvals_only=True, subset_by_index=[last, last])[0])
    return 2 * square.shape[0] / greatest if greatest > 0 else math.inf
