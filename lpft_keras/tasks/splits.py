"""From source rows to the splits of a task: templates filled, labels named, validation rows held out."""

import hashlib
import logging
import re
import string
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from typing import Any

import numpy as np

from lpft_keras.errors import InputError
from lpft_keras.storage import fingerprint
from lpft_keras.tasks.task import Row, Task
from lpft_keras.tasks.texts import Texts, TextsWriter

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Split:
    """Rows ready for a model.

    Attributes:
        texts: One tuple a row, of one or two segments.
        labels: int64 array of shape [rows], positions in `TaskData.labels`.
    """

    texts: Texts
    labels: np.ndarray

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.labels)

    def head(self, limit: int | None) -> "Split":
        """Return the first `limit` rows, all of them where it is None."""
        return Split(self.texts[:limit], self.labels[:limit])

    def take(self, rows: np.ndarray) -> "Split":
        """Return some rows, by number."""
        return Split(self.texts.take(rows), self.labels[rows])

    @cached_property
    def checksum(self) -> str:
        """A hash of texts and labels."""
        return fingerprint(chain([self.labels], chain.from_iterable(self.texts.encoded())))

    @cached_property
    def row_hashes(self) -> np.ndarray:
        """64 bits of a hash of each row's texts, uint64 [rows].

        Of a million rows two unlike ones share them once in 10^7 times.
        """

        def digest(parts: list[bytes]) -> int:
            joined = b"".join(len(part).to_bytes(8, "little") + part for part in parts)
            return int.from_bytes(hashlib.blake2b(joined, digest_size=8).digest(), "little")

        return np.fromiter(map(digest, self.texts.encoded()), np.uint64, len(self))


@dataclass(frozen=True)
class TaskData:
    """The splits of a task.

    Attributes:
        labels: The class names in the order of their ids.
        train: Training rows.
        validation: Rows that choose the best epoch.
        test: Test rows; None where the task has none.
        ood: Shifted tests by name.
        official: All official training rows, of which few-shot splits are drawn; None for those of `train`.
    """

    labels: tuple[str, ...]
    train: Split
    validation: Split
    test: Split | None = None
    ood: Mapping[str, Split] = field(default_factory=dict)
    official: Split | None = None

    def evaluated(self) -> dict[str, Split]:
        """Return the splits that metrics are reported on, by name."""
        tests = {} if self.test is None else {"test": self.test}
        return {"validation": self.validation, **tests, **self.ood}

    def without_tests(self) -> "TaskData":
        """Return training and validation rows alone, so that nothing can be chosen by the test rows."""
        return TaskData(self.labels, self.train, self.validation, official=self.official)

    def checksums(self) -> dict[str, str]:
        """Return a hash of texts and labels by split."""
        return {name: split.checksum for name, split in self.every().items()}

    def every(self) -> dict[str, Split]:
        """Return all splits by name."""
        return {"train": self.train, **self.evaluated()}


def make_split(task: Task, rows: Iterable[Row], labels: Sequence[str] = ()) -> tuple[Split, tuple[str, ...]]:
    """Turn source rows into texts and label ids.

    Args:
        task: Its template and its column of labels.
        rows: Rows that hold the template's columns and the label, in the order of their numbers or any other.
        labels: The class names; empty for those that occur, in their natural order.

    Returns:
        The split, its rows in the order of their numbers, and the class names.

    Raises:
        InputError: A row lacks a column, has a label that is not of this task or a text that is no text; names file
            and line.
    """
    writer = TextsWriter(len(task.template))
    fill = _filler(task.template)
    labeller = _Labeller(task, labels)
    ids: list[int] = []
    numbers: list[int] = []
    for row in rows:
        numbers.append(row.number)
        segments = fill(row)
        try:
            writer.add(segments)
        except UnicodeEncodeError as error:
            raise InputError(f"{row.place}: the text is not valid Unicode ({error.reason}); mend it there") from None
        ids.append(labeller(row))
    names, order = labeller.finish()
    split = Split(writer.finish(), order[np.array(ids, dtype=np.int64)])
    # TFDS stores rows shuffled; their numbers bring the order of the official file back.
    place = np.argsort(numbers, kind="stable")
    return (split if (place[1:] > place[:-1]).all() else split.take(place)), names


class _Labeller:
    """Gives rows the ids of their labels; where the class names are not known, finds them."""

    def __init__(self, task: Task, names: Sequence[str]):
        self._task = task
        self._names = tuple(names)
        self._known: dict[str, int] = {}  # labels are few, rows many
        # Ids only where no class is named by a number, which they would be mistaken for.
        self._ids = not any(_is_number(name) for name in names)

    def __call__(self, row: Row) -> int:
        value = row.fields.get(self._task.label)
        if type(value) is not str or value not in self._known:
            value = self._name(row)
            if value not in self._known:
                self._known[value] = self._id(value, row) if self._names else len(self._known)
        return self._known[value]

    def _name(self, row: Row) -> str:
        value = _column(self._task.label, row)
        if not isinstance(value, str | bool | int | float):
            raise InputError(f"{row.place}: a label is text, a number or a truth value, not {value!r}"[:300])
        name = str(value)
        if not name.strip() or value != value:
            raise InputError(f"{row.place}: no label; give it one, or leave the row out")
        # Integers written beside missing values are "1.0", and the same class as "1" elsewhere.
        return name if name in self._names else re.sub(r"^(-?\d+)\.0+$", r"\1", name)

    def _id(self, name: str, row: Row) -> int:
        # Some re-uploads write booleans as the strings "true" and "false"; Python's truth of a string is no label.
        for spelling in (name, name.capitalize() if name.lower() in ("true", "false") else name):
            if spelling in self._names:
                return self._names.index(spelling)
        if self._ids and name.isdecimal() and int(name) < len(self._names):
            return int(name)
        raise InputError(
            f"{row.place}: unknown label {name!r}; task {self._task.name!r} has the labels {', '.join(self._names)}"
        )

    def finish(self) -> tuple[tuple[str, ...], np.ndarray]:
        """Return the class names, and the final id of each that was given."""
        if self._names:
            return self._names, np.arange(len(self._names))
        names = sorted(self._known, key=_natural)
        return tuple(names), np.array([names.index(name) for name in self._known], dtype=np.int64)


def _natural(name: str) -> tuple[int, float, str]:
    """Sort numbers by value, before other names."""
    return (0, float(name), name) if _is_number(name) else (1, 0.0, name)


def _is_number(name: str) -> bool:
    return re.fullmatch(r"\s*[-+]?\d+(\.\d*)?\s*", name) is not None


def _column(name: str, row: Row) -> Any:
    value = row.fields.get(name)
    if value is None:
        if name in row.fields:
            raise InputError(f"{row.place}: field {name!r} is missing (null); fill it, or leave the row out")
        found = ", ".join(row.fields) or "none"
        raise InputError(f"{row.place}: no field {name!r}; found {found} (text and label say which columns are meant)")
    return value


def _text(name: str, row: Row) -> str:
    value = _column(name, row)
    if not isinstance(value, str):
        raise InputError(f"{row.place}: field {name!r} must be text, found {value!r}"[:300])
    return value


def _filler(template: Sequence[str]) -> Callable[[Row], list[str]]:
    """Return what puts a row's columns into a template. Only plain names are looked up: no attributes, no indices."""
    parsed = [[(literal, name) for literal, name, _, _ in string.Formatter().parse(segment)] for segment in template]
    if all(len(parts) == 1 and not parts[0][0] and parts[0][1] for parts in parsed):
        names = [str(parts[0][1]) for parts in parsed]
        return lambda row: [_text(name, row) for name in names]

    def fill(row: Row) -> list[str]:
        return [
            "".join(literal + (_text(name, row) if name is not None else "") for literal, name in parts)
            for parts in parsed
        ]

    return fill


def hold_out(train: Split, task: Task) -> tuple[Split, Split]:
    """Split off validation rows: the last tenth (rounded up) in file order, as the paper does, or a stratified draw.

    Args:
        train: All official training rows.
        task: Says which share, and how.

    Returns:
        Training rows and validation rows, both in file order.

    Raises:
        InputError: Too few rows for it.
    """
    # A fraction like 0.1 is a little more than a tenth; without the rounding ten rows would lose two.
    held = int(np.ceil(round(task.validation_fraction * len(train), 9)))
    if held >= len(train):
        raise InputError(
            f"task {task.name!r} has {len(train)} training rows, too few to hold {held} out for validation"
        )
    rows = np.arange(len(train))
    if not task.stratified:
        if held > 1 and len(set(train.labels[-held:])) == 1 < len(set(train.labels)):
            log.warning(
                "all %d validation rows of task %s, the last ones, are of one class: is the file sorted by class? "
                "split = 'stratified' draws them",
                held,
                task.name,
            )
        return train.take(rows[:-held]), train.take(rows[-held:])
    from sklearn.model_selection import train_test_split

    try:
        # The same rows whatever the run's seed, so that runs are compared on the same data.
        kept, chosen = train_test_split(rows, test_size=held, stratify=train.labels, random_state=0)
    except ValueError as error:
        raise InputError(
            f"task {task.name!r}: no stratified split: {error}; give more rows, or split = 'last'"
        ) from None
    return train.take(np.sort(kept)), train.take(np.sort(chosen))


def check_classes(task: Task, data: TaskData) -> None:
    """Raise an `InputError` where a class has no training row: a head can't learn what it never saw."""
    counts = np.bincount(data.train.labels, minlength=len(data.labels))
    missing = [name for name, count in zip(data.labels, counts, strict=True) if not count]
    if missing:
        raise InputError(
            f"task {task.name!r}: no training row of class {', '.join(map(repr, missing))} among {len(data.train)}; "
            "give more rows (a larger limit) or leave the class out"
        )
    if len(data.labels) < 2:
        raise InputError(f"task {task.name!r}: all training rows are of class {data.labels[0]!r}; two are needed")
