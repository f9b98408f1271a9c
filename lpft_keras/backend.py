"""The backend that Keras will take, checked before Keras is imported, while an error can still be a sentence."""

import importlib.util
import os
import sys
from pathlib import Path

from lpft_keras.errors import InputError, unknown_name
from lpft_keras.storage import read_json

BACKENDS = {"tensorflow": "lpft-keras", "jax": "lpft-keras[jax]", "torch": "lpft-keras[torch]"}


def check_backend() -> None:
    """Raise an `InputError` where the chosen backend is unknown or not installed.

    Chosen by `KERAS_BACKEND`, or else by Keras' own file.
    """
    name = chosen_backend()
    if name not in BACKENDS:
        raise unknown_name("KERAS_BACKEND", name, BACKENDS)
    if importlib.util.find_spec(name) is None:
        raise InputError(
            f'KERAS_BACKEND is {name!r}, which is not installed; install it: pip install "{BACKENDS[name]}" '
            f'(in a checkout: pip install -e ".[{name}]")'
        )


def chosen_backend() -> str:
    """Return the name of the backend that Keras runs on, or will once it is imported."""
    if "keras" in sys.modules:
        return sys.modules["keras"].backend.backend()
    return os.environ.get("KERAS_BACKEND") or _configured() or "tensorflow"


def _configured() -> str | None:
    """Return the backend that Keras' file names, where there is one."""
    home = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras")
    config = read_json(home / "keras.json")
    return config.get("backend") if isinstance(config, dict) else None
