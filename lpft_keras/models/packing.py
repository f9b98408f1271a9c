"""Token ids of one or two texts in one row: truncate, join by what stands around them, pad. NumPy only."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np

from lpft_keras.errors import InputError


@dataclass(frozen=True)
class Tokens:
    """Token ids of many texts, padded on the right to one length.

    Attributes:
        token_ids: int32 `[rows, max_length]`.
        lengths: int32 `[rows]`, the number of tokens that are no padding.
        truncated: bool `[rows]`, whether the row lost tokens.
        second: int32 `[rows]`, where the second segment starts, `lengths` where there is none; None where the backbone
            takes no segment ids.
    """

    token_ids: np.ndarray
    lengths: np.ndarray
    truncated: np.ndarray
    second: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def segment_ids(self) -> np.ndarray | None:
        """int32 `[rows, max_length]`: 0 in the first segment and in the padding, 1 in the second."""
        if self.second is None:
            return None
        columns = np.arange(self.token_ids.shape[1])
        return ((columns >= self.second[:, None]) & (columns < self.lengths[:, None])).astype(np.int32)

    def take(self, rows: np.ndarray) -> "Tokens":
        """Return some rows, by number."""
        second = None if self.second is None else self.second[rows]
        return Tokens(self.token_ids[rows], self.lengths[rows], self.truncated[rows], second)


def as_it_is(row: tuple[str, ...]) -> tuple[str, ...]:
    """Return the texts of a row that no prompt fills."""
    return row


@dataclass(frozen=True)
class Frame:
    """What stands around the texts of a row, as token ids: the packer's signs, or a prompt with them.

    Attributes:
        start: Before the first text.
        middle: Between two texts.
        end: After the last one.
        second: Where the second segment starts: in which of the three (0, 1, 2), and after how many of its ids; None
            where there is one segment.
        fill: Makes the texts that are cut out of those of a row.
        replaced: An id that no text may have, and the one that takes its place.
    """

    start: list[int]
    middle: list[int]
    end: list[int]
    second: tuple[int, int] | None
    fill: Callable[[tuple[str, ...]], tuple[str, ...]] = as_it_is
    replaced: tuple[int, int] | None = None

    def __len__(self) -> int:
        return len(self.start) + len(self.middle) + len(self.end)

    def clean(self, ids: list[int]) -> list[int]:
        """Return the ids of a text without the one that none may have."""
        if self.replaced is None or self.replaced[0] not in ids:
            return ids
        return [self.replaced[1] if index == self.replaced[0] else index for index in ids]


def packed(rows: Sequence[tuple[list[int], list[int] | None]], frame: Frame, padding: int, max_length: int) -> Tokens:
    """Truncate, join and pad the ids of some rows."""
    start, middle, end = frame.start, frame.middle, frame.end
    part, offset = frame.second or (-1, 0)
    joined, second, truncated = [], [], []
    for first, last in rows:
        a, b = frame.clean(first), None if last is None else frame.clean(last)
        if b is None:
            kept = a[: max_length - len(start) - len(end)]
            joined.append([*start, *kept, *end])
            places = (0, -1, len(start) + len(kept))
            truncated.append(len(kept) < len(a))
        else:
            keep, keep_b = longest_first(len(a), len(b), max_length - len(frame))
            joined.append([*start, *a[:keep], *middle, *b[:keep_b], *end])
            # KerasHub and Hugging Face both give the separator to the first segment.
            places = (0, len(start) + keep, len(start) + keep + len(middle) + keep_b)
            truncated.append(keep < len(a) or keep_b < len(b))
        place = -1 if part < 0 else places[part]
        second.append(len(joined[-1]) if place < 0 else place + offset)
    lengths = np.fromiter(map(len, joined), np.int32, len(joined))
    ids = np.full((len(joined), max_length), padding, np.int32)
    # Places that are no padding, in the order of rows and columns, which is that of the joined ids.
    real = np.arange(max_length) < lengths[:, None]
    ids[real] = np.fromiter(chain.from_iterable(joined), np.int32, int(lengths.sum()))
    return Tokens(ids, lengths, np.array(truncated, bool), np.array(second, np.int32))


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


def check_length(max_length: int, frame: Frame, limit: int | None) -> None:
    """Raise an `InputError` where `max_length` leaves no room for texts, or is more than the backbone takes."""
    special = len(frame)
    if max_length < special + 2:
        what = "special" if frame.fill is as_it_is else "the prompt's"
        raise InputError(f"max_length is {max_length}; at least {special + 2} are needed, {special} of them {what}")
    if limit is not None and max_length > limit:
        raise InputError(f"max_length is {max_length}, but the backbone takes at most {limit} tokens")
