"""The command `reproduce`: tables and figures of the paper by name."""

import argparse
import json
from dataclasses import asdict
from typing import TYPE_CHECKING

from lpft_keras.cli.checking import check_values
from lpft_keras.cli.parser import (
    add_model_arguments,
    add_output_arguments,
    add_task_arguments,
    add_training_arguments,
    add_workers_argument,
    asked_methods,
    asked_task,
    own_task_arguments,
    split_options,
)
from lpft_keras.errors import InputError
from lpft_keras.methods import METHODS
from lpft_keras.progress import silent_start

if TYPE_CHECKING:
    from lpft_keras.reproduction import Cost, Reproduction
    from lpft_keras.workers import Failure


def add_reproduce(commands) -> None:
    """Add `reproduce`."""
    command = commands.add_parser(
        "reproduce", help="make tables and figures of the paper, with any backbone and data", allow_abbrev=False
    )
    command.add_argument("names", nargs="*", metavar="NAME", help="table1, ..., figure11, or all (see --list)")
    command.add_argument("--list", action="store_true", help="print the names, what each shows and of which runs")
    command.add_argument("--dry-run", action="store_true", help="say what there is to do and how long it will take")
    command.add_argument(
        "--task",
        action="append",
        metavar="TASK",
        help="instead of the paper's; may be repeated (a task or a TOML file)",
    )
    add_task_arguments(command, positional=False)
    add_model_arguments(command, default_method="those that it shows", default_seed="the paper's five")
    add_training_arguments(command)
    command.add_argument("--rows", type=int, default=250, metavar="N", help="rows of a kernel (default: 250)")
    add_workers_argument(command)
    add_output_arguments(command)
    command.set_defaults(call=_reproduce)


def _reproduce(parsed: argparse.Namespace) -> int:
    if parsed.list:
        return _list(parsed.json)
    if not parsed.names:
        raise InputError("name what to reproduce: table1, ..., figure11, or all (see lpft-keras reproduce --list)")
    methods = asked_methods(parsed, list(METHODS)) if parsed.method else None
    own = [asked_task(parsed, None)] if own_task_arguments(parsed) else []
    options = split_options(parsed, "names", "list", "method", "seed", "engine")
    from lpft_keras.engines import check_workers, engine
    from lpft_keras.exhibits import get_exhibit
    from lpft_keras.tasks import get_task

    exhibits = [get_exhibit(name) for name in parsed.names if name != "all"]
    tasks = [*map(get_task, parsed.task or []), *own]
    named = tasks or [get_task(task) for exhibit in exhibits[:1] for task in exhibit.tasks]
    check_values(named, methods or list(METHODS), parsed.seed or [1001], options)
    check_workers(parsed.workers)
    with silent_start():
        from lpft_keras import reproduce
    from lpft_keras.storage import as_json
    from lpft_keras.tables import print_reproduction

    failures: list[Failure] = []

    def show(made: "Reproduction") -> None:
        failures.extend(made.failures)
        if parsed.json:
            print(as_json(made.as_dict()), flush=True)
        else:
            print_reproduction(made)

    def show_cost(cost: "Cost") -> None:
        if parsed.json and parsed.dry_run:
            print(as_json(asdict(cost)), flush=True)

    with engine(parsed.engine):
        reproduce(
            parsed.names,
            tasks or None,
            methods,
            parsed.seed,
            on_estimate=show_cost,
            on_end=show,
            show_progress=False if parsed.json else None,
            **options,
        )
    if not failures:
        return 0
    return 2 if all(failure.by_input for failure in failures) else 1


def _list(as_objects: bool) -> int:
    from lpft_keras.exhibits import EXHIBITS

    if as_objects:
        for exhibit in EXHIBITS.values():
            print(json.dumps({name: value for name, value in vars(exhibit).items() if name != "layout"}))
        return 0
    from lpft_keras.tables import print_exhibits

    print_exhibits(list(EXHIBITS.values()))
    return 0
