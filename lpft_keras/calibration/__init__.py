"""Calibration of classifiers: how far stated confidence is from being right, and how to mend it.

Arrays in, numbers out: nothing here knows of Keras, tasks or text.
"""

from lpft_keras.calibration.metrics import (
    brier_score,
    expected_calibration_error,
    maximum_calibration_error,
    negative_log_likelihood,
)
from lpft_keras.calibration.temperature import TemperatureScaling

__all__ = [
    "TemperatureScaling",
    "brier_score",
    "expected_calibration_error",
    "maximum_calibration_error",
    "negative_log_likelihood",
]
