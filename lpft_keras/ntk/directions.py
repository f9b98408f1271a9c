"""Directions in which a model's variables move, and how its features and logits change along them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from keras import ops

from lpft_keras.ntk.passes import CHUNK, Bunch, bunches_of
from lpft_keras.ntk.problem import Problem
from lpft_keras.ntk.segments import Segment


@dataclass(frozen=True)
class Direction:
    """A direction in which variables move.

    Attributes:
        below: Of those below the head, tensors of the backend.
        kernel: Of the head's kernel, float64 [h, outputs].
        bias: Of its bias, float64 [outputs].
    """

    below: list[Any]
    kernel: np.ndarray
    bias: np.ndarray

    def signs(self) -> "Direction":
        """Return the direction of the signs."""
        return Direction([ops.sign(part) for part in self.below], np.sign(self.kernel), np.sign(self.bias))

    def times(self, factor: float) -> "Direction":
        """Return the direction, longer by a factor."""
        return Direction([part * factor for part in self.below], self.kernel * factor, self.bias * factor)


@dataclass(frozen=True)
class Change:
    """How some examples change.

    Attributes:
        features: Of their features, float64 [N, h].
        by_head: Of their logits, by the head's variables, float64 [N, C].
        by_features: Of their logits, by those below, float64 [N, C].
    """

    features: np.ndarray
    by_head: np.ndarray
    by_features: np.ndarray


def gradient(problem: Problem, whole: Segment, examples: np.ndarray, vector: np.ndarray) -> Direction:
    """Return the gradient of the sum over examples of <vector, logits>.

    Args:
        problem: The model and all examples.
        whole: Its segments as one.
        examples: Numbers of those that are summed over.
        vector: float64 [examples, C].
    """
    head = problem.head.astype("float64")
    below: list[Any] | None = None
    kernel, bias = np.zeros(()), np.zeros(())
    for bunch in few(problem, examples):
        cotangents = (vector[bunch.rows] @ head.T).astype(problem.dtype)
        features, found = problem.jacobian.gradient(whole, problem.sides(whole, bunch.inputs), cotangents)
        of_kernel, of_bias = problem.head_gradient(features, vector[bunch.rows])
        kernel, bias = kernel + of_kernel, bias + of_bias
        below = found if below is None else [a + b for a, b in zip(below, found, strict=True)]
    assert below is not None
    return Direction(below, kernel, bias)


def changes(problem: Problem, whole: Segment, examples: np.ndarray, direction: Direction) -> Change:
    """Return how some examples change along a direction, to first order.

    Args:
        problem: The model and all examples.
        whole: Its segments as one.
        examples: Numbers of some.
        direction: The direction.
    """
    head = problem.head.astype("float64")
    features = np.empty((len(examples), len(head)))
    by_head = np.empty((len(examples), problem.classes))
    for bunch in few(problem, examples):
        sides = problem.sides(whole, bunch.inputs)
        both = problem.jacobian.push_forward(whole, sides, direction.below)
        at, change = (ops.convert_to_numpy(tensor).astype("float64") for tensor in both)
        features[bunch.rows] = change
        by_head[bunch.rows] = (at @ direction.kernel + direction.bias) @ problem.mixing
    return Change(features, by_head, features @ head)


def few(problem: Problem, examples: np.ndarray) -> Iterator[Bunch]:
    """Yield bunches of so few examples that what is kept of them for their gradient stays small."""
    for first in range(0, len(examples), CHUNK):
        yield from bunches_of(problem, examples[first : first + CHUNK], first)
