"""A task of the user's own: files with a column of labels and one or two of texts, from arguments or a TOML file."""

import os
import string
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from lpft_keras.arrays import real_number
from lpft_keras.errors import InputError, unknown_name
from lpft_keras.evaluation import METRICS
from lpft_keras.storage import read_toml as read_toml_file
from lpft_keras.storage import slug
from lpft_keras.tasks.catalogue import TASKS
from lpft_keras.tasks.readers import reader_of
from lpft_keras.tasks.task import Task

_SPLITS = ("last", "stratified")
_FOLDERS = ("cache", "tuning")  # of an output directory, beside those of the tasks
_TABS = ("\\t", "tab")


def own_task(
    train: str | Path,
    *,
    name: str | None = None,
    text: str | Sequence[str] = "text",
    label: str = "label",
    validation: str | Path | None = None,
    test: str | Path | None = None,
    ood: Mapping[str, str | Path] | None = None,
    labels: Sequence[Any] = (),
    template: str | Sequence[str] | None = None,
    metric: str = "accuracy",
    split: str = "last",
    validation_fraction: float = 0.1,
    delimiter: str | None = None,
    quotes: bool = True,
    backbone: str = "roberta_base_en",
) -> Task:
    r"""Describe a task of your own.

    Files are CSV, TSV, JSON lines or Parquet, by their endings, or directories that Hugging Face `datasets` saved.

    Args:
        train: Training rows.
        name: The task's name; None takes the training file's.
        text: The column of the texts, or two for pairs of texts.
        label: The column of the labels.
        validation: Rows that choose the best epoch; None holds out a part of the training rows.
        test: Test rows; without any the validation rows are reported, as such.
        ood: Shifted test sets by name.
        labels: The class names in the order of their ids; empty for those of the training rows, sorted. Where no name
            is a number, files may hold ids instead.
        template: A format string over the columns, such as "{title}: {body}", or two for pairs; takes the place of
            `text`.
        metric: What selects the best epoch: "accuracy", "macro_f1", "f1" (of two classes) or "matthews_correlation".
        split: Which training rows validate: the "last" ones, or a "stratified" draw.
        validation_fraction: How large a share of them.
        delimiter: Of CSV and TSV files; None takes comma and tab.
        quotes: Of CSV and TSV files: whether fields may be quoted.
        backbone: The backbone taken where a run names none.

    Returns:
        The task, for `lpft_keras.run`.

    Raises:
        InputError: An argument is wrong, or a file is missing.

    Example:
        >>> task = own_task("reviews.csv", text="review", label="stars", test="held_out.csv")
        >>> lpft_keras.run(task, method="lp-ft", backbone="minilm")
    """
    name = Path(train).stem if name is None else name
    if name in TASKS:
        raise InputError(f"{name!r} is a task of the catalogue; give yours another name (name, --name)")
    if slug(name) != name or name in _FOLDERS:
        raise InputError(
            "a task's name is also that of its folder: 200 letters, digits and -._ at most, and not "
            f"{' or '.join(_FOLDERS)}; found {name!r}"
        )
    segments = tuple(f"{{{column}}}" for column in _several(text)) if template is None else tuple(_several(template))
    _check_template(segments)
    if metric not in METRICS:
        raise unknown_name("metric", metric, METRICS)
    if split not in _SPLITS:
        raise unknown_name("split", split, _SPLITS)
    validation_fraction = real_number(validation_fraction, "validation_fraction", 0, 1)
    names = tuple(str(one) for one in (labels if isinstance(labels, list | tuple) else [labels]))
    if len(set(names)) != len(names) or len(names) == 1:
        raise InputError(f"labels must be two or more names, each once, not {', '.join(names)}")
    delimiter = "\t" if delimiter in _TABS else delimiter
    if delimiter is not None and len(delimiter) != 1:
        raise InputError(f"delimiter must be one character or tab, not {delimiter!r}")
    shifted = dict(ood or {})
    for other in shifted:
        if slug(other) != other or other in ("train", "validation", "test"):
            raise InputError(f"a shifted set can't be called {other!r}; take letters, digits and -._ only")
    files = {"train": train, "validation": validation, "test": test, **shifted}
    return Task(
        name=name,
        template=segments,
        labels=names,
        label=label,
        metric=metric,
        files={split: str(_file(split, path)) for split, path in files.items() if path is not None},
        read=partial(reader_of, delimiter=delimiter, quotes=quotes),
        ood=tuple(shifted),
        stratified=split == "stratified",
        validation_fraction=validation_fraction,
        backbone=backbone,
    )


def read_toml(path: str | Path) -> Task:
    """Read a task of your own from a TOML file: the arguments of `own_task` as keys, paths relative to the file.

    Args:
        path: The file.

    Returns:
        The task.

    Raises:
        InputError: The file is missing or no TOML, a key is unknown, missing or of another type.
    """
    path = Path(path).expanduser()
    given = read_toml_file(path)
    for key, value in given.items():
        if key not in _TYPES:
            raise unknown_name(f"key in {path}", key, _TYPES)
        kinds = _TYPES[key]
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            raise InputError(f"{path}: {key} must be {_SPOKEN[kinds[0]]}, not {value!r}"[:300])
    if "train" not in given:
        raise InputError(f'{path} names no training rows; add train = "file.csv"')
    folder = path.parent
    paths: dict[str, Any] = {key: folder / given[key] for key in ("train", "validation", "test") if key in given}
    for name, other in given.get("ood", {}).items():
        if not isinstance(other, str):
            raise InputError(f"{path}: ood.{name} must be a path, not {other!r}")
        paths.setdefault("ood", {})[name] = folder / other
    try:
        return own_task(**{"name": path.stem, **given, **paths})
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


_TYPES: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("name", "train", "validation", "test", "label", "metric", "split", "delimiter"), (str,)),
    **dict.fromkeys(("text", "template"), (str, list)),
    "backbone": (str,),
    "labels": (list,),
    "ood": (dict,),
    "quotes": (bool,),
    "validation_fraction": (float,),
}
_SPOKEN = {str: "a string", list: "a list", dict: "a table", bool: "true or false", float: "a number with a point"}


def _several(value: str | Sequence[str]) -> list[str]:
    several = [value] if isinstance(value, str) else list(value)
    if len(several) not in (1, 2) or not all(isinstance(one, str) and one for one in several):
        raise InputError(f"text and template take one name or two, not {value!r}")
    return several


def _check_template(segments: Iterable[str]) -> None:
    for segment in segments:
        try:
            fields = [name for _, name, _, _ in string.Formatter().parse(segment) if name is not None]
        except ValueError as error:
            raise InputError(f"template {segment!r} is no format string: {error}; double a brace to keep it") from None
        if not fields or not all(fields):
            raise InputError(f"template {segment!r} names no column; write one in braces, as in '{{text}}'")


def _file(split: str, path: str | Path) -> Path:
    path = Path(path).expanduser().absolute()
    if not os.path.exists(path):  # `Path.exists` raises where a name is too long
        raise InputError(f"no {split} file {path}")
    if not path.is_dir():
        reader_of(path)  # refuses an unknown ending
    return path
