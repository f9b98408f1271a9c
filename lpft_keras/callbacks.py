"""Keras callbacks for anybody's `fit`."""

from typing import Any

import keras
import numpy as np
from keras import ops, tree

from lpft_keras.arrays import as_array, whole_number
from lpft_keras.errors import InputError, first_line
from lpft_keras.ntk.calls import replaced_calls
from lpft_keras.representation import feature_change, head_norm


class RepresentationHistory(keras.callbacks.Callback):
    """Record, after each epoch, the norm of the head and how far the features moved since training began.

    The features are what goes into the head, for rows of your choice (Tomihari and Sato 2024, Tables 1, 12 and 13).
    Both numbers join the epoch's logs, as "head_norm" and "feature_change", so that `History`, TensorBoard and others
    that come after find them.

    Args:
        x: Rows that the features are taken of: what the model is called on, an array or a structure of arrays.
        head: Name of the Dense layer that is the head; None takes the last one that the model calls.
        batch_size: Rows at a time.
        model: The model whose features are taken, where it is another than the one that `fit` trains.

    Attributes:
        history: One dict an epoch, with "epoch", "head_norm" and "feature_change"; epoch 0 is the start.

    Raises:
        InputError: `x` holds no rows; when training begins, the model can't be called on them, or calls no such Dense
            layer.

    Example:
        >>> model.fit(x, y, epochs=3, callbacks=[RepresentationHistory(x_test)]).history["feature_change"]
    """

    def __init__(
        self, x: Any, head: str | None = None, *, batch_size: int = 32, model: keras.Model | None = None
    ) -> None:
        super().__init__()
        self.history: list[dict[str, float]] = []
        if model is not None and not isinstance(model, keras.Model):
            raise InputError(f"model must be a Keras model, not {type(model).__name__}")
        self._name, self._own = head, model
        self._batch_size = whole_number(batch_size, "batch_size")
        # A list is one array, not a structure of numbers.
        self._x = tree.map_structure(lambda part: as_array(part, "x"), as_array(x, "x") if isinstance(x, list) else x)
        counts = {len(part) if part.ndim else 0 for part in tree.flatten(self._x)}
        if len(counts) != 1 or 0 in counts:
            raise InputError("x must hold rows, equally many in each of its arrays")
        self._rows = counts.pop()

    def on_train_begin(self, logs=None):
        """Take the features that later ones are compared with."""
        self._watched = self._own or self.model
        self._head = self._find_head()
        self._reference = self._features()
        self.history = [{"epoch": 0, "head_norm": head_norm(self._kernel()), "feature_change": 0.0}]

    def on_epoch_end(self, epoch, logs=None):
        """Record the epoch, also in its logs."""
        features = self._features()
        # A model that diverged has no features to compare, and its training is not ours to end.
        change = feature_change(features, self._reference) if np.isfinite(features).all() else float("nan")
        found = {"head_norm": head_norm(self._kernel()), "feature_change": change}
        self.history.append({"epoch": epoch + 1, **found})
        if logs is not None:
            logs.update(found)

    def _kernel(self) -> np.ndarray:
        return ops.convert_to_numpy(self._head.kernel)

    def _batch(self, start: int) -> Any:
        return tree.map_structure(lambda array: array[start : start + self._batch_size], self._x)

    def _find_head(self) -> keras.layers.Dense:
        """Return the head, by running the model on one row with its Dense layers watched."""
        called: list[keras.layers.Dense] = []

        def watched(layer):
            def call(*args, **kwargs):
                called.append(layer)
                return type(layer).call(layer, *args, **kwargs)

            return call

        dense = [layer for layer in self._watched._flatten_layers() if isinstance(layer, keras.layers.Dense)]
        with replaced_calls({layer: watched(layer) for layer in dense}):
            try:
                self._watched(tree.map_structure(lambda array: array[:1], self._x), training=False)
            except Exception as error:
                raise InputError(
                    f"model {self._watched.name!r} can't be called on a row of x ({first_line(error)}); give x as that "
                    "model takes it, or the model that takes x (model=)"
                ) from error
        fitting = [layer for layer in called if self._name in (None, layer.name)]
        if not fitting:
            names = ", ".join(sorted({layer.name for layer in called})) or "none"
            what = "a Dense layer" if self._name is None else f"a Dense layer named {self._name!r}"
            raise InputError(f"model {self._watched.name!r} does not call {what}; it calls: {names}")
        return fitting[-1]

    def _features(self) -> np.ndarray:
        parts: list[np.ndarray] = []
        seen: list[Any] = []

        def call(inputs, *args, **kwargs):
            seen.append(inputs)
            return type(self._head).call(self._head, inputs, *args, **kwargs)

        with replaced_calls({self._head: call}):
            for start in range(0, self._rows, self._batch_size):
                self._watched(self._batch(start), training=False)
                parts.append(np.asarray(ops.convert_to_numpy(seen[-1]), np.float32))  # the head's last call
                seen.clear()
        # A head on sequences has features of [rows, tokens, d]: one long vector a row.
        return np.concatenate([part.reshape(len(part), -1) for part in parts])
