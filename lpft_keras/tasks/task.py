"""What a task is: text, label names, metric, split rule, and where its rows come from."""

import string
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from lpft_keras.errors import InputError
from lpft_keras.storage import fingerprint


@dataclass(frozen=True)
class Row:
    """One row as its source gave it, with the place to name when it is wrong ("cb/train.jsonl, line 3")."""

    fields: Mapping[str, object]
    place: str


@dataclass(frozen=True)
class Split:
    """Rows ready for a model.

    Attributes:
        texts: One tuple a row, of one or two segments.
        labels: int64 array of shape [rows], positions in `Task.labels`.
    """

    texts: tuple[tuple[str, ...], ...]
    labels: np.ndarray

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.texts)

    def head(self, limit: int | None) -> "Split":
        """Return the first `limit` rows, all of them where it is None."""
        return Split(self.texts[:limit], self.labels[:limit])

    @property
    def checksum(self) -> str:
        """A hash of texts and labels."""
        return fingerprint([self.texts, self.labels])


@dataclass(frozen=True)
class TaskData:
    """The splits of a task: training, validation, test, and shifted tests by name."""

    train: Split
    validation: Split
    test: Split
    ood: Mapping[str, Split] = field(default_factory=dict)

    def evaluated(self) -> dict[str, Split]:
        """Return the splits that metrics are reported on, by name."""
        return {"validation": self.validation, "test": self.test, **self.ood}


@dataclass(frozen=True)
class Task:
    """A text-classification task.

    Attributes:
        name: Its name, also that of its folder.
        template: One format string a segment, over the columns of a row: `("{premise}", "{hypothesis}")`.
        labels: The class names in the order of their ids.
        label: The column that holds the label: a class name, a boolean, or an id.
        metric: What selects the best epoch and is reported first.
        files: File names of the official format by split ("train", "test"), below `data_dir`.
        tfds: The TensorFlow Datasets builder that has the same rows, for example "super_glue/cb".
        generate: Makes the rows of a split, for a task that is neither downloaded nor read.
        ood: Names of the shifted test sets.
        backbone: The backbone taken where the user names none.
    """

    name: str
    template: tuple[str, ...]
    labels: tuple[str, ...]
    label: str = "label"
    metric: str = "accuracy"
    files: Mapping[str, str] = field(default_factory=dict)
    tfds: str | None = None
    generate: Callable[[str], list[Row]] | None = None
    ood: tuple[str, ...] = ()
    backbone: str = "roberta_base_en"

    def split(self, rows: Sequence[Row]) -> Split:
        """Turn source rows into texts and label ids.

        Args:
            rows: Rows that hold the template's columns and the label.

        Returns:
            The split.

        Raises:
            InputError: A row lacks a column or has a label that is not of this task; names file and line.
        """
        texts = tuple(tuple(_fill(segment, row) for segment in self.template) for row in rows)
        return Split(texts, np.array([self.label_id(row) for row in rows], dtype=np.int64))

    def label_id(self, row: Row) -> int:
        """Return the id of a row's label, or raise an `InputError` that names the row."""
        value = _column(self.label, row)
        # Some re-uploads write booleans as the strings "true" and "false"; Python's truth of a string is no label.
        if isinstance(value, bool) or str(value).lower() in ("true", "false"):
            value = str(value).capitalize()
        if value in self.labels:
            return self.labels.index(str(value))
        if isinstance(value, int | np.integer) and 0 <= value < len(self.labels):
            return int(value)
        raise InputError(
            f"{row.place}: unknown label {value!r}; task {self.name!r} has the labels {', '.join(self.labels)}"
        )


def _column(name: str, row: Row) -> object:
    if row.fields.get(name) is None:
        raise InputError(f"{row.place}: no field {name!r}; found {', '.join(row.fields) or 'none'}")
    return row.fields[name]


def _fill(segment: str, row: Row) -> str:
    """Put a row's columns into a template. Only plain names are looked up: no attributes, no indices."""
    parts: list[str] = []
    for literal, name, _, _ in string.Formatter().parse(segment):
        parts.append(literal)
        if name is not None:
            value = _column(name, row)
            if not isinstance(value, str):
                raise InputError(f"{row.place}: field {name!r} must be text, found {value!r}")
            parts.append(value)
    return "".join(parts)


def hold_out(rows: Sequence[Row]) -> tuple[Sequence[Row], Sequence[Row]]:
    """Split off the last tenth (rounded up) for validation, in file order, as the paper does.

    Args:
        rows: All official training rows.

    Returns:
        Training rows and validation rows.
    """
    first = len(rows) - -(-len(rows) // 10)
    return rows[:first], rows[first:]


def check_classes(task: Task, train: Split) -> None:
    """Raise an `InputError` where a class has no training row: a head can't learn what it never saw."""
    missing = [name for index, name in enumerate(task.labels) if not (train.labels == index).any()]
    if missing:
        raise InputError(
            f"task {task.name!r}: no training row of class {', '.join(map(repr, missing))} among {len(train)}; "
            "give more rows (a larger limit) or leave the class out"
        )
