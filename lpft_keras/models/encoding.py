"""From texts to token ids, some thousand rows at a time; `packing` makes rows of them."""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from lpft_keras.errors import InputError
from lpft_keras.models.packing import Frame, Tokens, as_it_is, check_length, packed
from lpft_keras.models.tokenization import cutter

if TYPE_CHECKING:
    from lpft_keras.models.backbones import TextBackbone

_CHUNK = 4096  # rows encoded at a time
_CHARACTERS = 4_000_000  # of text encoded at a time


def as_rows(texts: Sequence[str] | Sequence[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Return texts as a user gives them as tuples of one or two segments.

    Args:
        texts: Strings, or pairs of strings.

    Returns:
        One tuple a text.

    Raises:
        InputError: There is none, or one is neither; names it by its number.
    """
    if isinstance(texts, str):
        raise InputError("texts must be a list of strings or of pairs, not one string")
    rows: list[tuple[str, ...]] = []
    for number, text in enumerate(texts):
        row = (text,) if isinstance(text, str) else tuple(text) if isinstance(text, tuple | list) else ()
        if len(row) not in (1, 2) or not all(isinstance(part, str) for part in row):
            raise InputError(f"text {number} must be a string or a pair of strings, found {text!r}")
        rows.append(row)
    if not rows:
        raise InputError("there are no texts")
    return rows


def encode(
    backbone: "TextBackbone", texts: Sequence[tuple[str, ...]], max_length: int = 128, prompt: Frame | None = None
) -> Tokens:
    """Turn rows of one or two texts into token ids, as the checkpoint's own tokenizer does.

    A pair becomes `<s> A </s></s> B </s>` (RoBERTa) or `[CLS] A [SEP] B [SEP]` (BERT). What is too long loses
    tokens at the right end, the longer segment first.

    Args:
        backbone: The backbone that the ids are for.
        texts: One tuple a row, of one or two segments. A segment may be empty.
        max_length: How many tokens a row gets, special ones included.
        prompt: A prompt around the texts, of `prompting.prompt_frame`; it is never cut.

    Returns:
        The ids, int32 `[rows, max_length]`, and what goes with them.

    Raises:
        InputError: `max_length` does not fit the backbone, or a row does not hold one or two texts.

    Example:
        ```python
        backbone = load_backbone("pocket")
        tokens = encode(backbone, [("A cat sat.", "An animal sat."), ("One text alone.",)], max_length=32)
        tokens.token_ids.shape  # (2, 32)
        ```
    """
    parts = list(encode_chunks(backbone, texts, max_length, prompt))
    if len(parts) == 1:
        return parts[0]
    return Tokens(
        np.concatenate([part.token_ids for part in parts]),
        np.concatenate([part.lengths for part in parts]),
        np.concatenate([part.truncated for part in parts]),
        None if parts[0].second is None else np.concatenate([part.second for part in parts if part.second is not None]),
    )


def encode_chunks(
    backbone: "TextBackbone", texts: Iterable[tuple[str, ...]], max_length: int, prompt: Frame | None = None
) -> Iterator[Tokens]:
    """Encode as `encode` does, some thousand rows at a time, so that neither texts nor ids need fit into memory.

    Args:
        backbone: The backbone that the ids are for.
        texts: One tuple a row.
        max_length: How many tokens a row gets.
        prompt: A prompt around the texts.

    Returns:
        Tokens of the next rows, one part at least. Wrong settings are refused before the first.

    Raises:
        InputError: As `encode`.
    """
    packer = backbone.preprocessor.packer
    frame = prompt or Frame(packer.start_value, packer.sep_value, packer.end_value, (1, len(packer.sep_value)))
    check_length(max_length, frame, getattr(backbone.model, "max_sequence_length", None))
    cut = cutter(backbone.preprocessor.tokenizer)
    takes_segments = "segment_ids" in backbone.model.input

    def cut_both(chunk: list[tuple[str, ...]]) -> tuple[Iterable[list[int]], Iterator[list[int]]]:
        return cut([row[0] for row in chunk]), iter(cut([row[1] for row in chunk if len(row) == 2]))

    def parts() -> Iterator[Tokens]:
        # While a chunk is cut, outside of Python, the next one is read and the one before is packed.
        with ThreadPoolExecutor(1) as thread:
            chunks = _filled(_chunks(texts), frame)
            chunk: list[tuple[str, ...]] | None = next(chunks, [])
            cutting = thread.submit(cut_both, chunk or [])
            while chunk is not None:
                following = next(chunks, None)
                first, second = cutting.result()
                if following is not None:
                    cutting = thread.submit(cut_both, following)
                pairs = [(a, next(second) if len(row) == 2 else None) for row, a in zip(chunk, first, strict=True)]
                tokens = packed(pairs, frame, packer.pad_value or 0, max_length)
                yield tokens if takes_segments else replace(tokens, second=None)
                chunk = following

    return parts()


def token_lengths(backbone: "TextBackbone", texts: Iterable[tuple[str, ...]]) -> np.ndarray:
    """Return how many tokens each row has before truncation, special ones included.

    Args:
        backbone: The backbone whose tokens are counted.
        texts: One tuple a row.

    Returns:
        int64 `[rows]`.
    """
    packer, cut = backbone.preprocessor.packer, cutter(backbone.preprocessor.tokenizer)
    ends = len(packer.start_value) + len(packer.end_value)
    lengths = []
    for chunk in _chunks(texts):
        pieces = iter(cut([text for row in chunk for text in row]))
        lengths += [
            ends + len(packer.sep_value) * (len(row) - 1) + sum(len(next(pieces)) for _ in row) for row in chunk
        ]
    return np.array(lengths, np.int64)


def _chunks(texts: Iterable[tuple[str, ...]]) -> Iterator[list[tuple[str, ...]]]:
    """Yield some thousand rows at a time, fewer where they are long, each checked."""
    chunk: list[tuple[str, ...]] = []
    characters = 0
    for index, row in enumerate(texts):
        _check_row(row, index)
        chunk.append(row)
        characters += sum(map(len, row))
        if len(chunk) == _CHUNK or characters > _CHARACTERS:
            yield chunk
            chunk, characters = [], 0
    if chunk:
        yield chunk


def _filled(chunks: Iterator[list[tuple[str, ...]]], frame: Frame) -> Iterator[list[tuple[str, ...]]]:
    return chunks if frame.fill is as_it_is else ([frame.fill(row) for row in chunk] for chunk in chunks)


def _check_row(row: tuple[str, ...], index: int) -> None:
    if isinstance(row, str) or len(row) not in (1, 2) or not all(isinstance(text, str) for text in row):
        raise InputError(f"row {index} of the texts must be a tuple of one or two strings, got {row!r}"[:200])
    for text in row:
        if not text.isascii():
            try:
                text.encode("utf-8")
            except UnicodeEncodeError as error:
                raise InputError(f"row {index} is not valid Unicode ({error.reason}); clean it first") from error
