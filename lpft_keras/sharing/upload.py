"""Presets to Kaggle and Hugging Face, through KerasHub."""

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from lpft_keras.errors import InputError, first_line
from lpft_keras.sharing.export import check_target, write_preset

if TYPE_CHECKING:
    from lpft_keras.results import RunResult

_FORMS = "hf://user/name or kaggle://user/model/keras/variation"


def check_uri(uri: str) -> None:
    """Raise an `InputError` where a URI names no place that KerasHub uploads to.

    Args:
        uri: `hf://user/name` or `kaggle://user/model/keras/variation`.
    """
    scheme, found, handle = str(uri).partition("://")
    if not found or scheme not in ("hf", "kaggle"):
        raise InputError(f"can't upload to {uri!r}; give {_FORMS}")
    parts = handle.split("/")
    if scheme == "hf":
        # Names of users and repositories by the Hub's own rule.
        name = r"(?!.*(--|\.\.))(?![-.])[\w.-]{1,96}(?<![-.])"
        if len(parts) not in (1, 2) or not all(re.fullmatch(name, part, re.ASCII) for part in parts):
            raise InputError(f"{uri!r} names no repository of Hugging Face; give hf://user/name")
    elif len(parts) != 4 or parts[2] != "keras" or not all(re.fullmatch(r"[\w-]+", part, re.ASCII) for part in parts):
        raise InputError(f"{uri!r} names no Keras model of Kaggle; give kaggle://user/model/keras/variation")


def upload(
    result: "RunResult",
    uri: str,
    directory: str | Path | None = None,
    *,
    calibrated: bool = True,
    license: str | None = None,
    private: bool = False,
) -> None:
    """Write a finished run for others and upload it; see `RunResult.upload`.

    Args:
        result: The run.
        uri: Where to.
        directory: Where the preset is kept; None keeps none.
        calibrated: Fold the temperature into the head.
        license: For the model card.
        private: Whether a repository of Hugging Face that is not there yet is made a private one.

    Raises:
        InputError: The URI is wrong, nobody is logged in there, or the upload failed.
    """
    check_uri(uri)
    if private and not uri.startswith("hf://"):
        raise InputError("private is for Hugging Face; a model that Kaggle makes is private until you publish it")
    if directory is not None:
        check_target(Path(directory).expanduser())
    _check_account(uri)
    with tempfile.TemporaryDirectory() as temporary:
        target = Path(temporary) / "preset" if directory is None else Path(directory)
        written = write_preset(result, target, calibrated=calibrated, license=license, place=uri)
        with _told(uri, "the network, and that you may write there, and run it again"):
            _send(uri, written, private)


def _check_account(uri: str) -> None:
    """Ask the hub who we are, so that a missing login is found before the work."""
    if uri.startswith("hf://"):
        import huggingface_hub

        with _told(uri, "that you are logged in (hf auth login, or HF_TOKEN) and the network"):
            huggingface_hub.whoami()
    else:
        import kagglehub

        with _told(uri, "your Kaggle API token (kagglehub.login(), or KAGGLE_API_TOKEN) and the network"):
            kagglehub.whoami(verbose=False)


def _send(uri: str, directory: Path, private: bool) -> None:
    import keras_hub

    if uri.startswith("hf://"):
        import huggingface_hub

        # To a repository without a model card KerasHub writes one of its own, over ours, and removes it from disk.
        repository = huggingface_hub.create_repo(uri.removeprefix("hf://"), private=private, exist_ok=True).repo_id
        huggingface_hub.upload_file(
            path_or_fileobj=directory / "README.md", path_in_repo="README.md", repo_id=repository
        )
    keras_hub.upload_preset(uri, str(directory))


@contextmanager
def _told(uri: str, what: str) -> Iterator[None]:
    """Turn whatever a hub's client raises into one line."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        raise InputError(
            f"can't upload to {uri} ({type(error).__name__}: {first_line(error)}); check {what}"
        ) from error
