"""The empirical neural tangent kernel of a classifier, exact, split into P and F, without ever holding a Jacobian."""

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops, tree

from lpft_keras import __version__
from lpft_keras.errors import InputError
from lpft_keras.ntk.graph import Network, take_apart
from lpft_keras.ntk.jacobian import Jacobian, make_jacobian
from lpft_keras.ntk.passes import Chain, Groups
from lpft_keras.ntk.segments import chain
from lpft_keras.ntk.tiles import Store, Tile, plan_tiles
from lpft_keras.progress import progress_bar
from lpft_keras.storage import fingerprint

Choice = Callable[[keras.Variable], bool] | Iterable[keras.Variable]


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
        network = take_apart(model, data[0])
        arrays = [network.arrays(x) for x in data]
        self.counts = [_count(part) for part in arrays]
        lengths = [found for found in map(_lengths, data) if found is not None]
        self._lengths = np.concatenate(lengths) if lengths else None
        self._inputs = [_joined(parts, padded=bool(lengths)) for parts in zip(*arrays, strict=True)]
        chosen = _chosen(model, network, options.variables)
        _check_weights(model)
        _refuse_noise(model, data[0])
        self._chain = Chain(network, *chain(network, chosen), _kept_jacobian(model), options.parts)
        self._model, self._chosen, self._options = model, chosen, options

    def compute(self, square: bool) -> NTK:
        """Return the kernel [all examples, C, first data set, C]; without `square`, its first rows mean nothing."""
        tiles = plan_tiles(self.counts[0], sum(self.counts[1:]), square, self._capacity())
        store = self._store(tiles)
        waiting = list(enumerate(tiles))
        done: dict[int, Groups] = {}
        steps = len(tiles) * (len(self._chain.segments) + 1)
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
        each = self._chain.bytes_an_example(self._inputs)
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
            return self._chain.tile(self._inputs, self._lengths, tile, advance=advance)
        with store.claimed(number, wait) as ours:
            if not ours:
                return None
            found = store.read(number, "whole")
            if found is None:
                found = self._chain.tile(
                    self._inputs,
                    self._lengths,
                    tile,
                    partial(store.read, number),
                    partial(store.write, number),
                    advance,
                )
                store.finish(number, found)
            return found

    def _store(self, tiles: Sequence[Tile]) -> Store | None:
        if self._options.directory is None:
            return None
        weights = [ops.convert_to_numpy(v) for v in self._model.variables if v.name != "seed_generator_state"]
        names = [variable.path.rsplit("/", 2)[-2:] for variable in self._chosen]
        groups = [self._options.parts(v.path) if self._options.parts else "" for v in self._chosen]
        identity = {
            "version": __version__,
            "backend": keras.backend.backend(),
            "weights": fingerprint(weights),
            "data": fingerprint(self._inputs),
            "variables": fingerprint([names, groups]),
            "tiles": fingerprint([part for tile in tiles for part in (tile.columns, tile.rows, tile.square)]),
        }
        classes = self._chain.network.head.kernel.shape[1]
        entries = [len(tile.examples) * len(tile.columns) * classes**2 for tile in tiles]
        kinds = len(set(groups)) + 1
        size = 8 * (sum(entries) * kinds + max(entries) * kinds * len(self._chain.segments))
        return Store(Path(self._options.directory), identity, size)

    def _assembled(self, tiles: Sequence[Tile], done: dict[int, Groups]) -> NTK:
        """Put tiles together; what lies on the other side of the diagonal is the same, transposed."""
        total, classes = sum(self.counts), self._chain.network.head.kernel.shape[1]
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


def _kept_jacobian(model: keras.Model) -> Jacobian:
    """Return the model's own, so that what was compiled for it serves again."""
    if "_lpft_jacobian" not in vars(model):
        object.__setattr__(model, "_lpft_jacobian", make_jacobian())
    return vars(model)["_lpft_jacobian"]


def _count(arrays: Sequence[np.ndarray]) -> int:
    counts = {len(array) for array in arrays}
    if len(counts) != 1:
        raise InputError(f"the arrays of x hold unlike numbers of examples: {sorted(counts)}")
    if counts == {0}:
        raise InputError("x holds no examples")
    for array in arrays:
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise InputError("x holds NaN or infinite values")
    return counts.pop()


def _joined(parts: Sequence[np.ndarray], padded: bool) -> np.ndarray:
    """Return one input of all data sets; token arrays may be padded to unlike lengths."""
    shapes = {part.shape[1:] for part in parts}
    if len(shapes) > 1 and padded and all(part.ndim == 2 for part in parts):
        width = max(part.shape[1] for part in parts)
        parts = [np.pad(part, ((0, 0), (0, width - part.shape[1]))) for part in parts]
    elif len(shapes) > 1:
        raise InputError(f"examples of x1 and x2 have unlike shapes: {' and '.join(map(str, sorted(shapes)))}")
    return np.concatenate(parts)


def _lengths(x: Any) -> np.ndarray | None:
    """Return how many columns each example uses, by its padding mask; None where there is none."""
    if not isinstance(x, dict) or "padding_mask" not in x:
        return None
    mask = np.asarray(x["padding_mask"]) != 0
    return (mask * np.arange(1, mask.shape[1] + 1)).max(axis=1)


def _chosen(model: keras.Model, network: Network, variables: Choice | None) -> list[keras.Variable]:
    """Return the variables that F is taken over, in the model's order."""
    head = {id(variable) for variable in network.head.variables}
    used = {id(v) for call in network.calls for layer in call.layers for v in layer.variables}
    below = [v for v in model.variables if id(v) in used - head and keras.backend.is_float_dtype(v.dtype)]
    if variables is None:
        trainable = {id(variable) for variable in model.trainable_variables}
        found = [variable for variable in below if id(variable) in trainable]
        if not found:
            raise InputError(
                "no variable below the head is trainable, so F would be nothing; unfreeze the backbone, or choose "
                "variables=model.variables"
            )
        return found
    if callable(variables):
        found = [variable for variable in below if variables(variable)]
    else:
        given = list(variables)
        known = {id(variable) for variable in model.variables}
        for variable in given:
            if id(variable) not in known:
                raise InputError(f"variable {getattr(variable, 'path', variable)!r} is not one of model {model.name!r}")
        wanted = {id(variable) for variable in given}
        found = [variable for variable in below if id(variable) in wanted]
    if not found:
        raise InputError("variables= chooses none of the variables below the head")
    return found


def _refuse_noise(model: keras.Model, x: Any) -> None:
    """Call the model twice: the kernel of a model that is random would be of no function."""
    few = tree.map_structure(lambda array: ops.convert_to_tensor(np.asarray(array)[:2]), x)
    first, second = (np.asarray(ops.convert_to_numpy(model(few, training=False))) for _ in range(2))
    if not np.array_equal(first, second, equal_nan=True):
        raise InputError(f"model {model.name!r} differs between two calls on the same examples, though dropout is off")


def _check_weights(model: keras.Model) -> None:
    for variable in model.variables:
        if keras.backend.is_float_dtype(variable.dtype) and not bool(
            ops.all(ops.isfinite(ops.convert_to_tensor(variable)))
        ):
            raise InputError(f"variable {variable.path!r} holds NaN or infinite values")
