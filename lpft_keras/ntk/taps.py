"""Taps on layers whose gradients follow from what goes in and what comes back, without holding a Jacobian.

A product y = W x has the gradient `x delta^T`, a lookup y = E[id] adds `delta` to row `id`, and a normalised
y = gamma x^ + beta has `delta x^` and `delta`, where `delta` is the gradient at y. All else is differentiated as it is.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

import keras
import numpy as np
from keras import ops

from lpft_keras.ntk.blocks import Block, Lookups, Products, sums
from lpft_keras.ntk.calls import replaced_calls
from lpft_keras.ntk.on_gpu import host, namespace

Adjust = Callable[[int, Any], Any]


@dataclass(frozen=True)
class Record:
    """One call of a tapped layer: what went in, as the tap wants it, and the output that it listens to.

    `seen` is None where the layer was used in a way that its tap does not cover.
    """

    tap: "Tap"
    seen: Any
    output: Any


@dataclass(frozen=True, eq=False)
class Tap:
    """A layer that is listened to.

    Attributes:
        layer: The layer.
        variables: Those of its chosen variables that the tap covers.
    """

    layer: keras.layers.Layer
    variables: tuple[keras.Variable, ...]
    kind: ClassVar[str]

    def listen(self, note: Callable[[Any, Any], Any]) -> Callable:
        """Return a `call` for the layer that passes (seen, output) to `note` and goes on with what that returns."""
        raise NotImplementedError

    def blocks(self, seen: Sequence[Any], deltas: Sequence[Any]) -> list[tuple[keras.Variable, Block]]:
        """Return the gradient of each covered variable.

        Args:
            seen: What went in, [examples, ...], one a call: arrays, or tensors of PyTorch or JAX.
            deltas: The gradients that came back, [examples, classes, ...], one a call.

        Returns:
            Variables with their blocks.
        """
        raise NotImplementedError


@dataclass(frozen=True)
class Letters:
    """The axes of a product, without the examples': tokens pass through, inner is summed over, outer is new."""

    entry: str
    exit: str
    tokens: str
    inner: str
    outer: str


@dataclass(frozen=True, eq=False)
class ProductTap(Tap):
    """A Dense or EinsumDense layer: kernel and bias."""

    letters: Letters
    kind = "product"

    def listen(self, note):
        """See the base class. The activation comes after the tap."""
        original, activation = self.layer.call, self.layer.activation

        def call(inputs, *args, **kwargs):
            object.__setattr__(self.layer, "activation", None)
            try:
                output = note(inputs, original(inputs, *args, **kwargs))
            finally:
                object.__setattr__(self.layer, "activation", activation)
            return output if activation is None else activation(output)

        return call

    def blocks(self, seen, deltas):
        """See the base class: `x delta^T` summed over tokens for the kernel, `delta` summed for the bias."""
        letters = self.letters
        entered = [_matrix(x, letters.entry, letters.tokens + letters.inner, len(letters.inner), 1) for x in seen]
        left = [_matrix(d, letters.exit, letters.tokens + letters.outer, len(letters.outer), 2) for d in deltas]
        products = Products(_joined(entered, 1), _joined(left, 2))
        return [
            (variable, products if variable is self.layer._kernel else sums(products.deltas))
            for variable in self.variables
        ]


def _letters(layer: keras.layers.Layer) -> Letters | None:
    """Return the axes of a product layer; None where its equation is no plain product."""
    if type(layer) is keras.layers.Dense:
        return Letters("...x", "...y", "...", "x", "y")
    entry, kernel, exit_ = re.split(",|->", layer.equation.replace(" ", ""))
    inner = "".join(letter for letter in kernel if letter not in exit_)
    outer = "".join(letter for letter in kernel if letter not in entry)
    tokens = "".join(letter for letter in entry[1:] if letter not in kernel)
    plain = (
        "." not in layer.equation
        and entry[0] == exit_[0]
        and entry[0] not in kernel
        and set(entry[1:]) == set(tokens + inner)
        and set(exit_[1:]) == set(tokens + outer)
        and set(kernel) == set(inner + outer)
    )
    return Letters(entry[1:], exit_[1:], tokens, inner, outer) if plain else None


def _matrix(array: Any, letters: str, order: str, last: int, leading: int) -> Any:
    """Return an array as [*leading, tokens, features], its named axes brought into an order."""
    if not letters.startswith("."):
        axes = [*range(leading), *(leading + letters.index(letter) for letter in order)]
        array = namespace(array).transpose(array, axes)
    features = int(np.prod(array.shape[len(array.shape) - last :]))
    return array.reshape(*array.shape[:leading], -1, features)


def _joined(arrays: Sequence[Any], axis: int) -> Any:
    """Return the calls of one layer as one, their tokens side by side."""
    return arrays[0] if len(arrays) == 1 else namespace(arrays[0]).concatenate(arrays, axis)


class LookupTap(Tap):
    """An Embedding layer: its table."""

    kind = "lookup"

    def listen(self, note):
        """See the base class."""
        original = self.layer.call

        def call(inputs, *args, **kwargs):
            backwards = kwargs.get("reverse") or (args and args[0])
            if backwards:  # a product with the table, as of an output layer
                return note(None, original(inputs, *args, **kwargs))
            return note(ops.cast(inputs, "int32"), original(inputs, *args, **kwargs))

        return call

    def blocks(self, seen, deltas):
        """See the base class: `delta` added to the row of each id."""
        width = deltas[0].shape[-1]
        ids = _joined([x.reshape(x.shape[0], -1) for x in seen], 1)
        left = _joined([d.reshape(*d.shape[:2], -1, width) for d in deltas], 2)
        return [(variable, Lookups(host(ids), host(left))) for variable in self.variables]


class NormTap(Tap):
    """A LayerNormalization over the last axis: gamma and beta."""

    kind = "norm"

    def listen(self, note):
        """See the base class. What is normalised is made from the input, since a small gamma may have lost it."""
        original = self.layer.call

        def call(inputs, *args, **kwargs):
            x = ops.cast(inputs, self.layer.compute_dtype)
            mean, variance = ops.moments(x, axes=-1, keepdims=True)
            return note((x - mean) * ops.rsqrt(variance + self.layer.epsilon), original(inputs, *args, **kwargs))

        return call

    def blocks(self, seen, deltas):
        """See the base class: `delta x^` summed over tokens for gamma, `delta` for beta."""
        width = deltas[0].shape[-1]
        normal = _joined([x.reshape(x.shape[0], 1, -1, width) for x in seen], 2)
        left = _joined([d.reshape(*d.shape[:2], -1, width) for d in deltas], 2)
        found: list[tuple[keras.Variable, Block]] = []
        for variable in self.variables:
            found.append((variable, sums(left * normal if variable is self.layer.gamma else left)))
        return found


def find_taps(layers: Sequence[keras.layers.Layer], chosen: Sequence[keras.Variable]) -> list[Tap]:
    """Return taps for all layers that can be listened to and hold chosen variables.

    Args:
        layers: All layers, those inside others too.
        chosen: The variables whose kernel is asked for.
    """
    wanted = {id(variable) for variable in chosen}
    taps = [_tap(layer, wanted) for layer in dict.fromkeys(layers)]
    return [tap for tap in taps if tap is not None and tap.variables]


def _tap(layer: keras.layers.Layer, wanted: set[int]) -> Tap | None:
    """Return a tap on a layer, over those of its variables that are wanted; None where it can't be listened to."""

    def those(*variables: keras.Variable | None) -> tuple[keras.Variable, ...]:
        return tuple(variable for variable in variables if variable is not None and id(variable) in wanted)

    if getattr(layer, "lora_enabled", False) or getattr(layer, "quantization_mode", None):
        return None
    if type(layer) in (keras.layers.Dense, keras.layers.EinsumDense):
        letters = _letters(layer)
        if letters is None:
            return None
        plain_bias = set(getattr(layer, "bias_axes", None) or letters.outer) == set(letters.outer)
        return ProductTap(layer, those(layer._kernel, layer.bias if plain_bias else None), letters)
    if type(layer).call in (keras.layers.Embedding.call, keras.layers.ReversibleEmbedding.call):
        return LookupTap(layer, those(layer._embeddings))
    if type(layer) is keras.layers.LayerNormalization and not layer.rms_scaling and layer.axis in (-1, [-1]):
        return NormTap(layer, those(layer.gamma if layer.scale else None, layer.beta if layer.center else None))
    return None


@contextmanager
def tapped(taps: Sequence[Tap], adjust: Adjust | None = None) -> Iterator[list[Record]]:
    """Listen to layers while something is computed.

    Args:
        taps: The taps.
        adjust: Takes the number of a call and its output, and returns what the layer gives in its place, so that a
            gradient can be taken there.

    Yields:
        A list that fills with one record a call.
    """
    records: list[Record] = []

    def noting(tap: Tap):
        def note(seen, output):
            if adjust is not None:
                output = adjust(len(records), output)
            records.append(Record(tap, seen, output))
            return output

        return note

    with ExitStack() as stack:
        stack.enter_context(replaced_calls({tap.layer: tap.listen(noting(tap)) for tap in taps}))
        yield records
