"""A network as a chain of segments, each a function of one tensor from below, its variables, and side inputs."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import keras
from keras import ops

from lpft_keras.errors import InputError
from lpft_keras.ntk.graph import Call, Network, Slot, run
from lpft_keras.ntk.taps import Record, Tap, find_taps, tapped


def variables_of(calls: Sequence[Call]) -> list[keras.Variable]:
    """Return all variables that some calls read, each once."""
    return list({id(v): v for call in calls for layer in call.layers for v in layer.variables}.values())


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
        name: What it holds.
        calls: Its calls.
        below: The slot of the tensor from the segment below; None for the lowest one.
        sides: Other slots it reads: token ids, masks, and whatever no chosen variable lies under.
        above: The slot of what it gives.
        chosen: The variables whose kernel is asked for.
        dtype: What it is computed in.
        taps: Layers whose variables' gradients are made from what goes in and what comes back.
    """

    name: str
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
            arguments = keras.tree.map_structure(
                lambda leaf: slots[leaf] if isinstance(leaf, Slot) else repr(leaf), (call.args, call.kwargs)
            )
            calls.append((type(call.operation).__name__, _config(call.operation), repr(arguments)))
        shapes = [tuple((v.shape, v.dtype) for v in part) for part in (self.direct, self.others)]
        return (repr(calls), repr(shapes), tuple(repr(tap.kind) for tap in self.taps))


def _config(operation: Any) -> str:
    """Return an operation's configuration without names; its identity where it has none."""
    try:
        config = operation.get_config()
    except (NotImplementedError, AttributeError):
        return f"id {id(operation)}"

    return repr({key: value for key, value in config.items() if key != "name"})


def chain(network: Network, chosen: Sequence[keras.Variable], dtype: str) -> tuple[list[Call], list[Segment]]:
    """Cut a network into what lies below all chosen variables, and a chain of segments above.

    A cut lies where one tensor alone carries all that depends on the chosen variables, and no variable is used on both
    sides. A network without such places is one segment, and so is one whose layers pass implicit masks on.

    Args:
        network: The network.
        chosen: Variables whose kernel is asked for, all of them used by the network.
        dtype: What the segments are computed in.

    Returns:
        The calls that no chosen variable lies under, which are computed once, and the segments, lowest first.

    Raises:
        InputError: The features do not depend on any of the variables.
    """
    if any(_masks(layer) for call in network.calls for layer in call.layers):
        # An implicit mask goes along with a tensor, unseen, and would be lost at a cut.
        return [], [_segment(list(network.calls), None, network.features, list(chosen), dtype)]
    wanted = {id(variable) for variable in chosen}
    uses = [{id(v) for layer in call.layers for v in layer.variables} & wanted for call in network.calls]
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
        # What follows the last variables belongs to the top segment.
        if last or (seen and rest and closed and len(live) == 1 and all(s.batched and s.floating for s in live)):
            above = network.features if last else next(iter(live))
            segments.append(_segment(part, below, above, [v for v in chosen if id(v) in seen], dtype))
            below, part, seen = above, [], set()
    return fixed, segments


def _masks(layer: keras.layers.Layer) -> bool:
    """Whether a layer may hang a mask on what it gives."""
    if isinstance(layer, keras.layers.Masking) or getattr(layer, "mask_zero", False):
        return True
    return not type(layer).compute_mask.__module__.startswith(("keras.", "keras_hub."))


def _segment(calls: list[Call], below: Slot | None, above: Slot, chosen: list[keras.Variable], dtype: str) -> Segment:
    made = {slot for call in calls for slot in call.outputs}
    read = dict.fromkeys(slot for call in calls for slot in call.inputs)
    sides = tuple(slot for slot in read if slot not in made and slot is not below)
    names = [call.operation.name for call in calls if call.layers and any(layer.variables for layer in call.layers)]
    taps = find_taps([layer for call in calls for layer in call.layers], chosen)
    name = "+".join(names) or "features"
    return Segment(name, tuple(calls), below, sides, above, tuple(chosen), dtype, tuple(taps))
