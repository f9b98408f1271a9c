"""The empirical neural tangent kernel of a classifier, exact, split into P and F, without ever holding a Jacobian."""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from lpft_keras import __version__
from lpft_keras.errors import InputError
from lpft_keras.ntk.passes import Chain, Groups
from lpft_keras.ntk.problem import Choice, pose
from lpft_keras.ntk.tiles import Store, Tile, plan_tiles
from lpft_keras.progress import progress_bar
from lpft_keras.storage import fingerprint


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


def empirical_ntk(
    model: keras.Model,
    x1: Any,
    x2: Any = None,
    *,
    variables: Choice | None = None,
    parts: Callable[[str], str] | None = None,
    max_memory: float = 8e9,
    directory: str | Path | None = None,
    show_progress: bool | None = None,
) -> NTK:
    """Compute the empirical neural tangent kernel of a classifier, exactly.

    Dropout and other randomness are off; normalisation statistics are those of inference. Where `x1` is a dict with the
    key "padding_mask", the columns of all [rows, tokens] arrays that no example of a group uses are left out, which
    changes nothing in a model that heeds its mask.

    Args:
        model: A Keras model that ends in a Dense head; a softmax on it is taken off.
        x1: N1 examples, as the model takes them: an array, or a dict or list of arrays.
        x2: N2 examples; None takes `x1`, and computes half.
        variables: What F is taken over: variables, or a function that says of a variable whether it belongs; None takes
            all trainable ones below the head.
        parts: Gives the name of the group for a variable's path; None makes no groups.
        max_memory: Bytes that may be held for the examples of a tile. A tile holds for each example what every segment
            reads (4 T d a layer of a Transformer) and, of one segment, what goes into its layers and C times what comes
            back (4 T (9 d + 9 C d) for a layer with a feed-forward part of 4 d). Where not all fit, the kernel is
            computed in tiles, and examples are differentiated once for each tile they are in. Beside it: the model,
            some 0.5 GB of buffers, and the kernel itself, 8 N1 N2 C^2.
        directory: Where finished pieces are kept, so that a killed computation goes on, and several processes share
            one; None keeps nothing.
        show_progress: Whether to show a progress bar; None decides by the terminal.

    Returns:
        The kernel, [N1, C, N2, C].

    Raises:
        InputError: The model has no Dense head, is random or gives NaN; a variable is unknown; `x1` is empty or does
            not fit the model; memory or disk are too small; `directory` holds another kernel.

    Example:
        >>> ntk = empirical_ntk(model, images)
        >>> ntk.total.shape
        (32, 10, 32, 10)
    """
    data = [x1] if x2 is None else [x2, x1]
    finder = _Kernel(model, data, _Options(variables, parts, max_memory, directory, show_progress))
    kernel = finder.compute(square=x2 is None)
    return kernel if x2 is None else _rows(kernel, slice(finder.counts[0], None))


def train_test_ntk(
    model: keras.Model,
    train: Any,
    test: Any,
    *,
    variables: Choice | None = None,
    parts: Callable[[str], str] | None = None,
    max_memory: float = 8e9,
    directory: str | Path | None = None,
    show_progress: bool | None = None,
) -> tuple[NTK, NTK]:
    """Compute the kernels of training rows with themselves and of test rows with training rows in one pass.

    Args:
        model: As for `empirical_ntk`, like the other arguments.
        train: N1 examples.
        test: N2 examples.
        variables: What F is taken over.
        parts: Gives the name of the group for a variable's path.
        max_memory: Bytes that may be held for the examples of a tile.
        directory: Where finished pieces are kept.
        show_progress: Whether to show a progress bar.

    Returns:
        The kernels, [N1, C, N1, C] and [N2, C, N1, C].

    Raises:
        InputError: As `empirical_ntk`.
    """
    options = _Options(variables, parts, max_memory, directory, show_progress)
    finder = _Kernel(model, [train, test], options)
    kernel = finder.compute(square=True)
    return _rows(kernel, slice(finder.counts[0])), _rows(kernel, slice(finder.counts[0], None))


def _rows(kernel: NTK, rows: slice) -> NTK:
    parts = {name: part[rows] for name, part in kernel.parts.items()}
    return NTK(kernel.pretrain[rows], kernel.finetune[rows], parts)


@dataclass(frozen=True)
class _Options:
    """The keyword arguments of `empirical_ntk`."""

    variables: Choice | None
    parts: Callable[[str], str] | None
    max_memory: float
    directory: str | Path | None
    show_progress: bool | None


class _Kernel:
    """One computation: the examples of all data sets, the first of which gives the kernel's columns."""

    def __init__(self, model: keras.Model, data: Sequence[Any], options: _Options):
        self._problem = pose(model, data, options.variables)
        self._chain = Chain(self._problem, options.parts)
        self._model, self._options = model, options
        self.counts = self._problem.counts

    def compute(self, square: bool) -> NTK:
        """Return the kernel [all examples, C, first data set, C]; without `square`, its first rows mean nothing."""
        tiles = plan_tiles(self.counts[0], sum(self.counts[1:]), square, self._capacity())
        store = self._store(tiles)
        waiting = list(enumerate(tiles))
        done: dict[int, Groups] = {}
        steps = len(tiles) * (len(self._problem.segments) + 1)
        with progress_bar("neural tangent kernel", steps, self._options.show_progress) as advance:
            count = itertools.count(1)
            # Tiles that another process works on are looked at again when nothing else is left.
            for patient in (False, True):
                for number, tile in list(waiting):
                    found = self._tile(number, tile, store, patient, lambda: advance(next(count)))
                    if found is not None:
                        done[number] = found
                        waiting.remove((number, tile))
        return self._assembled(tiles, done)

    def _capacity(self) -> int:
        """Return how many examples fit into the memory allowed, or say how much is needed."""
        each = self._chain.bytes_an_example()
        capacity = int(self._options.max_memory // each)
        if capacity < 2 <= sum(self.counts):
            raise InputError(
                f"max_memory is {self._options.max_memory:,.0f} bytes, but two examples at once need {2 * each:,}; "
                "allow more, or give shorter examples"
            )
        return max(capacity, 1)

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
        weights = [ops.convert_to_numpy(v) for v in self._model.variables if v.name != "seed_generator_state"]
        names = [variable.path.rsplit("/", 2)[-2:] for variable in self._problem.chosen]
        groups = [self._options.parts(v.path) if self._options.parts else "" for v in self._problem.chosen]
        identity = {
            "version": __version__,
            "backend": keras.backend.backend(),
            "weights": fingerprint(weights),
            "data": fingerprint(self._problem.inputs),
            "variables": fingerprint([names, groups]),
            "tiles": fingerprint([part for tile in tiles for part in (tile.columns, tile.rows, tile.square)]),
        }
        classes = self._problem.classes
        entries = [len(tile.examples) * len(tile.columns) * classes**2 for tile in tiles]
        kinds = len(set(groups)) + 1
        size = 8 * (sum(entries) * kinds + max(entries) * kinds * len(self._problem.segments))
        return Store(Path(self._options.directory), identity, size)

    def _assembled(self, tiles: Sequence[Tile], done: dict[int, Groups]) -> NTK:
        """Put tiles together; what lies on the other side of the diagonal is the same, transposed."""
        total, classes = sum(self.counts), self._problem.classes
        whole: Groups = {name: np.zeros((total, classes, self.counts[0], classes)) for name in done[0]}
        every = np.arange(classes)
        for number, tile in enumerate(tiles):
            for name, part in done[number].items():
                if tile.square:
                    whole[name][np.ix_(tile.columns, every, tile.columns)] = part[: len(tile.columns)]
                if len(tile.rows):
                    across = part[len(tile.columns) :]
                    whole[name][np.ix_(tile.rows, every, tile.columns)] = across
                    if tile.rows[0] < self.counts[0]:
                        mirrored = across.transpose(2, 3, 0, 1)
                        whole[name][np.ix_(tile.columns, every, tile.rows)] = mirrored
        pretrain = whole.pop("pretrain")
        parts = {name.removeprefix("finetune/"): part for name, part in whole.items()}
        return NTK(pretrain, np.sum(list(parts.values()), axis=0), parts if self._options.parts else {})
