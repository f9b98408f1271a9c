"""Solvers on kernels that are there already, as scikit-learn estimators; one algorithm a file. No Keras."""

from lpft_keras.ntk.solvers.asymmetric import AsymmetricLeastSquaresSVM
from lpft_keras.ntk.solvers.base import KernelSolver
from lpft_keras.ntk.solvers.gradient_flow import GradientFlow, largest_learning_rate
from lpft_keras.ntk.solvers.least_squares import KernelLeastSquares
from lpft_keras.ntk.solvers.logistic import KernelRegression
from lpft_keras.ntk.solvers.selection import SolverSelection, select_solver, solver_grid
from lpft_keras.ntk.solvers.support_vectors import KernelSVC, KernelSVR

__all__ = [
    "AsymmetricLeastSquaresSVM",
    "GradientFlow",
    "KernelLeastSquares",
    "KernelRegression",
    "KernelSVC",
    "KernelSVR",
    "KernelSolver",
    "SolverSelection",
    "largest_learning_rate",
    "select_solver",
    "solver_grid",
]
