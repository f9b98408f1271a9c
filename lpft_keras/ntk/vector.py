"""The kernel times a vector, without the kernel: one gradient over all columns, one directional derivative a row."""

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
from keras import ops

from lpft_keras.errors import InputError
from lpft_keras.ntk.graph import Slot
from lpft_keras.ntk.passes import Bunch, bunches_of, survey
from lpft_keras.ntk.problem import Choice, Problem, pose
from lpft_keras.ntk.segments import Segment

# Examples that are differentiated at once.
_CHUNK = 16


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
    whole = _whole(problem)
    with problem.computing():
        survey(problem)
        return _product(problem, whole, own, columns, vector)


def _product(problem: Problem, whole: Segment, own: np.ndarray, columns: np.ndarray, vector: np.ndarray) -> np.ndarray:
    head = problem.head.astype("float64")
    gradient: list[Any] | None = None
    of_columns = np.zeros((head.shape[0], problem.classes))
    for bunch in _few(problem, columns):
        cotangents = (vector[bunch.rows] @ head.T).astype("float32")
        features, found = problem.jacobian.gradient(whole, _sides(problem, whole, bunch), cotangents)
        of_columns += features.astype("float64").T @ vector[bunch.rows]
        gradient = found if gradient is None else [a + b for a, b in zip(gradient, found, strict=True)]
    assert gradient is not None
    result = np.empty((len(own), problem.classes))
    constant = vector.sum(axis=0) if problem.network.head.use_bias else 0.0
    for bunch in _few(problem, own):
        features, change = problem.jacobian.push_forward(whole, _sides(problem, whole, bunch), gradient)
        result[bunch.rows] = features.astype("float64") @ of_columns + constant + change.astype("float64") @ head
    return result


def _few(problem: Problem, examples: np.ndarray) -> Iterator[Bunch]:
    """Yield bunches of so few examples that what is kept of them for their gradient stays small."""
    for first in range(0, len(examples), _CHUNK):
        yield from bunches_of(problem, examples[first : first + _CHUNK], first)


def _whole(problem: Problem) -> Segment:
    """Return all segments as one, without taps: it is differentiated by its variables."""
    calls = tuple(call for segment in problem.segments for call in segment.calls)
    made = {slot for call in calls for slot in call.outputs}
    sides = dict.fromkeys(slot for call in calls for slot in call.inputs if slot not in made)
    return Segment("all", calls, None, tuple(sides), problem.network.features, tuple(problem.chosen), problem.dtype)


def _sides(problem: Problem, whole: Segment, bunch: Bunch) -> list[Any]:
    values: dict[Slot, Any] = {
        slot: ops.convert_to_tensor(array) for slot, array in zip(problem.network.inputs, bunch.inputs, strict=True)
    }
    problem.run_fixed(values)
    return [values[slot] for slot in whole.sides]
