"""Splits as token arrays, made once: kept in the cache, from where they are mapped into memory as they are needed."""

import json
import logging
from collections.abc import Mapping
from pathlib import Path

import numpy as np

import lpft_keras
from lpft_keras.checksums import file_sha256
from lpft_keras.models.backbones import TextBackbone
from lpft_keras.models.encoding import encode_chunks
from lpft_keras.models.packing import Frame, Tokens
from lpft_keras.models.prompting import label_word_ids, prompt_frame
from lpft_keras.progress import progress_bar
from lpft_keras.prompts import Prompt
from lpft_keras.storage import claimed, fingerprint, read_arrays, write_arrays, write_rows
from lpft_keras.tasks import Split, TaskData
from lpft_keras.training.batches import Encoded

log = logging.getLogger(__name__)


def encoded_splits(
    backbone: TextBackbone,
    data: TaskData,
    max_length: int,
    cache: Path,
    show_progress: bool | None = None,
    prompt: Prompt | None = None,
) -> dict[str, Encoded]:
    """Return the token arrays of all splits of a task.

    Args:
        backbone: The backbone that they are for.
        data: The splits.
        max_length: Tokens a row, special ones included.
        cache: The folder where they are kept. Neither texts nor ids need fit into memory.
        show_progress: Whether to show a progress bar; None decides by the terminal.
        prompt: What rows are put into, its words in the order of the classes; None for none.

    Returns:
        The arrays by the name of the split.

    Raises:
        InputError: `max_length` or the prompt does not fit the backbone, or the cache can't be written.
    """
    template = None if prompt is None else prompt.template
    frame = None if prompt is None else prompt_frame(backbone, prompt.template)
    if prompt is not None and frame is not None:
        # What is wrong with a prompt shows before any work: with its texts, all rows having as many, or with its words.
        frame.fill(data.train.texts[0])
        label_word_ids(backbone, prompt)

    def encoded(name: str, split: Split) -> Encoded:
        # The template as it is: what becomes of it is a matter of tokenizer and version, which the key has.
        path = cache / f"tokens-{_key(backbone, split, max_length, template)}.npz"
        with claimed(path):
            tokens = _read(path) or _make(backbone, name, split, max_length, path, show_progress, frame)
        return _noted(tokens, name, split, max_length)

    return {name: encoded(name, split) for name, split in data.every().items()}


def _noted(tokens: Tokens, name: str, split: Split, max_length: int) -> Encoded:
    if cut := int(tokens.truncated.sum()):
        log.info("%s: %d of %d rows are cut to %d tokens (--max-length)", name, cut, len(split), max_length)
    return Encoded(tokens, split.labels)


def _key(backbone: TextBackbone, split: Split, max_length: int, template: str | None) -> str:
    tokenizer = backbone.preprocessor.tokenizer
    # Without the name, which Keras counts up with each loading.
    config = {name: value for name, value in tokenizer.get_config().items() if name != "name"}
    files = [getattr(tokenizer, name, None) for name in ("merges", "proto")]
    settings = json.dumps(config, sort_keys=True, default=repr)
    source = dict(backbone.source)
    vocabulary = tokenizer.get_vocabulary()
    made = [lpft_keras.__version__, source, settings, vocabulary, *files, max_length, split.checksum]
    return fingerprint(made if template is None else [*made, template])


def _make(
    backbone: TextBackbone,
    name: str,
    split: Split,
    max_length: int,
    path: Path,
    show_progress: bool | None,
    frame: Frame | None,
) -> Tokens:
    """Encode a split part by part: ids into a file of their own, what is small beside them, written last."""
    small: dict[str, list[np.ndarray]] = {}
    with progress_bar(f"encoding {name}", len(split), show_progress) as advance:

        def parts():
            done = 0
            for part in encode_chunks(backbone, split.texts, max_length, frame):
                for field in ("lengths", "truncated", "second"):
                    if getattr(part, field) is not None:
                        small.setdefault(field, []).append(getattr(part, field))
                done += len(part)
                advance(done)
                yield part.token_ids

        write_rows(path.with_suffix(".npy"), parts(), (len(split), max_length), np.dtype(np.int32))
    arrays = {field: np.concatenate(values) for field, values in small.items()}
    write_arrays(path, {**arrays, "sha256": np.array(file_sha256(path.with_suffix(".npy")))})
    return _mapped(path, arrays)


def _read(path: Path) -> Tokens | None:
    """Map a cached encoding, or return None where it is missing or damaged."""
    arrays = read_arrays(path)
    try:
        if arrays is None or str(arrays["sha256"]) != file_sha256(path.with_suffix(".npy")):
            return None
        return _mapped(path, arrays)
    except (OSError, ValueError, KeyError):
        return None


def _mapped(path: Path, arrays: Mapping[str, np.ndarray]) -> Tokens:
    ids = np.load(path.with_suffix(".npy"), mmap_mode="r", allow_pickle=False)
    return Tokens(ids, arrays["lengths"], arrays["truncated"], arrays.get("second"))
