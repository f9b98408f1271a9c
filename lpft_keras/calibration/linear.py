"""Scalings that map logits linearly: a weight and a bias a class, or whole matrices."""

import logging

import numpy as np
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax
from sklearn.linear_model import LogisticRegression

from lpft_keras.calibration.scaling import Scaling, require_all_classes
from lpft_keras.errors import InputError

log = logging.getLogger(__name__)


class VectorScaling(Scaling):
    """A weight and a bias for each class's logit (Guo et al. 2017); may change predictions.

    Fitted without a penalty: on few rows that it can separate the weights grow without end, and are stopped (logged).

    Attributes:
        weights_: float64 [classes].
        bias_: float64 [classes].

    Example:
        >>> VectorScaling().fit(validation_logits, validation_labels).predict_proba(test_logits)
    """

    def _fit(self, logits: np.ndarray, labels: np.ndarray) -> None:
        require_all_classes(labels, logits.shape[1], type(self).__name__)
        rows, classes = logits.shape
        targets = np.eye(classes)[labels]

        def loss(packed: np.ndarray) -> tuple[float, np.ndarray]:
            weights, bias = packed[:classes], packed[classes:]
            scaled = logits * weights + bias
            residual = (softmax(scaled, axis=1) - targets) / rows
            value = -(log_softmax(scaled, axis=1) * targets).sum() / rows
            return value, np.concatenate([(residual * logits).sum(axis=0), residual.sum(axis=0)])

        start = np.concatenate([np.ones(classes), np.zeros(classes)])
        found = minimize(
            loss, start, jac=True, method="L-BFGS-B", options={"gtol": 1e-9, "ftol": 1e-15, "maxiter": 5000}
        )
        if np.abs(found.x).max() > 1e3:
            log.warning("vector scaling can separate these %d rows: its weights have no finite optimum", rows)
        self.weights_, self.bias_ = found.x[:classes], found.x[classes:]

    def _scaled(self, logits: np.ndarray) -> np.ndarray:
        return softmax(logits * self.weights_ + self.bias_, axis=1)


class MatrixScaling(Scaling):
    """A matrix and a bias on logits (Guo et al. 2017): scikit-learn's logistic regression; may change predictions.

    Args:
        C: Inverse strength of the L2 penalty on the matrix, as in scikit-learn; `numpy.inf` for none, as in Guo et al.

    Attributes:
        weights_: float64 [classes, classes]; probabilities are the softmax of `logits @ weights_.T + bias_`.
        bias_: float64 [classes].

    Example:
        >>> MatrixScaling().fit(validation_logits, validation_labels).predict_proba(test_logits)
    """

    def __init__(self, C: float = 1.0):
        self.C = C

    def _fit(self, logits: np.ndarray, labels: np.ndarray) -> None:
        if not self.C > 0:
            raise InputError(f"C must be above 0, not {self.C}")
        require_all_classes(labels, logits.shape[1], type(self).__name__)
        fitted = LogisticRegression(C=self.C, solver="newton-cg", tol=1e-8, max_iter=1000).fit(
            self._features(logits), labels
        )
        weights, bias = fitted.coef_, fitted.intercept_
        if len(weights) == 1:  # two classes: the second's logit over the first's
            weights, bias = np.vstack([np.zeros_like(weights), weights]), np.append(0, bias)
        self.weights_, self.bias_ = weights, bias

    def _features(self, logits: np.ndarray) -> np.ndarray:
        return logits

    def _scaled(self, logits: np.ndarray) -> np.ndarray:
        return softmax(self._features(logits) @ self.weights_.T + self.bias_, axis=1)


class DirichletCalibration(MatrixScaling):
    """A matrix and a bias on log-probabilities (Kull et al. 2019), by scikit-learn; may change predictions.

    Args:
        C: Inverse strength of the L2 penalty on the matrix; Kull's own penalises what is off the diagonal only.

    Attributes:
        weights_: float64 [classes, classes]; probabilities are the softmax of `log_softmax(logits) @ weights_.T +
        bias_`. bias_: float64 [classes].

    Example:
        >>> DirichletCalibration().fit(validation_logits, validation_labels).predict_proba(test_logits)
    """

    def _features(self, logits: np.ndarray) -> np.ndarray:
        return log_softmax(logits, axis=1)
