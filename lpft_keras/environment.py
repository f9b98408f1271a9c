"""What numbers were made with: versions, backend, devices, and the checksums of data and backbone."""

import importlib.metadata
import platform
from collections.abc import Mapping
from typing import Any


def environment(checksums: Mapping[str, str], source: Mapping[str, str]) -> dict[str, Any]:
    """Return what `environment.json` holds: versions, backend, device, and what data and backbone were really used."""
    import keras

    backend = keras.backend.backend()
    packages = ("lpft-keras", "keras", "keras-hub", backend, "numpy", "scipy", "scikit-learn")
    return {
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in packages}},
        "backend": backend,
        "devices": devices(),
        "platform": platform.platform(),
        "data": dict(checksums),
        "backbone": dict(source),
    }


def devices() -> list[str]:
    """Return the devices that the backend sees, as "gpu:0" or "cpu:0"."""
    import keras

    if keras.backend.backend() != "torch":
        return list(keras.distribution.list_devices())
    import torch

    # Keras has no device list on PyTorch.
    return [f"gpu:{number}" for number in range(torch.cuda.device_count())] or ["cpu:0"]


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "unknown"
