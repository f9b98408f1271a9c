"""What a kernel view is asked of: a task, by several optimisers, or a run that was done; all checked before work."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lpft_keras.arrays import real_number, whole_number
from lpft_keras.errors import InputError, unknown_name
from lpft_keras.hyperparameters import OPTIMIZERS
from lpft_keras.kernel_views.view import KernelView, View
from lpft_keras.methods import fine_tuning
from lpft_keras.models.backbones import check_backbone
from lpft_keras.performing import perform
from lpft_keras.results import RunResult
from lpft_keras.settings import RunSettings
from lpft_keras.tasks import TASKS, Task, few_shot, get_task, load_task


def kernel_view(
    task: str | Path | Task,
    method: str | None = None,
    backbone: str | None = None,
    data_dir: str | Path | None = None,
    seed: int = 13,
    epochs: int = 10,
    max_length: int = 128,
    output_dir: str | Path = "runs",
    *,
    optimizers: Sequence[str] = ("adam", "sgd", "signgd"),
    learning_rates: Mapping[str, float] | None = None,
    prompt: bool | str | None = None,
    shots: int | None = 16,
    rows: int = 300,
    max_memory: float = 8e9,
    overwrite: bool = False,
    show_progress: bool | None = None,
    **settings: Any,
) -> KernelView:
    """Fine-tune by several optimisers, and test whether each behaves as its kernel does (Malladi et al. 2023).

    Runs that are there already are reused, and so is what a killed report had measured.

    Args:
        task: As for `lpft_keras.run`, like all arguments not described here.
        method: "ft", "lp-ft", "lora" or "lp-lora"; None takes "ft" with a prompt, whose head the masked language model
            brings, and "lp-ft" without, whose head comes of linear probing.
        backbone: Name of the backbone; None takes the task's own.
        data_dir: Folder with the task's official files; None takes TensorFlow Datasets.
        seed: Draws the few rows; `methods.FEW_SHOT_SEEDS` are the paper's.
        epochs: Passes over the training rows.
        max_length: Tokens a row.
        output_dir: Where run directories live; the report lies in `<run directory>/kernel_view`.
        optimizers: By what to fine-tune: "adam", "sgd", "signgd".
        learning_rates: Rates by optimiser; where it names none, the default of `lpft_keras.run`.
        prompt: True, a template, or None for none.
        shots: Rows a class; None takes all.
        rows: Of training, validation and test rows, so many at most are in the kernels; the others are not looked at,
            but for fine-tuning, which has all training and validation rows.
        max_memory: Bytes that a kernel's tiles may take.
        overwrite: Measure anew; finished runs are kept.
        show_progress: Whether to show progress bars; None decides by the terminal.
        **settings: Other settings of `lpft_keras.run`.

    Returns:
        The view, all of it on disk already.

    Raises:
        InputError: An argument or a file is wrong.

    Example:
        >>> view = lpft_keras.kernel_view("demo", prompt=True)
        >>> view.report["verdict"]["sgd"]["holds"]
    """
    task = get_task(task)
    for name, plural in (("optimizer", "optimizers"), ("learning_rate", "learning_rates")):
        if name in settings:
            raise InputError(f"a kernel view compares optimisers; give {plural}= in place of {name}=")
    if learning_rates is not None and not isinstance(learning_rates, Mapping):
        raise InputError(f"learning_rates are by optimiser, {{'sgd': 0.1}}, not {learning_rates!r}")
    rates = dict(learning_rates or {})
    if not optimizers:
        raise InputError(f"optimizers is empty; name one or more of {', '.join(OPTIMIZERS)}")
    for name in [*optimizers, *rates]:
        if name not in OPTIMIZERS:
            raise unknown_name("optimizer", name, OPTIMIZERS)
    unused = [name for name in rates if name not in optimizers]
    if unused:
        raise InputError(f"learning_rates names {unused[0]!r}, by which nothing is fine-tuned (optimizers)")
    method = method or ("ft" if prompt else "lp-ft")
    _check(method)
    rows, max_memory = _checked_sizes(rows, max_memory)

    def chosen(optimizer: str) -> RunSettings:
        return RunSettings(
            task=task.name,
            method=method,
            backbone=str(backbone or task.backbone),
            seed=seed,
            epochs=epochs,
            max_length=max_length,
            optimizer=optimizer,
            learning_rate=rates.get(optimizer),
            prompt=prompt,
            shots=shots,
            **settings,
        )

    every = {name: chosen(name) for name in dict.fromkeys(optimizers)}
    first = next(iter(every.values()))
    check_backbone(first.backbone)
    data, cache = load_task(task, data_dir, first.limit), Path(output_dir) / "cache"
    directory = chosen("adam").directory(output_dir) / "kernel_view"
    places = {name: own.directory(output_dir) for name, own in every.items()}
    view = View(every, places, data, directory, cache, rows, max_memory, show_progress)
    if known := view.known(overwrite):
        return known
    runs = {
        name: perform(task, own, data, places[name], cache, show_progress=show_progress) for name, own in every.items()
    }
    return view.taken(runs, overwrite)


def kernel_view_of(
    run_directory: str | Path,
    data_dir: str | Path | None = None,
    *,
    task: str | Path | Task | None = None,
    rows: int = 300,
    max_memory: float = 8e9,
    overwrite: bool = False,
    show_progress: bool | None = None,
) -> KernelView:
    """Test whether a finished run behaved as its optimiser's kernel does.

    Args:
        run_directory: The run's directory.
        data_dir: As for `kernel_view`, like the rest.
        task: The run's task, where the catalogue does not have it: a TOML file or a `Task`.
        rows: So many rows of each split at most are in the kernels.
        max_memory: Bytes that a kernel's tiles may take.
        overwrite: Measure anew.
        show_progress: Whether to show progress bars.

    Returns:
        The view, in `<run directory>/kernel_view`.

    Raises:
        InputError: The directory holds no finished run, or one of a method without fine-tuning.
    """
    result = RunResult.load(run_directory)
    settings = RunSettings(**result.config["settings"])
    _check(settings.method)
    rows, max_memory = _checked_sizes(rows, max_memory)
    if task is None and settings.task not in TASKS:
        raise InputError(
            f"{run_directory} is a run of a task of your own, {settings.task!r}; name it beside the run: --train with "
            "its other flags, or task= a TOML file or a Task"
        )
    found = get_task(settings.task if task is None else task)
    if found.name != settings.task:
        raise InputError(f"{run_directory} is a run of task {settings.task!r}, not of {found.name!r}")
    data = load_task(found, data_dir, settings.limit)
    sums = few_shot(data, settings.shots, settings.seed).checksums()
    other = [name for name, checksum in result.config["data"].items() if sums.get(name) != checksum]
    if other:
        raise InputError(f"the {other[0]} rows are not those of the run in {run_directory}; give its own (--data-dir)")
    directory = Path(run_directory)
    own = directory / "kernel_view"
    every, places = {settings.optimizer: settings}, {settings.optimizer: directory}
    view = View(every, places, data, own, None, rows, max_memory, show_progress)
    return view.known(overwrite) or view.taken({settings.optimizer: result}, overwrite)


def _check(method: str) -> None:
    if fine_tuning(method) is None:
        raise InputError(f"method {method!r} has no fine-tuning stage that could behave like a kernel")


def _checked_sizes(rows: int, max_memory: float) -> tuple[int, float]:
    return whole_number(rows, "rows", 2), real_number(max_memory, "max_memory", 0, np.inf)
