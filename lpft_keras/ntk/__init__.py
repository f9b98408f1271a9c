"""Neural tangent kernels of Keras classifiers. Knows nothing of tasks or text: arrays and models in, arrays out."""

from lpft_keras.ntk.behaviour import gradient_change, kernel_change
from lpft_keras.ntk.computation import NTK
from lpft_keras.ntk.kernel import empirical_ntk, train_test_ntk
from lpft_keras.ntk.linear import LinearizedModel, gain_recovered, linearize
from lpft_keras.ntk.projection import Projection, projected_ntk
from lpft_keras.ntk.regression import KernelRegression
from lpft_keras.ntk.statistics import (
    alignment,
    as_matrix,
    by_class,
    frobenius_norm,
    ft_ratio,
    rank,
    residuals,
    scalar_fit,
    singular_values,
    statistics,
    trace_norms,
)
from lpft_keras.ntk.update import PredictedUpdate, Update, predict_update, real_update
from lpft_keras.ntk.vector import vector_product

__all__ = [
    "NTK",
    "KernelRegression",
    "LinearizedModel",
    "PredictedUpdate",
    "Projection",
    "Update",
    "alignment",
    "as_matrix",
    "by_class",
    "empirical_ntk",
    "frobenius_norm",
    "ft_ratio",
    "gain_recovered",
    "gradient_change",
    "kernel_change",
    "linearize",
    "predict_update",
    "projected_ntk",
    "rank",
    "real_update",
    "residuals",
    "scalar_fit",
    "singular_values",
    "statistics",
    "trace_norms",
    "train_test_ntk",
    "vector_product",
]
