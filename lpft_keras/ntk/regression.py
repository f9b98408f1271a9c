"""Kernel regression: how well a kernel alone predicts the labels (Tomihari and Sato 2024, Table 2)."""

import warnings

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegressionCV
from sklearn.utils.validation import check_is_fitted
from threadpoolctl import threadpool_limits

from lpft_keras.errors import InputError
from lpft_keras.ntk.statistics import as_matrix


class KernelRegression(BaseEstimator):
    """Logistic regression on the rows of a kernel, each logit of each example a row of its own.

    The paper's solver: L2 penalty on the coefficients, its strength chosen among 10 by 5 folds, an intercept. A row
    says whether its class is the example's.

    Args:
        solver: scikit-learn's; "lbfgs" is the paper's.
        folds: Folds of the stratified cross-validation, over rows.
        max_iterations: The solver's limit.

    Attributes:
        regression_: The fitted scikit-learn estimator.

    Example:
        >>> regression = KernelRegression().fit(train.total, train_labels)
        >>> regression.logit_accuracy(test.total, test_labels), regression.accuracy(test.total, test_labels)
    """

    def __init__(self, solver: str = "lbfgs", folds: int = 5, max_iterations: int = 10_000):
        self.solver = solver
        self.folds = folds
        self.max_iterations = max_iterations

    def fit(self, kernel: np.ndarray, labels: np.ndarray) -> "KernelRegression":
        """Fit to training examples.

        Args:
            kernel: Kernel of the training examples with themselves, [N, C, N, C].
            labels: Integer array of shape [N].

        Returns:
            This object.

        Raises:
            InputError: The kernel is not square, or there are fewer examples than folds.
        """
        matrix = as_matrix(kernel)
        if matrix.shape[0] != matrix.shape[1] or len(labels) != len(kernel):
            raise InputError(f"kernel regression wants [N, C, N, C] and N labels, not {kernel.shape} and {len(labels)}")
        if len(labels) < self.folds:
            raise InputError(f"{len(labels)} examples are too few for {self.folds} folds")
        estimator = LogisticRegressionCV(
            Cs=10,
            cv=self.folds,
            solver=self.solver,
            l1_ratios=(0.0,),
            scoring="accuracy",
            use_legacy_attributes=False,
            max_iter=self.max_iterations,
            random_state=0,
        )
        with threadpool_limits(1), warnings.catch_warnings():
            # Unscaled rows stop some weakly penalised fits at the limit; the folds choose among what there is.
            warnings.simplefilter("ignore", ConvergenceWarning)
            self.regression_ = estimator.fit(matrix, _targets(labels, kernel.shape[1]))
        return self

    def decision_function(self, kernel: np.ndarray) -> np.ndarray:
        """Return how strongly each class is believed in, float64 [M, C], for a kernel [M, C, N, C]."""
        check_is_fitted(self, "regression_")
        return self.regression_.decision_function(as_matrix(kernel)).reshape(kernel.shape[:2])

    def predict(self, kernel: np.ndarray) -> np.ndarray:
        """Return the class of each example that is believed in most, int64 [M]."""
        return self.decision_function(kernel).argmax(axis=1)

    def logit_accuracy(self, kernel: np.ndarray, labels: np.ndarray) -> float:
        """Return the share of rows, of which each example has C, that are told rightly: the number the paper prints.

        Always answering "no" scores 1 - 1/C here.
        """
        told = self.decision_function(kernel) > 0
        return float((told.reshape(-1) == _targets(labels, kernel.shape[1])).mean())

    def accuracy(self, kernel: np.ndarray, labels: np.ndarray) -> float:
        """Return the share of examples whose class is believed in most."""
        return float((self.predict(kernel) == np.asarray(labels)).mean())


def _targets(labels: np.ndarray, classes: int) -> np.ndarray:
    return (np.asarray(labels)[:, None] == np.arange(classes)).reshape(-1).astype(int)
