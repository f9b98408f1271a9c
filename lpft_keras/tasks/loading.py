"""From a task, by name, file or as it is, to its splits."""

import logging
import os.path
from collections.abc import Callable, Iterable
from pathlib import Path

from lpft_keras.errors import InputError, unknown_name
from lpft_keras.evaluation import check_metric
from lpft_keras.tasks.catalogue import TASKS
from lpft_keras.tasks.own import read_toml
from lpft_keras.tasks.sources import has_own_files, local_rows, tfds_rows
from lpft_keras.tasks.splits import Split, TaskData, check_classes, hold_out, make_split
from lpft_keras.tasks.task import Row, Task

log = logging.getLogger(__name__)


def get_task(task: str | Path | Task) -> Task:
    """Return a task by its name or from a TOML file; a `Task` is returned as it is.

    Args:
        task: A name of `TASKS`, a path that ends in ".toml", or a `Task`.

    Returns:
        The task.

    Raises:
        InputError: No task has that name, or the file is wrong.

    Example:
        >>> get_task("cb").labels
        ('entailment', 'contradiction', 'neutral')
    """
    if isinstance(task, Task):
        return task
    if not isinstance(task, str | Path):
        raise InputError(f"a task is a name, a TOML file or a Task, not {task!r}")
    if str(task).endswith(".toml"):
        return read_toml(task)
    if str(task) not in TASKS and os.path.isfile(task):
        raise InputError(
            f"{task} holds rows, which a task of your own names: --train {task} --text COLUMN --label COLUMN "
            "(own_task), or a TOML file"
        )
    if str(task) not in TASKS:
        raise unknown_name("task", str(task), [*TASKS, "a file of your own (my-task.toml)"])
    return TASKS[str(task)]


def load_task(task: Task, data_dir: str | Path | None = None, limit: int | None = None) -> TaskData:
    """Load a task's rows and split them as the paper does.

    Where only training and validation rows have labels officially, the validation rows test, and the last tenth of the
    training rows, in file order, validates.

    Args:
        task: The task.
        data_dir: A folder with the official files; None takes TensorFlow Datasets, or the files that the task names.
        limit: Keep only the first `limit` rows of each split.

    Returns:
        The splits.

    Raises:
        InputError: A file, row or label is wrong, or a class has no training row.
    """
    if limit is not None and limit < 1:
        raise InputError(f"limit must be 1 or more, not {limit}")
    available, rows = _source(task, data_dir)
    train, labels = make_split(task, rows("train"), task.labels)
    check_metric(task.metric, len(labels))
    found: dict[str, Split] = {}
    for name in ("validation", "test", *task.ood):
        if name in available:
            found[name] = make_split(task, rows(name), labels)[0]
    official = train
    if "validation" not in found:
        train, found["validation"] = hold_out(train, task)
    if "test" not in found:
        log.info(
            "task %s has no test rows: what is reported are its validation rows, which choose the epoch", task.name
        )
    kept = {name: split.head(task.sizes.get(name)).head(limit) for name, split in {"train": train, **found}.items()}
    ood = {name: kept[name] for name in task.ood}
    official = official.head(task.sizes.get("train")).head(limit)
    data = TaskData(labels, kept["train"], kept["validation"], kept.get("test"), ood, official)
    check_classes(task, data)
    return data


def _source(task: Task, data_dir: str | Path | None) -> tuple[set[str], Callable[[str], Iterable[Row]]]:
    """Return which splits there are rows of, and what reads one."""
    if task.generate is not None:
        return {"train", "test", *task.ood}, task.generate
    if has_own_files(task):
        return set(task.files), lambda split: local_rows(task, split, None)
    if data_dir is None:
        return set(task.tfds_splits), lambda split: tfds_rows(task, split)
    return set(task.files), lambda split: local_rows(task, split, data_dir)
