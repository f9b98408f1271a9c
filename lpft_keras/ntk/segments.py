"""A network as a chain of segments, each a function of one tensor from below, its variables, and side inputs."""

from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import keras
import numpy as np
from keras import ops

from lpft_keras.errors import InputError
from lpft_keras.ntk.calls import Call, Slot, run
from lpft_keras.ntk.graph import Network
from lpft_keras.ntk.taps import Record, Tap, find_taps, tapped
from lpft_keras.storage import fingerprint


def variables_of(calls: Sequence[Call]) -> list[keras.Variable]:
    """Return all variables that some calls read, each once."""
    found = [v for call in calls for v in (*call.bare, *(v for layer in call.layers for v in layer.variables))]
    return list({id(variable): variable for variable in found}.values())


def value_of(variable: keras.Variable, dtype: str) -> Any:
    """Return a variable's value as a tensor of the backend, real numbers in `dtype`."""
    floating = keras.backend.is_float_dtype(variable.dtype)
    return ops.convert_to_tensor(variable.value, dtype=dtype if floating else None)


def variables_as(pairs: Iterable[tuple[keras.Variable, Any]]) -> keras.StatelessScope:
    """Return a context in which variables have other values, of any dtype."""
    scope = keras.StatelessScope()
    # Past the scope's own check, which casts values to the variables' dtype.
    scope.state_mapping = {id(variable): value for variable, value in pairs}
    return scope


@dataclass(frozen=True, eq=False)
class Segment:
    """A stretch of the network through which all that depends on the chosen variables passes as one tensor.

    Attributes:
        calls: Its calls.
        below: The slot of the tensor from the segment below; None for the lowest one.
        sides: Other slots it reads: token ids, masks, and whatever no chosen variable lies under.
        above: The slot of what it gives.
        chosen: The variables whose kernel is asked for.
        dtype: What it is computed in.
        taps: Layers whose variables' gradients are made from what goes in and what comes back.
    """

    calls: tuple[Call, ...]
    below: Slot | None
    sides: tuple[Slot, ...]
    above: Slot
    chosen: tuple[keras.Variable, ...]
    dtype: str
    taps: tuple[Tap, ...] = field(default=())

    @cached_property
    def direct(self) -> tuple[keras.Variable, ...]:
        """The chosen variables that no tap covers: their gradients are taken example by example."""
        covered = {id(variable) for tap in self.taps for variable in tap.variables}
        return tuple(variable for variable in self.chosen if id(variable) not in covered)

    @cached_property
    def others(self) -> tuple[keras.Variable, ...]:
        """All other variables that the segment reads."""
        direct = {id(variable) for variable in self.direct}
        return tuple(variable for variable in variables_of(self.calls) if id(variable) not in direct)

    def values(self) -> tuple[list[Any], list[Any]]:
        """Return the present values of `direct` and `others`, as tensors of the backend."""
        direct, others = ([value_of(v, self.dtype) for v in part] for part in (self.direct, self.others))
        return direct, others

    def __call__(self, direct, others, below, sides, adjust=None) -> tuple[Any, list[Record]]:
        """Compute the segment.

        Args:
            direct: Values of the variables `direct`.
            others: Values of the variables `others`.
            below: The tensor from below, [examples, ...]; None for the lowest segment.
            sides: The side inputs.
            adjust: As `tapped` takes it.

        Returns:
            What it gives, [examples, ...], and a record a tapped call.
        """
        values = dict(zip(self.sides, sides, strict=True))
        if self.below is not None:
            values[self.below] = below
        pairs = [*zip(self.direct, direct, strict=True), *zip(self.others, others, strict=True)]
        with variables_as(pairs), tapped(self.taps, adjust) as records:
            run(self.calls, values)
        return values[self.above], records

    @cached_property
    def likeness(self) -> tuple:
        """Equal for segments of the same computation on other variables, which can share what was compiled."""
        slots = {slot: number for number, slot in enumerate([self.below, *self.sides])}
        calls = []
        for call in self.calls:
            slots.update({slot: len(slots) + number for number, slot in enumerate(call.outputs)})
            leaves = [
                slots[leaf] if isinstance(leaf, Slot) else _state(leaf)
                for leaf in keras.tree.flatten((call.args, call.kwargs))
            ]
            parts = [call.operation, *call.layers]
            states = [(type(part).__module__, type(part).__qualname__, _attributes(part)) for part in parts]
            calls.append((str(keras.tree.map_structure(lambda leaf: None, (call.args, call.kwargs))), leaves, states))
        variables = {id(variable): place for place, variable in enumerate(variables_of(self.calls))}
        layers = {layer: place for place, layer in enumerate(layer for call in self.calls for layer in call.layers)}
        taps = [(tap.kind, layers[tap.layer], [variables[id(v)] for v in tap.variables]) for tap in self.taps]
        chosen = [[(variables[id(v)], v.shape, v.dtype) for v in part] for part in (self.direct, self.others)]
        ends = [slots[self.above], self.below is None, [slot.batched for slot in self.sides], self.dtype]
        return (repr(calls), repr(taps), repr(chosen), repr(ends))


def _attributes(part: Any) -> list[tuple[str, Any]]:
    """Return what a layer or operation is beside its variables, as far as it can be told; names are no matter.

    What is not of Keras or ours may keep anything anywhere: it is like itself only.
    """
    if not _known(type(part).__module__):
        return [("place", f"@{id(part)}"), *_simple(part)]
    return _simple(part)


def _simple(part: Any) -> list[tuple[str, Any]]:
    held = vars(part) if hasattr(part, "__dict__") else {}
    # Keras hangs wrapped methods on its objects.
    own = {name for name in held if name.endswith(("name", "path")) or callable(getattr(type(part), name, None))}
    states = [(name, _state(value)) for name, value in held.items() if name not in own]
    # Absent, None and False are one: loading a model sets more attributes than making it.
    return sorted((name, state) for name, state in states if state not in ("None", "False", ""))


def _state(value: Any) -> str:
    """Return in words what a value is: content of plain ones, of functions which or where, nothing of other objects."""
    if isinstance(value, np.ndarray):
        return f"array {fingerprint([value])}"
    if value is None or isinstance(value, bool | int | float | str | slice | np.generic | type(...)):
        return repr(value)
    if isinstance(value, list | tuple):
        return str([_state(item) for item in value])
    if isinstance(value, dict):
        return str([(str(key), _state(item)) for key, item in value.items()])
    if callable(value):
        kind = value if hasattr(value, "__qualname__") else type(value)
        known = _known(kind.__module__ or "") and "<" not in kind.__qualname__
        return f"{kind.__module__}.{kind.__qualname__}" if known else f"@{id(value)}"
    return ""


def _known(module: str) -> bool:
    return module.split(".")[0] in ("keras", "keras_hub", "lpft_keras", "tensorflow", "jax", "torch", "numpy")


def joined(segments: Sequence[Segment]) -> Segment:
    """Return a chain as one segment without taps, which is differentiated by its variables."""
    calls = tuple(call for segment in segments for call in segment.calls)
    made = {slot for call in calls for slot in call.outputs}
    sides = dict.fromkeys(slot for call in calls for slot in call.inputs if slot not in made)
    chosen = tuple(variable for segment in segments for variable in segment.chosen)
    return Segment(calls, None, tuple(sides), segments[-1].above, chosen, segments[-1].dtype)


def chain(
    network: Network, chosen: Sequence[keras.Variable], dtype: str, untapped: Container[keras.layers.Layer]
) -> tuple[list[Call], list[Segment]]:
    """Cut a network into what lies below all chosen variables, and a chain of segments above.

    A cut lies where one tensor alone carries all that depends on the chosen variables, and no variable is used on both
    sides. A network without such places is one segment, and so is one whose layers pass implicit masks on, or whose
    segments would read what holds several rows an example.

    Args:
        network: The network.
        chosen: Variables whose kernel is asked for, all of them used by the network.
        dtype: What the segments are computed in.
        untapped: Layers that can't be listened to.

    Returns:
        The calls that no chosen variable lies under, which are computed once, and the segments, lowest first.

    Raises:
        InputError: The features do not depend on any of the variables.
    """
    wanted = {id(variable) for variable in chosen}
    uses = []
    for call in network.calls:
        read = [*call.bare, *(variable for layer in call.layers for variable in layer.variables)]
        uses.append({id(variable) for variable in read} & wanted)
    dependent: set[Slot] = set()
    fixed, moving = [], []
    for call, used in zip(network.calls, uses, strict=True):
        if used or dependent.intersection(call.inputs):
            dependent.update(call.outputs)
            moving.append((call, used))
        else:
            fixed.append(call)
    if network.features not in dependent:
        raise InputError("the features depend on none of the chosen variables; choose others (variables=)")
    sides = {slot for call, _ in moving for slot in call.inputs} - dependent
    if any(_masks(layer) for call in network.calls for layer in call.layers) or any(slot.mixed for slot in sides):
        # An implicit mask goes along with a tensor, unseen, and would be lost at a cut.
        return [], [_segment(list(network.calls), None, network.features, list(chosen), dtype, untapped)]

    last_read = {network.features: len(moving)}
    last_use: dict[int, int] = {}
    for number, (call, used) in enumerate(moving):
        last_read.update({slot: max(number, last_read.get(slot, 0)) for slot in call.inputs})
        last_use.update(dict.fromkeys(used, number))
    segments: list[Segment] = []
    below, part = None, []
    seen: set[int] = set()
    live: set[Slot] = set()
    for number, (call, used) in enumerate(moving):
        part.append(call)
        seen |= used
        live = {slot for slot in live | set(call.outputs) if slot in dependent and last_read.get(slot, -1) > number}
        closed = all(last_use[variable] <= number for variable in seen)
        rest = any(later for _, later in moving[number + 1 :])
        last = number == len(moving) - 1
        narrow = len(live) == 1 and all(slot.batched and slot.floating for slot in live)
        # What follows the last variables belongs to the top segment.
        if last or (seen and rest and closed and narrow):
            above = network.features if last else next(iter(live))
            own = [variable for variable in chosen if id(variable) in seen]
            segments.append(_segment(part, below, above, own, dtype, untapped))
            below, part, seen = above, [], set()
    return fixed, segments


def _masks(layer: keras.layers.Layer) -> bool:
    """Whether a layer may hang a mask on what it gives."""
    if isinstance(layer, keras.layers.Masking) or getattr(layer, "mask_zero", False):
        return True
    return not type(layer).compute_mask.__module__.startswith(("keras.", "keras_hub."))


def _segment(
    calls: list[Call],
    below: Slot | None,
    above: Slot,
    chosen: list[keras.Variable],
    dtype: str,
    untapped: Container[keras.layers.Layer],
) -> Segment:
    made = {slot for call in calls for slot in call.outputs}
    read = dict.fromkeys(slot for call in calls for slot in call.inputs)
    sides = tuple(slot for slot in read if slot not in made and slot is not below)
    # A variable that some call is given bare has more to its gradient than its layer sees.
    bare = {id(variable) for call in calls for variable in call.bare}
    layers = [layer for call in calls for layer in call.layers if layer not in untapped]
    taps = find_taps([layer for layer in layers if not bare.intersection(map(id, layer.variables))], chosen)
    return Segment(tuple(calls), below, sides, above, tuple(chosen), dtype, tuple(taps))
