"""One computation of a kernel: its tiles one after the other, or shared by processes, and put together."""

import importlib
import itertools
import math
import pickle
import re
from collections.abc import Callable, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import keras
import numpy as np
from joblib import Parallel, delayed

from lpft_keras import __version__
from lpft_keras.errors import InputError, unknown_name
from lpft_keras.ntk.assembly import Assembly
from lpft_keras.ntk.gram import Factors, Of
from lpft_keras.ntk.memory import check_memory
from lpft_keras.ntk.parts import grouping
from lpft_keras.ntk.passes import Chain, Groups, bytes_an_example
from lpft_keras.ntk.problem import Problem, pose
from lpft_keras.ntk.processes import devices_of, pickled, places_of, weights_of
from lpft_keras.ntk.sketch import SketchChain
from lpft_keras.ntk.subsets import Choice, Subset
from lpft_keras.ntk.tiles import Store, Tile, plan_tiles
from lpft_keras.ntk.verify import posed
from lpft_keras.progress import progress_bar, shows_progress
from lpft_keras.storage import fingerprint

# By the names of `dtype`: what is computed in, and the bits of mantissa that are left before products.
_WIDTHS: dict[str, tuple[str, int | None]] = {
    "float32": ("float32", None),
    "float64": ("float64", None),
    "tensorfloat32": ("float32", 10),
    "bfloat16": ("float32", 7),
}
# What rows and columns are of gradients, by the names of `kind`: odd functions of each number, None for as they are.
# A kernel that is not symmetric has one with both sides changed, "-flipped", for solvers that need it.
KINDS: dict[str, tuple[Of | None, Of | None]] = {
    "sgd": (None, None),
    "signgd": (np.sign, np.sign),
    "asymmetric-signgd": (None, np.sign),
    "asymmetric-signgd-flipped": (np.sign, None),
}


@dataclass(frozen=True)
class NTK:
    """A neural tangent kernel, P + F (Tomihari and Sato 2024, Proposition 1).

    Attributes:
        pretrain: P, the part of the head: (<phi(x), phi(x')> + 1) I_C; float64 array of shape [N1, C, N2, C].
        finetune: F, the part of the backbone: V J(x) J(x')^T V^T; likewise.
        parts: F of groups of variables by name, which add up to it; empty where none were asked for.
    """

    pretrain: np.ndarray
    finetune: np.ndarray
    parts: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def total(self) -> np.ndarray:
        """P + F."""
        return self.pretrain + self.finetune


@dataclass(frozen=True)
class Options:
    """The keyword arguments of `empirical_ntk` and `projected_ntk`.

    Attributes:
        dimension: On how many random directions gradients are projected; None multiplies them as they are.
        seed: Of the directions.
    """

    variables: Choice | None
    kind: str = "sgd"
    single_logit: bool = False
    parts: str | Callable[[str], str] | None = None
    dtype: str = "float32"
    max_memory: float = 8e9
    directory: str | Path | None = None
    workers: int | Sequence[str] = 1
    show_progress: bool | None = None
    dimension: int | None = None
    seed: int = 0

    def factors(self) -> Factors:
        """Return what gradients become before they are multiplied."""
        return Factors(_WIDTHS[self.dtype][1], *KINDS[self.kind])


def compute(model: keras.Model, data: Sequence[Any], square: bool, options: Options) -> list[NTK]:
    """Compute the kernel of some data sets with the first of them.

    Args:
        model: As `empirical_ntk` takes it.
        data: The data sets.
        square: Whether the first one's kernel with itself is wanted.
        options: All else.

    Returns:
        The kernel [N, C, N1, C] of each data set; without `square`, the first one's means nothing.

    Raises:
        InputError: As `empirical_ntk`.
    """
    problem, whole = _computed(model, data, square, options)
    pretrain = whole.pop("pretrain")
    parts = {name.removeprefix("finetune/"): part for name, part in whole.items()}
    first, *rest = parts.values()
    finetune = first.copy() if rest else first
    for part in rest:
        finetune += part
    edges = itertools.pairwise(np.cumsum([0, *problem.counts]))
    return [
        NTK(pretrain[a:b], finetune[a:b], {name: part[a:b] for name, part in parts.items()} if options.parts else {})
        for a, b in edges
    ]


def project(model: keras.Model, x: Any, options: Options) -> tuple[Problem, Groups]:
    """Compute projected gradients.

    Args:
        model: As `empirical_ntk` takes it.
        x: Examples.
        options: All else.

    Returns:
        The problem, and "features", [N, h], and "finetune/", [N, C, k], of all examples.

    Raises:
        InputError: As `projected_ntk`.
    """
    return _computed(model, [x], True, options)


def _computed(model: keras.Model, data: Sequence[Any], square: bool, options: Options) -> tuple[Problem, Groups]:
    """Return a problem, and what all its tiles come to together."""
    devices = devices_of(options.workers)
    for name, value, known in (("dtype", options.dtype, _WIDTHS), ("kind", options.kind, KINDS)):
        if not isinstance(value, str) or value not in known:
            raise unknown_name(name, value, known)
    number = isinstance(options.max_memory, int | float) and not isinstance(options.max_memory, bool)
    if not number or not math.isfinite(options.max_memory):
        raise InputError(f"max_memory must be a number of bytes, like 8e9, not {options.max_memory!r}")
    problem = posed(model, data, options.variables, options.single_logit, _WIDTHS[options.dtype][0])
    groups = len({grouping(options.parts, _paths(problem))(path) for path in _paths(problem)})
    tiles = _plan(problem, square, options, len(devices))
    check_memory(problem.counts, problem.classes, groups, options.dimension, tiles)
    whole = Assembly(tiles, problem.counts[0], sum(problem.counts), options.dimension is not None)
    with ExitStack() as stack:
        if devices != [None]:
            directory = options.directory or stack.enter_context(TemporaryDirectory())
            options = replace(options, directory=directory)
            _spread(model, data, problem, options, tiles, devices)
        _Computation(model, problem, options).run(tiles, whole.take)
    return problem, whole.groups


def _paths(problem: Problem) -> list[str]:
    return [variable.path for variable in problem.subset.below]


def _plan(problem: Problem, square: bool, options: Options, workers: int) -> list[Tile]:
    """Return the tiles, one for each worker at least, or say how much memory is needed."""
    counts, each = problem.counts, bytes_an_example(problem)
    capacity = int(options.max_memory // each)
    if capacity < 2 <= sum(counts):
        raise InputError(
            f"max_memory is {options.max_memory:,.0f} bytes, but two examples at once need {2 * each:,}; "
            "allow more, or give shorter examples"
        )
    if options.dimension is not None:  # no example meets another
        pieces = max(workers, -(-counts[0] // max(1, capacity)))
        return [Tile(some, some[:0], True) for some in np.array_split(np.arange(counts[0]), min(pieces, counts[0]))]
    parts = next(parts for parts in itertools.count(1) if parts * (parts + 1) // 2 >= workers)
    symmetric = options.factors().symmetric
    return plan_tiles(counts[0], sum(counts[1:]), square, max(1, capacity), parts, symmetric)


def _spread(
    model: keras.Model,
    data: Sequence[Any],
    problem: Problem,
    options: Options,
    tiles: list[Tile],
    devices: Sequence[str | None],
) -> None:
    """Let processes compute the tiles into the directory. The first one shows the progress of all."""
    # In another process classes are registered once they are imported.
    modules = sorted({type(layer).__module__ for layer in problem.layers})
    sent, places = pickled(model, problem.layers), places_of(model, problem)
    shows = shows_progress(options.show_progress)
    jobs = []
    for number, device in enumerate(devices):
        own = replace(options, variables=None, show_progress=shows and number == 0)
        head = (problem.subset.kernel, problem.subset.bias)
        jobs.append(delayed(_work)(modules, sent, places, head, problem.taps, data, own, tiles, device))
    Parallel(n_jobs=len(jobs), backend="loky")(jobs)


def _work(modules, sent: bytes, places: list[int], head, taps: bool, data, options: Options, tiles, device) -> None:
    """Compute what tiles nobody else is at."""
    for module in modules:
        importlib.import_module(module)
    with keras.device(device) if device else nullcontext():
        model = pickle.loads(sent)
        chosen = [model.variables[place] for place in places]
        problem = pose(model, data, chosen, options.single_logit, _WIDTHS[options.dtype][0], taps)
        problem = replace(problem, subset=Subset(problem.subset.below, *head))
        _Computation(model, problem, options).run(tiles, lambda number, found: None)


class _Computation:
    """A problem whose kernel is computed tile by tile."""

    def __init__(self, model: keras.Model, problem: Problem, options: Options):
        self._model, self._problem, self._options = model, problem, options
        self._group = grouping(options.parts, _paths(problem))
        self._chain = Chain(problem, self._group, options.factors())
        if options.dimension is not None:
            self._chain = SketchChain(problem, self._group, dimension=options.dimension, seed=options.seed)

    def run(self, tiles: list[Tile], take: Callable[[int, Groups], None]) -> None:
        """Compute the tiles, and hand each over by its number as soon as it is done: none is kept here."""
        store = self._store(tiles)
        waiting = list(enumerate(tiles))
        done = 0
        each = len(self._problem.segments) + 1
        show = self._options.show_progress
        with self._problem.computing(), progress_bar("neural tangent kernel", len(tiles) * each, show) as advance:
            # Tiles that another process works on are looked at again when nothing else is left.
            for patient in (False, True):
                for number, tile in list(waiting):
                    steps = itertools.count(done * each + 1)
                    found = self._tile(number, tile, store, patient, lambda steps=steps: advance(next(steps)))
                    if found is not None:
                        take(number, found)
                        del found  # else it would be held while the next one is computed
                        waiting.remove((number, tile))
                        done += 1
                        advance(done * each)

    def _tile(self, number: int, tile: Tile, store: Store | None, wait: bool, advance) -> Groups | None:
        """Return a tile, computed here or elsewhere; None where another process is at it and we don't wait."""
        if store is None:
            return self._chain.tile(tile, advance=advance)
        with store.claimed(number, wait) as ours:
            if not ours:
                return None
            found = store.read(number, "whole")
            if found is None:
                found = self._chain.tile(tile, partial(store.read, number), partial(store.write, number), advance)
                store.finish(number, found)
            return found

    def _store(self, tiles: Sequence[Tile]) -> Store | None:
        if self._options.directory is None:
            return None
        groups = [self._group(path) for path in _paths(self._problem)]
        head = [self._problem.subset.kernel, self._problem.subset.bias]
        made = [re.sub(r"@\d+", "", repr(segment.likeness)) for segment in self._problem.segments]
        identity = {
            "version": __version__,
            "backend": keras.backend.backend(),
            "dtype": self._options.dtype,
            "weights": fingerprint(weights_of(self._model)),
            "data": fingerprint(self._problem.inputs),
            "kind": [self._options.kind, self._options.single_logit],
            "projection": [self._options.dimension, self._options.seed],
            "variables": fingerprint([places_of(self._model, self._problem), groups, head]),
            "model": fingerprint(made),
            "max_memory or workers": fingerprint(
                [part for tile in tiles for part in (tile.columns, tile.rows, tile.square)]
            ),
            "features": [float(f"{number:.3g}") for number in self._problem.probe.features[0][:8]],
        }
        classes = self._problem.classes
        across = [
            len(tile.columns) * classes if self._options.dimension is None else self._options.dimension
            for tile in tiles
        ]
        entries = [len(tile.examples) * classes * width for tile, width in zip(tiles, across, strict=True)]
        kinds = len(set(groups)) + 1
        size = 8 * (sum(entries) * kinds + max(entries) * kinds * len(self._problem.segments))
        return Store(Path(self._options.directory), identity, size)
