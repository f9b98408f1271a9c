"""A first look at a task's rows, before any training: how many, of which classes, how long, shared between splits."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

import numpy as np

from lpft_keras.models.backbones import TextBackbone
from lpft_keras.models.encoding import token_lengths
from lpft_keras.tasks import Split, TaskData

LENGTH_BINS = (16, 32, 64, 128, 256, 512)
"""Upper ends of the bins of the token-length histogram; one more bin holds what is longer."""

_SHOWN = 3  # rows of a leak that are shown


@dataclass(frozen=True)
class SplitOverview:
    """One split.

    Attributes:
        rows: Number of rows.
        labels: Rows by class name.
        empty: Rows all of whose segments are empty or blank.
        repeated: Rows whose texts stand in an earlier row of the split.
        contradicting: Those of them that have another label than that row.
        lengths: Rows by token length, in the bins of `LENGTH_BINS` and one more; None without a backbone.
        median_length: Median number of tokens; None without a backbone.
        longest: Greatest number of tokens; None without a backbone.
        truncated: Share of the rows that `max_length` cuts; None without a backbone.
    """

    rows: int
    labels: Mapping[str, int]
    empty: int
    repeated: int
    contradicting: int
    lengths: list[int] | None = None
    median_length: float | None = None
    longest: int | None = None
    truncated: float | None = None


@dataclass(frozen=True)
class Leak:
    """Rows of one split that stand in another too.

    Attributes:
        split: Whose rows are counted, the test or validation rows.
        other: Where they stand too.
        rows: How many.
        share: Which share of the split.
        examples: The first of them, as (number in the split from 1, texts).
    """

    split: str
    other: str
    rows: int
    share: float
    examples: list[tuple[int, tuple[str, ...]]]


@dataclass(frozen=True)
class Overview:
    """A task.

    Attributes:
        splits: By name.
        leaks: Pairs of splits that share rows.
        max_length: Tokens a row is cut to.
    """

    splits: dict[str, SplitOverview]
    leaks: list[Leak]
    max_length: int

    def as_dict(self) -> dict[str, Any]:
        """Return what `--json` prints."""
        return asdict(self)


def overview(data: TaskData, backbone: TextBackbone | None = None, max_length: int = 128) -> Overview:
    """Look at a task's rows.

    Args:
        data: The splits.
        backbone: Whose tokens are counted; None counts none.
        max_length: Tokens a row is cut to.

    Returns:
        What there is. Time and memory O(rows), texts apart.

    Example:
        >>> overview(load_task(get_task("demo"))).splits["train"].labels
        {'entailment': 78, 'contradiction': 75, 'neutral': 72}
    """
    found = {name: _look(split, data.labels, backbone, max_length) for name, split in data.every().items()}
    return Overview(found, leaks(data), max_length)


def leaks(data: TaskData) -> list[Leak]:
    """Return the pairs of splits that share rows.

    Args:
        data: The splits.

    Returns:
        One leak a pair. Time and memory O(rows), texts apart.
    """
    splits = data.every()
    # Of two splits the later one is measured on, so it is the one whose numbers a leak flatters.
    found = [_leak(other, name, splits) for other, name in combinations(splits, 2)]
    return [leak for leak in found if leak.rows]


def label_counts(split: Split, labels: tuple[str, ...]) -> dict[str, int]:
    """Return the rows of a split by class name."""
    return dict(zip(labels, np.bincount(split.labels, minlength=len(labels)).tolist(), strict=True))


def _look(split: Split, labels: tuple[str, ...], backbone: TextBackbone | None, max_length: int) -> SplitOverview:
    _, first, inverse = np.unique(split.row_hashes, return_index=True, return_inverse=True)
    earlier = first[inverse]  # where each row's texts stand first
    tokens: dict[str, Any] = {}
    if backbone is not None:
        lengths = token_lengths(backbone, split.texts)
        bins = np.searchsorted(LENGTH_BINS, lengths)
        tokens = {
            "lengths": np.bincount(bins, minlength=len(LENGTH_BINS) + 1).tolist(),
            "median_length": float(np.median(lengths)),
            "longest": int(lengths.max()),
            "truncated": float((lengths > max_length).mean()),
        }
    return SplitOverview(
        rows=len(split),
        labels=label_counts(split, labels),
        empty=sum(not any(part.strip() for part in row) for row in split.texts.encoded()),
        repeated=int((earlier != np.arange(len(split))).sum()),
        contradicting=int((split.labels != split.labels[earlier]).sum()),
        **tokens,
    )


def _leak(other: str, name: str, splits: Mapping[str, Split]) -> Leak:
    split = splits[name]
    shared = np.flatnonzero(np.isin(split.row_hashes, splits[other].row_hashes))
    examples = [(int(row) + 1, split.texts[int(row)]) for row in shared[:_SHOWN]]
    return Leak(name, other, len(shared), len(shared) / len(split), examples)
