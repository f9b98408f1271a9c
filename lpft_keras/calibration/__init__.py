"""Calibration of classifiers: how far stated confidence is from being right, and how to mend it.

Arrays of any framework in, numbers out: nothing here knows of Keras, tasks or text.
"""

from lpft_keras.calibration.bins import Bins, reliability_bins
from lpft_keras.calibration.bootstrap import Interval, bootstrap_interval
from lpft_keras.calibration.catalogue import SCALINGS, load_scaling
from lpft_keras.calibration.class_wise import class_wise_calibration_error, thresholded_adaptive_calibration_error
from lpft_keras.calibration.linear import DirichletCalibration, MatrixScaling, VectorScaling
from lpft_keras.calibration.one_vs_rest import BetaCalibration, HistogramBinning, IsotonicCalibration, PlattScaling
from lpft_keras.calibration.reliability import ReliabilityDisplay
from lpft_keras.calibration.scaling import Scaling, logits_of
from lpft_keras.calibration.scores import (
    BrierDecomposition,
    brier_decomposition,
    brier_score,
    class_mean_brier_score,
    negative_log_likelihood,
)
from lpft_keras.calibration.smooth import smooth_calibration_error
from lpft_keras.calibration.temperature import TemperatureScaling
from lpft_keras.calibration.top_label import (
    average_calibration_error,
    equal_mass_calibration_error,
    expected_calibration_error,
    maximum_calibration_error,
    overconfidence,
    overconfidence_error,
    root_mean_square_calibration_error,
)

__all__ = [
    "SCALINGS",
    "BetaCalibration",
    "Bins",
    "BrierDecomposition",
    "DirichletCalibration",
    "HistogramBinning",
    "Interval",
    "IsotonicCalibration",
    "MatrixScaling",
    "PlattScaling",
    "ReliabilityDisplay",
    "Scaling",
    "TemperatureScaling",
    "VectorScaling",
    "average_calibration_error",
    "bootstrap_interval",
    "brier_decomposition",
    "brier_score",
    "class_mean_brier_score",
    "class_wise_calibration_error",
    "equal_mass_calibration_error",
    "expected_calibration_error",
    "load_scaling",
    "logits_of",
    "maximum_calibration_error",
    "negative_log_likelihood",
    "overconfidence",
    "overconfidence_error",
    "reliability_bins",
    "root_mean_square_calibration_error",
    "smooth_calibration_error",
    "thresholded_adaptive_calibration_error",
]
