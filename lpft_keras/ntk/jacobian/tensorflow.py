"""Derivatives by TensorFlow: a persistent GradientTape in a `tf.function`, shared by all segments of one likeness.

No `vectorized_map`: with oneDNN, TensorFlow 2.21 computes wrong numbers or crashes there (measured).
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import tensorflow as tf
from keras.src.backend.tensorflow import core as keras_core  # not exported
from keras.src.backend.tensorflow import nn as keras_nn  # likewise

from lpft_keras.ntk.jacobian import Pulled, one_by_one
from lpft_keras.ntk.segments import Segment


def _gelu(x, approximate=True):
    """GELU to the last digit of float64: `tf.nn.gelu` rounds its constants to float32."""
    if approximate:
        return 0.5 * x * (1 + tf.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    return 0.5 * x * (1 + tf.math.erf(x / math.sqrt(2)))


def _cast(x, dtype):
    """Cast to the last digit of float64: `tf.cast` takes Python's numbers for float32 first."""
    return tf.constant(x, dtype) if isinstance(x, float) else _plain_cast(x, dtype)


_plain_cast = keras_core.cast


class TensorFlowJacobian:
    """See `Jacobian`."""

    def __init__(self):
        self._compiled: dict[Any, Any] = {}
        self.keeps = False  # its tensors lack the methods of arrays

    @contextmanager
    def exact(self, dtype: str) -> Iterator[None]:
        """See `Jacobian.exact`."""
        gelu, tensor_float = keras_nn.gelu, tf.config.experimental.tensor_float_32_execution_enabled()
        if dtype == "float64":
            keras_nn.gelu, keras_core.cast = _gelu, _cast
        tf.config.experimental.enable_tensor_float_32_execution(False)
        try:
            yield
        finally:
            keras_nn.gelu, keras_core.cast = gelu, _plain_cast
            tf.config.experimental.enable_tensor_float_32_execution(tensor_float)

    def forward(self, segment: Segment, below: Any, sides: list[Any], moved: list[Any] | None = None) -> Any:
        """See `Jacobian.forward`."""

        def make():
            return tf.function(lambda *values: segment(*values)[0], autograph=False), []

        direct, others = segment.values()
        if moved is not None:  # tensors, where what was traced takes variables
            return segment(moved, others, below, sides)[0]
        arguments = (direct, others, below, sides)
        function, _ = self._get("forward", segment, arguments, make)
        return function(*arguments)

    def pull_back(self, segment: Segment, below: Any, sides: list[Any], cotangents: np.ndarray) -> Pulled:
        """See `Jacobian.pull_back`."""
        direct, others = segment.values()

        def pull(below, sides, cotangents):
            arguments = (direct, others, below, sides, tf.constant(cotangents))
            function, order = self._get("pull", segment, arguments, lambda: _pull(segment))
            return _pulled(function(*arguments), order)

        if segment.direct:
            return one_by_one(pull, segment, below, sides, cotangents)
        return pull(below, sides, cotangents)

    def gradient(self, segment: Segment, sides: list[Any], cotangents: np.ndarray) -> tuple[np.ndarray, list[Any]]:
        """See `Jacobian.gradient`."""
        arguments = (*segment.values(), None, sides, tf.constant(cotangents))
        function, _ = self._get("gradient", segment, arguments, lambda: (_gradient(segment), []))
        above, found = function(*arguments)
        return above.numpy(), list(found)

    def push_forward(self, segment: Segment, sides: list[Any], tangents: list[Any]) -> tuple[Any, Any]:
        """See `Jacobian.push_forward`."""
        arguments = (*segment.values(), None, sides, tangents)
        function, _ = self._get("push", segment, arguments, lambda: (_push_forward(segment), []))
        return function(*arguments)

    def _get(self, what: str, segment: Segment, arguments: tuple, make: Callable[[], tuple]) -> tuple:
        """Return a function traced for arguments of these shapes, and the list that its tracing filled.

        A `tf.function` for all shapes would warn of each tracing, as if it were a mistake.
        """
        # Not those of variables, which are part of the likeness.
        _, _, *rest = arguments
        shapes = tf.nest.map_structure(lambda value: value if value is None else (value.shape, value.dtype), rest)
        key = (what, segment.likeness, repr(shapes))
        if key not in self._compiled:
            function, order = make()
            self._compiled[key] = (function.get_concrete_function(*arguments), order)
        return self._compiled[key]


def _pulled(found, order: list[int]) -> Pulled:
    direct, seen, deltas, lower = tf.nest.map_structure(lambda tensor: tensor.numpy(), found)
    return Pulled(direct, list(order), seen, deltas, lower[0] if lower else None)


def _gradient(segment: Segment):
    @tf.function(autograph=False)
    def gradient(direct, others, below, sides, cotangents):
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(direct)
            above = segment(direct, others, below, sides)[0]
        zero = tf.UnconnectedGradients.ZERO
        found = tape.gradient(above, direct, output_gradients=cotangents, unconnected_gradients=zero)
        return above, [tf.convert_to_tensor(gradient) for gradient in found]

    return gradient


def _push_forward(segment: Segment):
    @tf.function(autograph=False)
    def push_forward(direct, others, below, sides, tangents):
        with tf.autodiff.ForwardAccumulator(direct, tangents) as accumulator:
            above = segment(direct, others, below, sides)[0]
        return above, accumulator.jvp(above, unconnected_gradients=tf.UnconnectedGradients.ZERO)

    return push_forward


def _pull(segment: Segment):
    order: list[int] = []

    @tf.function(autograph=False)
    def pull(direct, others, below, sides, cotangents):
        lower = [] if below is None else [below]
        with tf.GradientTape(persistent=True, watch_accessed_variables=False) as tape:
            tape.watch([*direct, *lower])

            def listen(number, output):
                tape.watch(output)
                return output

            above, records = segment(direct, others, below, sides, listen)
        order[:] = [segment.taps.index(record.tap) for record in records]
        targets = [list(direct), [record.output for record in records], lower]
        by_class = [
            tape.gradient(
                above, targets, output_gradients=cotangents[:, c], unconnected_gradients=tf.UnconnectedGradients.ZERO
            )
            for c in range(cotangents.shape[1])
        ]
        direct_gradients = [tf.stack([g[0][k] for g in by_class])[None] for k in range(len(direct))]
        deltas = [tf.stack([g[1][k] for g in by_class], 1) for k in range(len(records))]
        lowers = [tf.stack([g[2][k] for g in by_class], 1) for k in range(len(lower))]
        return direct_gradients, [record.seen for record in records], deltas, lowers

    return pull, order
