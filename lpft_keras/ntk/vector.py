"""The kernel times a vector, without the kernel: one gradient over all columns, one directional derivative a row."""

from typing import Any

import keras
import numpy as np

from lpft_keras.arrays import as_array
from lpft_keras.errors import InputError
from lpft_keras.ntk.directions import changes, gradient
from lpft_keras.ntk.problem import Problem, pose
from lpft_keras.ntk.segments import Segment, joined
from lpft_keras.ntk.subsets import Choice


def vector_product(
    model: keras.Model,
    x1: Any,
    vector: np.ndarray,
    x2: Any = None,
    *,
    variables: Choice | None = None,
    single_logit: bool = False,
) -> np.ndarray:
    """Return sum_j (P + F)(x1_i, x2_j) v_j, the first change of the logits for v = delta (Proposition 1).

    Args:
        model: As for `empirical_ntk`, like the other arguments.
        x1: N1 examples.
        vector: Float array of shape [N2, C].
        x2: N2 examples; None takes `x1`.
        variables: What the kernel is taken over.
        single_logit: Whether to take that of f_1 - f_0.

    Returns:
        float64 array of shape [N1, C].

    Raises:
        InputError: As `empirical_ntk`, or the vector has another shape, or holds what is no finite number.

    Costs:
        A gradient of N2 examples and a directional derivative of N1, whatever C is; memory of one gradient.
    """
    problem = pose(model, [x1] if x2 is None else [x1, x2], variables, single_logit)
    own, columns = np.arange(problem.counts[0]), np.arange(problem.counts[-1])
    columns = columns if x2 is None else problem.counts[0] + columns
    vector = checked_vector(vector, (len(columns), problem.classes))
    whole = joined(problem.segments)
    with problem.computing():
        return _product(problem, whole, own, columns, vector)


def checked_vector(vector: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Return a vector that a kernel is to be multiplied by, float64 [N2, C].

    Args:
        vector: What the user gave.
        shape: The shape that it must have.

    Raises:
        InputError: It is of another shape, or holds what is no finite number.
    """
    array = as_array(vector, "vector").astype("float64")
    if array.shape != shape:
        raise InputError(f"the vector must have the shape {shape}, not {array.shape}")
    if not np.isfinite(array).all():
        raise InputError("the vector holds NaN or infinite values")
    return array


def _product(problem: Problem, whole: Segment, own: np.ndarray, columns: np.ndarray, vector: np.ndarray) -> np.ndarray:
    change = changes(problem, whole, own, gradient(problem, whole, columns, vector))
    result = change.by_head + change.by_features
    if not np.isfinite(result).all():
        raise InputError("the model's gradients hold NaN or infinite values for these examples")
    return result
