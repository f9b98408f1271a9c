"""One tile of a kernel: forward through the chain of segments, then back, gradients used on the way."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property

import keras
import numpy as np
from keras import ops

from lpft_keras.errors import InputError
from lpft_keras.ntk.blocks import Block, of_unknown_terms
from lpft_keras.ntk.calls import Slot
from lpft_keras.ntk.gram import PLAIN, Factors, gram
from lpft_keras.ntk.jacobian import Pulled
from lpft_keras.ntk.probe import trimmed
from lpft_keras.ntk.problem import Problem
from lpft_keras.ntk.segments import Segment
from lpft_keras.ntk.tiles import Tile

# Examples that are differentiated at once, at most.
CHUNK = 16
# Where gradients go to the host (see `Jacobian.keeps`), as many as fit into so many bytes, but this many at least.
_BYTES = 1 << 26
_FEWEST = 8
# Examples of like length are computed together; so many groups at most, since some backends compile each.
_BUCKETS = 4
Groups = dict[str, np.ndarray]


@dataclass
class Bunch:
    """Examples of like length, computed together.

    Attributes:
        rows: Their places in the tile.
        inputs: What the model takes, for them.
        values: What the segments read from below and aside, by slot; [examples, ...] where the slot is batched.
        features: float64, [examples, h].
        cotangents: Of what the present segment gives, [examples, classes, ...].
    """

    rows: np.ndarray
    inputs: list[np.ndarray]
    values: dict[Slot, np.ndarray] = field(default_factory=dict)
    features: np.ndarray = field(default_factory=lambda: np.empty(0))
    cotangents: np.ndarray | None = None


@dataclass
class Chain:
    """How a kernel's tiles are computed.

    Attributes:
        problem: The model and its examples.
        group: Gives the name of the group for a variable's path.
        factors: What gradients become before they are multiplied.
    """

    problem: Problem
    group: Callable[[str], str]
    factors: Factors = PLAIN

    def tile(
        self,
        tile: Tile,
        kept: Callable[[str], Groups | None] = lambda piece: None,
        keep: Callable[[str, Groups], None] = lambda piece, groups: None,
        advance: Callable[[], None] = lambda: None,
    ) -> Groups:
        """Compute a tile.

        Args:
            tile: Which examples.
            kept: Returns a segment's share that was computed before, by name, or None.
            keep: Takes a segment's share that has just been computed.
            advance: Called after each segment.

        Returns:
            "pretrain" and "finetune/<group>": float64, [examples of the tile, C, columns, C]; where the tile is not
            square, the rows of the columns' own examples mean nothing.
        """
        bunches = [
            bunch
            for part, first in ((tile.columns, 0), (tile.rows, len(tile.columns)))
            if len(part)
            for bunch in bunches_of(self.problem, part, first)
        ]
        for bunch in bunches:
            self._forward(bunch)
        advance()
        head = self.problem.head
        for bunch in bunches:
            bunch.cotangents = np.broadcast_to(head.T, (len(bunch.rows), *head.T.shape))
        groups: Groups = {}
        for number, segment in reversed(list(enumerate(self.problem.segments))):
            share = kept(f"segment-{number}")
            if share is None:
                share = self._share(segment, bunches, tile)
                keep(f"segment-{number}", share)
            elif number:
                for bunch in bunches:
                    for _ in self._pull_back(segment, bunch):
                        pass
            for name, kernel in share.items():
                groups[name] = groups[name] + kernel if name in groups else kernel
            advance()
        order = np.argsort(np.concatenate([bunch.rows for bunch in bunches]))
        features = np.concatenate([bunch.features for bunch in bunches])[order]
        return self._finished(groups, features, order, len(tile.columns))

    def _finished(self, groups: Groups, features: np.ndarray, order: np.ndarray, columns: int) -> Groups:
        """Put examples into the tile's order, and add the head's part."""
        groups = {name: kernel[order][:, :, order[:columns]] for name, kernel in groups.items()}
        factors, subset, mixing = replace(self.factors, bits=None), self.problem.subset, self.problem.mixing
        # The gradient of logit k is (phi, 1) in each output, times a mixing of 0, 1 or -1, which odd functions let by.
        inner = float(subset.kernel) * (factors.rows(features) @ factors.columns(features[:columns]).T)
        inner += subset.bias * factors.rows(np.ones(1)) * factors.columns(np.ones(1))
        return {"pretrain": np.einsum("ij,cd->icjd", inner, mixing.T @ mixing), **groups}

    @cached_property
    def _at_once(self) -> int:
        """How many examples are differentiated at once."""
        if self.problem.jacobian.keeps:
            return CHUNK
        return min(CHUNK, max(_FEWEST, _BYTES // bytes_an_example(self.problem)))

    def _forward(self, bunch: Bunch) -> None:
        """Fill in what the segments read, and the features."""
        network, pieces, constant = self.problem.network, [], {}
        kept = {
            slot for segment in self.problem.segments for slot in [segment.below, *segment.sides] if slot is not None
        }
        for rows, count in _chunks(len(bunch.rows), self._at_once):
            values = self.problem.fixed_values([array[rows] for array in bunch.inputs])
            for segment in self.problem.segments:
                sides = [values[slot] for slot in segment.sides]
                below = values[segment.below] if segment.below is not None else None
                values[segment.above] = self.problem.jacobian.forward(segment, below, sides)
            host = {slot: ops.convert_to_numpy(values[slot]) for slot in {*kept, network.features}}
            pieces.append({slot: array[:count] for slot, array in host.items() if slot.batched})
            constant = {slot: array for slot, array in host.items() if not slot.batched}
        joined = {slot: np.concatenate([piece[slot] for piece in pieces]) for slot in pieces[0]}
        bunch.features = joined[network.features].astype("float64")
        if not np.isfinite(bunch.features).all():
            raise InputError("the model's features hold NaN or infinite values for these examples")
        bunch.values = {slot: joined[slot] for slot in kept if slot.batched} | constant

    def _share(self, segment: Segment, bunches: list[Bunch], tile: Tile) -> Groups:
        """Return the inner products of a segment's gradients, by group."""
        blocks: dict[int, list[Block]] = {}
        for bunch in bunches:
            for number, block in self._pull_back(segment, bunch):
                blocks.setdefault(number, []).append(block)
        share: Groups = {}
        for variable in segment.chosen:
            name = f"finetune/{self.group(variable.path)}"
            found = self._of_variable(variable, blocks.pop(id(variable)), tile)
            share[name] = share[name] + found if name in share else found
        return share

    def _of_variable(self, variable: keras.Variable, parts: list[Block], tile: Tile) -> np.ndarray:
        """Return what one variable's gradients come to."""
        return gram(parts, len(tile.columns), tile.square, self.factors)

    @property
    def _takes_tensors(self) -> bool:
        """Whether products may be taken on a GPU: not of signs or rounded numbers."""
        return self.factors == PLAIN

    def _pull_back(self, segment: Segment, bunch: Bunch) -> Iterator[tuple[int, Block]]:
        """Yield the gradients of a segment's chosen variables by id, and leave the cotangents for the segment below."""
        cotangents, lower = bunch.cotangents, []
        assert cotangents is not None
        for rows, count in _chunks(len(bunch.rows), self._at_once):
            sides = [
                ops.convert_to_tensor(bunch.values[slot][rows] if slot.batched else bunch.values[slot])
                for slot in segment.sides
            ]
            below = ops.convert_to_tensor(bunch.values[segment.below][rows]) if segment.below is not None else None
            pulled = self.problem.jacobian.pull_back(segment, below, sides, np.ascontiguousarray(cotangents[rows]))
            if not self._takes_tensors:
                pulled = pulled.on_host()
            yield from _blocks(segment, pulled, count)
            if pulled.below is not None:
                lower.append(pulled.below[:count])
        bunch.cotangents = np.concatenate(lower) if lower else None


def _chunks(total: int, at_once: int) -> Iterator[tuple[np.ndarray, int]]:
    """Yield the numbers of the examples of each chunk, and how many of them are its own.

    Copies of the last example fill the last chunk up: an unlike shape would be compiled anew.
    """
    size = -(-total // -(-total // at_once))  # chunks alike, so that copies are few
    for first in range(0, total, size):
        yield np.arange(first, first + size).clip(max=total - 1), min(size, total - first)


def _blocks(segment: Segment, pulled: Pulled, count: int) -> Iterator[tuple[int, Block]]:
    """Yield the id of each chosen variable of a segment with its gradients for the first `count` examples."""
    for variable, rows in zip(segment.direct, pulled.direct, strict=True):
        yield id(variable), of_unknown_terms(rows[:count])
    for number, tap in enumerate(segment.taps):
        calls = [call for call, owner in enumerate(pulled.taps) if owner == number]
        if not calls:
            raise InputError(f"layer {tap.layer.name!r} is not called by the model, but its variables are chosen")
        seen, deltas = ([arrays[k][:count] for k in calls] for arrays in (pulled.seen, pulled.deltas))
        yield from ((id(variable), block) for variable, block in tap.blocks(seen, deltas))


def bytes_an_example(problem: Problem) -> int:
    """Return how many bytes a tile holds for each example, at most: one of full length was looked at.

    What every segment reads, and of the greatest segment what goes into its taps and C gradients of what comes out, of
    its cotangents, and of the variables that no tap covers.
    """
    sizes, heard = problem.probe.sizes, problem.probe.heard
    read, greatest = 0, 0
    for segment in problem.segments:
        own = [heard[tap.layer] for tap in segment.taps if tap.layer in heard]
        below = sizes[segment.below] if segment.below is not None else 0
        back = sum(out for _, out in own) + sum(int(np.prod(variable.shape)) for variable in segment.direct)
        greatest = max(greatest, sum(into for into, _ in own) + problem.classes * (back + sizes[segment.above] + below))
        read += below + sum(sizes[slot] for slot in segment.sides)
    return (read + greatest) * np.dtype(problem.dtype).itemsize


def bunches_of(problem: Problem, examples: np.ndarray, first: int = 0) -> list[Bunch]:
    """Group some examples by length, and cut off the columns that a group does not use.

    Args:
        problem: The model and all examples.
        examples: Numbers of some.
        first: Their first one's place in the tile.
    """
    inputs, lengths = problem.inputs, problem.lengths
    places = np.arange(len(examples))
    if lengths is None:
        return [Bunch(first + places, [array[examples] for array in inputs])]
    wide = trimmed(problem.network, inputs)
    full = next(array.shape[1] for array, cuttable in zip(inputs, wide, strict=True) if cuttable)
    order = np.argsort(lengths[examples], kind="stable")
    by_width: dict[int, list[np.ndarray]] = {}
    for some in np.array_split(order, min(_BUCKETS, -(-len(examples) // 4))):
        width = min(full, -(-int(lengths[examples[some]].max()) // 8) * 8)
        by_width.setdefault(width, []).append(some)
    bunches = []
    for width, parts in by_width.items():
        some = np.concatenate(parts)
        rows = examples[some]
        cut = [array[rows, :width] if cuttable else array[rows] for array, cuttable in zip(inputs, wide, strict=True)]
        bunches.append(Bunch(first + some, cut))
    return bunches
