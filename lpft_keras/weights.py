"""Trained weights on disk: all of them, adapters with the head, or the head alone, as the method trained them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras

from lpft_keras.atomic import disk_errors
from lpft_keras.checksums import is_intact
from lpft_keras.errors import InputError, first_line
from lpft_keras.hyperparameters import PipelineSettings
from lpft_keras.methods import fine_tuning
from lpft_keras.models.adapter_files import load_adapter, save_adapter
from lpft_keras.models.backbones import TextBackbone, load_backbone
from lpft_keras.models.classifier import build_classifier, freeze_transform, get_head, scale_head, set_head
from lpft_keras.models.lora import lora_settings, merge_lora
from lpft_keras.settings import RunSettings
from lpft_keras.storage import read_arrays, read_json, write_arrays

_HEAD, _ADAPTER, _FULL = "head.npz", "adapter.safetensors", "model.weights.h5"


def _file(method: str) -> str:
    stage = fine_tuning(method)
    return _HEAD if stage is None else _ADAPTER if stage.lora else _FULL


def save_weights(directory: Path, method: str, classifier: keras.Model, backbone: TextBackbone) -> Path:
    """Write what a method trained.

    Args:
        directory: Where to.
        method: Name of the method.
        classifier: The trained classifier.
        backbone: The backbone inside it.

    Returns:
        The file.
    """
    name = _file(method)
    if name == _FULL:
        # Keras writes by name only, so the file comes into place by a rename.
        part = directory / f".part.{_FULL}"
        try:
            with disk_errors(directory / _FULL):
                classifier.save_weights(part, overwrite=True)
                part.replace(directory / _FULL)
        finally:
            part.unlink(missing_ok=True)
    elif name == _ADAPTER:
        save_adapter(directory / _ADAPTER, backbone.model, classifier.get_layer("head"))
    else:
        kernel, bias = get_head(classifier)
        write_arrays(directory / _HEAD, {"kernel": kernel, "bias": bias})
    return directory / name


def load_weights(
    directory: Path, classes: Sequence[str], backbone: TextBackbone, settings: PipelineSettings
) -> keras.Model:
    """Build a classifier and give it the weights that `save_weights` wrote.

    Args:
        directory: Where the weights are.
        classes: The class names.
        backbone: A freshly loaded backbone.
        settings: Those that trained them: method, pooling, prompt, dropout.

    Returns:
        The classifier.

    Raises:
        InputError: The weights are missing or damaged.
    """
    classifier = build_classifier(
        backbone,
        len(classes),
        pooling=settings.pooling,
        dropout=settings.head_dropout,
        prompt=settings.for_classes(classes).prompt,
    )
    path = directory / _file(settings.method)
    if not path.is_file():
        raise InputError(f"{path} is missing; train again")
    if not is_intact(path):
        raise InputError(f"{path} is damaged; train again (--overwrite)")
    if path.name == _FULL:
        try:
            classifier.load_weights(path)
        except Exception as error:  # of damaged files, HDF5 and Keras raise whatever they stumble over
            raise InputError(f"{path} is damaged or of another model ({first_line(error)}); train again") from error
    elif path.name == _ADAPTER:
        load_adapter(path, backbone.model, classifier.get_layer("head"))
        freeze_transform(classifier)
    else:
        head = read_arrays(path) or {}
        layer = classifier.get_layer("head")
        for name, variable in (("kernel", layer.kernel), ("bias", layer.bias)):
            if name not in head or head[name].shape != variable.shape or head[name].dtype.kind != "f":
                raise InputError(f"{path} is damaged or of another model; train again")
        set_head(classifier, head["kernel"], head["bias"])
    return classifier


def check_same_weights(directory: Path, backbone: TextBackbone) -> None:
    """Raise an `InputError` where a run directory was begun on other weights than a backbone has now."""
    path = directory / "environment.json"
    about = read_json(path)
    if about is None and path.is_file():
        raise InputError(
            f"{path} is damaged, so nobody knows on which weights this was trained; train again (--overwrite)"
        )
    known = (about or {}).get("backbone", {})
    for name in ("sha256", "revision"):
        if known and known.get(name) != backbone.source.get(name):
            raise InputError(
                f"{directory} was trained on other weights of {backbone.name!r} ({name} differs); "
                "run it anew (--overwrite) or bring those weights back"
            )


def load_run_model(directory: Path, config: Mapping[str, Any], temperature: float | None = None) -> keras.Model:
    """Rebuild the classifier of a run directory from its configuration.

    Args:
        directory: The run directory.
        config: What its `config.json` holds.
        temperature: Folded into the head, adapters merged; None leaves both as they were trained.

    Returns:
        The classifier.

    Raises:
        InputError: The weights are missing or damaged, or the backbone's have changed.
    """
    return load_run(directory, config, temperature)[0]


def load_run(
    directory: Path, config: Mapping[str, Any], temperature: float | None = None
) -> tuple[keras.Model, TextBackbone]:
    """Return what `load_run_model` does, and the backbone inside it."""
    settings = RunSettings(**config["settings"])
    backbone = load_backbone(settings.backbone, dropout=settings.dropout, dtype=settings.dtype)
    check_same_weights(directory, backbone)
    classifier = load_weights(directory, config["labels"], backbone, settings.pipeline())
    if temperature is not None:
        scale_head(classifier, 1 / temperature)
        if lora_settings(backbone.model) is not None:
            merge_lora(backbone.model)
    return classifier, backbone
