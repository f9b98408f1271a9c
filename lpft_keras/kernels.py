"""`run_ntk()`: task x method x backbone x seed -> the kernel at the start of fine-tuning, and what is read off it."""

import importlib.util
import json
import logging
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np

from lpft_keras.arrays import whole_number
from lpft_keras.atomic import disk_errors
from lpft_keras.checksums import CHECKSUMS
from lpft_keras.environment import environment
from lpft_keras.errors import InputError
from lpft_keras.figures import save_figure
from lpft_keras.kernel_results import KERNEL_DONE, KernelResult, finished_kernel, kernel_config
from lpft_keras.methods import fine_tuning
from lpft_keras.models.backbones import check_backbone
from lpft_keras.ntk import NTK, KernelRegression, residuals, statistics, train_test_ntk
from lpft_keras.ntk.plots import plot_singular_values, plot_trace_norms
from lpft_keras.randomness import global_state_kept
from lpft_keras.settings import OF_TRAINING, RunSettings
from lpft_keras.starting import drawn_rows, inputs_of, start_of
from lpft_keras.storage import claimed, fingerprint, read_json, write_arrays, write_json, write_last
from lpft_keras.tasks import TASKS, Task, TaskData, few_shot, get_task, load_task
from lpft_keras.training.forward import forward_function

log = logging.getLogger(__name__)

_PARTS = ("pretrain", "finetune", "total")


def run_ntk(
    task: str | Task,
    method: str = "lp-ft",
    backbone: str | None = None,
    data_dir: str | Path | None = None,
    seed: int = 1001,
    max_length: int = 128,
    output_dir: str | Path = "runs",
    *,
    rows: int = 250,
    max_memory: float = 8e9,
    overwrite: bool = False,
    show_progress: bool | None = None,
    **settings: Any,
) -> KernelResult:
    """Compute the neural tangent kernel at the start of a method's fine-tuning stage, on a task's rows.

    A computation that was killed goes on from its last finished segment; a finished one is returned without work.

    Args:
        task: As for `lpft_keras.run`, like the arguments up to `output_dir`.
        method: "ft", "lp-ft", "lora" or "lp-lora".
        backbone: Name of the backbone; None takes the task's own.
        data_dir: Folder with the task's official files; None takes TensorFlow Datasets.
        seed: Seed of head, adapters, folds, and of the choice of rows.
        max_length: Tokens a row.
        output_dir: Where run directories live; the kernel lies in `<run directory>/ntk`.
        rows: Where training or test set have more rows, so many are drawn.
        max_memory: Bytes that the kernel's tiles may take; see `ntk.empirical_ntk`.
        overwrite: Compute anew, whatever the directory holds.
        show_progress: Whether to show progress bars; None decides by the terminal.
        **settings: Other settings of `lpft_keras.run`: limit, pooling, dropout, dtype, lora_rank, lora_alpha,
            lora_style, probe_solver, head_scale, prompt, label_words, shots.

    Returns:
        The result, all of it on disk already: `kernel.npz`, `kernel.json` and, with Matplotlib, two figures.

    Raises:
        InputError: An argument or a file is wrong.
    """
    task = get_task(task)
    chosen = RunSettings(
        task=task.name,
        method=method,
        backbone=str(backbone or task.backbone),
        seed=seed,
        max_length=max_length,
        **settings,
    )
    if fine_tuning(method) is None:
        raise InputError(f"method {method!r} has no fine-tuning stage at whose start a kernel could be taken")
    rows = whole_number(rows, "rows", 2)
    check_backbone(chosen.backbone)
    data = few_shot(load_task(task, data_dir, chosen.limit), chosen.shots, seed)
    chosen.pipeline().for_classes(data.labels)  # a class without a label word shows at once
    directory = chosen.directory(output_dir) / "ntk"
    config = kernel_config(chosen, rows, data)
    known = None if overwrite else finished_kernel(directory, config)
    if known is None:
        with claimed(directory / KERNEL_DONE, str(directory)):
            known = None if overwrite else finished_kernel(directory, config)  # another process may have made it
            if known is None:
                cache = Path(output_dir) / "cache"
                return _computed(chosen, data, directory, config, cache, max_memory, overwrite, show_progress)
    log.info("reused the kernel in %s", directory)
    return known


def _computed(
    settings: RunSettings,
    data: TaskData,
    directory: Path,
    config: dict[str, Any],
    cache: Path,
    max_memory: float,
    overwrite: bool,
    show_progress: bool | None,
) -> KernelResult:
    """Compute a kernel whose directory is ours. What it found is written, kernel.json last: it says "done"."""
    pieces = directory / f"pieces-{fingerprint([json.dumps(config, sort_keys=True)])[:12]}"
    if overwrite:
        shutil.rmtree(pieces, ignore_errors=True)
    with disk_errors(directory):
        for name in (KERNEL_DONE, CHECKSUMS):
            (directory / name).unlink(missing_ok=True)
    start, rows = time.monotonic(), config["rows"]
    with global_state_kept():
        at = start_of(settings, data, cache, show_progress)
        tokens, classifier = at.tokens, at.classifier
        # A task without test rows is tested on its validation rows.
        whole = {"train": tokens["train"], "test": tokens.get("test", tokens["validation"])}
        indices = {name: drawn_rows(len(part), rows, settings.seed) for name, part in whole.items()}
        some = {name: part.take(indices[name]) for name, part in whole.items()}
        inputs = {name: inputs_of(part) for name, part in some.items()}
        train, test = train_test_ntk(
            classifier,
            inputs["train"],
            inputs["test"],
            max_memory=max_memory,
            directory=pieces,
            show_progress=show_progress,
        )
        forward = forward_function(classifier)
        logits = {name: forward(part.tokens)[1] for name, part in some.items()}
    labels = {name: part.labels for name, part in some.items()}
    summary = {
        "task": settings.task,
        "method": settings.method,
        "backbone": settings.backbone,
        "seed": settings.seed,
        "rows": {name: len(part) for name, part in some.items()},
        **_read_off(train, test, logits["train"], labels),
        "seconds": round(time.monotonic() - start, 3),
        "directory": str(directory),
    }
    arrays: dict[str, np.ndarray] = {}
    for name, kernel in (("train", train), ("test", test)):
        arrays |= {f"{name}/pretrain": kernel.pretrain, f"{name}/finetune": kernel.finetune}
        arrays |= {f"{name}/indices": indices[name], f"{name}/labels": labels[name], f"{name}/logits": logits[name]}
    write_arrays(directory / "kernel.npz", arrays)
    _draw_figures(directory, train, labels["train"])
    write_json(directory / "environment.json", environment(config["data"], at.source))
    write_last(directory / KERNEL_DONE, {"config": config, "summary": summary})
    # Pieces of other settings, too: where a kernel is finished, nobody goes on with them.
    for folder in directory.glob("pieces-*"):
        shutil.rmtree(folder, ignore_errors=True)
    return KernelResult(directory, summary)


def run_ntk_of(
    run_directory: str | Path,
    data_dir: str | Path | None = None,
    *,
    task: str | Path | Task | None = None,
    **options: Any,
) -> KernelResult:
    """Compute the kernel at the start of the fine-tuning of a run that was done.

    Args:
        run_directory: The run's directory; its settings are taken.
        data_dir: As for `run_ntk`.
        task: The run's task, where the catalogue does not have it: a TOML file or a `Task`.
        **options: `rows`, `max_memory`, `overwrite` and `show_progress` of `run_ntk`.

    Returns:
        The result, in `<run directory>/ntk`.

    Raises:
        InputError: The directory holds no run.
    """
    directory = Path(run_directory).resolve()
    config = read_json(directory / "config.json")
    if not isinstance(config, dict) or not isinstance(config.get("settings"), dict):
        raise InputError(f"{run_directory} holds no run (no whole config.json)")
    # The optimiser changes no kernel, but is part of the directory's name.
    dropped = set(OF_TRAINING) - {"optimizer"}
    settings = {name: value for name, value in config["settings"].items() if name not in dropped}
    given = None if task is None else get_task(task)
    if given is not None and given.name != settings["task"]:
        raise InputError(f"{run_directory} is a run of task {settings['task']!r}, not of {given.name!r}")
    if given is None and settings["task"] not in TASKS:
        raise InputError(
            f"{run_directory} is a run of a task of your own, {settings['task']!r}; name it beside the run: a TOML "
            "file (--task), or a Task"
        )
    output_dir = directory.parents[min(3, len(directory.parents) - 1)]
    if RunSettings(**settings).directory(output_dir) != directory:
        raise InputError(
            f"{run_directory} is not where its run was made (<output directory>/task/method/backbone/seed); move it "
            "back, or name the run by --task and its settings"
        )
    settings["task"] = given or settings["task"]
    return run_ntk(data_dir=data_dir, output_dir=output_dir, **settings, **options)


def _read_off(train: NTK, test: NTK, logits: np.ndarray, labels: dict[str, np.ndarray]) -> dict[str, Any]:
    """Return the paper's statistics and the accuracies of kernel regression."""
    table = statistics(train, residuals(logits, labels["train"]))
    kernels: dict[str, Any] = {}
    for name in _PARTS:
        inside, across = getattr(train, name), getattr(test, name)
        regression = KernelRegression().fit(inside, labels["train"])
        kernels[name] = {
            "rank": table["rank"][name],
            "frobenius_norm": table["frobenius_norm"][name],
            "logit_accuracy": {
                "train": regression.logit_accuracy(inside, labels["train"]),
                "test": regression.logit_accuracy(across, labels["test"]),
            },
            "accuracy": {
                "train": regression.accuracy(inside, labels["train"]),
                "test": regression.accuracy(across, labels["test"]),
            },
        }
    return {"kernels": kernels, "ft_ratio": table["ft_ratio"]}


def _draw_figures(directory: Path, kernel: NTK, labels: np.ndarray) -> None:
    if importlib.util.find_spec("matplotlib") is None:
        log.info('no figures without Matplotlib: pip install "lpft-keras[plots]"')
        return
    parts = {"P (pre-train-effective)": kernel.pretrain, "F (FT-effective)": kernel.finetune, "NTK": kernel.total}
    figures = {
        "singular_values.png": plot_singular_values(parts),
        "trace_norms.png": plot_trace_norms(parts, labels, labels),
    }
    for name, figure in figures.items():
        save_figure(figure, directory / name)
