"""One computation of a kernel: its tiles one after the other, or shared by processes, and put together."""

import importlib
import itertools
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
from keras import ops

from lpft_keras import __version__
from lpft_keras.errors import InputError, first_line, unknown_name
from lpft_keras.ntk.parts import grouping
from lpft_keras.ntk.passes import Chain, Groups, bytes_an_example
from lpft_keras.ntk.problem import Choice, pose
from lpft_keras.ntk.tiles import Store, Tile, plan_tiles
from lpft_keras.ntk.verify import agrees
from lpft_keras.progress import progress_bar, shows_progress
from lpft_keras.storage import fingerprint

# By the names of `dtype`: what is computed in, and the bits of mantissa that are left before products.
_WIDTHS: dict[str, tuple[str, int | None]] = {
    "float32": ("float32", None),
    "float64": ("float64", None),
    "tensorfloat32": ("float32", 10),
    "bfloat16": ("float32", 7),
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
    """The keyword arguments of `empirical_ntk`."""

    variables: Choice | None
    parts: str | Callable[[str], str] | None
    dtype: str
    max_memory: float
    directory: str | Path | None
    workers: int | Sequence[str]
    show_progress: bool | None


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
    devices = _devices(options.workers)
    computation = _Computation(model, data, square, options)
    pickled = _pickled(model, computation.problem.layers) if devices != [None] else b""
    with computation.problem.computing(), ExitStack() as stack:
        tiles = computation.plan(len(devices))
        if pickled:
            if options.directory is None:
                computation.options = replace(options, directory=stack.enter_context(TemporaryDirectory()))
            _spread(computation, pickled, tiles, devices)
        kernel = computation.run(tiles)
    edges = np.cumsum([0, *computation.problem.counts])
    return [
        NTK(
            kernel.pretrain[start:stop],
            kernel.finetune[start:stop],
            {name: part[start:stop] for name, part in kernel.parts.items()},
        )
        for start, stop in itertools.pairwise(edges)
    ]


def _devices(workers: Any) -> Sequence[str | None]:
    """Return the device of each process; None is Keras' own choice."""
    if isinstance(workers, int) and workers > 0:
        return [None] * workers
    if isinstance(workers, list | tuple) and workers and all(isinstance(name, str) for name in workers):
        return workers
    raise InputError(f"workers must be 1 or more, or list the device of each, not {workers!r}")


def _spread(computation: "_Computation", pickled: bytes, tiles: list[Tile], devices: Sequence[str | None]) -> None:
    """Let processes compute the tiles into the directory. The first one shows the progress of all."""
    options, problem = computation.options, computation.problem
    # In another process variables are others, told by their places, and classes are registered once they are imported.
    modules = sorted({type(layer).__module__ for layer in problem.layers})
    shows = shows_progress(options.show_progress)
    jobs = []
    for number, device in enumerate(devices):
        own = replace(options, variables=None, show_progress=shows and number == 0)
        work = (pickled, modules, computation.places, device, computation.data, computation.square, own)
        jobs.append(delayed(_work)(*work, computation.taps, tiles))
    Parallel(n_jobs=len(jobs), backend="loky")(jobs)


def _work(
    pickled: bytes, modules, places: list[int], device: str | None, data, square: bool, options, taps: bool, tiles
) -> None:
    """Compute what tiles nobody else is at."""
    for module in modules:
        importlib.import_module(module)
    with keras.device(device) if device else nullcontext():
        model = pickle.loads(pickled)
        chosen = [model.variables[place] for place in places]
        computation = _Computation(model, data, square, replace(options, variables=chosen), taps)
        with computation.problem.computing():
            computation.run(tiles)


def _pickled(model: keras.Model, layers: Sequence[keras.layers.Layer]) -> bytes:
    """Return a model as bytes, or say that what comes out of them is another one, as where adapters were put in."""
    reason = "it is not the same after saving and loading, as where adapters were put into its layers"
    values, others, pickled = "", None, b""
    own = next((type(layer).__name__ for layer in layers if type(layer).__module__ == "__main__"), None)
    if own is not None:
        reason = f"its class {own!r} is in no module that they could import"
    else:
        try:
            pickled = pickle.dumps(model)
            values, others = (fingerprint(_weights(each)) for each in (model, pickle.loads(pickled)))
        except Exception as error:  # whatever Keras or the model's own classes raise
            reason = first_line(error)
    if values != others:
        raise InputError(
            f"model {model.name!r} can't be sent to other processes: {reason}; give workers=1, or start processes of "
            "your own on one directory"
        )
    return pickled


def _weights(model: keras.Model) -> list[np.ndarray]:
    """Return all values that a kernel may depend on."""
    return [ops.convert_to_numpy(v) for v in model.variables if v.name != "seed_generator_state"]


class _Computation:
    """A model, the examples of all data sets, the first of which gives the kernel's columns, and how to go about it."""

    def __init__(
        self, model: keras.Model, data: Sequence[Any], square: bool, options: Options, taps: bool | None = None
    ):
        if options.dtype not in _WIDTHS:
            raise unknown_name("dtype", options.dtype, _WIDTHS)
        if isinstance(options.max_memory, bool) or not isinstance(options.max_memory, int | float):
            raise InputError(f"max_memory must be a number of bytes, like 8e9, not {options.max_memory!r}")
        self.model, self.data, self.square, self.options = model, data, square, options
        width, self._bits = _WIDTHS[options.dtype]
        self.problem = pose(model, data, options.variables, width, taps is not False)
        self.taps = taps is not False
        if taps is None and not agrees(self.problem):
            # A layer that uses its variables past its call, for one. Slower, but sure.
            self.problem = pose(model, data, options.variables, width, False)
            self.taps = False
            if not agrees(self.problem):
                raise InputError(
                    f"the kernel of model {model.name!r} does not agree with its gradient on two examples: the model "
                    "does something with its examples or variables that can't be followed"
                )
        self._group = grouping(options.parts, [variable.path for variable in self.problem.chosen])
        self._chain = Chain(self.problem, self._group, self._bits)

    @property
    def places(self) -> list[int]:
        """Where the chosen variables are among the model's."""
        chosen = {id(variable) for variable in self.problem.chosen}
        return [number for number, variable in enumerate(self.model.variables) if id(variable) in chosen]

    def plan(self, workers: int) -> list[Tile]:
        """Return the tiles, one for each worker at least, or say how much memory is needed."""
        counts, each = self.problem.counts, bytes_an_example(self.problem)
        capacity = int(self.options.max_memory // each)
        if capacity < 2 <= sum(counts):
            raise InputError(
                f"max_memory is {self.options.max_memory:,.0f} bytes, but two examples at once need {2 * each:,}; "
                "allow more, or give shorter examples"
            )
        parts = next(parts for parts in itertools.count(1) if parts * (parts + 1) // 2 >= workers)
        return plan_tiles(counts[0], sum(counts[1:]), self.square, max(1, capacity), parts)

    def run(self, tiles: list[Tile]) -> NTK:
        """Return the kernel [all examples, C, first data set, C]."""
        store = self._store(tiles)
        waiting = list(enumerate(tiles))
        done: dict[int, Groups] = {}
        each = len(self.problem.segments) + 1
        with progress_bar("neural tangent kernel", len(tiles) * each, self.options.show_progress) as advance:
            # Tiles that another process works on are looked at again when nothing else is left.
            for patient in (False, True):
                for number, tile in list(waiting):
                    steps = itertools.count(len(done) * each + 1)
                    found = self._tile(number, tile, store, patient, lambda steps=steps: advance(next(steps)))
                    if found is not None:
                        done[number] = found
                        waiting.remove((number, tile))
                        advance(len(done) * each)
        return self._assembled(tiles, done)

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
        if self.options.directory is None:
            return None
        groups = [self._group(variable.path) for variable in self.problem.chosen]
        made = [re.sub(r"@\d+", "", repr(segment.likeness)) for segment in self.problem.segments]
        identity = {
            "version": __version__,
            "backend": keras.backend.backend(),
            "dtype": self.options.dtype,
            "weights": fingerprint(_weights(self.model)),
            "data": fingerprint(self.problem.inputs),
            "variables": fingerprint([self.places, groups]),
            "model": fingerprint(made),
            "max_memory or workers": fingerprint(
                [part for tile in tiles for part in (tile.columns, tile.rows, tile.square)]
            ),
            "features": [float(f"{number:.3g}") for number in self.problem.probe.features[0][:8]],
        }
        classes = self.problem.classes
        entries = [len(tile.examples) * len(tile.columns) * classes**2 for tile in tiles]
        kinds = len(set(groups)) + 1
        size = 8 * (sum(entries) * kinds + max(entries) * kinds * len(self.problem.segments))
        return Store(Path(self.options.directory), identity, size)

    def _assembled(self, tiles: Sequence[Tile], done: dict[int, Groups]) -> NTK:
        """Put tiles together; what lies on the other side of the diagonal is the same, transposed."""
        (columns, *_), total, classes = self.problem.counts, sum(self.problem.counts), self.problem.classes
        whole: Groups = {name: np.zeros((total, classes, columns, classes)) for name in done[0]}
        every = np.arange(classes)
        for number, tile in enumerate(tiles):
            for name, part in done[number].items():
                if tile.square:
                    whole[name][np.ix_(tile.columns, every, tile.columns)] = part[: len(tile.columns)]
                if len(tile.rows):
                    across = part[len(tile.columns) :]
                    whole[name][np.ix_(tile.rows, every, tile.columns)] = across
                    if tile.rows[0] < columns:
                        mirrored = across.transpose(2, 3, 0, 1)
                        whole[name][np.ix_(tile.columns, every, tile.rows)] = mirrored
        if not all(np.isfinite(part).all() for part in whole.values()):
            raise InputError("the model's gradients hold NaN or infinite values for these examples")
        pretrain = whole.pop("pretrain")
        parts = {name.removeprefix("finetune/"): part for name, part in whole.items()}
        return NTK(pretrain, np.sum(list(parts.values()), axis=0), parts if self.options.parts else {})
