"""Calibration as streaming Keras metrics, for anybody's `compile(metrics=[...])`.

Each gives the number of the function of the same name in `lpft_keras.calibration` over all rows seen, whatever the
batches. They take what a Keras model gives: probabilities, or logits with `from_logits=True`, of shape [rows,
classes], or
[rows, 1] for the one sigmoid of a binary model; and labels as class ids, [rows] or [rows, 1], or one-hot, [rows,
classes].
A row's sample weight counts as so many rows. In a compiled model pass them as `weighted_metrics` to have weights
heeded.
"""

import keras
import numpy as np
from keras import ops

from lpft_keras.calibration.inputs import checked_bins
from lpft_keras.errors import InputError


class _Streaming(keras.metrics.Metric):
    """Sums over the rows, kept to twice float32's precision, so that the order of the batches does not matter."""

    def __init__(self, shape: tuple[int, ...], from_logits: bool, name: str, dtype):
        super().__init__(name=name, dtype=dtype)
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
        logits, probabilities = _both(ops.cast(y_pred, "float32"), self.from_logits)
        labels = _ids(ops.convert_to_tensor(y_true), probabilities.shape[-1])
        weights = ops.ones_like(probabilities[:, 0])
        if sample_weight is not None:
            weights = weights * ops.reshape(ops.cast(sample_weight, "float32"), (-1,))
        new = self._measured(logits, probabilities, labels, weights)
        # What a sum in float32 loses is the difference below, exactly (Neumaier 1974).
        old = ops.convert_to_tensor(self._sums)
        both = old + new
        lost = ops.where(ops.abs(old) >= ops.abs(new), (old - both) + new, (new - both) + old)
        self._sums.assign(both)
        self._rest.assign(ops.convert_to_tensor(self._rest) + lost)

    def _measured(self, logits, probabilities, labels, weights):
        raise NotImplementedError

    def _totals(self):
        return ops.convert_to_tensor(self._sums) + ops.convert_to_tensor(self._rest)

    def get_config(self):
        """Return the arguments that rebuild the metric."""
        return {**super().get_config(), "from_logits": self.from_logits}


def _both(predictions, from_logits: bool):
    """Return logits and probabilities [rows, classes] of what a model gives."""
    if len(predictions.shape) == 1:
        predictions = ops.expand_dims(predictions, 1)
    if predictions.shape[-1] == 1:
        other = ops.zeros_like(predictions) if from_logits else 1 - predictions
        predictions = ops.concatenate([other, predictions], axis=1)
    if from_logits:
        return predictions, ops.softmax(predictions, axis=-1)
    return ops.log(ops.maximum(predictions, float(np.finfo(np.float32).tiny))), predictions


def _ids(labels, classes: int):
    if len(labels.shape) == 2 and labels.shape[1] == classes and classes > 1:
        return ops.argmax(labels, axis=1)
    return ops.cast(ops.reshape(labels, (-1,)), "int32")


def _edges(bins: int) -> np.ndarray:
    """Return the inner edges, rounded down to float32: a float32 value is above them where it is above the exact ones."""
    exact = np.linspace(0, 1, checked_bins(bins) + 1)[1:-1]
    rounded = exact.astype(np.float32)
    return np.where(rounded > exact, np.nextafter(rounded, np.float32(0)), rounded)


def _binned(values, hits, weights, edges: np.ndarray):
    """Return the weight and the weighted gap (hits less values) of each bin, [2, bins]."""
    which = ops.cast(ops.searchsorted(ops.convert_to_tensor(edges), ops.copy(values), side="left"), "int32")
    rows = ops.stack([weights, weights * (ops.cast(hits, "float32") - values)], axis=1)
    return ops.transpose(ops.segment_sum(rows, which, num_segments=len(edges) + 1))


def _top(probabilities, labels):
    hits = ops.equal(ops.cast(ops.argmax(probabilities, axis=-1), "int32"), ops.cast(labels, "int32"))
    return ops.max(probabilities, axis=-1), hits


def _share(part, whole):
    """Return part / whole, 0 where nothing was seen."""
    return ops.where(whole > 0, part / ops.where(whole > 0, whole, 1.0), 0.0)


class _Binned(_Streaming):
    """The top label's bins."""

    def __init__(self, bins: int, from_logits: bool, name: str, dtype):
        self.bins = checked_bins(bins)
        self._edges = _edges(bins)
        super().__init__((2, self.bins), from_logits, name, dtype)

    def _measured(self, logits, probabilities, labels, weights):
        confidence, hits = _top(probabilities, labels)
        return _binned(confidence, hits, weights, self._edges)

    def get_config(self):
        """Return the arguments that rebuild the metric."""
        return {**super().get_config(), "bins": self.bins}


@keras.saving.register_keras_serializable(package="lpft_keras")
class ExpectedCalibrationError(_Binned):
    """`calibration.expected_calibration_error`, streaming.

    Args:
        bins: Number of equal-width bins over [0, 1].
        from_logits: Whether predictions are logits.
        name: Name of the metric.
        dtype: Dtype of the result.

    Example:
        >>> model.compile("adam", "sparse_categorical_crossentropy", metrics=[ExpectedCalibrationError()])
    """

    def __init__(self, bins: int = 15, from_logits: bool = False, name: str = "expected_calibration_error", dtype=None):
        super().__init__(bins, from_logits, name, dtype)

    def result(self):
        """Return the error of all rows seen, a fraction; 0 where there were none."""
        totals = self._totals()
        return _share(ops.sum(ops.abs(totals[1])), ops.sum(totals[0]))


@keras.saving.register_keras_serializable(package="lpft_keras")
class MaximumCalibrationError(_Binned):
    """`calibration.maximum_calibration_error`, streaming.

    Args:
        bins: Number of equal-width bins over [0, 1].
        from_logits: Whether predictions are logits.
        name: Name of the metric.
        dtype: Dtype of the result.

    Example:
        >>> model.compile("adam", "sparse_categorical_crossentropy", metrics=[MaximumCalibrationError()])
    """

    def __init__(self, bins: int = 15, from_logits: bool = False, name: str = "maximum_calibration_error", dtype=None):
        super().__init__(bins, from_logits, name, dtype)

    def result(self):
        """Return the error of all rows seen, a fraction; 0 where there were none."""
        totals = self._totals()
        return ops.max(_share(ops.abs(totals[1]), totals[0]))


@keras.saving.register_keras_serializable(package="lpft_keras")
class ClassWiseCalibrationError(_Streaming):
    """`calibration.class_wise_calibration_error`, streaming.

    Args:
        num_classes: Number of classes.
        bins: Number of equal-width bins over [0, 1].
        from_logits: Whether predictions are logits.
        name: Name of the metric.
        dtype: Dtype of the result.

    Example:
        >>> model.compile("adam", "sparse_categorical_crossentropy", metrics=[ClassWiseCalibrationError(3)])
    """

    def __init__(
        self,
        num_classes: int,
        bins: int = 15,
        from_logits: bool = False,
        name: str = "class_wise_calibration_error",
        dtype=None,
    ):
        if isinstance(num_classes, bool) or not hasattr(num_classes, "__index__") or num_classes < 2:
            raise InputError(f"num_classes must be a whole number of 2 or more, not {num_classes!r}")
        self.num_classes = int(num_classes)
        self.bins = checked_bins(bins)
        self._edges = _edges(bins)
        super().__init__((self.num_classes, 2, self.bins), from_logits, name, dtype)

    def _measured(self, logits, probabilities, labels, weights):
        return ops.stack(
            [
                _binned(probabilities[:, k], ops.equal(ops.cast(labels, "int32"), k), weights, self._edges)
                for k in range(self.num_classes)
            ]
        )

    def result(self):
        """Return the error of all rows seen, a fraction; 0 where there were none."""
        totals = self._totals()
        return _share(ops.sum(ops.abs(totals[:, 1])), ops.sum(totals[:, 0]))

    def get_config(self):
        """Return the arguments that rebuild the metric."""
        return {**super().get_config(), "num_classes": self.num_classes, "bins": self.bins}


class _Mean(_Streaming):
    """A weighted mean over the rows."""

    def __init__(self, from_logits: bool, name: str, dtype):
        super().__init__((2,), from_logits, name, dtype)

    def _measured(self, logits, probabilities, labels, weights):
        return ops.stack([ops.sum(weights), ops.sum(weights * self._row(logits, probabilities, labels))])

    def _row(self, logits, probabilities, labels):
        raise NotImplementedError

    def result(self):
        """Return the mean over all rows seen; 0 where there were none."""
        totals = self._totals()
        return _share(totals[1], totals[0])


@keras.saving.register_keras_serializable(package="lpft_keras")
class BrierScore(_Mean):
    """`calibration.brier_score`, streaming: the sum over the classes.

    Args:
        from_logits: Whether predictions are logits.
        name: Name of the metric.
        dtype: Dtype of the result.

    Example:
        >>> model.compile("adam", "sparse_categorical_crossentropy", metrics=[BrierScore()])
    """

    def __init__(self, from_logits: bool = False, name: str = "brier_score", dtype=None):
        super().__init__(from_logits, name, dtype)

    def _row(self, logits, probabilities, labels):
        targets = ops.one_hot(ops.cast(labels, "int32"), probabilities.shape[-1], dtype="float32")
        return ops.sum(ops.square(probabilities - targets), axis=-1)


@keras.saving.register_keras_serializable(package="lpft_keras")
class NegativeLogLikelihood(_Mean):
    """`calibration.negative_log_likelihood`, streaming, in nats.

    Args:
        from_logits: Whether predictions are logits; with probabilities, zeros are taken as float32's least number.
        name: Name of the metric.
        dtype: Dtype of the result.

    Example:
        >>> model.compile("adam", loss, metrics=[NegativeLogLikelihood(from_logits=True)])
    """

    def __init__(self, from_logits: bool = False, name: str = "negative_log_likelihood", dtype=None):
        super().__init__(from_logits, name, dtype)

    def _row(self, logits, probabilities, labels):
        targets = ops.one_hot(ops.cast(labels, "int32"), probabilities.shape[-1], dtype="float32")
        return -ops.sum(targets * ops.log_softmax(logits, axis=-1), axis=-1)


@keras.saving.register_keras_serializable(package="lpft_keras")
class Overconfidence(_Mean):
    """`calibration.overconfidence`, streaming: mean confidence less accuracy.

    Args:
        from_logits: Whether predictions are logits.
        name: Name of the metric.
        dtype: Dtype of the result.

    Example:
        >>> model.compile("adam", "sparse_categorical_crossentropy", metrics=[Overconfidence()])
    """

    def __init__(self, from_logits: bool = False, name: str = "overconfidence", dtype=None):
        super().__init__(from_logits, name, dtype)

    def _row(self, logits, probabilities, labels):
        confidence, hits = _top(probabilities, labels)
        return confidence - ops.cast(hits, "float32")
