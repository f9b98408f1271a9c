"""Calibration as streaming Keras metrics, for anybody's `compile(metrics=[...])`.

Each gives the number of the function of the same name in `lpft_keras.calibration` over all rows seen, whatever the
batches. They take what a Keras model gives: probabilities, or logits with `from_logits=True`, of shape [rows, classes],
or [rows, 1] for the one sigmoid of a binary model; and labels as class ids, [rows] or [rows, 1], or one-hot,
[rows, classes]. A label that is no class id can't be noticed inside compiled code: it counts as a wrong prediction.
A row's sample weight counts as so many rows; in a compiled model pass the metrics as `weighted_metrics` for that.
"""

import keras
import numpy as np
from keras import ops

from lpft_keras.arrays import whole_number
from lpft_keras.errors import InputError
from lpft_keras.streaming import Streaming, binned, inner_edges, share, top


class _Binned(Streaming):
    """The top label's bins."""

    def __init__(self, bins: int = 15, from_logits: bool = False, name: str | None = None, dtype: str | None = None):
        self.bins = whole_number(bins, "bins")
        self._edges = inner_edges(self.bins)
        super().__init__((2, self.bins), from_logits, name, dtype)

    def _measured(self, predictions, labels, weights):
        confidence, hits = top(self._probabilities(predictions), labels)
        return binned(confidence[:, None], hits[:, None], weights, self._edges)[0]

    def get_config(self):
        """Return the arguments that rebuild the metric."""
        return {**super().get_config(), "bins": self.bins}


@keras.saving.register_keras_serializable(package="lpft_keras")
class ExpectedCalibrationError(_Binned):
    """`calibration.expected_calibration_error`, streaming.

    Args:
        bins: Number of equal-width bins over [0, 1].
        from_logits: Whether predictions are logits.
        name: Name of the metric; None takes its class's in snake case.
        dtype: Keras' dtype of the metric; sums and result are float32 whatever it is.

    Example:
        >>> model.compile("adam", "sparse_categorical_crossentropy", metrics=[ExpectedCalibrationError()])
    """

    default_name = "expected_calibration_error"

    def result(self):
        """Return the error of all rows seen, a fraction; 0 where there were none."""
        totals = self._totals()
        return share(ops.sum(ops.abs(totals[1])), ops.sum(totals[0]))


@keras.saving.register_keras_serializable(package="lpft_keras")
class MaximumCalibrationError(_Binned):
    """`calibration.maximum_calibration_error`, streaming.

    Args:
        bins: Number of equal-width bins over [0, 1].
        from_logits: Whether predictions are logits.
        name: Name of the metric; None takes its class's in snake case.
        dtype: Keras' dtype of the metric; sums and result are float32 whatever it is.

    Example:
        >>> model.compile("adam", "sparse_categorical_crossentropy", metrics=[MaximumCalibrationError()])
    """

    default_name = "maximum_calibration_error"

    def result(self):
        """Return the error of all rows seen, a fraction; 0 where there were none."""
        totals = self._totals()
        return ops.max(share(ops.abs(totals[1]), totals[0]))


@keras.saving.register_keras_serializable(package="lpft_keras")
class ClassWiseCalibrationError(Streaming):
    """`calibration.class_wise_calibration_error`, streaming.

    Args:
        num_classes: Number of classes.
        bins: Number of equal-width bins over [0, 1].
        from_logits: Whether predictions are logits.
        name: Name of the metric; None takes its class's in snake case.
        dtype: Keras' dtype of the metric; sums and result are float32 whatever it is.

    Example:
        >>> model.compile("adam", "sparse_categorical_crossentropy", metrics=[ClassWiseCalibrationError(3)])
    """

    default_name = "class_wise_calibration_error"

    def __init__(
        self,
        num_classes: int,
        bins: int = 15,
        from_logits: bool = False,
        name: str | None = None,
        dtype: str | None = None,
    ):
        self.num_classes = whole_number(num_classes, "num_classes", 2)
        self.bins = whole_number(bins, "bins")
        self._edges = inner_edges(self.bins)
        super().__init__((self.num_classes, 2, self.bins), from_logits, name, dtype)

    def _measured(self, predictions, labels, weights):
        if predictions.shape[1] != self.num_classes:
            raise InputError(f"predictions have {predictions.shape[1]} columns; num_classes is {self.num_classes}")
        hits = ops.equal(labels[:, None], ops.arange(self.num_classes, dtype="int32"))
        return binned(self._probabilities(predictions), hits, weights, self._edges)

    def result(self):
        """Return the error of all rows seen, a fraction; 0 where there were none."""
        totals = self._totals()
        return share(ops.sum(ops.abs(totals[:, 1])), ops.sum(totals[:, 0]))

    def get_config(self):
        """Return the arguments that rebuild the metric."""
        return {**super().get_config(), "num_classes": self.num_classes, "bins": self.bins}


class _Mean(Streaming):
    """A weighted mean over the rows."""

    def __init__(self, from_logits: bool = False, name: str | None = None, dtype: str | None = None):
        super().__init__((2,), from_logits, name, dtype)

    def _measured(self, predictions, labels, weights):
        return ops.stack([ops.sum(weights), ops.sum(weights * self._row(predictions, labels))])

    def _row(self, predictions, labels):
        raise NotImplementedError

    def result(self):
        """Return the mean over all rows seen; 0 where there were none."""
        totals = self._totals()
        return share(totals[1], totals[0])


@keras.saving.register_keras_serializable(package="lpft_keras")
class BrierScore(_Mean):
    """`calibration.brier_score`, streaming: the sum over the classes.

    Args:
        from_logits: Whether predictions are logits.
        name: Name of the metric; None takes its class's in snake case.
        dtype: Keras' dtype of the metric; sums and result are float32 whatever it is.

    Example:
        >>> model.compile("adam", "sparse_categorical_crossentropy", metrics=[BrierScore()])
    """

    default_name = "brier_score"

    def _row(self, predictions, labels):
        targets = ops.one_hot(labels, predictions.shape[1], dtype="float32")
        return ops.sum(ops.square(self._probabilities(predictions) - targets), axis=1)


@keras.saving.register_keras_serializable(package="lpft_keras")
class NegativeLogLikelihood(_Mean):
    """`calibration.negative_log_likelihood`, streaming, in nats.

    Args:
        from_logits: Whether predictions are logits; with probabilities, zeros are taken as float32's least number.
        name: Name of the metric; None takes its class's in snake case.
        dtype: Keras' dtype of the metric; sums and result are float32 whatever it is.

    Example:
        >>> model.compile("adam", loss, metrics=[NegativeLogLikelihood(from_logits=True)])
    """

    default_name = "negative_log_likelihood"

    def _row(self, predictions, labels):
        if self.from_logits:
            logs = ops.log_softmax(predictions, axis=1)
        else:
            logs = ops.log(ops.maximum(predictions, float(np.finfo(np.float32).tiny)))
        return -ops.sum(ops.one_hot(labels, predictions.shape[1], dtype="float32") * logs, axis=1)


@keras.saving.register_keras_serializable(package="lpft_keras")
class Overconfidence(_Mean):
    """`calibration.overconfidence`, streaming: mean confidence less accuracy.

    Args:
        from_logits: Whether predictions are logits.
        name: Name of the metric; None takes its class's in snake case.
        dtype: Keras' dtype of the metric; sums and result are float32 whatever it is.

    Example:
        >>> model.compile("adam", "sparse_categorical_crossentropy", metrics=[Overconfidence()])
    """

    default_name = "overconfidence"

    def _row(self, predictions, labels):
        confidence, hits = top(self._probabilities(predictions), labels)
        return confidence - ops.cast(hits, "float32")
