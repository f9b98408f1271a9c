"""What a task is: text, label names, metric, split rule, and where its rows come from."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple


class Row(NamedTuple):
    """One row as its source gave it, and where that was, to name it when it is wrong.

    Attributes:
        fields: Values by column.
        source: The file, or another source.
        number: Which line (or row) of it.
        unit: What the number counts.
    """

    fields: Mapping[str, Any]
    source: str
    number: int
    unit: str = "line"

    @property
    def place(self) -> str:
        """Return for example "cb/train.jsonl, line 3"."""
        return f"{self.source}, {self.unit} {self.number}"


Reader = Callable[[Path], Iterator[Row]]
"""Reads the rows of one file, in order."""


@dataclass(frozen=True)
class Task:
    """A text-classification task.

    Attributes:
        name: Its name, also that of its folder.
        template: One format string a segment, over the columns of a row: `("{premise}", "{hypothesis}")`.
        labels: The class names in the order of their ids; empty for those of the training rows, sorted.
        label: The column that holds the label: a class name, a boolean, or an id.
        metric: What selects the best epoch and is reported first.
        files: Files by split ("train", "validation", "test", and the names of `ood`), as paths below `data_dir` in the
            official layout, or absolute. Several may be given where the official name varies. Without "validation" the
            last tenth of the training rows serves.
        read: Reads one of these files.
        tfds: The TensorFlow Datasets builder that has the same rows, for example "super_glue/rte".
        tfds_splits: Its splits by ours.
        generate: Makes the rows of a split, for a task that is neither downloaded nor read.
        ood: Names of the shifted test sets.
        stratified: Whether validation rows are drawn so that classes keep their shares, instead of the last ones.
        validation_fraction: Share of the training rows that validates.
        sizes: How many rows of a split are kept, its first ones; all where it names none.
        backbone: The backbone taken where the user names none.
    """

    name: str
    template: tuple[str, ...]
    labels: tuple[str, ...]
    label: str = "label"
    metric: str = "accuracy"
    files: Mapping[str, str | tuple[str, ...]] = field(default_factory=dict)
    read: Reader | None = field(default=None, compare=False)
    tfds: str | None = None
    tfds_splits: Mapping[str, str] = field(default_factory=lambda: {"train": "train", "test": "validation"})
    generate: Callable[[str], Iterable[Row]] | None = None
    ood: tuple[str, ...] = ()
    stratified: bool = False
    validation_fraction: float = 0.1
    sizes: Mapping[str, int] = field(default_factory=dict)
    backbone: str = "roberta_base_en"
