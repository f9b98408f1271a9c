"""Callbacks of other people's in our fine-tuning: TensorBoard's, and those that can't work there."""

import importlib.util
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import keras

from lpft_keras.errors import InputError

_UNFIT = {
    keras.callbacks.LearningRateScheduler: "the rate falls linearly over all steps, and no callback can set it",
    keras.callbacks.ReduceLROnPlateau: "the rate falls linearly over all steps, and no callback can set it",
    keras.callbacks.BackupAndRestore: "a run keeps its own state after every epoch and goes on from it",
    keras.callbacks.SwapEMAWeights: "the weights that validate must be those that are trained",
}


def check_callbacks(callbacks: Sequence[keras.callbacks.Callback]) -> None:
    """Raise an `InputError` where a callback is none, or is one that our fine-tuning leaves no room for.

    Args:
        callbacks: Keras callbacks.
    """
    for callback in callbacks:
        if not isinstance(callback, keras.callbacks.Callback):
            raise InputError(f"callbacks must hold Keras callbacks, not {callback!r}"[:200])
        for kind, why in _UNFIT.items():
            if isinstance(callback, kind):
                raise InputError(f"the callback {kind.__name__} does not fit in here: {why}; leave it out")


def check_tensorboard() -> None:
    """Raise an `InputError` where nothing can write for TensorBoard.

    Keras writes with TensorFlow's summaries on every backend; TensorFlow takes these from the package tensorboard,
    which it no longer brings along.
    """
    for name in ("tensorflow", "tensorboard"):
        if importlib.util.find_spec(name) is None:
            raise InputError(f"--tensorboard needs the package {name}; pip install {name}, or leave it out")


def tensorboard_callback(directory: Path) -> keras.callbacks.Callback:
    """Return Keras' callback for TensorBoard.

    Args:
        directory: Where its files go: `train` and `validation` in there.

    Returns:
        The callback.
    """
    if keras.backend.backend() != "tensorflow":
        import tensorflow as tf

        # TensorFlow would take the memory of all GPUs that another backend needs. Too late where it is awake.
        with suppress(RuntimeError):
            tf.config.set_visible_devices([], "GPU")
    return keras.callbacks.TensorBoard(directory)
