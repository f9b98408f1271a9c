"""`kernel-view`: whether fine-tuning behaves like a kernel."""

import argparse
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lpft_keras.cli.checking import check_flags_beside_run, check_run_directory, check_values
from lpft_keras.cli.parser import (
    add_model_arguments,
    add_output_arguments,
    add_prompt_arguments,
    add_task_arguments,
    asked_methods,
    asked_task,
    own_task_arguments,
    split_options,
)
from lpft_keras.errors import InputError
from lpft_keras.methods import METHODS, fine_tuning
from lpft_keras.progress import silent_start

if TYPE_CHECKING:
    from lpft_keras.kernel_views import KernelView


def add_kernel_view(commands) -> None:
    """Add `kernel-view`."""
    command = commands.add_parser(
        "kernel-view", help="test whether fine-tuning behaves like its kernel", allow_abbrev=False
    )
    add_task_arguments(command, or_a_run=True)
    add_model_arguments(command, default_method="ft with a prompt, lp-ft without", default_seed="13")
    add_prompt_arguments(command, default_shots="16; 0 takes all rows")
    command.add_argument("--epochs", type=int, default=10, metavar="E", help="passes over the rows (default: 10)")
    command.add_argument(
        "--optimizer",
        dest="optimizers",
        action="append",
        metavar="O",
        help="adam, sgd or signgd; may be repeated (default: all three)",
    )
    command.add_argument(
        "--learning-rate",
        dest="learning_rates",
        action="append",
        metavar="O=LR",
        help="of an optimiser, sgd=0.1; may be repeated (default: those of run)",
    )
    command.add_argument(
        "--rows", type=int, default=300, metavar="N", help="rows of each split in the kernels, at most (default: 300)"
    )
    command.add_argument(
        "--max-memory", type=float, default=8e9, metavar="BYTES", help="of a kernel's tiles (default: 8e9)"
    )
    add_output_arguments(command)
    command.set_defaults(call=partial(_kernel_view, command))


def _kernel_view(command: argparse.ArgumentParser, parsed: argparse.Namespace) -> int:
    from lpft_keras.storage import as_json

    views = []
    try:
        for call in _calls(command, parsed):
            views.append(call())
    finally:
        for view in views if parsed.json else []:
            print(as_json(view.report), flush=True)
        if views and not parsed.json:
            from lpft_keras.kernel_views.words import conclusions, heading, sheets
            from lpft_keras.tables import print_sheets

            for view in views:
                report = view.report
                print_sheets(heading(report), sheets(report), conclusions(report), view.directory)
    return 0


def _calls(command: argparse.ArgumentParser, parsed: argparse.Namespace) -> list[Callable[[], "KernelView"]]:
    """Return what takes one view each, of the run that was named, or of each method and seed of a task.

    What can be wrong with flags is told before Keras is imported.
    """
    shared = {name: getattr(parsed, name) for name in ("rows", "max_memory", "overwrite")}
    shared["show_progress"] = False if parsed.json else None
    if parsed.task is not None and (Path(parsed.task) / "config.json").is_file():
        check_flags_beside_run(command, parsed, parsed.task, {"task", "data_dir", *shared})
        task = asked_task(parsed, None) if own_task_arguments(parsed) else None
        with silent_start():
            from lpft_keras.kernel_views import kernel_view_of
        return [partial(kernel_view_of, parsed.task, parsed.data_dir, task=task, **shared)]
    if parsed.task is not None and re.search(r"[/\\]", parsed.task) and not parsed.task.endswith(".toml"):
        check_run_directory(parsed.task)
    options: dict[str, Any] = split_options(parsed, "method", "seed", "shots", "learning_rates", "optimizers", *shared)
    options |= {**shared, "shots": {None: 16, 0: None}.get(parsed.shots, parsed.shots)}
    options |= {"learning_rates": _rates(parsed.learning_rates or [])}
    if parsed.optimizers:
        options["optimizers"] = parsed.optimizers
    task, methods = asked_task(parsed, parsed.task), _methods(parsed)
    rates = options["learning_rates"]
    for optimizer in [*options.get("optimizers", ("adam",)), *rates]:
        named = [method or "ft" for method in methods]
        own = {**options, "optimizer": optimizer, "learning_rate": rates.get(optimizer)}
        check_values([task], named, parsed.seed or [13], own)
    with silent_start():
        from lpft_keras.kernel_views import kernel_view
    return [
        partial(kernel_view, task, method, seed=seed, **options) for method in methods for seed in parsed.seed or [13]
    ]


def _methods(parsed: argparse.Namespace) -> list[str | None]:
    """Return the methods asked for, all of which fine-tune; None stands for the one that suits the task."""
    if not parsed.method:
        return [None]
    methods = asked_methods(parsed, [name for name in METHODS if fine_tuning(name)])
    for method in methods:
        if fine_tuning(method) is None:
            raise InputError(f"method {method!r} has no fine-tuning stage that could behave like a kernel")
    return [*methods]


def _rates(given: list[str]) -> dict[str, float]:
    """Return rates by optimiser, as "sgd=0.1" gives them."""
    rates = {}
    for text in given:
        name, equals, value = text.partition("=")
        try:
            rates[name] = float(value) if equals else float("nan")
        except ValueError:
            rates[name] = float("nan")
        if not rates[name] > 0:
            raise InputError(f"--learning-rate takes OPTIMIZER=RATE, like sgd=0.1, not {text!r}")
    return rates
