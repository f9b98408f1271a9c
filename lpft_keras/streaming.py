"""Sums over rows as a Keras model sees them, batch by batch: what `metrics` are made of."""

import keras
import numpy as np
from keras import ops

from lpft_keras.errors import InputError


class Streaming(keras.metrics.Metric):
    """Sums over the rows, kept to twice float32's precision between batches."""

    default_name: str  # without it Keras would number the metrics of a class

    def __init__(self, shape: tuple[int, ...], from_logits: bool, name: str | None, dtype):
        super().__init__(name=name or self.default_name, dtype=dtype)
        self.from_logits = from_logits
        self._sums = self.add_variable(shape, "zeros", dtype="float32", name="sums")
        self._rest = self.add_variable(shape, "zeros", dtype="float32", name="rest")

    def update_state(self, y_true, y_pred, sample_weight=None):
        """Add a batch.

        Args:
            y_true: Class ids [rows] or [rows, 1], or one-hot [rows, classes].
            y_pred: Probabilities, or logits, [rows, classes]; or [rows, 1] of one sigmoid.
            sample_weight: [rows] or [rows, 1]; None counts each row once.
        """
        predictions = _two_dimensional(ops.cast(y_pred, "float32"), self.from_logits)
        labels = _ids(ops.convert_to_tensor(y_true), predictions.shape[1])
        weights = ops.ones_like(predictions[:, 0])
        _check_count("labels", labels, weights)
        if sample_weight is not None:
            given = ops.reshape(ops.cast(sample_weight, "float32"), (-1,))
            _check_count("sample_weight", given, weights)
            weights = weights * given
        new = self._measured(predictions, labels, weights)
        # What a sum in float32 loses is the difference below, exactly (Neumaier 1974).
        old = ops.convert_to_tensor(self._sums)
        both = old + new
        lost = ops.where(ops.abs(old) >= ops.abs(new), (old - both) + new, (new - both) + old)
        self._sums.assign(both)
        self._rest.assign(ops.convert_to_tensor(self._rest) + lost)

    def _measured(self, predictions, labels, weights):
        raise NotImplementedError

    def _probabilities(self, predictions):
        return ops.softmax(predictions, axis=-1) if self.from_logits else predictions

    def _totals(self):
        return ops.convert_to_tensor(self._sums) + ops.convert_to_tensor(self._rest)

    def get_config(self):
        """Return the arguments that rebuild the metric."""
        return {**super().get_config(), "from_logits": self.from_logits}


def _check_count(name: str, values, rows) -> None:
    """Refuse other than one value a row, which would be spread over all, where both numbers are known."""
    if None not in (values.shape[0], rows.shape[0]) and values.shape[0] != rows.shape[0]:
        raise InputError(f"{name} must hold one value a row of predictions, {rows.shape[0]}, not {values.shape[0]}")


def _two_dimensional(predictions, from_logits: bool):
    """Return what a model gives as [rows, classes]."""
    if len(predictions.shape) == 1:
        predictions = ops.expand_dims(predictions, 1)
    if len(predictions.shape) != 2:
        raise InputError(f"predictions must be of shape [rows, classes] or [rows, 1], not {tuple(predictions.shape)}")
    if predictions.shape[1] == 1:
        other = ops.zeros_like(predictions) if from_logits else 1 - predictions
        predictions = ops.concatenate([other, predictions], axis=1)
    return predictions


def _ids(labels, classes: int):
    """Return labels as class ids, int32 [rows]."""
    if len(labels.shape) == 2 and labels.shape[1] == classes:
        return ops.cast(ops.argmax(labels, axis=1), "int32")
    if len(labels.shape) > 2 or (len(labels.shape) == 2 and labels.shape[1] != 1):
        raise InputError(f"labels must be [rows], [rows, 1] or one-hot [rows, {classes}], not {tuple(labels.shape)}")
    return ops.cast(ops.reshape(labels, (-1,)), "int32")


def inner_edges(bins: int) -> np.ndarray:
    """Return the inner edges rounded down to float32: a float32 value is above them where it is above the exact."""
    exact = np.linspace(0, 1, bins + 1)[1:-1]
    rounded = exact.astype(np.float32)
    return np.where(rounded > exact, np.nextafter(rounded, np.float32(0)), rounded)


def binned(values, hits, weights, edges: np.ndarray):
    """Return the weight and the weighted gap (hits less values) of each bin of each column, [columns, 2, bins].

    Args:
        values: float32 [rows, columns].
        hits: Whether each came true, bool [rows, columns].
        weights: float32 [rows].
        edges: The inner edges, float32 [bins - 1].

    Returns:
        The sums.
    """
    columns, bins = values.shape[1], len(edges) + 1
    which = ops.searchsorted(ops.convert_to_tensor(edges), ops.reshape(values, (-1,)), side="left")
    place = ops.reshape(ops.cast(which, "int32"), (-1, columns)) + bins * ops.arange(columns, dtype="int32")
    spread = ops.broadcast_to(weights[:, None], ops.shape(values))
    rows = ops.stack([spread, spread * (ops.cast(hits, "float32") - values)], axis=-1)
    sums = ops.segment_sum(ops.reshape(rows, (-1, 2)), ops.reshape(place, (-1,)), num_segments=columns * bins)
    return ops.transpose(ops.reshape(sums, (columns, bins, 2)), (0, 2, 1))


def top(probabilities, labels):
    """Return the greatest probability of each row, and whether it is that of the label."""
    return ops.max(probabilities, axis=1), ops.equal(ops.cast(ops.argmax(probabilities, axis=1), "int32"), labels)


def share(part, whole):
    """Return part / whole, 0 where nothing was seen."""
    return ops.where(whole > 0, part / ops.where(whole > 0, whole, 1.0), 0.0)
