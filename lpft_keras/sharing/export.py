"""A finished run as a directory: preset, whole classifier, tokenizer and model card."""

import logging
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from lpft_keras.atomic import umask
from lpft_keras.errors import InputError
from lpft_keras.models.classifier import get_head, representation, trained_masked_lm
from lpft_keras.models.masked_lm import write_head
from lpft_keras.models.presets import ABOUT, read_about, save_preset
from lpft_keras.sharing.card import model_card, shown_backbone
from lpft_keras.storage import write_arrays, write_last
from lpft_keras.weights import load_run

if TYPE_CHECKING:
    from lpft_keras.results import RunResult

log = logging.getLogger(__name__)


def write_preset(
    result: "RunResult", directory: str | Path, *, calibrated: bool = True, license: str | None = None, place: str = ""
) -> Path:
    """Write a finished run for others; see `RunResult.to_preset`.

    Args:
        result: The run.
        directory: Where to: a new or empty directory, or one that was written so before, which is replaced.
        calibrated: Fold the temperature into the head.
        license: For the model card.
        place: Where its readers will find it, which the card's examples name; the directory's name by default.

    Returns:
        The directory.

    Raises:
        InputError: The directory holds something else, or the run's weights are missing.
    """
    directory = Path(directory).expanduser().resolve()
    check_target(directory)
    config, temperature = result.config, result.summary["temperature"]
    # A factor of 1 merges the adapters, too.
    classifier, backbone = load_run(result.directory, config, temperature if calibrated else 1.0)
    settings = config["settings"]
    try:
        directory.absolute().parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(dir=directory.absolute().parent, prefix=f".{directory.name}.", suffix=".part"))
    except OSError as error:
        raise InputError(f"can't write {directory}: {error.strerror}; choose another directory") from error
    try:
        prompt = settings.get("prompt")
        pooling = backbone.pooling if prompt else representation(classifier)
        about = save_preset(part, backbone, pooling, settings["max_length"])
        if prompt and backbone.masked_lm is not None:
            write_head(part, trained_masked_lm(classifier, backbone.masked_lm))
        about["classifier"] = {
            "classes": config["labels"],
            "temperature": temperature,
            "calibrated": calibrated,
            **{
                name: settings.get(name) for name in ("max_length", "dropout", "dtype", "seed", "prompt", "label_words")
            },
        }
        about["trained"] = {
            "settings": {**settings, "backbone": shown_backbone(settings["backbone"])},
            "metric": config["metric"],
            "data": config["data"],
        }
        classifier.save(part / "classifier.keras")
        kernel, bias = get_head(classifier)
        write_arrays(part / "head.npz", {"kernel": kernel, "bias": bias})
        card = model_card(result, about, license, place or directory.name)
        # Without the model card, which is anybody's to complete.
        write_last(part / ABOUT, about, [path for path in part.rglob("*") if path.is_file()])
        (part / "README.md").write_text(card, "utf-8")
        os.chmod(part, 0o777 & ~umask())
        _put_in_place(part, directory)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    _say_what_differs(about["kerashub_alone"])
    return directory


def check_target(directory: Path) -> None:
    """Raise an `InputError` where a directory holds what we did not write."""
    if directory.exists() and not directory.is_dir():
        raise InputError(f"{directory} is a file; choose a directory")
    if directory.is_dir() and any(directory.iterdir()) and read_about(directory) is None:
        raise InputError(f"{directory} is not empty and holds no preset of ours; choose another directory")
    if directory == Path.cwd() or directory.is_mount():
        raise InputError(f"{directory} can't be replaced as a whole; name a directory in it")


def _put_in_place(part: Path, directory: Path) -> None:
    """Rename the whole directory to its name; one that stood there is moved away first, and gone after."""
    old = part.with_suffix(".old")
    try:
        if directory.exists():
            directory.rename(old)
        part.rename(directory)
    except OSError as error:
        if old.exists():
            old.rename(directory)
        raise InputError(f"can't write {directory}: {error.strerror}; choose another directory") from error
    shutil.rmtree(old, ignore_errors=True)


def _say_what_differs(alone: dict) -> None:
    if alone["hidden_states"] > 1e-5:
        log.info(
            "KerasHub alone, whose class fixes the activation, gives hidden states up to %.1e off ours; the model card "
            "has the lines that mend it",
            alone["hidden_states"],
        )
    if alone["texts"]:
        log.info("KerasHub's own tokenizer cuts some texts otherwise than ours: %s", ", ".join(alone["texts"]))
