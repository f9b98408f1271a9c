"""What all kernel solvers share: a kernel and labels in, one coefficient a training row out, and both accuracies."""

import math
from abc import ABC, abstractmethod
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from lpft_keras.arrays import as_array
from lpft_keras.errors import InputError
from lpft_keras.ntk.solvers.inputs import (
    CheckedKernel,
    check_columns,
    check_not_negative,
    check_positive,
    checked_kernel,
    checked_labels,
    checked_square,
)


class KernelSolver(ABC, BaseEstimator):
    """Predicts labels by f(x)_k = sum_jl K[(x, k), (x_j, l)] alpha_jl + b + f0(x)_k / s, each logit a row of its own.

    A scikit-learn estimator on kernels that are there already: float arrays [examples, C, training examples, C], as
    `empirical_ntk` and `train_test_ntk` give them. All logits share the coefficients alpha (Malladi et al. 2023;
    Tomihari and Sato 2024): N examples of C classes are N C rows, whose targets say whether the row's class is the
    example's. A kernel with C = 1 is that of one logit f = f_1 - f_0 of two classes: N rows, targets -1 and 1.

    With a finite `f0_scaling` s the model's own logits f0 are started from: y - f0 / s is fitted, and f0 / s added
    when predicting. That equals labels times s beside unscaled logits; infinity ignores f0, given or not.

    With a `regularization` lambda the training kernel, and no other, becomes K + lambda sigma_max I.

    `get_params`, `set_params`, `score` and scikit-learn's `clone` work. Its cross-validation and grid search do not:
    of a kernel both sides would have to be cut. `select_solver` chooses among solvers.

    Attributes:
        classes_: The class ids, int64 [C]; 0 and 1 where C is 1.
        dual_coef_: alpha, float64 [N, C].
        intercept_: b.
    """

    f0_scaling: float = math.inf
    regularization: float = 0.0
    _signed: ClassVar[bool] = False
    """Whether targets are -1 and 1 for several classes, too, not 0 and 1."""
    classes_: np.ndarray
    dual_coef_: np.ndarray
    intercept_: float

    def fit(self, kernel: Any, labels: Any, logits: Any = None) -> Self:
        """Fit to training examples.

        Args:
            kernel: Kernel of the training examples with themselves, float [N, C, N, C].
            labels: Class ids of shape [N], 0 or 1 where C is 1.
            logits: f0 of the training examples, float [N, C]; needed where `f0_scaling` is finite.

        Returns:
            This object.

        Raises:
            InputError: A parameter is out of range, shapes don't fit, a value is not finite, or the kernel is not
                symmetric where the method needs that.
        """
        self._check_parameters()
        square = checked_square(kernel, self._wants_symmetric())
        count, classes = square.shape
        targets = self._targets(checked_labels(labels, count, classes), classes)
        start = self._start(logits, count, classes)
        coefficients, self.intercept_ = self._solve(square.ridged(self.regularization), targets, start)
        if not np.isfinite(coefficients).all():
            raise InputError(f"{type(self).__name__} found no finite coefficients; scale the kernel or regularise more")
        self.dual_coef_ = coefficients.reshape(count, classes)
        self.classes_ = np.arange(max(classes, 2))
        return self

    def decision_function(self, kernel: Any, logits: Any = None, flipped: Any = None) -> np.ndarray:
        """Return how strongly each class is believed in.

        Args:
            kernel: Kernel of the evaluated examples with the training examples, float [M, C, N, C].
            logits: f0 of the evaluated examples, float [M, C]; needed where `f0_scaling` is finite.
            flipped: The kernel with the sign on the evaluated side, which `AsymmetricLeastSquaresSVM` needs; all other
                solvers pass over it.

        Returns:
            float64 array of shape [M, C]; of one logit f it is [-f, f], of shape [M, 2].

        Raises:
            InputError: Shapes don't fit those of `fit`, or a value is not finite.
            NotFittedError: `fit` was not called.
        """
        return _decisions(self._logits(kernel, logits, flipped))

    def predict(self, kernel: Any, logits: Any = None, flipped: Any = None) -> np.ndarray:
        """Return the class of each example that is believed in most, int64 [M]; arguments as of `decision_function`."""
        return self.decision_function(kernel, logits, flipped).argmax(axis=1)

    def accuracy(self, kernel: Any, labels: Any, logits: Any = None, flipped: Any = None) -> float:
        """Return the share of examples whose class is believed in most.

        Args:
            kernel: As for `decision_function`, like the last two.
            labels: Class ids of shape [M].
            logits: f0 of the evaluated examples.
            flipped: The kernel with the sign on the other side.
        """
        return self._accuracies(kernel, labels, logits, flipped)["accuracy"]

    def score(self, kernel: Any, labels: Any, logits: Any = None, flipped: Any = None) -> float:
        """Return the accuracy, by the name that scikit-learn has for it; arguments as of `accuracy`."""
        return self.accuracy(kernel, labels, logits, flipped)

    def logit_accuracy(self, kernel: Any, labels: Any, logits: Any = None, flipped: Any = None) -> float:
        """Return the share of rows, C an example, that are told rightly (Tomihari and Sato 2024, Table 2).

        A row says "yes" where it is nearer to the target for yes. Always answering "no" scores 1 - 1/C here. With one
        logit it is the accuracy.

        Args:
            kernel: As for `decision_function`, like the last two.
            labels: Class ids of shape [M].
            logits: f0 of the evaluated examples.
            flipped: The kernel with the sign on the other side.
        """
        return self._accuracies(kernel, labels, logits, flipped)["logit_accuracy"]

    @abstractmethod
    def _solve(self, kernel: CheckedKernel, targets: np.ndarray, start: np.ndarray) -> tuple[np.ndarray, float]:
        """Return alpha and b.

        Args:
            kernel: Of the training examples, regularised.
            targets: float64 [N, C], of two levels.
            start: f0 / s, float64 [N, C].

        Returns:
            float64 array of shape [N C], and a number.
        """

    def _wants_symmetric(self) -> bool:
        """Return whether the method has a meaning for symmetric kernels only."""
        return True

    def _check_parameters(self) -> None:
        """Raise an `InputError` where a parameter is out of range."""
        check_positive(self, "f0_scaling", infinite=True)
        check_not_negative(self, "regularization")

    def _rows(self, matrix: np.ndarray, flipped: Any) -> np.ndarray:
        """Return what the kernel alone says of each evaluated row, [M C]."""
        return matrix @ self.dual_coef_.reshape(-1) + self.intercept_

    def _accuracies(self, kernel: Any, labels: Any, logits: Any, flipped: Any) -> dict[str, float]:
        """Return "accuracy" and "logit_accuracy" of one evaluation."""
        values = self._logits(kernel, logits, flipped)
        classes = values.shape[1]
        labels = checked_labels(labels, len(values), classes)
        told = (values > sum(self._levels(classes)) / 2) == _is_class(labels, classes)
        right = _decisions(values).argmax(axis=1) == labels
        return {"accuracy": float(right.mean()), "logit_accuracy": float(told.mean())}

    def _logits(self, kernel: Any, logits: Any, flipped: Any) -> np.ndarray:
        check_is_fitted(self, "dual_coef_")
        evaluated = checked_kernel(kernel, "kernel")
        check_columns(evaluated, self.dual_coef_.shape, "kernel")
        start = self._start(logits, *evaluated.shape)
        return self._rows(evaluated.matrix, flipped).reshape(evaluated.shape) + start

    def _start(self, logits: Any, count: int, classes: int) -> np.ndarray:
        if math.isinf(self.f0_scaling):
            return np.zeros((count, classes))
        if logits is None:
            raise InputError(
                f"f0_scaling={self.f0_scaling:g} wants the model's logits of these examples: pass logits=, or "
                "f0_scaling=inf to leave them out"
            )
        array = as_array(logits, "logits").astype("float64")
        if array.shape != (count, classes):
            raise InputError(f"logits must be of the kernel's shape {(count, classes)}, not {array.shape}")
        if not np.isfinite(array).all():
            raise InputError("logits hold NaN or infinity")
        return array / self.f0_scaling

    def _levels(self, classes: int) -> tuple[float, float]:
        return (-1.0 if self._signed or classes == 1 else 0.0), 1.0

    def _targets(self, labels: np.ndarray, classes: int) -> np.ndarray:
        no, yes = self._levels(classes)
        return np.where(_is_class(labels, classes), yes, no)


def _decisions(values: np.ndarray) -> np.ndarray:
    return np.concatenate([-values, values], axis=1) if values.shape[1] == 1 else values


def _is_class(labels: np.ndarray, classes: int) -> np.ndarray:
    """Return whether each row's class is the example's, bool [N, C]; the one row of C = 1 is that of class 1."""
    return labels[:, None] == (np.arange(classes) if classes > 1 else np.array([1]))
