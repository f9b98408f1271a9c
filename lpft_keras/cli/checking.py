"""What can be wrong with flags, told before Keras is imported, which takes seconds."""

import argparse
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lpft_keras.errors import InputError

if TYPE_CHECKING:
    from lpft_keras.tasks import Task


def check_values(
    tasks: Iterable["Task"], methods: Sequence[str], seeds: Sequence[int], options: Mapping[str, Any]
) -> None:
    """Refuse flags that no run or kernel can be made by.

    Args:
        tasks: The tasks.
        methods: Names of methods.
        seeds: Seeds.
        options: Other arguments by name, as `split_options` returns them.

    Raises:
        InputError: A value is wrong, or the backbone unknown.
    """
    from lpft_keras.arrays import real_number, whole_number
    from lpft_keras.backbone_names import is_known_backbone
    from lpft_keras.settings import RunSettings

    if "rows" in options:
        whole_number(options["rows"], "rows", 2)
    if "max_memory" in options:
        real_number(options["max_memory"], "max_memory", 0, float("inf"))
    known = {field.name for field in fields(RunSettings)} - {"backbone"}
    own = {name: value for name, value in options.items() if name in known}
    for task, method, seed in product(tasks, methods, seeds):
        backbone = task.backbone if options.get("backbone") is None else options["backbone"]
        is_known_backbone(backbone)
        RunSettings(task=task.name, backbone=backbone, method=method, seed=seed, **own)


def check_run_directory(path: str, task: bool = True) -> None:
    """Refuse what is no directory of a run; `task` says whether a task would have done, too."""
    if not (Path(path) / "config.json").is_file():
        found = "holds no run (no config.json)" if Path(path).is_dir() else "is no directory"
        other = "a task, or the directory" if task else "the directory"
        raise InputError(f"{path} {found}; give {other} of a finished run{'' if task else ', or a task (--task)'}")


def check_flags_beside_run(
    command: argparse.ArgumentParser, parsed: argparse.Namespace, run: str, own: Iterable[str]
) -> None:
    """Refuse flags that a run has settings of its own for.

    Args:
        command: The command's parser, which knows defaults.
        parsed: What was given.
        run: The run's directory.
        own: Names of the arguments that mean something beside a run.
    """
    flags = {
        flag
        for action in command._actions
        for flag in action.option_strings[:1]
        if not action.dest.startswith("own_")
        and action.dest not in {"help", "json", *own}
        and getattr(parsed, action.dest) != action.default
    }
    if flags:
        raise InputError(f"{min(flags)} is for a TASK; {run} is a run, whose settings are its own")
