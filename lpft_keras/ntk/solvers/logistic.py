"""Logistic regression on a kernel: how well it alone predicts the labels (Tomihari and Sato 2024, Table 2)."""

import warnings
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegressionCV
from sklearn.model_selection import PredefinedSplit
from threadpoolctl import threadpool_limits

from lpft_keras.arrays import whole_number
from lpft_keras.errors import InputError, unknown_name
from lpft_keras.ntk.solvers.base import KernelSolver
from lpft_keras.ntk.solvers.inputs import CheckedKernel, eigenpairs

_PENALTIES = ("coefficients", "rkhs")
_SOLVERS = ("lbfgs", "newton-cg", "newton-cholesky", "liblinear", "sag", "saga")


class KernelRegression(KernelSolver):
    """Logistic regression on the rows of a kernel, each logit of each example a row of its own. Knows no f0.

    A row says whether its class is the example's. The strength of the penalty is chosen among 10, 1e-4 to 1e4, by
    cross-validation; there is an intercept without penalty.

    - `penalty="coefficients"` is the paper's solver: rows of the kernel are features, the penalty is ||alpha||^2 / 2,
      folds are drawn over rows (so that logits of one example fall into several), the choice is by accuracy of rows.
      What comes out depends on the kernel's scale. Takes asymmetric kernels.
    - `penalty="rkhs"` is what the representer theorem is about: the penalty is the norm alpha^T K alpha / 2 in the
      kernel's space, with K divided by its mean diagonal, so that its scale does not matter. Folds are of whole
      examples, dealt out class by class; the choice is by log-loss of rows. Negative eigenvalues, which a kernel in
      float32 has by rounding, are left out.

    Args:
        solver: scikit-learn's; "lbfgs" is the paper's.
        folds: Folds of the cross-validation.
        max_iterations: The solver's limit.
        penalty: "coefficients" or "rkhs".
        regularization: lambda in K + lambda sigma_max(K) I.

    Attributes:
        regression_: The fitted scikit-learn estimator, on kernel rows or, with "rkhs", on the eigenvectors times the
            roots of their eigenvalues.
        dual_coef_: alpha, float64 [N, C].
        intercept_: b.

    Example:
        >>> regression = KernelRegression().fit(train.total, train_labels)
        >>> regression.logit_accuracy(test.total, test_labels), regression.accuracy(test.total, test_labels)
    """

    _signed = True

    def __init__(
        self,
        solver: str = "lbfgs",
        folds: int = 5,
        max_iterations: int = 10_000,
        penalty: str = "coefficients",
        regularization: float = 0.0,
    ):
        self.solver = solver
        self.folds = folds
        self.max_iterations = max_iterations
        self.penalty = penalty
        self.regularization = regularization

    def _wants_symmetric(self) -> bool:
        return self.penalty == "rkhs"

    def _check_parameters(self) -> None:
        super()._check_parameters()
        whole_number(self.folds, "folds", least=2)
        whole_number(self.max_iterations, "max_iterations")
        if self.solver not in _SOLVERS:
            raise unknown_name("solver", self.solver, _SOLVERS)
        if self.penalty not in _PENALTIES:
            raise unknown_name("penalty", self.penalty, _PENALTIES)

    def _solve(self, kernel: CheckedKernel, targets: np.ndarray, start: np.ndarray) -> tuple[np.ndarray, float]:
        matrix, positive = kernel.matrix, targets > 0
        fewest = min(positive.sum(), (~positive).sum())
        if fewest < self.folds:
            raise InputError(f"{fewest} examples (of a class) are too few for {self.folds} folds")
        if self.penalty == "coefficients":
            self._search(matrix, positive, self.folds, "accuracy", tolerance=1e-4)
            return self.regression_.coef_[0], float(self.regression_.intercept_[0])
        values, vectors = eigenpairs(kernel)
        scale = np.trace(matrix) / len(matrix)
        features, folds = vectors * np.sqrt(values / scale), _whole_examples(positive, self.folds)
        self._search(features, positive, folds, "neg_log_loss", tolerance=1e-6)
        coefficients = vectors @ (self.regression_.coef_[0] / np.sqrt(values * scale))
        return coefficients, float(self.regression_.intercept_[0])

    def _search(self, features: np.ndarray, positive: np.ndarray, folds: Any, scoring: str, tolerance: float) -> None:
        estimator = LogisticRegressionCV(
            Cs=10,
            cv=folds,
            solver=self.solver,
            l1_ratios=(0.0,),
            scoring=scoring,
            tol=tolerance,
            use_legacy_attributes=False,
            max_iter=self.max_iterations,
            random_state=0,
        )
        with threadpool_limits(1), warnings.catch_warnings():
            # Unscaled rows stop some weakly penalised fits at the limit; the folds choose among what there is.
            warnings.simplefilter("ignore", ConvergenceWarning)
            self.regression_ = estimator.fit(features, positive.reshape(-1).astype(int))


def _whole_examples(positive: np.ndarray, folds: int) -> PredefinedSplit:
    """Return folds of rows that keep an example's rows [N, C] together and share each class out evenly."""
    fold = np.empty(len(positive), int)
    fold[np.lexsort(positive.T)] = np.arange(len(positive)) % folds
    return PredefinedSplit(np.repeat(fold, positive.shape[1]))
