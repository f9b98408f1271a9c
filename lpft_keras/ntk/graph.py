"""A Keras model as a flat list of layer calls: nested functional and sequential models opened, the head taken off."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import keras
import numpy as np
from keras import ops, tree
from keras.src.models.functional import Functional  # not exported, nor is anything that walks its graph

from lpft_keras.errors import InputError, first_line
from lpft_keras.ntk.calls import Call, Slot, replaced_calls


@dataclass(frozen=True)
class Network:
    """A classifier taken apart.

    Attributes:
        inputs: A slot an input.
        names: Their names.
        open: Whether their second axis may have any length.
        arrays: Turns what the model takes into one array an input, in the same order.
        tensors: The same for tensors of the backend, unchecked, such as Keras calls a model on.
        calls: What leads from the inputs to the features, in order.
        features: The slot of the features, [examples, h].
        head: The Dense layer behind them.
    """

    inputs: tuple[Slot, ...]
    names: tuple[str, ...]
    open: tuple[bool, ...]
    arrays: Callable[[Any], list[np.ndarray]]
    tensors: Callable[[Any], list[Any]]
    calls: tuple[Call, ...]
    features: Slot
    head: keras.layers.Dense


def take_apart(model: keras.Model, x: Any) -> Network:
    """Flatten a classifier into the calls that make its features, and its head.

    Functional and sequential models are opened, also where one is a layer of another; anything else is one call.

    Args:
        model: A built Keras model that ends in a Dense layer; a softmax on it is taken off.
        x: Some examples. A subclassed model is run on them, to see which Dense layer its output comes from.

    Returns:
        The network.

    Raises:
        InputError: The model is not built, or does not end in a Dense layer over [examples, h].
    """
    if not isinstance(model, keras.Model):
        raise InputError(f"model must be a keras.Model, not {type(model).__name__}")
    if not model.built:
        raise InputError(f"model {model.name!r} is not built: call it on data once, or load its weights, before")
    calls: list[Call] = []
    opened = _openable(model)
    if opened is None:
        return _subclassed(model, x)
    fixed = [tensor for tensor in opened.inputs if tensor.shape[0] is not None]
    if fixed:
        raise InputError(
            f"input {fixed[0].name!r} of model {model.name!r} takes just {fixed[0].shape[0]} examples at once; "
            "leave the number open (shape= in place of batch_shape=)"
        )
    inputs = tuple(_slot(tensor) for tensor in opened.inputs)
    outputs = _open(opened, inputs, calls)
    if len(outputs) != 1:
        raise InputError(f"model {model.name!r} has {len(outputs)} outputs; give one that has the logits only")
    features, head = _head(model.name, calls, outputs[0])
    needed = _needed(calls, features)
    if any(head in call.layers for call in needed):
        raise InputError(
            f"the head {head.name!r} of model {model.name!r} is used below itself too; give it its own layer"
        )
    names = tuple(tensor.name for tensor in opened.inputs)
    open_ = tuple(len(tensor.shape) == 2 and tensor.shape[1] is None for tensor in opened.inputs)
    given = partial(_arrays, opened), partial(_by_name, opened)
    return Network(inputs, names, open_, *given, tuple(needed), features, head)


def _by_name(model: Any, given: Any) -> list[Any]:
    """Return what a functional model is called on as one item an input, as Keras maps it: dicts by name."""
    struct = model._inputs_struct
    if isinstance(given, dict):
        names = list(struct) if isinstance(struct, dict) else [tensor.name for tensor in model.inputs]
        missing = [name for name in names if name not in given]
        if missing:
            raise InputError(f"x lacks the input {missing[0]!r}; model {model.name!r} takes {', '.join(names)}")
        if not isinstance(struct, dict):
            return [given[name] for name in names]
        given = {name: given[name] for name in names}
    return tree.flatten(given)


def _arrays(model: Any, x: Any) -> list[np.ndarray]:
    """Return what a functional model takes as arrays in the order of its inputs, or say what does not fit."""
    flat = _by_name(model, x)
    if len(flat) != len(model.inputs):
        raise InputError(f"x holds {len(flat)} arrays, but model {model.name!r} takes {len(model.inputs)} inputs")
    return [
        _array(given, tensor.name, tensor.shape).astype(tensor.dtype)
        for given, tensor in zip(flat, model.inputs, strict=True)
    ]


def _array(given: Any, name: str, shape: tuple | None = None) -> np.ndarray:
    """Return one input as an array of numbers, or say what is wrong with it."""
    array = np.asarray(ops.convert_to_numpy(given) if keras.ops.is_tensor(given) else given)
    if array.dtype.kind not in "biuf":
        raise InputError(f"input {name!r} must be an array of numbers, not of {array.dtype}")
    if array.ndim == 0:
        raise InputError(f"input {name!r} is one number; an array whose first axis counts examples is wanted")
    if shape is not None:
        fits = array.ndim == len(shape) and all(
            wanted in (None, size) for wanted, size in zip(shape, array.shape, strict=True)
        )
        if not fits:
            raise InputError(f"input {name!r} has the shape {array.shape}, but {shape} is wanted")
    return array


class _UpToHead:
    """A subclassed model without its head."""

    _call_has_training_arg = False

    def __init__(self, model: keras.Model, head: keras.layers.Dense, structure: Any):
        self.name = model.name
        self._model, self._head, self._structure = model, head, structure

    def __call__(self, *flat):
        with replaced_calls({self._head: lambda inputs, *args, **kwargs: inputs}):
            return self._model(tree.pack_sequence_as(self._structure, list(flat)), training=False)

    def _flatten_layers(self):
        return [layer for layer in self._model._flatten_layers() if layer is not self._head]


def _subclassed(model: keras.Model, x: Any) -> Network:
    """Take a model whose `call` is its own for one call, after a look at where its output comes from."""
    seen: dict[int, keras.layers.Dense] = {}
    denses = [layer for layer in model._flatten_layers() if isinstance(layer, keras.layers.Dense)]

    def watched(layer):
        original = layer.call

        def call(*args, **kwargs):
            outputs = original(*args, **kwargs)
            seen[id(outputs)] = layer
            kept.append(outputs)  # so that no other tensor takes its id
            return outputs

        return call

    kept: list[Any] = []
    try:
        few = tree.map_structure(lambda array: ops.convert_to_tensor(_array(array, "x")[:1]), x)
        with replaced_calls({layer: watched(layer) for layer in denses}):
            output = model(few, training=False)
    except InputError:
        raise
    except Exception as error:  # whatever the model's own code says of wrong input
        raise InputError(f"model {model.name!r} fails on the first example: {first_line(error)}") from error
    head = seen.get(id(output))
    if head is None:
        raise InputError(f"model {model.name!r} must end in a Dense head, whose output it returns as it is")
    _check_head(model.name, head)
    inputs = tuple(Slot(np.asarray(array).dtype.kind == "f") for array in tree.flatten(x))
    features = Slot(True)
    structure = tree.map_structure(lambda array: None, x)
    call = Call(_UpToHead(model, head, structure), inputs, {}, (features,))
    names = tuple(tree.flatten({name: name for name in x})) if isinstance(x, dict) else ("",) * len(inputs)
    open_ = tuple(np.ndim(array) == 2 for array in tree.flatten(x))
    given = partial(_subclassed_arrays, structure), tree.flatten
    return Network(inputs, names, open_, *given, (call,), features, head)


def _subclassed_arrays(structure: Any, x: Any) -> list[np.ndarray]:
    try:
        tree.assert_same_structure(structure, tree.map_structure(lambda array: None, x))
    except (TypeError, ValueError) as error:
        raise InputError(f"x2 is made up otherwise than x1: {first_line(error)}") from error
    return [_array(given, f"number {number}") for number, given in enumerate(tree.flatten(x))]


def _openable(layer: Any) -> Any:
    """Return the functional graph of a model, or None where its `call` is its own."""
    if isinstance(layer, keras.Sequential):
        plain = type(layer).call is keras.Sequential.call and layer._functional is not None
        return _openable(layer._functional) if plain else None
    return layer if isinstance(layer, Functional) and type(layer).call is Functional.call else None


def _slot(tensor: keras.KerasTensor) -> Slot:
    batched = len(tensor.shape) > 0 and tensor.shape[0] is None
    return Slot(keras.backend.is_float_dtype(tensor.dtype), batched)


def _open(model: Any, inputs: tuple[Slot, ...], calls: list[Call]) -> list[Slot]:
    """Append the calls of a functional model, and return the slots of its outputs."""
    slots: dict[int, Slot] = {id(tensor): slot for tensor, slot in zip(model.inputs, inputs, strict=True)}
    for depth in sorted(model._nodes_by_depth, reverse=True):
        for node in model._nodes_by_depth[depth]:
            if node.is_input or not node.operation:
                continue
            args, kwargs = node.arguments.fill_in(slots)
            inner = _openable(node.operation)
            if inner is not None and not _opens(inner, args, kwargs):
                inner = None
            if inner is None:
                outputs = [_slot(tensor) for tensor in node.outputs]
                calls.append(Call(node.operation, args, kwargs, tuple(outputs)))
            else:
                outputs = _open(inner, tuple(_by_name(inner, args[0])), calls)
            slots.update({id(tensor): slot for tensor, slot in zip(node.outputs, outputs, strict=True)})
    return [slots[id(tensor)] for tensor in model.outputs]


def _opens(model: Any, args: tuple, kwargs: dict) -> bool:
    """Whether a nested model's inputs are slots of their own dtype, so that it changes nothing on the way in."""
    # Keras notes the masks that inputs came with, which are none.
    given = {name: value for name, value in kwargs.items() if name != "training"}
    if len(args) != 1 or any(value is not None for value in tree.flatten(given)):
        return False
    slots = _by_name(model, args[0])
    return len(slots) == len(model.inputs) and all(
        isinstance(slot, Slot) and slot.floating == keras.backend.is_float_dtype(tensor.dtype)
        for slot, tensor in zip(slots, model.inputs, strict=True)
    )


def _head(name: str, calls: list[Call], output: Slot) -> tuple[Slot, keras.layers.Dense]:
    """Return the slot of the features and the Dense layer that makes the output of them."""
    made = {slot: call for call in calls for slot in call.outputs}
    last = made.get(output)
    while last is not None and _changes_no_logit(last.operation):
        last = made.get(last.inputs[0])
    head = last.operation if last is not None else None
    if last is None or not isinstance(head, keras.layers.Dense):
        found = "no layer" if last is None else type(head).__name__
        raise InputError(f"model {name!r} must end in a Dense head (a softmax on it is taken off), but ends in {found}")
    _check_head(name, head)
    return last.inputs[0], head


def _check_head(name: str, head: keras.layers.Dense) -> None:
    if type(head).call is not keras.layers.Dense.call or head.lora_enabled or head.quantization_mode:
        raise InputError(
            f"the head of model {name!r} must be a plain Dense layer: no own call, adapters or quantization"
        )
    if head.activation not in (None, keras.activations.linear, keras.activations.softmax):
        raise InputError(
            f"the head of model {name!r} has the activation {head.activation.__name__!r}; the kernel is that of the "
            "logits: give the head no activation"
        )
    if head.kernel.shape[1] < 2:
        raise InputError(f"the head of model {name!r} has one output; kernels of a classifier need two classes or more")


def _changes_no_logit(operation: Any) -> bool:
    """Whether an operation behind the head is a softmax, which is taken off, or nothing at all."""
    if isinstance(operation, keras.layers.Activation):
        return operation.activation in (keras.activations.softmax, keras.activations.linear)
    return isinstance(operation, keras.layers.Softmax) or type(operation).__name__ == "Softmax"


def _needed(calls: list[Call], target: Slot) -> list[Call]:
    """Return the calls that a slot depends on, in order."""
    wanted, kept = {target}, []
    for call in reversed(calls):
        if wanted.intersection(call.outputs):
            wanted.update(call.inputs)
            kept.append(call)
    return kept[::-1]
