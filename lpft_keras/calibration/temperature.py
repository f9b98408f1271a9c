"""Temperature scaling: one number that pays calibration back and leaves every prediction as it was."""

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import softmax
from sklearn.base import BaseEstimator

from lpft_keras.calibration.metrics import negative_log_likelihood

# Temperatures beyond these say that the logits carry no information, or that all predictions are right: the optimum is
# at infinity or zero, and a bound keeps the answer finite.
_LOG_BOUNDS = (-7.0, 7.0)


class TemperatureScaling(BaseEstimator):
    """Divide logits by the temperature that minimises the negative log-likelihood (Guo et al. 2017).

    The negative log-likelihood is convex in 1/T, so that a bounded scalar search over log T finds the optimum.

    Attributes:
        temperature_: The fitted temperature, in [exp(-7), exp(7)].

    Example:
        >>> scaling = TemperatureScaling().fit(validation_logits, validation_labels)
        >>> probabilities = scaling.predict_proba(test_logits)
    """

    temperature_: float

    def fit(self, logits: np.ndarray, labels: np.ndarray) -> "TemperatureScaling":
        """Find the temperature.

        Args:
            logits: Float array of shape [rows, classes].
            labels: Integer array of shape [rows].

        Returns:
            This estimator.

        Raises:
            ValueError: Shapes don't fit, a value is not finite, a label is out of range, or there are no rows.
            TypeError: The labels are no integers.
        """
        logits = np.asarray(logits, dtype=np.float64)
        best = minimize_scalar(
            lambda log_t: negative_log_likelihood(logits / np.exp(log_t), labels),
            bounds=_LOG_BOUNDS,
            method="bounded",
            options={"xatol": 1e-8},
        )
        self.temperature_ = float(np.exp(best.x))
        return self

    def predict_proba(self, logits: np.ndarray) -> np.ndarray:
        """Return the calibrated probabilities, float64 of shape [rows, classes]."""
        return softmax(np.asarray(logits, dtype=np.float64) / self.temperature_, axis=1)
