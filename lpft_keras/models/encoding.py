"""From texts to token ids: cut, truncate, join, pad. NumPy in the end, the same on every backend."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lpft_keras.errors import InputError
from lpft_keras.models.tokenization import token_ids

if TYPE_CHECKING:
    from lpft_keras.models.backbones import TextBackbone


@dataclass(frozen=True)
class Tokens:
    """Token ids of many texts, padded on the right to one length.

    Attributes:
        token_ids: int32 `[rows, max_length]`.
        segment_ids: int32 `[rows, max_length]`, 0 in the first segment and in the padding, 1 in the second;
            None where the backbone takes none.
        lengths: int32 `[rows]`, the number of tokens that are no padding.
        truncated: bool `[rows]`, whether the row lost tokens.
    """

    token_ids: np.ndarray
    segment_ids: np.ndarray | None
    lengths: np.ndarray
    truncated: np.ndarray

    def __len__(self) -> int:
        return len(self.lengths)

    def take(self, rows: np.ndarray) -> "Tokens":
        """Return some rows, by number."""
        segments = None if self.segment_ids is None else self.segment_ids[rows]
        return Tokens(self.token_ids[rows], segments, self.lengths[rows], self.truncated[rows])


def encode(backbone: "TextBackbone", texts: Sequence[tuple[str, ...]], max_length: int = 128) -> Tokens:
    """Turn rows of one or two texts into token ids, as the checkpoint's own tokenizer does.

    A pair becomes `<s> A </s></s> B </s>` (RoBERTa) or `[CLS] A [SEP] B [SEP]` (BERT). What is too long loses
    tokens at the right end, the longer segment first.

    Args:
        backbone: The backbone that the ids are for.
        texts: One tuple a row, of one or two segments. A segment may be empty.
        max_length: How many tokens a row gets, special ones included.

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
    packer = backbone.preprocessor.packer
    _check(texts, max_length, packer, getattr(backbone.model, "max_sequence_length", None))
    tokenizer = backbone.preprocessor.tokenizer
    first = token_ids(tokenizer, [row[0] for row in texts])
    paired = [index for index, row in enumerate(texts) if len(row) == 2]
    second = dict(zip(paired, token_ids(tokenizer, [texts[index][1] for index in paired]), strict=True))

    ids = np.full((len(texts), max_length), packer.pad_value or 0, np.int32)
    segments = np.zeros((len(texts), max_length), np.int32)
    lengths = np.zeros(len(texts), np.int32)
    truncated = np.zeros(len(texts), bool)
    start, middle, end = packer.start_value, packer.sep_value, packer.end_value
    for row, a in enumerate(first):
        if row not in second:
            keep = min(len(a), max_length - len(start) - len(end))
            joined = [*start, *a[:keep], *end]
            truncated[row] = keep < len(a)
        else:
            b = second[row]
            keep, keep_b = longest_first(len(a), len(b), max_length - len(start) - len(middle) - len(end))
            head = [*start, *a[:keep], *middle]
            joined = [*head, *b[:keep_b], *end]
            # KerasHub and Hugging Face both give the separator to the first segment.
            segments[row, len(head) : len(joined)] = 1
            truncated[row] = keep < len(a) or keep_b < len(b)
        ids[row, : len(joined)] = joined
        lengths[row] = len(joined)
    takes_segments = "segment_ids" in backbone.model.input
    return Tokens(ids, segments if takes_segments else None, lengths, truncated)


def longest_first(first: int, second: int, budget: int) -> tuple[int, int]:
    """Share a budget of tokens between two segments, cutting the longer one until both fit.

    Where both must be cut and the budget is odd, the odd token goes to the longer segment, and to the second if
    they are equally long: this is what Hugging Face's `tokenizers` does. With an even budget, as RoBERTa's
    124 of 128, it is the same as taking tokens from both in turn.

    Args:
        first: Tokens of the first segment.
        second: Tokens of the second segment.
        budget: How many there is room for.

    Returns:
        How many tokens each segment keeps.
    """
    if first + second <= budget:
        return first, second
    shorter, longer = min(first, second), max(first, second)
    if shorter <= budget // 2:
        longer = budget - shorter
    else:
        shorter, longer = budget // 2, budget - budget // 2
    return (longer, shorter) if first > second else (shorter, longer)


def _check(texts: Sequence[tuple[str, ...]], max_length: int, packer, limit: int | None) -> None:
    special = len(packer.start_value) + len(packer.sep_value) + len(packer.end_value)
    if max_length < special + 2:
        raise InputError(f"max_length is {max_length}; at least {special + 2} are needed, {special} of them special")
    if limit is not None and max_length > limit:
        raise InputError(f"max_length is {max_length}, but the backbone takes at most {limit} tokens")
    for index, row in enumerate(texts):
        if isinstance(row, str) or len(row) not in (1, 2) or not all(isinstance(text, str) for text in row):
            raise InputError(f"row {index} of the texts must be a tuple of one or two strings, got {row!r}"[:200])
