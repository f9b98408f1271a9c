"""Adapters and head in one safetensors file, by layer path: written whole, checked when read."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import safetensors
import safetensors.numpy

from lpft_keras.atomic import write_atomically
from lpft_keras.errors import InputError
from lpft_keras.models.lora import (
    LoraSettings,
    adapted_layers,
    adapter_pair,
    enable_lora,
    find_targets,
    lora_settings,
)
from lpft_keras.models.lora_layers import float64, plan_of
from lpft_keras.storage import fingerprint

FORMAT = "lpft-keras adapter 1"


def save_adapter(
    path: str | Path, backbone: keras.Model, head: keras.layers.Dense, metadata: Mapping[str, Any] | None = None
) -> None:
    """Write the adapters, by layer path inside the backbone, and the head into one safetensors file, atomically.

    Args:
        path: The file.
        backbone: A backbone on which `enable_lora` was called.
        head: The classifier's built Dense layer, kernel [d, classes] and bias [classes].
        metadata: More for the file, JSON values; `load_adapter` returns it.

    Raises:
        InputError: The backbone has no LoRA, or the file can't be written.
    """
    settings = lora_settings(backbone)
    if settings is None:
        raise InputError("the backbone has no LoRA to save; call enable_lora(backbone) first")
    slots = _slots(adapted_layers(backbone), head)
    # bfloat16 heads fit float32 exactly, and NumPy alone reads that.
    arrays = {name: float64(variable).astype("float32") for name, variable in slots.items()}
    about = {"settings": json.dumps(dataclasses.asdict(settings)), "metadata": json.dumps(dict(metadata or {}))}
    about |= {"format": FORMAT, "checksum": _checksum(arrays, *about.values())}
    write_atomically(Path(path), lambda file: file.write(safetensors.numpy.save(arrays, about)))


def load_adapter(path: str | Path, backbone: keras.Model, head: keras.layers.Dense) -> dict[str, Any]:
    """Read what `save_adapter` wrote into a backbone and a head; enables LoRA where it isn't yet.

    Args:
        path: The file.
        backbone: A backbone with the weights that the adapters were trained on; its name may differ.
        head: A built Dense layer of the saved head's shape.

    Returns:
        The metadata given to `save_adapter`.

    Raises:
        InputError: Missing, damaged or foreign file, or one that doesn't fit. Backbone and head are then as they were.
    """
    arrays, stored, metadata = _read_adapter(Path(path))
    settings = lora_settings(backbone)
    if settings not in (None, stored):
        raise InputError(f"{path} holds {stored}, the backbone has {settings}; load into a backbone without LoRA")
    layers = adapted_layers(backbone) if settings else find_targets(backbone, stored)
    wanted = {name: tuple(variable.shape) for name, variable in _slots({}, head).items()}
    for name, layer in layers.items():
        wanted[f"{name}/a"], wanted[f"{name}/b"] = _adapter_shapes(layer, stored)
    held = {name: array.shape for name, array in arrays.items()}
    for name in sorted(wanted.keys() | held.keys()):
        if wanted.get(name) != held.get(name):
            raise InputError(
                f"{path} doesn't fit this model: {name!r} has shape {held.get(name)} in the file, "
                f"{wanted.get(name)} in the model; load the backbone and head that it was saved from"
            )
    if settings is None:
        enable_lora(backbone, **dataclasses.asdict(stored))
    for name, variable in _slots(layers, head).items():
        variable.assign(arrays[name])
    return metadata


def _slots(layers: Mapping[str, keras.layers.Layer], head: keras.layers.Layer) -> dict[str, keras.Variable]:
    """Return name in the file -> variable."""
    adapters = {
        f"{path}/{part}": v for path, layer in layers.items() for part, v in zip("ab", adapter_pair(layer), strict=True)
    }
    return adapters | {f"head/{variable.name}": variable for variable in head.weights}


def _checksum(arrays: Mapping[str, np.ndarray], *texts: str) -> str:
    return fingerprint([*texts, *(part for name in sorted(arrays) for part in (name, arrays[name]))])


def _read_adapter(path: Path) -> tuple[dict[str, np.ndarray], LoraSettings, dict[str, Any]]:
    try:
        with safetensors.safe_open(path, framework="np") as file:
            about = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
    except (OSError, ValueError, TypeError, safetensors.SafetensorError) as error:
        raise InputError(f"can't read the adapter file {path}: {error}; save it again with save_adapter") from error
    if about.get("format") != FORMAT:
        raise InputError(f"{path} wasn't written by save_adapter (or by another version); it isn't {FORMAT!r}")
    if about.get("checksum") != _checksum(arrays, about.get("settings", ""), about.get("metadata", "")):
        raise InputError(f"the adapter file {path} is damaged; save it again with save_adapter")
    return arrays, LoraSettings(**json.loads(about["settings"])), json.loads(about["metadata"])


def _adapter_shapes(layer: keras.layers.Layer, settings: LoraSettings) -> tuple[tuple[int, ...], tuple[int, ...]]:
    if settings.style == "paper":
        plan = plan_of(layer)
        return (settings.rank, plan.d), (plan.d_out, settings.rank)
    *inner, last = layer._kernel.shape
    return (*inner, settings.rank), (settings.rank, last)
