"""Calls of layers on slots in place of tensors, and how they are run: with other functions, or in another dtype."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import keras
from keras import tree


@dataclass(eq=False)
class Slot:
    """A place that holds one tensor of the model.

    Attributes:
        floating: Whether it holds real numbers, through which a gradient can flow.
        batched: Whether its first axis counts examples; as far as shapes tell, until a probe knows.
        mixed: Whether its first axis counts several rows an example, so that no example's own can be cut out.
    """

    floating: bool
    batched: bool = True
    mixed: bool = False


@dataclass(frozen=True, eq=False)
class Call:
    """One call of a layer or operation, on slots in place of tensors."""

    operation: Any
    args: tuple
    kwargs: dict[str, Any]
    outputs: tuple[Slot, ...]

    @property
    def inputs(self) -> tuple[Slot, ...]:
        """The slots that the call reads."""
        return tuple(leaf for leaf in tree.flatten((self.args, self.kwargs)) if isinstance(leaf, Slot))

    @property
    def bare(self) -> list[keras.Variable]:
        """Variables that the call is given as arguments, past their layers."""
        return [leaf for leaf in tree.flatten((self.args, self.kwargs)) if isinstance(leaf, keras.Variable)]

    @property
    def layers(self) -> list[keras.layers.Layer]:
        """The layer and all layers inside it; none for an operation without weights."""
        return list(self.operation._flatten_layers()) if hasattr(self.operation, "_flatten_layers") else []


def run(calls, values: dict[Slot, Any]) -> None:
    """Compute calls, reading and writing tensors in `values`, with dropout and other randomness off.

    Args:
        calls: The calls, each after those whose outputs it reads.
        values: Tensors by slot.
    """
    for call in calls:
        args, kwargs = tree.map_structure(
            lambda leaf: values[leaf] if isinstance(leaf, Slot) else leaf, (call.args, call.kwargs)
        )
        if getattr(call.operation, "_call_has_training_arg", False):
            kwargs = {**kwargs, "training": False}
        outputs = tree.flatten(call.operation(*args, **kwargs))
        values.update(zip(call.outputs, outputs, strict=True))


@contextmanager
def replaced_calls(functions: dict[keras.layers.Layer, Callable]) -> Iterator[None]:
    """Let layers call other functions for a while.

    Args:
        functions: By layer, what its `call` shall be.
    """
    for layer, function in functions.items():
        object.__setattr__(layer, "call", function)  # past Keras, which would track what is set
    try:
        yield
    finally:
        for layer in functions:
            object.__delattr__(layer, "call")


@contextmanager
def computing_in(dtype: str, layers: Sequence[keras.layers.Layer]) -> Iterator[None]:
    """Let layers compute in another dtype for a while, whatever their policies say; their variables stay as they are.

    Args:
        dtype: "float32" or "float64".
        layers: The layers, those inside others too.
    """
    policy = keras.DTypePolicy(dtype)
    before = {layer: layer._dtype_policy for layer in layers if type(layer._dtype_policy) is keras.DTypePolicy}
    for layer in before:
        object.__setattr__(layer, "_dtype_policy", policy)
    try:
        yield
    finally:
        for layer, own in before.items():
            object.__setattr__(layer, "_dtype_policy", own)
