"""The empirical neural tangent kernel of a classifier, exact, split into P and F, without ever holding a Jacobian."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
from keras import ops, tree

from lpft_keras.errors import InputError
from lpft_keras.ntk.blocks import Block, Rows, gram
from lpft_keras.ntk.graph import Network, Slot, run, take_apart
from lpft_keras.ntk.jacobian import Jacobian, Pulled, make_jacobian
from lpft_keras.ntk.segments import Segment, chain
from lpft_keras.progress import progress_bar

Choice = Callable[[keras.Variable], bool] | Iterable[keras.Variable]

# Examples that are differentiated at once.
_CHUNK = 16
# Examples of like length are computed together; so many groups at most, since some backends compile each.
_BUCKETS = 4


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
        show_progress: Whether to show a progress bar; None decides by the terminal.

    Returns:
        The kernel, [N1, C, N2, C].

    Raises:
        InputError: The model has no Dense head, is random or gives NaN; a variable is unknown; `x1` is empty or does
            not fit the model.

    Example:
        >>> ntk = empirical_ntk(model, images)
        >>> ntk.total.shape
        (32, 10, 32, 10)
    """
    data = [x1] if x2 is None else [x2, x1]
    finder = _Kernel(model, data, variables, parts, show_progress)
    kernel = finder.compute(square=x2 is None)
    return kernel if x2 is None else _rows(kernel, slice(finder.counts[0], None))


def train_test_ntk(
    model: keras.Model,
    train: Any,
    test: Any,
    *,
    variables: Choice | None = None,
    parts: Callable[[str], str] | None = None,
    show_progress: bool | None = None,
) -> tuple[NTK, NTK]:
    """Compute the kernels of training rows with themselves and of test rows with training rows in one pass.

    Args:
        model: As for `empirical_ntk`, like the other arguments.
        train: N1 examples.
        test: N2 examples.
        variables: What F is taken over.
        parts: Gives the name of the group for a variable's path.
        show_progress: Whether to show a progress bar.

    Returns:
        The kernels, [N1, C, N1, C] and [N2, C, N1, C].

    Raises:
        InputError: As `empirical_ntk`.
    """
    finder = _Kernel(model, [train, test], variables, parts, show_progress)
    kernel = finder.compute(square=True)
    return _rows(kernel, slice(finder.counts[0])), _rows(kernel, slice(finder.counts[0], None))


def _rows(kernel: NTK, rows: slice) -> NTK:
    parts = {name: part[rows] for name, part in kernel.parts.items()}
    return NTK(kernel.pretrain[rows], kernel.finetune[rows], parts)


@dataclass
class _Bunch:
    """Examples of like length, computed together.

    Attributes:
        rows: Their numbers among all examples.
        values: What the segments read from below and aside, by slot; [examples, ...] where the slot is batched.
        features: float64, [examples, h].
        cotangents: Of what the present segment gives, [examples, classes, ...].
    """

    rows: np.ndarray
    inputs: list[np.ndarray]
    values: dict[Slot, np.ndarray] = field(default_factory=dict)
    features: np.ndarray = field(default_factory=lambda: np.empty(0))
    cotangents: np.ndarray | None = None


class _Kernel:
    """One computation: the examples of all data sets, the first of which gives the kernel's columns."""

    def __init__(self, model, data: Sequence[Any], variables: Choice | None, parts, show_progress):
        self._network = take_apart(model, data[0])
        arrays = [self._network.arrays(x) for x in data]
        self.counts = [_count(part) for part in arrays]
        chosen = _chosen(model, self._network, variables)
        self._fixed, self._segments = chain(self._network, chosen)
        self._group = parts
        self._show = show_progress
        self._jacobian = _kept_jacobian(model)
        self._bunches: list[_Bunch] = []
        first = 0
        for x, part, count in zip(data, arrays, self.counts, strict=True):
            self._bunches += _bunches(part, _lengths(x), first)
            first += count
        _check_weights(model)
        _refuse_noise(model, data[0])

    def compute(self, square: bool) -> NTK:
        """Return the kernel [all examples, C, first data set, C]; without `square`, its first rows mean nothing."""
        steps = len(self._segments) * len(self._bunches)
        with progress_bar("neural tangent kernel", steps + len(self._bunches), self._show) as advance:
            for number, bunch in enumerate(self._bunches):
                self._forward(bunch)
                advance(number + 1)
            head = ops.convert_to_numpy(self._network.head.kernel).astype("float32")
            for bunch in self._bunches:
                bunch.cotangents = np.broadcast_to(head.T, (len(bunch.rows), *head.T.shape))
            groups: dict[str, np.ndarray] = {}
            done = len(self._bunches)
            for segment in reversed(self._segments):
                blocks: dict[int, list[Block]] = {}
                for bunch in self._bunches:
                    for variable, block in self._pull_back(segment, bunch):
                        blocks.setdefault(id(variable), []).append(block)
                    done += 1
                    advance(done)
                for variable in segment.chosen:
                    name = self._group(variable.path) if self._group else ""
                    kernel = gram(blocks.pop(id(variable)), self.counts[0], square)
                    groups[name] = groups[name] + kernel if name in groups else kernel
        return self._assembled(groups)

    def _forward(self, bunch: _Bunch) -> None:
        """Fill in what the segments read, and the features."""
        network, pieces, constant = self._network, [], {}
        kept = {slot for segment in self._segments for slot in [segment.below, *segment.sides] if slot is not None}
        for first in range(0, len(bunch.rows), _CHUNK):
            # A copy of the last example fills the chunk up: an unlike shape would be compiled anew.
            rows = np.arange(first, first + min(_CHUNK, len(bunch.rows))).clip(max=len(bunch.rows) - 1)
            count = min(_CHUNK, len(bunch.rows) - first)
            values: dict[Slot, Any] = {
                slot: ops.convert_to_tensor(array[rows])
                for slot, array in zip(network.inputs, bunch.inputs, strict=True)
            }
            run(self._fixed, values)
            for segment in self._segments:
                sides = [values[slot] for slot in segment.sides]
                below = values[segment.below] if segment.below is not None else None
                values[segment.above] = self._jacobian.forward(segment, below, sides)
            pieces.append({slot: _host(values[slot])[:count] for slot in {*kept, network.features} if slot.batched})
            constant = {slot: _host(values[slot]) for slot in kept if not slot.batched}
        joined = {slot: np.concatenate([piece[slot] for piece in pieces]) for slot in pieces[0]}
        bunch.features = joined[network.features].astype("float64")
        if bunch.features.ndim != 2:
            raise InputError(
                f"the head reads features of shape {bunch.features.shape[1:]} an example; one axis is wanted"
            )
        if not np.isfinite(bunch.features).all():
            raise InputError("the model's features hold NaN or infinite values for these examples")
        bunch.values = {slot: joined[slot] for slot in kept if slot.batched} | constant

    def _pull_back(self, segment: Segment, bunch: _Bunch):
        """Yield the gradients of a segment's chosen variables, and leave the cotangents for the segment below."""
        cotangents, lower = bunch.cotangents, []
        assert cotangents is not None
        for first in range(0, len(bunch.rows), _CHUNK):
            rows = np.arange(first, first + min(_CHUNK, len(bunch.rows))).clip(max=len(bunch.rows) - 1)
            count = min(_CHUNK, len(bunch.rows) - first)
            sides = [
                ops.convert_to_tensor(bunch.values[slot][rows] if slot.batched else bunch.values[slot])
                for slot in segment.sides
            ]
            below = ops.convert_to_tensor(bunch.values[segment.below][rows]) if segment.below is not None else None
            pulled = self._jacobian.pull_back(segment, below, sides, np.ascontiguousarray(cotangents[rows]))
            yield from _blocks(segment, pulled, count)
            if pulled.below is not None:
                lower.append(pulled.below[:count])
        bunch.cotangents = np.concatenate(lower) if lower else None

    def _assembled(self, groups: dict[str, np.ndarray]) -> NTK:
        """Bring the examples back into the order they came in, and add P."""
        order = np.argsort(np.concatenate([bunch.rows for bunch in self._bunches]))
        columns = order[: self.counts[0]]
        parts = {name: part[order][:, :, columns] for name, part in groups.items()}
        features = np.concatenate([bunch.features for bunch in self._bunches])[order]
        inner = features @ features[: self.counts[0]].T + (1.0 if self._network.head.use_bias else 0.0)
        classes = self._network.head.kernel.shape[1]
        pretrain = np.einsum("ij,cd->icjd", inner, np.eye(classes))
        return NTK(pretrain, np.sum(list(parts.values()), axis=0), parts if self._group else {})


def _blocks(segment: Segment, pulled: Pulled, count: int):
    """Yield each chosen variable of a segment with its gradients for the first `count` examples."""
    for variable, rows in zip(segment.direct, pulled.direct, strict=True):
        yield variable, Rows(rows[:count])
    for number, tap in enumerate(segment.taps):
        calls = [call for call, owner in enumerate(pulled.taps) if owner == number]
        if not calls:
            raise InputError(f"layer {tap.layer.name!r} is not called by the model, but its variables are chosen")
        yield from tap.blocks([pulled.seen[k][:count] for k in calls], [pulled.deltas[k][:count] for k in calls])


def _host(tensor: Any) -> np.ndarray:
    return np.asarray(ops.convert_to_numpy(tensor))


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


def _lengths(x: Any) -> np.ndarray | None:
    """Return how many columns each example uses, by its padding mask; None where there is none."""
    if not isinstance(x, dict) or "padding_mask" not in x:
        return None
    mask = np.asarray(x["padding_mask"]) != 0
    return (mask * np.arange(1, mask.shape[1] + 1)).max(axis=1)


def _bunches(inputs: list[np.ndarray], lengths: np.ndarray | None, first: int) -> list[_Bunch]:
    """Group examples by length, and cut off the columns that a group does not use."""
    n = len(inputs[0])
    if lengths is None:
        return [_Bunch(first + np.arange(n), inputs)]
    full = max(array.shape[1] for array in inputs if array.ndim == 2)
    order = np.argsort(lengths, kind="stable")
    bunches = []
    for rows in np.array_split(order, min(_BUCKETS, -(-n // 4))):
        width = min(full, -(-int(lengths[rows].max()) // 8) * 8)
        cut = [
            array[rows][:, :width] if array.ndim == 2 and array.shape[1] == full else array[rows] for array in inputs
        ]
        bunches.append(_Bunch(first + rows, cut))
    return bunches


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
    first, second = (_host(model(few, training=False)) for _ in range(2))
    if not np.array_equal(first, second, equal_nan=True):
        raise InputError(f"model {model.name!r} differs between two calls on the same examples, though dropout is off")


def _check_weights(model: keras.Model) -> None:
    for variable in model.variables:
        if keras.backend.is_float_dtype(variable.dtype) and not bool(
            ops.all(ops.isfinite(ops.convert_to_tensor(variable)))
        ):
            raise InputError(f"variable {variable.path!r} holds NaN or infinite values")
