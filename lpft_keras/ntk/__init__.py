"""Neural tangent kernels of Keras classifiers. Knows nothing of tasks or text: arrays and models in, arrays out."""

from lpft_keras.ntk.behaviour import gradient_change, kernel_change
from lpft_keras.ntk.computation import NTK
from lpft_keras.ntk.head import HeadGradients, head_gradients, lp_optimum_gap
from lpft_keras.ntk.kernel import empirical_ntk, train_test_ntk
from lpft_keras.ntk.linear import LinearizedModel, gain_recovered, linearize
from lpft_keras.ntk.low_rank import (
    concentration_bound,
    concentration_probability,
    low_rank_moments,
    low_rank_products,
    smallest_rank,
)
from lpft_keras.ntk.projection import Projection, projected_ntk
from lpft_keras.ntk.solvers import *  # noqa: F403
from lpft_keras.ntk.solvers import __all__ as _solvers
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
    "HeadGradients",
    "LinearizedModel",
    "PredictedUpdate",
    "Projection",
    "Update",
    "alignment",
    "as_matrix",
    "by_class",
    "concentration_bound",
    "concentration_probability",
    "empirical_ntk",
    "frobenius_norm",
    "ft_ratio",
    "gain_recovered",
    "gradient_change",
    "head_gradients",
    "kernel_change",
    "linearize",
    "low_rank_moments",
    "low_rank_products",
    "lp_optimum_gap",
    "predict_update",
    "projected_ntk",
    "rank",
    "real_update",
    "residuals",
    "scalar_fit",
    "singular_values",
    "smallest_rank",
    "statistics",
    "trace_norms",
    "train_test_ntk",
    "vector_product",
    *_solvers,
]
