"""What a kernel is asked of: a model taken apart, its examples as arrays, the variables; all checked before work."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops

from lpft_keras.errors import InputError
from lpft_keras.ntk.graph import Call, Network, Slot, computing_in, run, take_apart
from lpft_keras.ntk.jacobian import Jacobian, make_jacobian
from lpft_keras.ntk.segments import Segment, chain, value_of, variables_as, variables_of

Choice = Callable[[keras.Variable], bool] | Iterable[keras.Variable]


@dataclass(frozen=True)
class Problem:
    """A model and examples, ready to be differentiated.

    Attributes:
        network: The model taken apart.
        fixed: The calls that no chosen variable lies under.
        segments: The calls above, as a chain, lowest first.
        chosen: The variables that F is taken over.
        counts: How many examples each data set has.
        inputs: One array an input of the network, the examples of all data sets.
        lengths: How many columns each example uses; None where there is no padding mask.
        dtype: What everything is computed in, "float32" or "float64".
        jacobian: The backend's derivatives, with what was compiled for this model before.
        layers: All layers of the model.
    """

    network: Network
    fixed: list[Call]
    segments: list[Segment]
    chosen: list[keras.Variable]
    counts: list[int]
    inputs: list[np.ndarray]
    lengths: np.ndarray | None
    dtype: str
    jacobian: Jacobian
    layers: list[keras.layers.Layer]

    @property
    def classes(self) -> int:
        """How many logits there are."""
        return self.network.head.kernel.shape[1]

    @property
    def head(self) -> np.ndarray:
        """The kernel of the head, [h, C]."""
        return np.asarray(ops.convert_to_numpy(self.network.head.kernel)).astype(self.dtype)

    def run_fixed(self, values: dict[Slot, Any]) -> None:
        """Compute what no chosen variable lies under, reading and writing tensors in `values`."""
        with variables_as([(variable, value_of(variable, self.dtype)) for variable in variables_of(self.fixed)]):
            run(self.fixed, values)

    def computing(self) -> ExitStack:
        """Let the model compute in the problem's dtype while the context is entered."""
        stack = ExitStack()
        stack.enter_context(computing_in(self.dtype, self.layers))
        if self.dtype == "float64":
            from lpft_keras.ntk.jacobian.tensorflow import float64_gelu

            stack.enter_context(float64_gelu())
        return stack


def pose(model: keras.Model, data: Sequence[Any], variables: Choice | None, dtype: str = "float32") -> Problem:
    """Take a model apart and check it with its examples.

    Args:
        model: A Keras model that ends in a Dense head.
        data: Data sets, each as the model takes its examples.
        variables: As `empirical_ntk` takes it.
        dtype: What is computed in.

    Returns:
        The problem.

    Raises:
        InputError: The model, the examples or the variables won't do.
    """
    if dtype == "float64" and keras.backend.backend() != "tensorflow":
        # Its type promotion takes a float64 tensor and a float32 constant for float32.
        raise InputError(
            f'dtype="float64" needs TensorFlow (KERAS_BACKEND=tensorflow): on {keras.backend.backend()}, Keras takes '
            "normalisation and activations of float64 numbers in float32"
        )
    network = take_apart(model, data[0])
    arrays = [network.arrays(x) for x in data]
    counts = [_count(part) for part in arrays]
    lengths = [found for found in map(_lengths, data) if found is not None]
    inputs = [_joined(parts, padded=bool(lengths)) for parts in zip(*arrays, strict=True)]
    chosen = _chosen(model, network, variables)
    _check_weights(model)
    fixed, segments = chain(network, chosen, dtype)
    joined = np.concatenate(lengths) if lengths else None
    layers = list(model._flatten_layers())
    return Problem(network, fixed, segments, chosen, counts, inputs, joined, dtype, _kept_jacobian(model), layers)


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


def _check_weights(model: keras.Model) -> None:
    for variable in model.variables:
        if keras.backend.is_float_dtype(variable.dtype) and not bool(
            ops.all(ops.isfinite(ops.convert_to_tensor(variable)))
        ):
            raise InputError(f"variable {variable.path!r} holds NaN or infinite values")
