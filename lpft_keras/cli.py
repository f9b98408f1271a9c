"""The command line: parses, calls the package, prints. Results go to standard output, all else to standard error."""

import argparse
import json
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from typing import TYPE_CHECKING, Any, NoReturn

from lpft_keras import __version__
from lpft_keras.errors import InputError, unknown_name
from lpft_keras.methods import METHODS, fine_tuning, get_method

if TYPE_CHECKING:
    from lpft_keras.results import RunResult


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, with the nearest names."""

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message} (see {self.prog} --help)")

    def parse_args(self, args=None, namespace=None):  # type: ignore[override]
        parsed, unknown = self.parse_known_args(args, namespace)
        if unknown:
            chosen = _subparser(self, getattr(parsed, "command", None))
            flags = [flag for action in chosen._actions for flag in action.option_strings]
            raise unknown_name("argument", unknown[0].split("=")[0], flags)
        return parsed


def _subparser(parser: argparse.ArgumentParser, command: str | None) -> argparse.ArgumentParser:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction) and command in action.choices:
            return action.choices[command]
    return parser


def _add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what says which model on which rows."""
    parser.add_argument(
        "--method", action="append", metavar="M", help=f"{', '.join(METHODS)} or all; may be repeated (default: lp-ft)"
    )
    parser.add_argument(
        "--backbone",
        metavar="B",
        help='KerasHub preset, "hf://org/name@revision", directory, pocket, minilm or tiny (default: the task\'s)',
    )
    parser.add_argument("--data-dir", metavar="D", help="folder with the official files (default: TensorFlow Datasets)")
    parser.add_argument("--seed", action="append", type=int, metavar="S", help="may be repeated (default: 1001)")
    parser.add_argument("--max-length", type=int, default=128, metavar="L", help="tokens a row (default: 128)")
    parser.add_argument("--limit", type=int, metavar="N", help="use only the first N rows of each split")
    parser.add_argument("--pooling", metavar="P", help="first or mean (default: the backbone's)")
    parser.add_argument("--dropout", type=float, metavar="P", help="default: the checkpoint's, and 0.1 for the head")
    parser.add_argument("--dtype", default="float32", metavar="T", help="float32 (default) or mixed_bfloat16")
    parser.add_argument("--lora-rank", type=int, default=8, metavar="R", help="rank of the adapters (default: 8)")
    parser.add_argument("--lora-alpha", type=float, default=8.0, metavar="A", help="scale of the adapters (default: 8)")
    parser.add_argument("--lora-style", default="paper", metavar="S", help="paper (default) or keras")
    parser.add_argument(
        "--head-scale", type=float, default=1.0, metavar="X", help="multiply the head before fine-tuning (default: 1)"
    )
    parser.add_argument(
        "--probe-solver", default="newton-cg", metavar="S", help="newton-cg (default), or lbfgs as in the paper"
    )


def _add_output_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--output-dir", default="runs", metavar="O", help="where run directories live (default: runs)")
    parser.add_argument("--overwrite", action="store_true", help="do it anew, whatever the directory holds")
    parser.add_argument("--json", action="store_true", help="print one JSON object a run, and nothing else")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="lpft-keras", description="LP-FT: fine-tune pre-trained classifiers that stay robust.")
    parser.add_argument("--version", action="version", version=f"lpft-keras {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")

    run = commands.add_parser("run", help="train by one method or several, and report", allow_abbrev=False)
    run.add_argument("task", metavar="TASK", help='a task: see "lpft-keras tasks"')
    _add_model_arguments(run)
    run.add_argument("--epochs", type=int, default=10, metavar="E", help="passes over the training rows (default: 10)")
    run.add_argument("--batch-size", type=int, metavar="N", help="default: the paper's, by task and method")
    run.add_argument("--learning-rate", type=float, metavar="LR", help="default: the paper's, by task and method")
    run.add_argument(
        "--micro-batches", type=int, metavar="K", help="parts of like length a batch is cut into (default: 4)"
    )
    _add_output_arguments(run)

    ntk = commands.add_parser("ntk", help="the kernel at the start of fine-tuning", allow_abbrev=False)
    ntk.add_argument("run_directory", nargs="?", metavar="RUN_DIRECTORY", help="a run whose settings are taken")
    ntk.add_argument("--task", metavar="TASK", help="or a task, with the settings below")
    _add_model_arguments(ntk)
    ntk.add_argument("--rows", type=int, default=250, metavar="N", help="rows of train and of test (default: 250)")
    ntk.add_argument(
        "--max-memory", type=float, default=8e9, metavar="BYTES", help="of the kernel's tiles (default: 8e9)"
    )
    _add_output_arguments(ntk)

    tasks = commands.add_parser("tasks", help="list the tasks", allow_abbrev=False)
    tasks.add_argument("--json", action="store_true", help="print one JSON object a task")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: The arguments after the program's name; None takes the process's.

    Returns:
        The exit status: 0 done, 2 the input was wrong (one line says what and how to mend it), 130 interrupted.
    """
    try:
        parsed = _parser().parse_args(arguments)
        if parsed.command is None:
            _parser().print_help()
            return 0
        _show_log()
        return {"run": _run, "ntk": _ntk, "tasks": _tasks}[parsed.command](parsed)
    except InputError as error:
        print(f"lpft-keras: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(
            "lpft-keras: interrupted; the same command (without --overwrite) goes on from the last finished epoch",
            file=sys.stderr,
        )
        return 130


@contextmanager
def _silent_start() -> Iterator[None]:
    """Keep TensorFlow's start-up notes, which no setting silences, off standard error. Exceptions pass."""
    sys.stderr.flush()
    saved, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(null)


def _show_log() -> None:
    """Show our own log on standard error, and no notes of TensorFlow's."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("lpft-keras: %(message)s"))
    logger = logging.getLogger("lpft_keras")
    logger.handlers, logger.propagate = [handler], False
    logger.setLevel(logging.INFO)


def _run(parsed: argparse.Namespace) -> int:
    options = {name: value for name, value in vars(parsed).items() if name not in ("command", "json", "method", "seed")}
    asked = parsed.method or ["lp-ft"]
    methods = [name for method in asked for name in (METHODS if method == "all" else [method])]
    results = []
    try:
        for result in _results(options, methods, parsed.seed or [1001], False if parsed.json else None):
            results.append(result)
            if parsed.json:
                print(json.dumps(result.summary), flush=True)
    finally:
        if results and not parsed.json:
            from lpft_keras.tables import print_results

            print_results(results)
    return 0


def _results(
    options: dict[str, Any], methods: Sequence[str], seeds: Sequence[int], show: bool | None
) -> Iterator["RunResult"]:
    """Yield one result a method and seed, the settings of all checked before the first one starts."""
    for method in methods:
        get_method(method)
    from lpft_keras.tasks import get_task

    task = get_task(options["task"])
    with _silent_start():
        from lpft_keras import run
        from lpft_keras.settings import RunSettings
    settings = {field.name: options[field.name] for field in fields(RunSettings) if field.name in options}
    settings["backbone"] = settings["backbone"] or task.backbone
    for method in methods:
        for seed in seeds:
            RunSettings(**settings, method=method, seed=seed)
    log = logging.getLogger("lpft_keras")
    for method in methods:
        for seed in seeds:
            log.info("%s: %s, seed %d", options["task"], method, seed)
            yield run(**options, method=method, seed=seed, show_progress=show)


def _ntk(parsed: argparse.Namespace) -> int:
    options = {name: value for name, value in vars(parsed).items() if name not in ("command", "json", "method", "seed")}
    directory, task = options.pop("run_directory"), options.pop("task")
    if (directory is None) == (task is None):
        raise InputError("ntk takes either a run directory or --task (see lpft-keras ntk --help)")
    asked = parsed.method or ["lp-ft"]
    with_kernel = [name for name in METHODS if fine_tuning(name)]
    methods = [name for method in asked for name in (with_kernel if method == "all" else [method])]
    for method in methods:
        get_method(method)
    show = False if parsed.json else None
    with _silent_start():
        from lpft_keras.kernels import run_ntk, run_ntk_of
    results = []
    try:
        if directory is not None:
            own = {name: options[name] for name in ("data_dir", "rows", "max_memory", "overwrite")}
            results.append(run_ntk_of(directory, **own, show_progress=show))
        else:
            for method in methods:
                for seed in parsed.seed or [1001]:
                    results.append(run_ntk(task, method, seed=seed, show_progress=show, **options))
    finally:
        for result in results if parsed.json else []:
            print(json.dumps(result.summary), flush=True)
        if results and not parsed.json:
            from lpft_keras.tables import print_kernels

            print_kernels(results)
    return 0


def _tasks(parsed: argparse.Namespace) -> int:
    from lpft_keras.tasks import TASKS

    if parsed.json:
        for task in TASKS.values():
            print(json.dumps({"task": task.name, "labels": task.labels, "metric": task.metric, "tfds": task.tfds}))
        return 0
    from lpft_keras.tables import print_tasks

    print_tasks(list(TASKS.values()))
    return 0
