"""Commands that compute: `run`, `head-norm` and `ntk`."""

import argparse
from functools import partial
from pathlib import Path

from lpft_keras.cli.checking import check_flags_beside_run, check_run_directory, check_values
from lpft_keras.cli.outcomes import Outcomes, collected
from lpft_keras.cli.parser import (
    add_model_arguments,
    add_output_arguments,
    add_prompt_arguments,
    add_rate_arguments,
    add_task_arguments,
    add_training_arguments,
    asked_methods,
    asked_task,
    split_options,
)
from lpft_keras.errors import InputError
from lpft_keras.methods import HEAD_SCALES, METHODS, fine_tuning
from lpft_keras.progress import silent_start

_FINE_TUNING = [name for name in METHODS if fine_tuning(name)]


def add_run(commands) -> None:
    """Add `run`."""
    run = commands.add_parser("run", help="train by one method or several, and report", allow_abbrev=False)
    add_task_arguments(run)
    add_model_arguments(run)
    add_prompt_arguments(run)
    add_training_arguments(run)
    add_rate_arguments(run)
    add_output_arguments(run)
    run.set_defaults(call=_run)


def _run(parsed: argparse.Namespace) -> int:
    with collected(parsed.json) as outcomes:
        _swept(parsed, asked_methods(parsed, list(METHODS)), parsed.head_scale or [1.0], outcomes)
    if outcomes.results and not parsed.json:
        from lpft_keras.tables import print_results

        print_results(outcomes.results)
    return outcomes.status()


def _swept(parsed: argparse.Namespace, methods: list[str], scales: list[float], outcomes: Outcomes) -> None:
    task = asked_task(parsed, parsed.task)
    from lpft_keras import sweep

    options = split_options(parsed, "method", "seed", "head_scale", "backbone", "plot")
    show = False if parsed.json else None
    seeds = parsed.seed or [1001]
    sweep(task, methods, seeds, scales, parsed.backbone, on_end=outcomes.add, show_progress=show, **options)


def add_head_norm(commands) -> None:
    """Add `head-norm`."""
    command = commands.add_parser(
        "head-norm", help="scale the head before fine-tuning, and see how far features move", allow_abbrev=False
    )
    add_task_arguments(command)
    add_model_arguments(command, default_method="all that fine-tune")
    add_prompt_arguments(command)
    add_training_arguments(command)
    add_rate_arguments(command, default_scales=" ".join(f"{scale:g}" for scale in HEAD_SCALES))
    command.add_argument("--plot", metavar="FILE", help="the figure (default: in the output directory)")
    add_output_arguments(command)
    command.set_defaults(call=_head_norm)


def _head_norm(parsed: argparse.Namespace) -> int:
    methods = asked_methods(parsed, _FINE_TUNING, _FINE_TUNING)
    without = [method for method in methods if fine_tuning(method) is None]
    if without:
        raise InputError(f"method {without[0]!r} has no fine-tuning stage before which a head could be scaled")
    from lpft_keras.figures import check_figures, save_figure

    check_figures(parsed.plot)
    with collected(parsed.json) as outcomes:
        _swept(parsed, methods, parsed.head_scale or list(HEAD_SCALES), outcomes)
    if outcomes.results:
        from lpft_keras.report import head_norm_points, plot_head_norm
        from lpft_keras.storage import slug
        from lpft_keras.tables import print_head_norm

        points = head_norm_points(outcomes.results)
        first = outcomes.results[0].summary
        title = f"{first['task']} on {first['backbone']}"
        own = Path(parsed.output_dir) / slug(first["task"]) / f"head_norm-{slug(first['backbone'])}.png"
        path = Path(parsed.plot) if parsed.plot else own
        save_figure(plot_head_norm(points, title), path)
        if not parsed.json:
            print_head_norm(points, title, path)
    return outcomes.status()


def add_ntk(commands) -> None:
    """Add `ntk`."""
    ntk = commands.add_parser("ntk", help="the kernel at the start of fine-tuning", allow_abbrev=False)
    ntk.add_argument("run_directory", nargs="?", metavar="RUN_DIRECTORY", help="a run whose settings are taken")
    ntk.add_argument(
        "--task",
        metavar="TASK",
        help="or a task, with the settings below; beside a run of your own task, its TOML file",
    )
    add_model_arguments(ntk)
    add_prompt_arguments(ntk)
    ntk.add_argument("--head-scale", type=float, default=1.0, metavar="X", help="multiply the head before (default: 1)")
    ntk.add_argument("--rows", type=int, default=250, metavar="N", help="rows of train and of test (default: 250)")
    ntk.add_argument(
        "--max-memory", type=float, default=8e9, metavar="BYTES", help="of the kernel's tiles (default: 8e9)"
    )
    add_output_arguments(ntk)
    ntk.set_defaults(call=partial(_ntk, ntk))


def _ntk(command: argparse.ArgumentParser, parsed: argparse.Namespace) -> int:
    directory, task = parsed.run_directory, parsed.task
    if directory is None and task is None:
        raise InputError("ntk takes a run directory or --task (see lpft-keras ntk --help)")
    methods = asked_methods(parsed, _FINE_TUNING)
    show = False if parsed.json else None
    options = split_options(parsed, "run_directory", "method", "seed")
    seeds = parsed.seed or [1001]
    own = ("data_dir", "rows", "max_memory", "overwrite")
    if directory is not None:
        check_run_directory(directory, task=False)
        check_flags_beside_run(command, parsed, directory, {"run_directory", "task", *own})
    from lpft_keras.storage import as_json
    from lpft_keras.tasks import get_task

    asked = None if task is None else get_task(task)
    if asked is not None and directory is None:
        for method in methods:
            if fine_tuning(method) is None:
                raise InputError(f"method {method!r} has no fine-tuning stage at whose start a kernel could be taken")
        check_values([asked], methods, seeds, options)
    with silent_start():
        from lpft_keras.kernels import run_ntk, run_ntk_of
    results = []
    try:
        if directory is not None:
            given = {name: options[name] for name in own}
            results.append(run_ntk_of(directory, task=asked, **given, show_progress=show))
        elif asked is not None:
            for method in methods:
                for seed in seeds:
                    results.append(run_ntk(asked, method, seed=seed, show_progress=show, **options))
    finally:
        for result in results if parsed.json else []:
            print(as_json(result.summary), flush=True)
        if results and not parsed.json:
            from lpft_keras.tables import print_kernels

            print_kernels(results)
    return 0
