"""The kernel times a vector, without the kernel: one gradient over all columns, one directional derivative a row."""

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from lpft_keras.errors import InputError
from lpft_keras.ntk.passes import CHUNK, Bunch, bunches_of
from lpft_keras.ntk.problem import Choice, Problem, pose
from lpft_keras.ntk.segments import Segment, joined


def vector_product(
    model: keras.Model, x1: Any, vector: np.ndarray, x2: Any = None, *, variables: Choice | None = None
) -> np.ndarray:
    """Return sum_j (P + F)(x1_i, x2_j) v_j, the first change of the logits for v = delta (Proposition 1).

    Args:
        model: As for `empirical_ntk`, like the other arguments.
        x1: N1 examples.
        vector: Float array of shape [N2, C].
        x2: N2 examples; None takes `x1`.
        variables: What F is taken over.

    Returns:
        float64 array of shape [N1, C].

    Raises:
        InputError: As `empirical_ntk`, or the vector has another shape.

    Costs:
        A gradient of N2 examples and a directional derivative of N1, whatever C is; memory of one gradient.
    """
    problem = pose(model, [x1] if x2 is None else [x1, x2], variables)
    own, columns = np.arange(problem.counts[0]), np.arange(problem.counts[-1])
    columns = columns if x2 is None else problem.counts[0] + columns
    vector = np.asarray(vector, "float64")
    if vector.shape != (len(columns), problem.classes):
        raise InputError(f"the vector must have the shape {(len(columns), problem.classes)}, not {vector.shape}")
    whole = joined(problem.segments)
    with problem.computing():
        return _product(problem, whole, own, columns, vector)


def _product(problem: Problem, whole: Segment, own: np.ndarray, columns: np.ndarray, vector: np.ndarray) -> np.ndarray:
    head = problem.head.astype("float64")
    gradient: list[Any] | None = None
    of_columns = np.zeros((head.shape[0], problem.classes))
    for bunch in _few(problem, columns):
        cotangents = (vector[bunch.rows] @ head.T).astype("float32")
        features, found = problem.jacobian.gradient(whole, problem.sides(whole, bunch.inputs), cotangents)
        of_columns += features.astype("float64").T @ vector[bunch.rows]
        gradient = found if gradient is None else [a + b for a, b in zip(gradient, found, strict=True)]
    assert gradient is not None
    result = np.empty((len(own), problem.classes))
    constant = vector.sum(axis=0) if problem.network.head.use_bias else 0.0
    for bunch in _few(problem, own):
        features, change = problem.jacobian.push_forward(whole, problem.sides(whole, bunch.inputs), gradient)
        result[bunch.rows] = features.astype("float64") @ of_columns + constant + change.astype("float64") @ head
    if not np.isfinite(result).all():
        raise InputError("the model's gradients hold NaN or infinite values for these examples")
    return result


def _few(problem: Problem, examples: np.ndarray) -> Iterator[Bunch]:
    """Yield bunches of so few examples that what is kept of them for their gradient stays small."""
    for first in range(0, len(examples), CHUNK):
        yield from bunches_of(problem, examples[first : first + CHUNK], first)
