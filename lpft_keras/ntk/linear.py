"""A model made linear in its variables: its first-order Taylor expansion at one set of weights."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops, tree

from lpft_keras.arrays import as_array, is_float
from lpft_keras.errors import InputError
from lpft_keras.ntk.problem import pose
from lpft_keras.ntk.processes import weights_of
from lpft_keras.ntk.segments import joined, value_of
from lpft_keras.storage import fingerprint


class LinearizedModel(keras.Model):
    """f_lin(x) = f(x; theta_0) + J(x; theta_0) (theta - theta_0), by one directional derivative a batch.

    Made by `linearize`. It predicts and evaluates as any Keras model does; it has no variables of its own that `fit`
    could train. It reads theta_0 from the model itself, whose weights must stay what they were: `predict` and
    `evaluate` raise an `InputError` where they have changed since.

    Args:
        model: The model, at theta_0.
        weights: theta, one array a variable of the model, in the order of `model.get_weights()`.
        x: One or more examples, to look at the model by.
    """

    def __init__(self, model: keras.Model, weights: Sequence[np.ndarray], x: Any):
        super().__init__(name=f"linearized_{model.name}")
        variables = [v for v in model.variables if keras.backend.is_float_dtype(v.dtype)]
        target = {id(v): np.asarray(w) for v, w in zip(model.weights, weights, strict=True)}
        problem = pose(model, [tree.map_structure(lambda array: array[:1], x)], variables)
        whole = joined(problem.segments)
        head = problem.network.head

        def moved(variable: keras.Variable) -> np.ndarray:
            now = ops.convert_to_numpy(variable).astype("float64")
            return (target[id(variable)].astype("float64") - now).astype("float32")

        # Past Keras, which would track what it finds: they are another model's.
        held = {
            "model": model,
            "home": fingerprint(weights_of(model)),
            "problem": problem,
            "whole": whole,
            "tangents": [ops.convert_to_tensor(moved(variable)) for variable in whole.direct],
            "head": [(head.kernel, moved(head.kernel))] + ([(head.bias, moved(head.bias))] if head.use_bias else []),
        }
        object.__setattr__(self, "_held", held)
        self.built = True

    def call(self, inputs, training=None):
        """Return the logits of the linear model, float32 [rows, C]."""
        held = self._held
        problem, whole = held["problem"], held["whole"]
        with problem.computing():
            sides = problem.sides(whole, problem.network.tensors(inputs))
            features, change = problem.jacobian.push_forward(whole, sides, held["tangents"])
            kernel, by_kernel = held["head"][0]
            logits = ops.matmul(features + change, value_of(kernel, "float32")) + ops.matmul(features, by_kernel)
            for bias, by_bias in held["head"][1:]:
                logits = logits + value_of(bias, "float32") + ops.convert_to_tensor(by_bias)
        return logits

    def __call__(self, inputs, *arguments, **named):
        """Return what Keras' `__call__` does; refused where the model takes no such inputs."""
        self._check_inputs(inputs)
        return super().__call__(inputs, *arguments, **named)

    def predict(self, x, *arguments, **named):
        """Return what Keras' `predict` does; refused where the model takes no such `x`, or has left theta_0."""
        self._check_inputs(x)
        self._check_home()
        return super().predict(x, *arguments, **named)

    def evaluate(self, x=None, *arguments, **named):
        """Return what Keras' `evaluate` does; refused where the model takes no such `x`, or has left theta_0."""
        self._check_inputs(x)
        self._check_home()
        return super().evaluate(x, *arguments, **named)

    def _check_inputs(self, inputs: Any) -> None:
        """Look at the shapes of arrays and tensors: what is wrong inside `call` Keras wraps into many lines."""
        try:
            one = tree.map_structure(lambda part: np.zeros((1, *tuple(part.shape)[1:])), inputs)
        except (AttributeError, TypeError, ValueError):
            return  # a data set or a generator; or a tensor in a graph, whose shape is not known
        self._held["problem"].network.arrays(one)

    def _check_home(self) -> None:
        model = self._held["model"]
        if fingerprint(weights_of(model)) != self._held["home"]:
            raise InputError(
                f"the weights of model {model.name!r} have changed since it was linearized; give them back "
                "(model.set_weights), or linearize it anew"
            )

    def compute_output_spec(self, inputs, training=None):
        """Return the shape of the logits without running the model."""
        rows = tree.flatten(inputs)[0].shape[0]
        return keras.KerasTensor((rows, self._held["problem"].classes), "float32")


def linearize(model: keras.Model, weights: keras.Model | Sequence[np.ndarray], x: Any) -> LinearizedModel:
    """Return the linear model that fine-tuning would have trained, had features and kernel stayed fixed.

    The linearisation test of Malladi et al. 2023 (Definition 3.2 (i), Figure 2): theta_0 are the pre-trained weights,
    theta the fine-tuned ones; how much of the gain of fine-tuning is left is what `gain_recovered` says.

    Args:
        model: A Keras classifier, as `empirical_ntk` takes it, at theta_0. While the linear model is used it must keep
            these weights; the linear model refuses to predict where it has not.
        weights: theta: a model of the same variables, or arrays in the order of `model.get_weights()`.
        x: One or more examples, to look at the model by.

    Returns:
        A Keras model of the same inputs that gives logits; `predict` and, compiled, `evaluate` work.

    Raises:
        InputError: The weights are not those of such a model, or `empirical_ntk` would refuse the model.

    Example:
        >>> before = model.get_weights()
        >>> model.fit(x, y)
        >>> after = model.get_weights()
        >>> model.set_weights(before)
        >>> linear_logits = linearize(model, after, x).predict(x)
    """
    return LinearizedModel(model, checked_weights(model, weights), x)


def checked_weights(model: keras.Model, weights: keras.Model | Sequence[np.ndarray]) -> list[np.ndarray]:
    """Return other weights of a model as arrays.

    Args:
        model: The model.
        weights: A model of the same variables, or arrays in the order of `model.get_weights()`.

    Raises:
        InputError: They are not of the shapes of the model's, or hold what is no finite number.
    """
    if isinstance(weights, keras.Model):
        weights = weights.get_weights()
    if not isinstance(weights, list | tuple):
        raise InputError(f"weights must be a model or a list of arrays, not {type(weights).__name__}")
    arrays = [as_array(array, f"weights[{number}]") for number, array in enumerate(weights)]
    shapes = [tuple(variable.shape) for variable in model.weights]
    if [array.shape for array in arrays] != shapes:
        raise InputError(
            f"weights hold {len(arrays)} arrays that are not of the shapes of model {model.name!r}'s {len(shapes)} "
            "variables; give those of the same model after training"
        )
    if not all(np.isfinite(array).all() for array in arrays if is_float(array)):
        raise InputError("the weights hold NaN or infinite values")
    return arrays


def gain_recovered(before: float, after: float, linear: float) -> float:
    """Return which share of the gain of fine-tuning the linear model has.

    Args:
        before: Accuracy of the pre-trained model.
        after: Accuracy of the fine-tuned model.
        linear: Accuracy of the linear model.

    Returns:
        (linear - before) / (after - before); NaN where fine-tuning gained nothing, or lost.
    """
    return (linear - before) / (after - before) if after > before else float("nan")
