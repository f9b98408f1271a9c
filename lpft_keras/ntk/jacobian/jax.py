"""Derivatives by JAX: `vjp`, class by class, compiled once for all segments of one likeness.

Where variables are differentiated as they are, it is mapped over examples.
"""

from contextlib import AbstractContextManager
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lpft_keras.ntk.jacobian import Pulled
from lpft_keras.ntk.segments import Segment


class JaxJacobian:
    """See `Jacobian`."""

    def __init__(self):
        self._compiled: dict[Any, Any] = {}
        self.keeps = jax.default_backend() == "gpu"

    def exact(self, dtype: str) -> AbstractContextManager[None]:
        """See `Jacobian.exact`."""
        return jax.default_matmul_precision("highest")

    def forward(self, segment: Segment, below: Any, sides: list[Any], moved: list[Any] | None = None) -> Any:
        """See `Jacobian.forward`."""

        def make():
            return jax.jit(lambda direct, others, below, sides: segment(direct, others, below, sides)[0])

        function, (direct, others) = self._get(("forward", segment.likeness), make), segment.values()
        return function(direct if moved is None else moved, others, below, sides)

    def pull_back(self, segment: Segment, below: Any, sides: list[Any], cotangents: np.ndarray) -> Pulled:
        """See `Jacobian.pull_back`."""
        function, order = self._get(("pull", segment.likeness), lambda: _pull(segment))
        direct, seen, deltas, lower = function(*segment.values(), below, sides, cotangents)
        if not self.keeps:
            seen, deltas = ([np.asarray(array) for array in part] for part in (seen, deltas))
        direct = [np.asarray(array) for array in direct]
        return Pulled(direct, list(order), seen, deltas, None if lower is None else np.asarray(lower))

    def gradient(self, segment: Segment, sides: list[Any], cotangents: np.ndarray) -> tuple[np.ndarray, list[Any]]:
        """See `Jacobian.gradient`."""

        def make():
            def gradient(direct, others, sides, cotangents):
                above, pull = jax.vjp(lambda direct: segment(direct, others, None, sides)[0], direct)
                return above, pull(cotangents)[0]

            return jax.jit(gradient)

        function = self._get(("gradient", segment.likeness), make)
        above, found = function(*segment.values(), sides, jnp.asarray(cotangents))
        return np.asarray(above), found

    def push_forward(self, segment: Segment, sides: list[Any], tangents: list[Any]) -> tuple[Any, Any]:
        """See `Jacobian.push_forward`."""

        def make():
            def push_forward(direct, others, sides, tangents):
                return jax.jvp(lambda direct: segment(direct, others, None, sides)[0], (direct,), (tangents,))

            return jax.jit(push_forward)

        return self._get(("push", segment.likeness), make)(*segment.values(), sides, tangents)

    def _get(self, key, make):
        if key not in self._compiled:
            self._compiled[key] = make()
        return self._compiled[key]


def _pull(segment: Segment):
    """Return a compiled function of a batch, and the list that fills with each call's tap once it is traced."""
    order: list[int] = []

    def whole(direct, others, below, sides, cotangents):
        """Differentiate a batch: what is tapped and what comes from below have an axis of examples of their own."""

        def compute(direct, offsets, below):
            above, records = segment(direct, others, below, sides, lambda k, out: out + offsets[k])
            order[:] = [segment.taps.index(record.tap) for record in records]
            return above, [record.seen for record in records]

        def outputs():
            return [record.output for record in segment(direct, others, below, sides)[1]]

        offsets = [jnp.zeros(shape.shape, shape.dtype) for shape in jax.eval_shape(outputs)]
        _, pull, seen = jax.vjp(compute, direct, offsets, below, has_aux=True)
        # One class after the other: products of a third axis are slower on a CPU than those of two.
        direct, *rest = jax.lax.map(pull, jnp.moveaxis(cotangents, 1, 0))
        deltas, lower = jax.tree.map(lambda part: jnp.moveaxis(part, 0, 1), rest)
        return direct, seen, deltas, lower  # gradients of variables have an axis of classes, and none of examples

    if not segment.direct:
        return jax.jit(whole), order

    batched = [0 if slot.batched else None for slot in segment.sides]

    def one(direct, others, below, sides, cotangents):
        """Differentiate one example, whose gradients of variables are its own."""
        rows = [side[None] if axis == 0 else side for side, axis in zip(sides, batched, strict=True)]
        below = None if below is None else below[None]
        direct, *rest = whole(direct, others, below, rows, cotangents[None])
        return direct, *jax.tree.map(lambda array: array[0], rest)

    return jax.jit(jax.vmap(one, in_axes=(None, None, 0, batched, 0))), order
