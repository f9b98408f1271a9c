"""Where the kernel meets a backend: one interface, one file a backend."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Protocol

import keras
import numpy as np

from lpft_keras.ntk.on_gpu import host
from lpft_keras.ntk.segments import Segment


class Pulled(NamedTuple):
    """What vector-Jacobian products of one segment give, for some examples and all classes.

    Attributes:
        direct: Gradients of the segment's direct variables, [examples, classes, ...].
        taps: For each tapped call, which of the segment's taps it belongs to.
        seen: What went into each tapped call, [examples, ...]; tensors where a backend keeps them.
        deltas: The gradient at the output of each tapped call, [examples, classes, ...]; likewise.
        below: The cotangent of the segment below, [examples, classes, ...]; None for the lowest.
    """

    direct: list[np.ndarray]
    taps: list[int]
    seen: list[Any]
    deltas: list[Any]
    below: np.ndarray | None

    def on_host(self) -> "Pulled":
        """Return it in NumPy's arrays."""
        return self._replace(seen=[host(x) for x in self.seen], deltas=[host(x) for x in self.deltas])


class Jacobian(Protocol):
    """Derivatives of segments by one backend. It keeps what it compiled for the next segment or call.

    Attributes:
        keeps: Whether `pull_back` leaves what is to be multiplied where it was made, as tensors: so on a GPU.
    """

    keeps: bool

    def exact(self, dtype: str) -> AbstractContextManager[None]:
        """Keep the backend from computing in less than `dtype` while the context is entered, as GPUs like to."""

    def forward(self, segment: Segment, below: Any, sides: list[Any], moved: list[Any] | None = None) -> Any:
        """Return what a segment gives, as a tensor of the backend.

        Args:
            segment: The segment.
            below: The tensor from below; None for the lowest.
            sides: The side inputs.
            moved: Values of the direct variables in place of their own.
        """

    def pull_back(self, segment: Segment, below: Any, sides: list[Any], cotangents: np.ndarray) -> Pulled:
        """Return the vector-Jacobian products of a segment.

        Args:
            segment: The segment.
            below: The tensor from below, [examples, ...]; None for the lowest.
            sides: The side inputs.
            cotangents: Of what the segment gives, [examples, classes, ...].
        """

    def gradient(self, segment: Segment, sides: list[Any], cotangents: np.ndarray) -> tuple[np.ndarray, list[Any]]:
        """Return what the lowest segment gives, and the gradient of its direct variables, summed over examples.

        Args:
            segment: The segment.
            sides: The side inputs.
            cotangents: Of what it gives, [examples, ...].
        """

    def push_forward(self, segment: Segment, sides: list[Any], tangents: list[Any]) -> tuple[Any, Any]:
        """Return what the lowest segment gives, and how it changes as its direct variables move by `tangents`.

        Both are tensors of the backend.
        """


def one_by_one(pull: Callable[..., Pulled], segment: Segment, below: Any, sides: list[Any], cotangents) -> Pulled:
    """Pull back one example after the other, for backends whose gradients of a variable sum over the batch.

    Args:
        pull: A function of (below, sides, cotangents) for one example.
        segment: The segment.
        below: The tensor from below; None for the lowest.
        sides: The side inputs.
        cotangents: Of what the segment gives, [examples, classes, ...].
    """
    parts = []
    for i in range(len(cotangents)):
        own = slice(i, i + 1)
        some = [side[own] if slot.batched else side for side, slot in zip(sides, segment.sides, strict=True)]
        parts.append(pull(None if below is None else below[own], some, cotangents[own]))

    def joined(arrays):
        return [np.concatenate(calls) for calls in zip(*arrays, strict=True)]

    return Pulled(
        joined(part.direct for part in parts),
        parts[0].taps,
        joined(part.seen for part in parts),
        joined(part.deltas for part in parts),
        None if below is None else np.concatenate([part.below for part in parts]),
    )


def make_jacobian() -> Jacobian:
    """Return the derivatives of the present backend."""
    match keras.backend.backend():
        case "jax":
            from lpft_keras.ntk.jacobian.jax import JaxJacobian

            return JaxJacobian()
        case "torch":
            from lpft_keras.ntk.jacobian.torch import TorchJacobian

            return TorchJacobian()
        case _:
            from lpft_keras.ntk.jacobian.tensorflow import TensorFlowJacobian

            return TensorFlowJacobian()
