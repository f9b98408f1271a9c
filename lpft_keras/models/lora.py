"""LoRA for KerasHub backbones: the paper's (equal to `peft`) and Keras' own; `adapter_files` keeps them on disk.

Hu et al. 2022; Tomihari & Sato 2024, Prop. 2. Keras' own LoRA is another one: it factorises a kernel's last axis only,
so that there is one A per head and all heads share B.
"""

import collections
import math
from collections.abc import Iterable, Iterator
from typing import Any

import keras
import numpy as np

from lpft_keras.errors import InputError, unknown_name
from lpft_keras.hyperparameters import LoraSettings
from lpft_keras.models.lora_layers import ADAPTED, PLAIN, LowRank, float64, plan_of


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
    found = find_targets(backbone, settings)
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
        a, _ = adapter_pair(layer)
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
    return [variable for layer in adapted_layers(backbone).values() for variable in adapter_pair(layer)]


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
    for layer in adapted_layers(backbone).values():
        if settings.style == "paper":
            layer._kernel.assign(layer.merged_kernel())
            _drop(layer, "lora_a", "lora_b")
            del layer._low_rank
            layer.__class__ = PLAIN[type(layer)]
        else:
            update = float64(layer.lora_kernel_a) @ float64(layer.lora_kernel_b)
            layer._kernel.assign(float64(layer._kernel) + settings.alpha / settings.rank * update)
            _drop(layer, "lora_kernel_a", "lora_kernel_b")
            layer.lora_enabled, layer.lora_rank, layer.lora_alpha = False, None, None
    backbone._lpft_lora = None


def _drop(layer: keras.layers.Layer, *names: str) -> None:
    """Remove variables as Keras' own `del` does, but for its garbage collection: a fifth of a second for each."""
    for name in names:
        layer._untrack_variable(getattr(layer, name))
        # Of the class above `Layer`, whose own method collects.
        super(keras.layers.Layer, layer).__delattr__(name)


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


def find_targets(backbone: keras.Model, settings: LoraSettings) -> dict[str, keras.layers.Layer]:
    """Return path -> layer of all targets, checked, so that enabling LoRA on them can't fail half-way."""
    layers: list[tuple[str, Any]] = [*_walk(backbone)]
    if lora_settings(backbone) or any(adapter_pair(layer) for _, layer in layers):
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


def adapted_layers(backbone: keras.Model) -> dict[str, keras.layers.Layer]:
    """Return path -> layer of those with adapters."""
    return {path: layer for path, layer in _walk(backbone) if adapter_pair(layer)}


def adapter_pair(layer: keras.layers.Layer) -> tuple:
    """Return a layer's two adapter variables, or an empty tuple."""
    if isinstance(layer, LowRank):
        return layer.lora_a, layer.lora_b
    return (layer.lora_kernel_a, layer.lora_kernel_b) if getattr(layer, "lora_enabled", False) else ()
