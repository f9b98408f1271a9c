"""LoRA for KerasHub backbones: the paper's (equal to `peft`) and Keras' own; adapters saved by layer path, merging.

Hu et al. 2022; Tomihari & Sato 2024, Prop. 2. Keras' own LoRA is another one: it factorises a kernel's last axis only,
so that there is one A per head and all heads share B.
"""

import collections
import dataclasses
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import safetensors
import safetensors.numpy

from lpft_keras.errors import InputError, unknown_name
from lpft_keras.hyperparameters import LoraSettings
from lpft_keras.models.lora_layers import ADAPTED, PLAIN, LowRank, float64, plan_of
from lpft_keras.storage import fingerprint, write_atomically

FORMAT = "lpft-keras adapter 1"


def enable_lora(
    backbone: keras.Model,
    rank: int = 8,
    alpha: float = 8,
    style: str = "paper",
    targets: Iterable[str] = ("query", "value"),
    seed: int = 0,
) -> None:
    """Freeze a backbone and give its target projections trainable low-rank updates, in place.

    Style `"paper"` (Hu et al. 2022; Tomihari & Sato 2024, Prop. 2): W + (alpha/rank) B A on the flattened projection,
    A in R^{rank x d} drawn from U(-1/sqrt(d), 1/sqrt(d)), B = 0 in R^{d_out x rank}; equal to `peft`'s
    `LoraConfig(r=rank, lora_alpha=alpha, target_modules=["query", "value"], lora_dropout=0, bias="none")`.
    Style `"keras"`: Keras' own, A in R^{d x heads x rank} and B in R^{rank x head_dim} shared by the heads. In both,
    all else is frozen, biases too, and the adapters are float32. Layers that the model shares (ALBERT) get one pair.

    Compile the outer model after this. Setting `backbone.trainable` later thaws or freezes everything, as in Keras.

    Args:
        backbone: Any built KerasHub backbone.
        rank: The rank r.
        alpha: The update is scaled by alpha/rank.
        style: `"paper"` or `"keras"`.
        targets: Layer names; `"query"` also finds `"query_dense"`.
        seed: Seeds A, drawn with NumPy: the same on all backends. No global state is touched.

    Raises:
        InputError: Bad setting, a target that no layer has, a target that isn't Dense or EinsumDense, quantized or
            constrained layers, or LoRA is already enabled. The backbone is then as it was.

    Example:
    ```python
    backbone = keras_hub.models.RobertaBackbone.from_preset("roberta_base_en")
    enable_lora(backbone, rank=8, alpha=8)
    sum(math.prod(v.shape) for v in lora_variables(backbone))  # 294912 = 12 x 2 layers x 8 x (768 + 768)
    ```
    """
    settings = LoraSettings(rank, alpha, style, (targets,) if isinstance(targets, str) else tuple(targets))
    found = _find_targets(backbone, settings)
    random = np.random.default_rng(seed)
    backbone.trainable = True
    for variable in backbone.trainable_variables:
        variable.trainable = False
    for layer in found.values():
        if settings.style == "paper":
            layer.__class__ = ADAPTED[type(layer)]  # replaced, the layer would leave a stale child in Keras' trackers
            layer.start_lora(settings.rank, settings.alpha)
            bound = 1 / math.sqrt(layer.lora_a.shape[1])
        else:
            # "zeros": Keras' random initialisers would advance Python's global random state.
            layer.enable_lora(settings.rank, lora_alpha=settings.alpha, a_initializer="zeros")
            bound = math.sqrt(6 / math.prod(layer._kernel.shape[:-1]))  # he_uniform with Keras' fans
        a, _ = _pair(layer)
        a.assign(random.uniform(-bound, bound, a.shape).astype("float32"))
    backbone._lpft_lora = settings


def lora_settings(backbone: keras.Model) -> LoraSettings | None:
    """Return what the backbone's LoRA was enabled with, or None."""
    return getattr(backbone, "_lpft_lora", None)


def lora_variables(backbone: keras.Model) -> list:
    """Return the adapter variables A, B, A, B, ... in the order of the backbone's layers; empty without LoRA.

    Args:
        backbone: A backbone.

    Returns:
        Two float32 variables a target layer: [r, d] and [d_out, r] in the paper's style.
    """
    return [variable for layer in _adapted_layers(backbone).values() for variable in _pair(layer)]


def merge_lora(backbone: keras.Model) -> None:
    """Fold the updates into the kernels and remove the adapters, in place; the outputs stay the same.

    All variables stay frozen; set `backbone.trainable = True` to fine-tune on. Compile the outer model again.

    Args:
        backbone: A backbone on which `enable_lora` was called.

    Raises:
        InputError: The backbone has no LoRA.
    """
    settings = lora_settings(backbone)
    if settings is None:
        raise InputError("the backbone has no LoRA to merge; call enable_lora(backbone) first")
    for layer in _adapted_layers(backbone).values():
        if settings.style == "paper":
            layer._kernel.assign(layer.merged_kernel())
            del layer.lora_a, layer.lora_b, layer._low_rank
            layer.__class__ = PLAIN[type(layer)]
        else:
            update = float64(layer.lora_kernel_a) @ float64(layer.lora_kernel_b)
            layer._kernel.assign(float64(layer._kernel) + settings.alpha / settings.rank * update)
            del layer.lora_kernel_a, layer.lora_kernel_b
            layer.lora_enabled, layer.lora_rank, layer.lora_alpha = False, None, None
    backbone._lpft_lora = None


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
    slots = _slots(_adapted_layers(backbone), head)
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
    layers = _adapted_layers(backbone) if settings else _find_targets(backbone, stored)
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


def _walk(
    layer: keras.layers.Layer, path: str = "", seen: set | None = None
) -> Iterator[tuple[str, keras.layers.Layer]]:
    """Yield path, layer for all below one, each layer once; like `layer.path`, but without the root's own name."""
    seen = set() if seen is None else seen
    names: collections.Counter[str] = collections.Counter()
    for child in layer._flatten_layers(include_self=False, recursive=False):
        if id(child) in seen:
            continue
        seen.add(id(child))
        names[child.name] += 1  # siblings of one name get numbers
        here = path + child.name + (f"~{names[child.name]}" if names[child.name] > 1 else "")
        yield here, child
        yield from _walk(child, f"{here}/", seen)


def _find_targets(backbone: keras.Model, settings: LoraSettings) -> dict[str, keras.layers.Layer]:
    """Return path -> layer of all targets, checked, so that enabling LoRA on them can't fail half-way."""
    layers: list[tuple[str, Any]] = [*_walk(backbone)]
    if lora_settings(backbone) or any(_pair(layer) for _, layer in layers):
        raise InputError("LoRA is already enabled on this backbone; call merge_lora(backbone) or build it anew")
    names = sorted({str(layer.name) for _, layer in layers if isinstance(layer, tuple(ADAPTED))})  # type: ignore[attr-defined]
    wanted: set[str] = set()
    for target in settings.targets:
        matches = {target, f"{target}_dense"} & {layer.name for _, layer in layers}
        if not matches:
            raise unknown_name("LoRA target layer", target, names)
        wanted |= matches
    found = {path: layer for path, layer in layers if layer.name in wanted}
    for path, layer in found.items():
        if type(layer) not in ADAPTED:
            raise InputError(
                f"LoRA target {path!r} is a {type(layer).__name__}; only Dense and EinsumDense can have it"
            )
        if not layer.built or layer.quantization_mode is not None or layer.kernel_constraint is not None:
            raise InputError(f"LoRA target {path!r} is unbuilt, quantized or constrained; load it plain, in floats")
        plan = plan_of(layer)
        if len(plan.inner + plan.outer) != len(plan.kernel):
            raise InputError(f"LoRA target {path!r} shares a kernel axis of inputs and outputs: {layer.equation!r}")
    return found


def _adapted_layers(backbone: keras.Model) -> dict[str, keras.layers.Layer]:
    return {path: layer for path, layer in _walk(backbone) if _pair(layer)}


def _pair(layer: keras.layers.Layer) -> tuple:
    """Return a layer's two adapter variables, or an empty tuple."""
    if isinstance(layer, LowRank):
        return layer.lora_a, layer.lora_b
    return (layer.lora_kernel_a, layer.lora_kernel_b) if getattr(layer, "lora_enabled", False) else ()


def _adapter_shapes(layer: keras.layers.Layer, settings: LoraSettings) -> tuple[tuple[int, ...], tuple[int, ...]]:
    if settings.style == "paper":
        plan = plan_of(layer)
        return (settings.rank, plan.d), (plan.d_out, settings.rank)
    *inner, last = layer._kernel.shape
    return (*inner, settings.rank), (settings.rank, last)


def _slots(layers: Mapping[str, keras.layers.Layer], head: keras.layers.Layer) -> dict[str, keras.Variable]:
    """Return name in the file -> variable."""
    adapters = {
        f"{path}/{part}": v for path, layer in layers.items() for part, v in zip("ab", _pair(layer), strict=True)
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
