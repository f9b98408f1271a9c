"""Scalings that map logits linearly: a weight and a bias a class, or whole matrices."""

import logging
import math

import numpy as np
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax
from sklearn.linear_model import LogisticRegression

from lpft_keras.arrays import real_number
from lpft_keras.calibration.scaling import Scaling, require_all_classes

log = logging.getLogger(__name__)


def _standardised(features: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Return features of mean 0 and spread 1 (one scale for all columns), with that mean and scale."""
    mean = features.mean(axis=0)
    scale = float(np.sqrt(np.square(features - mean).mean())) or 1.0
    return (features - mean) / scale, mean, scale


class VectorScaling(Scaling):
    """A weight and a bias for each class's logit (Guo et al. 2017); may change predictions.

    Fitted without a penalty. Rows that it can separate have no finite optimum: it then stops where the likelihood no
    longer tells (logged).

    Attributes:
        weights_: float64 [classes].
        bias_: float64 [classes].

    Example:
        >>> VectorScaling().fit(validation_logits, validation_labels).predict_proba(test_logits)
    """

    def _fit(self, logits: np.ndarray, labels: np.ndarray) -> None:
        require_all_classes(labels, logits.shape[1], type(self).__name__)
        standard, mean, scale = _standardised(logits)
        count, classes = standard.shape
        rows = np.arange(count)

        def loss(packed: np.ndarray) -> tuple[float, np.ndarray]:
            logs = log_softmax(standard * packed[:classes] + packed[classes:], axis=1)
            residual = np.exp(logs)
            residual[rows, labels] -= 1
            slope = np.concatenate([(residual * standard).sum(axis=0), residual.sum(axis=0)])
            return -logs[rows, labels].mean(), slope / count

        start = np.concatenate([np.full(classes, scale), mean])  # the logits as they are
        options = {"gtol": 1e-10, "ftol": 1e-15, "maxiter": 5000, "maxfun": 20000}
        found = minimize(loss, start, jac=True, method="L-BFGS-B", options=options).x
        if ((standard * found[:classes] + found[classes:]).argmax(axis=1) == labels).all():
            log.warning("vector scaling separates these %d rows: there is no finite optimum", count)
        self.weights_ = found[:classes] / scale
        self.bias_ = found[classes:] - self.weights_ * mean

    def _scaled(self, logits: np.ndarray) -> np.ndarray:
        return softmax(logits * self.weights_ + self.bias_, axis=1)


class MatrixScaling(Scaling):
    """A matrix and a bias on logits (Guo et al. 2017): scikit-learn's logistic regression; may change predictions.

    Args:
        C: Inverse strength of the L2 penalty on the matrix, as in scikit-learn, for logits brought to mean 0 and
            spread 1, so that their scale does not matter; `numpy.inf` for none, as in Guo et al.

    Attributes:
        weights_: float64 [classes, classes]; probabilities are the softmax of `logits @ weights_.T + bias_`.
        bias_: float64 [classes].

    Example:
        >>> MatrixScaling().fit(validation_logits, validation_labels).predict_proba(test_logits)
    """

    def __init__(self, C: float = 1.0):
        self.C = C

    def _fit(self, logits: np.ndarray, labels: np.ndarray) -> None:
        strength = math.inf if math.inf == self.C else real_number(self.C, "C", 0, math.inf)
        require_all_classes(labels, logits.shape[1], type(self).__name__)
        standard, mean, scale = _standardised(self._features(logits))
        fitted = LogisticRegression(C=strength, solver="newton-cg", tol=1e-8, max_iter=1000).fit(standard, labels)
        weights, bias = fitted.coef_, fitted.intercept_
        if len(weights) == 1:  # two classes: the second's logit over the first's
            weights, bias = np.vstack([np.zeros_like(weights), weights]), np.append(0, bias)
        self.weights_ = weights / scale
        self.bias_ = bias - self.weights_ @ mean

    def _features(self, logits: np.ndarray) -> np.ndarray:
        return logits

    def _scaled(self, logits: np.ndarray) -> np.ndarray:
        return softmax(self._features(logits) @ self.weights_.T + self.bias_, axis=1)


class DirichletCalibration(MatrixScaling):
    """A matrix and a bias on log-probabilities (Kull et al. 2019), by scikit-learn; may change predictions.

    Args:
        C: Inverse strength of the L2 penalty on the matrix, as for `MatrixScaling`; Kull's own penalises only what is
            off the diagonal.

    Attributes:
        weights_: float64 [classes, classes]; probabilities are the softmax of
            `log_softmax(logits) @ weights_.T + bias_`.
        bias_: float64 [classes].

    Example:
        >>> DirichletCalibration().fit(validation_logits, validation_labels).predict_proba(test_logits)
    """

    def _features(self, logits: np.ndarray) -> np.ndarray:
        return log_softmax(logits, axis=1)


LINEAR: dict[str, type[Scaling]] = {
    "vector": VectorScaling,
    "matrix": MatrixScaling,
    "dirichlet": DirichletCalibration,
}
