"""Batches that spend compute on tokens instead of padding, without changing the mathematics.

The optimiser sees the same random batches as with padding to the maximum length. Within a batch, rows are sorted by
length and cut into equal micro-batches, each padded only to its own longest row; `micro_batched` runs them through one
model side by side, and their rows meet again before the loss. Padding is masked, so it changes nothing but the time.
"""

import weakref
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from lpft_keras.distribution import devices_in_use
from lpft_keras.errors import InputError
from lpft_keras.models.packing import Tokens

# Lengths are rounded up to these multiples. XLA compiles each shape anew, so that JAX gets few shapes; TensorFlow
# (without XLA) and PyTorch take any shape at no cost.
_MULTIPLE = 8
_XLA_MULTIPLE = 32
# Shapes of a whole training batch that XLA may compile: the greatest, and tuples of quantiles below it.
_XLA_QUANTILES = (0.6, 0.9)

Inputs = dict[str, np.ndarray]


@dataclass(frozen=True)
class Encoded:
    """Token arrays with their labels (int64, [rows])."""

    tokens: Tokens
    labels: np.ndarray

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.labels)

    def take(self, rows: np.ndarray) -> "Encoded":
        """Return some rows, by number."""
        return Encoded(self.tokens.take(rows), self.labels[rows])


def uses_xla() -> bool:
    """Return whether training is compiled by XLA, which wants few distinct shapes."""
    return keras.backend.backend() == "jax"


def model_inputs(tokens: Tokens, rows: np.ndarray, length: int) -> Inputs:
    """Cut some rows to a length; a row number of -1 gives a row of one token, to fill a batch up.

    Args:
        tokens: The token arrays.
        rows: Row numbers.
        length: Columns to keep; no row's real tokens may exceed it.

    Returns:
        `token_ids`, `padding_mask` and, where the backbone takes them, `segment_ids`: int32, [rows, length].
    """
    lengths = np.where(rows < 0, 1, tokens.lengths[rows])
    inputs = {
        "token_ids": tokens.token_ids[rows, :length],
        "padding_mask": (np.arange(length) < lengths[:, None]).astype("int32"),
    }
    if tokens.second is not None:
        inputs["segment_ids"] = inputs["padding_mask"] * (np.arange(length) >= tokens.second[rows][:, None])
    return inputs


def _round_up(lengths: np.ndarray, multiple: int, limit: int) -> np.ndarray:
    return np.minimum(-(-lengths // multiple) * multiple, limit)


class Batches(keras.utils.PyDataset):
    """Batches of unlike length, by index, for `fit` and `predict`.

    Subclasses give `__getitem__` and `total`. Keras counts the steps by what it is told, not by this class, so that
    `fit` goes on through the epochs.
    """

    total: int

    @property
    def num_batches(self) -> None:
        """No number; see the class."""
        return

    def for_keras(self):
        """Return what `fit` and `predict` take on the present backend, for as long as these batches are held."""
        if keras.backend.backend() != "tensorflow":
            return self
        import tensorflow as tf

        # Keras would read the shapes off the first two batches and take lengths that are equal there for fixed ones.
        signature = keras.tree.map_structure(lambda array: tf.TensorSpec((None,) * array.ndim, array.dtype), self[0])
        # TensorFlow keeps every generator function for good; so that the rows go, it must not hold them.
        batches: Any = weakref.proxy(self)
        return tf.data.Dataset.from_generator(
            lambda: (batches[index] for index in range(batches.total)), output_signature=signature
        ).prefetch(2)


class EvaluationBatches(Batches):
    """All rows once, longest first, in batches of like length.

    Args:
        tokens: The token arrays.
        batch_size: Rows a batch, or a few more, so that devices that share it get as many each. The last one is filled
            up, since each shape costs a compilation.

    Attributes:
        rows: Row numbers in the order of the batches; -1 fills the last one up.
        total: Number of batches.
    """

    def __init__(self, tokens: Tokens, batch_size: int = 32):
        super().__init__()
        self._tokens = tokens
        self._batch_size = batch_size + -batch_size % devices_in_use()
        order = np.argsort(-tokens.lengths, kind="stable")
        self.rows = np.pad(order, (0, -len(order) % self._batch_size), constant_values=-1)
        self.total = len(self.rows) // self._batch_size

    def __getitem__(self, index: int) -> tuple[Inputs]:
        """Return batch `index`; past the end, where JAX looks on a GPU while it computes the last, the last again."""
        index = min(index, self.total - 1)
        rows = self.rows[index * self._batch_size : (index + 1) * self._batch_size]
        multiple = _XLA_MULTIPLE if uses_xla() else _MULTIPLE
        # Sorted by length, a batch's first row is its longest.
        length = _round_up(self._tokens.lengths[rows[0]], multiple, self._tokens.token_ids.shape[1])
        return (model_inputs(self._tokens, rows, int(length)),)


def default_micro_batches(batch_size: int, devices: int = 1) -> int:
    """Return how many micro-batches a batch is cut into: four, of at least four rows, where that divides it.

    Where devices share each micro-batch, fewer may be needed for as many rows on each.
    """
    fitting = (count for count in (4, 2) if batch_size % (count * devices) == 0 and batch_size // count >= 4)
    return next(fitting, 1)


def check_cut(batch_size: int, micro_batches: int | None, devices: int) -> None:
    """Refuse batches of which devices can't have as many rows each.

    Args:
        batch_size: Rows an optimiser step.
        micro_batches: Number of micro-batches, each shared by the devices; None for the default.
        devices: Number of devices.

    Raises:
        InputError: The rows of a micro-batch are no multiple of the devices.
    """
    count = micro_batches or default_micro_batches(batch_size, devices)
    if batch_size % (count * devices):
        raise InputError(
            f"{devices} devices can't share a batch of {batch_size} rows in {count} micro-batch{'es' * (count > 1)} "
            f"evenly; take a batch_size that {count * devices} divides"
            f"{', or leave micro_batches out' * (batch_size % devices == 0)}"
        )


class TrainingBatches(Batches):
    """The batches of all epochs in order, each a tuple of inputs, labels and sample weights.

    Rows are shuffled by a generator of (seed, epoch), so that any epoch can be had without those before it. An
    incomplete last batch is filled up with rows of weight 0, and its real rows weigh more, so that the mean loss is
    that of its real rows.

    Args:
        data: Token arrays and labels.
        batch_size: Rows an optimiser step.
        micro_batches: Number of micro-batches in a batch; must divide `batch_size`.
        epochs: Number of epochs in all.
        seed: Seed of the shuffling.
        first_epoch: The epoch that index 0 belongs to.
    """

    def __init__(
        self, data: Encoded, batch_size: int, micro_batches: int, epochs: int, seed: int, first_epoch: int = 0
    ):
        super().__init__()
        self._data = data
        self._micro_batches = micro_batches
        self._first_epoch = first_epoch
        self._epochs = epochs
        self.steps_per_epoch = -(-len(data) // batch_size)
        self.total = (epochs - first_epoch) * self.steps_per_epoch
        self._rows = [self._plan(np.random.default_rng([seed, epoch]), batch_size) for epoch in range(epochs)]
        self._shapes = self._plan_shapes()

    def _plan(self, rng: np.random.Generator, batch_size: int) -> np.ndarray:
        """Return one epoch's row numbers, [steps, micro-batches, rows], sorted by length within each step."""
        rows = rng.permutation(len(self._data))
        rows = np.pad(rows, (0, -len(rows) % batch_size), constant_values=-1).reshape(-1, batch_size)
        by_length = np.argsort(self._lengths(rows), axis=1, kind="stable")
        return np.take_along_axis(rows, by_length, axis=1).reshape(len(rows), self._micro_batches, -1)

    def _lengths(self, rows: np.ndarray) -> np.ndarray:
        return np.where(rows < 0, 1, self._data.tokens.lengths[rows])

    def _plan_shapes(self) -> np.ndarray:
        """Return the padded length of every micro-batch, [epochs, steps, micro-batches]."""
        needed = np.stack([self._lengths(rows).max(axis=2) for rows in self._rows])
        limit = self._data.tokens.token_ids.shape[1]
        needed = _round_up(needed, _MULTIPLE, limit)
        if not uses_xla():
            return needed
        shapes = np.broadcast_to(needed.max(axis=(0, 1)), needed.shape).copy()
        for quantile in sorted(_XLA_QUANTILES, reverse=True):
            shape = np.quantile(needed, quantile, axis=(0, 1), method="higher")
            shapes[(needed <= shape).all(axis=2)] = shape
        return shapes

    def __getitem__(self, index: int) -> tuple[Inputs, np.ndarray, np.ndarray]:
        """Return batch `index`, counted from the start of the first epoch."""
        epoch, step = divmod(index, self.steps_per_epoch)
        # Backends look a few batches ahead, past the last epoch too.
        epoch = min(self._first_epoch + epoch, self._epochs - 1)
        rows, lengths = self._rows[epoch][step], self._shapes[epoch][step]
        inputs = {
            f"{name}_{number}": array
            for number in range(self._micro_batches)
            for name, array in model_inputs(self._data.tokens, rows[number], int(lengths[number])).items()
        }
        flat = rows.reshape(-1)
        real = flat >= 0
        weights = np.where(real, len(flat) / real.sum(), 0).astype("float32")
        return inputs, np.where(real, self._data.labels[flat], 0), weights


def micro_batched(classifier: keras.Model, count: int) -> keras.Model:
    """Return a model that takes `count` micro-batches of unlike length and gives the logits of all their rows.

    It shares all variables with the classifier. Autodiff adds the micro-batches' gradients before the optimiser sees
    them, which is what gradient accumulation does, without its accumulators and their traffic.

    Args:
        classifier: A functional model of named inputs of shape [rows, tokens].
        count: Number of micro-batches.

    Returns:
        A model of the inputs `<name>_<number>`, with an output of shape [all rows, classes].
    """
    inputs: dict[str, keras.KerasTensor] = {}
    logits = []
    for number in range(count):
        own = {name: keras.Input((None,), dtype="int32", name=f"{name}_{number}") for name in classifier.input}
        inputs |= {f"{name}_{number}": tensor for name, tensor in own.items()}
        logits.append(classifier(own))
    output = logits[0] if count == 1 else keras.layers.Concatenate(axis=0, dtype="float32")(logits)
    make: type[keras.Model] = keras.Model
    if keras.backend.backend() == "torch":
        from lpft_keras.training import on_torch

        make = on_torch.MicroBatched
    elif keras.backend.backend() == "tensorflow":
        from lpft_keras.training import on_tensorflow

        make = on_tensorflow.MicroBatched
    return make(inputs, output)
