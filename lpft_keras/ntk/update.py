"""One full-batch step of fine-tuning: what the kernel predicts of it (Proposition 1), and the step itself."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops

from lpft_keras.arrays import class_ids, real_number
from lpft_keras.errors import InputError, unknown_name
from lpft_keras.ntk.directions import Direction, changes, few, gradient
from lpft_keras.ntk.problem import Problem, pose
from lpft_keras.ntk.segments import Segment, joined
from lpft_keras.ntk.statistics import residuals
from lpft_keras.ntk.subsets import Choice

_RULES = ("sgd", "signgd")


@dataclass(frozen=True)
class Update:
    """How one step changes some examples.

    Attributes:
        features: Change of their features, float64 [M, h].
        logits: Change of their logits, float64 [M, C].
    """

    features: np.ndarray
    logits: np.ndarray

    def error(self, other: "Update") -> dict[str, float]:
        """Return the relative errors ||self - other|| / ||other|| of "features" and "logits", in the Frobenius norm.

        NaN where the other did not change, as where float32 rounds a change off.
        """
        return {
            name: _ratio(np.linalg.norm(ours - theirs), np.linalg.norm(theirs))
            for name, ours, theirs in (
                ("features", self.features, other.features),
                ("logits", self.logits, other.logits),
            )
        }


@dataclass(frozen=True)
class PredictedUpdate(Update):
    """How one step changes some examples to first order; the change of logits is the sum of two parts.

    Attributes:
        by_pretrain: The part of P, float64 [M, C].
        by_finetune: The part of F, float64 [M, C].
    """

    by_pretrain: np.ndarray
    by_finetune: np.ndarray

    def shares(self) -> dict[str, float]:
        """Return the mean over examples of ||part|| / ||P's part + F's part||; the two may add up to more than 1."""
        whole = np.linalg.norm(self.logits, axis=1)
        parts = {"pretrain": self.by_pretrain, "finetune": self.by_finetune}
        return {name: float(np.mean(_ratio(np.linalg.norm(part, axis=1), whole))) for name, part in parts.items()}


def _ratio(above, below):
    """Divide; nothing by nothing is NaN, and so is something by nothing."""
    return np.divide(above, below, out=np.full(np.shape(above), np.nan), where=np.asarray(below) > 0)[()]


def predict_update(
    model: keras.Model,
    train: Any,
    labels: Sequence[int] | np.ndarray,
    x: Any = None,
    *,
    learning_rate: float,
    rule: str = "sgd",
    variables: Choice | None = None,
    dtype: str = "float32",
) -> PredictedUpdate:
    """Predict one full-batch step on the mean cross-entropy to first order (Tomihari and Sato 2024, Proposition 1).

    The logits change by (eta / N) sum_i (P + F)(x, x_i) delta_i and the features by
    (eta / N) sum_i Theta^phi(x, x_i) V^T delta_i, delta_i = onehot(y_i) - softmax(f(x_i)). The paper's equations (4)
    and (5) leave out 1 / N, which is the step on the summed loss. No kernel is formed.

    Args:
        model: As for `empirical_ntk`, at the weights before the step.
        train: N training examples.
        labels: Integers of shape [N].
        x: M examples whose change is wanted; None takes the training examples.
        learning_rate: The step size, eta.
        rule: "sgd", or "signgd", a step of eta along the sign of the gradient: for one training example and one logit
            its prediction is that of the asymmetric kernel (Malladi et al. 2023, Theorem 4.3).
        variables: What moves, as `empirical_ntk` takes it.
        dtype: "float32", or "float64" (TensorFlow only).

    Returns:
        The changes; the two parts of that of the logits are those of P and F.

    Raises:
        InputError: As `empirical_ntk`; or labels do not fit.

    Costs:
        A gradient of N examples and a directional derivative of M.
    """
    step = _Step(model, train, labels, x, learning_rate, rule, variables, dtype)
    with step.problem.computing():
        change = changes(step.problem, step.whole, step.own, step.direction())
    return PredictedUpdate(change.features, change.by_head + change.by_features, change.by_head, change.by_features)


def real_update(
    model: keras.Model,
    train: Any,
    labels: Sequence[int] | np.ndarray,
    x: Any = None,
    *,
    learning_rate: float,
    rule: str = "sgd",
    variables: Choice | None = None,
    dtype: str = "float32",
) -> Update:
    """Take the step that `predict_update` predicts, and return what it changed. The model keeps its weights.

    Args:
        model: As for `predict_update`, like the other arguments.
        train: N training examples.
        labels: Integers of shape [N].
        x: M examples whose change is wanted; None takes the training examples.
        learning_rate: The step size.
        rule: "sgd" or "signgd".
        variables: What moves.
        dtype: "float32", or "float64" (TensorFlow only). In float32 a change is known to some 1e-7 of the logits.

    Returns:
        The changes.

    Raises:
        InputError: As `predict_update`.
    """
    step = _Step(model, train, labels, x, learning_rate, rule, variables, dtype)
    with step.problem.computing():
        direction = step.direction()
        before, after = step.outputs(None), step.outputs(direction)
    return Update(after[0] - before[0], after[1] - before[1])


class _Step:
    """A step, checked: the model and its examples, and which way it goes."""

    def __init__(self, model, train, labels, x, learning_rate, rule, variables, dtype):
        if rule not in _RULES:
            raise unknown_name("rule", rule, _RULES)
        self._rate, self._rule = real_number(learning_rate, "learning_rate", 0.0, np.inf), rule
        self.problem: Problem = pose(model, [train] if x is None else [train, x], variables, dtype=dtype)
        counts = self.problem.counts
        self._labels = class_ids(labels, counts[0], "the training examples")
        wrong = [label for label in self._labels if not 0 <= label < self.problem.classes]
        if wrong:
            raise InputError(f"label {wrong[0]} is none of the model's {self.problem.classes} classes, 0 and up")
        self._train = np.arange(counts[0])
        self.own = self._train if x is None else counts[0] + np.arange(counts[1])
        self.whole: Segment = joined(self.problem.segments)

    def direction(self) -> Direction:
        """Return how the variables move."""
        logits = self._outputs_of(self._train, None)[1]
        delta = residuals(logits, self._labels) / len(self._labels)
        down = gradient(self.problem, self.whole, self._train, delta)
        return (down.signs() if self._rule == "signgd" else down).times(self._rate)

    def outputs(self, direction: Direction | None) -> tuple[np.ndarray, np.ndarray]:
        """Return features and logits of the examples asked for, with the variables moved."""
        return self._outputs_of(self.own, direction)

    def _outputs_of(self, examples: np.ndarray, direction: Direction | None) -> tuple[np.ndarray, np.ndarray]:
        problem, moved = self.problem, None
        head = problem.network.head
        kernel = ops.convert_to_numpy(head.kernel).astype("float64")
        bias = ops.convert_to_numpy(head.bias).astype("float64") if head.use_bias else np.zeros(kernel.shape[1])
        if direction is not None:
            moved = [a + b for a, b in zip(self.whole.values()[0], direction.below, strict=True)]
            kernel, bias = kernel + direction.kernel, bias + direction.bias
        features = np.empty((len(examples), len(kernel)))
        for bunch in few(problem, examples):
            sides = problem.sides(self.whole, bunch.inputs)
            found = problem.jacobian.forward(self.whole, None, sides, moved)
            features[bunch.rows] = ops.convert_to_numpy(found).astype("float64")
        return features, (features @ kernel + bias) @ problem.mixing
