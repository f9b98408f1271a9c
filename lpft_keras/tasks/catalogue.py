"""The tasks we know by name, and how any task's rows become its splits."""

from collections.abc import Sequence
from pathlib import Path

from lpft_keras.errors import InputError, unknown_name
from lpft_keras.tasks.sources import local_rows, tfds_rows
from lpft_keras.tasks.task import Row, Split, Task, TaskData, check_classes, hold_out

_SUPER_GLUE = {"train": "train.jsonl", "test": "val.jsonl"}


def _demo_rows(split: str) -> list[Row]:
    from lpft_keras.tasks.grammar import demo_rows

    return [
        Row({"premise": premise, "hypothesis": hypothesis, "label": label}, f"demo {split}, row {index}")
        for index, (premise, hypothesis, label) in enumerate(demo_rows(split))
    ]


TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        Task(
            name="cb",
            template=("{premise}", "{hypothesis}"),
            labels=("entailment", "contradiction", "neutral"),
            files=_SUPER_GLUE,
            tfds="super_glue/cb",
        ),
        Task(
            name="rte",
            template=("{premise}", "{hypothesis}"),
            labels=("entailment", "not_entailment"),
            files=_SUPER_GLUE,
            tfds="super_glue/rte",
        ),
        Task(
            name="demo",
            template=("{premise}", "{hypothesis}"),
            labels=("entailment", "contradiction", "neutral"),
            generate=_demo_rows,
            ood=("ood",),
            backbone="pocket",
        ),
    )
}


def get_task(task: str | Task) -> Task:
    """Return a task by its name; a `Task` is returned as it is.

    Args:
        task: A name of `TASKS`, or a `Task`.

    Returns:
        The task.

    Raises:
        InputError: No task has that name.

    Example:
        >>> get_task("cb").labels
        ('entailment', 'contradiction', 'neutral')
    """
    if isinstance(task, Task):
        return task
    if task not in TASKS:
        raise unknown_name("task", task, TASKS)
    return TASKS[task]


def load_task(task: Task, data_dir: str | Path | None = None, limit: int | None = None) -> TaskData:
    """Load a task's rows and split them as the paper does.

    The official validation set is the test set; the last tenth of the official training set, in file order, is the
    validation set.

    Args:
        task: The task.
        data_dir: A folder with the official files; None takes TensorFlow Datasets.
        limit: Keep only the first `limit` rows of each split.

    Returns:
        The splits.

    Raises:
        InputError: A file, row or label is wrong, or a class has no training row.
    """
    if limit is not None and limit < 1:
        raise InputError(f"limit must be 1 or more, not {limit}")
    train, validation = hold_out(_rows(task, "train", data_dir))

    def ready(rows: Sequence[Row]) -> Split:
        return task.split(rows).head(limit)

    data = TaskData(
        train=ready(train),
        validation=ready(validation),
        test=ready(_rows(task, "test", data_dir)),
        ood={name: ready(_rows(task, name, data_dir)) for name in task.ood},
    )
    check_classes(task, data.train)
    return data


def _rows(task: Task, split: str, data_dir: str | Path | None) -> list[Row]:
    if task.generate is not None:
        return task.generate(split)
    return tfds_rows(task, split) if data_dir is None else local_rows(task, split, data_dir)
