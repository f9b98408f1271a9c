"""The backend that Keras will take, checked before Keras is imported, while an error can still be a sentence."""

import importlib.util
import os

from lpft_keras.errors import InputError, unknown_name

BACKENDS = {"tensorflow": "lpft-keras", "jax": "lpft-keras[jax]", "torch": "lpft-keras[torch]"}


def check_backend() -> None:
    """Raise an `InputError` where `KERAS_BACKEND` names a backend that is unknown or not installed."""
    name = os.environ.get("KERAS_BACKEND") or "tensorflow"
    if name not in BACKENDS:
        raise unknown_name("KERAS_BACKEND", name, BACKENDS)
    if importlib.util.find_spec(name) is None:
        raise InputError(
            f'KERAS_BACKEND is {name!r}, which is not installed; install it: pip install "{BACKENDS[name]}"'
        )
