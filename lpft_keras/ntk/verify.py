"""A kernel against its definition on two examples, before the work: no list of layers covers all that models do."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from lpft_keras.errors import InputError
from lpft_keras.ntk.passes import Chain
from lpft_keras.ntk.problem import Problem, pose
from lpft_keras.ntk.segments import joined
from lpft_keras.ntk.subsets import Choice
from lpft_keras.ntk.tiles import Tile

# Float32 errs by some 1e-6 here; what is followed wrongly errs by a tenth or more.
_TOLERANCE = 1e-3


def posed(model: keras.Model, data: Sequence[Any], variables: Choice | None, single: bool, dtype: str) -> Problem:
    """Pose a problem whose kernel agrees with the model's gradient.

    Args:
        model: As `pose` takes it, like the other arguments.
        data: Data sets.
        variables: What the kernel is taken over.
        single: Whether it is that of f_1 - f_0.
        dtype: What is computed in.

    Raises:
        InputError: As `pose`, or the model does what can't be followed.
    """
    # Untapped where a layer uses its variables past its call, for one: slower, but sure.
    for taps in (True, False):
        problem = pose(model, data, variables, single, dtype, taps)
        if _agrees(problem):
            return problem
    raise InputError(
        f"the kernel of model {model.name!r} does not agree with its gradient on two examples: the model does what "
        "can't be followed with its examples or variables"
    )


def _agrees(problem: Problem) -> bool:
    """Return whether v^T F v is the squared norm of the plain gradient of v . f, on the two shortest examples.

    Neither segments, taps nor chunks are in the way of the gradient. What agreed once on a model is not tried again.
    """
    key = tuple(segment.likeness for segment in problem.segments)
    if key in problem.agreed:
        return True
    total = sum(problem.counts)
    order = np.arange(total) if problem.lengths is None else np.argsort(problem.lengths, kind="stable")
    few = np.sort(order[:2])
    weights = np.random.default_rng(0).normal(size=(len(few), problem.classes))
    whole = joined(problem.segments)
    with problem.computing():
        cotangents = (weights @ problem.head.T).astype(problem.dtype)
        sides = problem.sides(whole, [array[few] for array in problem.inputs])
        features, gradients = problem.jacobian.gradient(whole, sides, cotangents)
        tile = Chain(problem, lambda path: "").tile(Tile(few, few[:0], True))
    of_head = problem.head_gradient(features, weights)
    expected = [
        sum(float((np.asarray(ops.convert_to_numpy(part), "float64") ** 2).sum()) for part in gradients),
        sum(float((part**2).sum()) for part in of_head),
    ]
    found = [float(np.einsum("ic,icjd,jd", weights, tile[name], weights)) for name in ("finetune/", "pretrain")]
    good = bool(np.allclose(found, expected, rtol=_TOLERANCE, atol=1e-12 * max(expected), equal_nan=True))
    if good:
        problem.agreed.add(key)
    return good
