"""What a kernel is asked of: a model taken apart, its examples as arrays, the variables; all checked before work."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops

from lpft_keras.errors import InputError
from lpft_keras.ntk.calls import Call, Slot, computing_in, run
from lpft_keras.ntk.graph import Network, take_apart
from lpft_keras.ntk.jacobian import Jacobian, make_jacobian
from lpft_keras.ntk.probe import Probe, probe
from lpft_keras.ntk.segments import Segment, chain, value_of, variables_as, variables_of
from lpft_keras.ntk.subsets import Choice, Subset, chosen_subset


@dataclass(frozen=True)
class Problem:
    """A model and examples, ready to be differentiated.

    Attributes:
        network: The model taken apart.
        fixed: The calls that no chosen variable lies under.
        segments: The calls above, as a chain, lowest first.
        subset: The variables that the kernel is taken over.
        single: Whether the model has one logit, f_1 - f_0, in place of two.
        counts: How many examples each data set has.
        inputs: One array an input of the network, the examples of all data sets.
        lengths: How many columns each example uses; None where none can be cut off.
        probe: What was seen of the model on two examples.
        dtype: What everything is computed in, "float32" or "float64".
        jacobian: The backend's derivatives, with what was compiled for this model before.
        layers: All layers of the model.
        agreed: Chains of this model that were compared with its plain gradient.
        taps: Whether layers are listened to.
    """

    network: Network
    fixed: list[Call]
    segments: list[Segment]
    subset: Subset
    single: bool
    counts: list[int]
    inputs: list[np.ndarray]
    lengths: np.ndarray | None
    probe: Probe
    dtype: str
    jacobian: Jacobian
    layers: list[keras.layers.Layer]
    agreed: set[tuple]
    taps: bool

    @property
    def mixing(self) -> np.ndarray:
        """What the head's outputs are multiplied by to give the logits, [outputs, C]."""
        return np.array([[-1.0], [1.0]]) if self.single else np.eye(self.network.head.kernel.shape[1])

    @property
    def classes(self) -> int:
        """How many logits there are, C."""
        return self.mixing.shape[1]

    @property
    def head(self) -> np.ndarray:
        """The derivative of the logits by the features, [h, C]."""
        kernel = ops.convert_to_numpy(self.network.head.kernel).astype("float64")
        return (kernel @ self.mixing).astype(self.dtype)

    def head_gradient(self, features: np.ndarray, cotangents: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the gradient of a sum of logits by the head's kernel and bias, zeros for what the kernel leaves out.

        Args:
            features: [examples, h].
            cotangents: What each logit counts in the sum, [examples, C].

        Returns:
            float64 arrays of shapes [h, outputs] and [outputs].
        """
        by_output = cotangents.astype("float64") @ self.mixing.T
        of_kernel = features.astype("float64").T @ by_output
        return of_kernel * self.subset.kernel, by_output.sum(axis=0) * self.subset.bias

    def fixed_values(self, arrays: Sequence[np.ndarray]) -> dict[Slot, Any]:
        """Return some examples' inputs, and what no chosen variable lies under, as tensors by slot."""
        values = {slot: ops.convert_to_tensor(array) for slot, array in zip(self.network.inputs, arrays, strict=True)}
        with variables_as([(variable, value_of(variable, self.dtype)) for variable in variables_of(self.fixed)]):
            run(self.fixed, values)
        return values

    def sides(self, segment: Segment, arrays: Sequence[np.ndarray]) -> list[Any]:
        """Return the side inputs of a segment of all calls, for some examples' inputs."""
        values = self.fixed_values(arrays)
        return [values[slot] for slot in segment.sides]

    def computing(self) -> AbstractContextManager[None]:
        """Let the model compute in the problem's dtype while the context is entered."""
        return computing(self.dtype, self.layers, self.jacobian)


def pose(
    model: keras.Model,
    data: Sequence[Any],
    variables: Choice | None,
    single: bool = False,
    dtype: str = "float32",
    taps: bool = True,
) -> Problem:
    """Take a model apart and check it with its examples.

    Args:
        model: A Keras model that ends in a Dense head.
        data: Data sets, each as the model takes its examples.
        variables: As `empirical_ntk` takes it.
        single: Whether the kernel of f_1 - f_0 is asked for.
        dtype: What is computed in.
        taps: Whether layers may be listened to; without, all variables are differentiated as they are.

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
    inputs = [_joined(parts, open_) for parts, open_ in zip(zip(*arrays, strict=True), network.open, strict=True)]
    lengths = _lengths(network, inputs)
    outputs = network.head.kernel.shape[1]
    if single and outputs != 2:
        raise InputError(f"single_logit is f_1 - f_0, for two classes; the head of model {model.name!r} has {outputs}")
    subset = chosen_subset(model, _below(model, network), network.head, variables)
    chosen = subset.below
    _check_weights(model)
    layers, (jacobian, agreed) = list(model._flatten_layers()), _kept(model)
    with computing(dtype, layers, jacobian):
        seen = probe(network, inputs, chosen, dtype, lengths)
    untapped = seen.untapped if taps else layers
    fixed, segments = chain(network, chosen, dtype, untapped)
    lengths = lengths if seen.trims else None
    return Problem(
        network, fixed, segments, subset, single, counts, inputs, lengths, seen, dtype, jacobian, layers, agreed, taps
    )


@contextmanager
def computing(dtype: str, layers: Sequence[keras.layers.Layer], jacobian: Jacobian) -> Iterator[None]:
    """Let a model compute in a dtype, and exactly in it, whatever its policies and the backend's settings say."""
    with computing_in(dtype, layers), jacobian.exact(dtype):
        yield


def _kept(model: keras.Model) -> tuple[Jacobian, set[tuple]]:
    """Return the model's own derivatives and checks, so that what was compiled and compared for it serves again."""
    if "_lpft_kept" not in vars(model):
        object.__setattr__(model, "_lpft_kept", (make_jacobian(), set()))
    return vars(model)["_lpft_kept"]


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


def _joined(parts: Sequence[np.ndarray], open_: bool) -> np.ndarray:
    """Return one input of all data sets; token arrays may be padded to unlike lengths."""
    shapes = {part.shape[1:] for part in parts}
    if len(shapes) > 1 and open_:
        width = max(part.shape[1] for part in parts)
        parts = [np.pad(part, ((0, 0), (0, width - part.shape[1]))) for part in parts]
    elif len(shapes) > 1:
        raise InputError(f"examples of x1 and x2 have unlike shapes: {' and '.join(map(str, sorted(shapes)))}")
    return np.concatenate(parts)


def _lengths(network: Network, inputs: Sequence[np.ndarray]) -> np.ndarray | None:
    """Return how many columns each example uses, by the model's padding mask; None where it takes none."""
    if "padding_mask" not in network.names or not network.open[network.names.index("padding_mask")]:
        return None
    mask = inputs[network.names.index("padding_mask")] != 0
    return (mask * np.arange(1, mask.shape[1] + 1)).max(axis=1).clip(min=1)


def _below(model: keras.Model, network: Network) -> list[keras.Variable]:
    """Return the variables of real numbers below the head, in the model's order."""
    head = {id(variable) for variable in network.head.variables}
    used = {id(v) for call in network.calls for layer in call.layers for v in layer.variables}
    return [v for v in model.variables if id(v) in used - head and keras.backend.is_float_dtype(v.dtype)]


def _check_weights(model: keras.Model) -> None:
    for variable in model.variables:
        if keras.backend.is_float_dtype(variable.dtype) and not bool(
            ops.all(ops.isfinite(ops.convert_to_tensor(variable)))
        ):
            raise InputError(f"variable {variable.path!r} holds NaN or infinite values")
