"""Commands of many runs: `sweep` and `tune`."""

import argparse
from typing import Any

from lpft_keras.cli.outcomes import Outcomes, collected
from lpft_keras.cli.parser import (
    add_model_arguments,
    add_optimizer_argument,
    add_output_arguments,
    add_prompt_arguments,
    add_rate_arguments,
    add_task_arguments,
    add_training_arguments,
    add_workers_argument,
    asked_methods,
    asked_task,
    own_task_arguments,
    split_options,
)
from lpft_keras.errors import InputError
from lpft_keras.methods import EVALUATION_SEEDS, METHODS, TUNING_SEEDS


def add_sweep(commands) -> None:
    """Add `sweep`."""
    command = commands.add_parser(
        "sweep", help="run tasks by methods, backbones, seeds and head scales; print the table", allow_abbrev=False
    )
    command.add_argument("file", nargs="?", metavar="SWEEP.toml", help="flags as keys; flags given here go before it")
    command.add_argument("--task", action="append", metavar="TASK", help="a task or a TOML file; may be repeated")
    add_task_arguments(command, positional=False)
    add_model_arguments(command, several_backbones=True)
    add_prompt_arguments(command)
    add_training_arguments(command)
    add_rate_arguments(command)
    add_workers_argument(command)
    command.add_argument("--paper", action="store_true", help="the paper's values (of RoBERTa-base) below ours")
    add_output_arguments(command)
    # So that a flag that was given can be told from one that was not, which the file may set.
    for action in command._actions:
        if action.dest != "help":
            action.default = argparse.SUPPRESS
    command.set_defaults(call=_sweep)


def _sweep(parsed: argparse.Namespace) -> int:
    given = vars(parsed)
    json, paper = given.pop("json", False), given.pop("paper", False)
    from lpft_keras import sweep
    from lpft_keras.engines import engine
    from lpft_keras.sweep_files import read_sweep

    # What the file says, unless a flag says otherwise.
    options: dict[str, Any] = read_sweep(given.pop("file")) if "file" in given else {}
    for flag, name in (("backbone", "backbones"), ("seed", "seeds"), ("head_scale", "head_scales")):
        if flag in given:
            options[name] = given[flag]
    if "method" in given:
        options["methods"] = asked_methods(parsed, list(METHODS))
    own = [asked_task(parsed, None)] if own_task_arguments(parsed) else []
    if "task" in given or own:
        options["tasks"] = [*given.get("task", []), *own]
    if "tasks" not in options:
        raise InputError("name the tasks (--task, or task in a SWEEP.toml), or the --train file of your own")
    name = given.pop("engine", options.pop("engine", None))
    options |= split_options(parsed, "method", "backbone", "seed", "head_scale")
    with engine(name), collected(json) as outcomes:
        sweep(**options, on_end=outcomes.add, show_progress=False if json else None)
    return _report(outcomes, json, paper)


def add_tune(commands) -> None:
    """Add `tune`."""
    command = commands.add_parser(
        "tune",
        help="choose learning rate and batch size on the validation rows, then run the best with other seeds",
        allow_abbrev=False,
    )
    add_task_arguments(command)
    add_model_arguments(command)
    add_prompt_arguments(command)
    add_training_arguments(command)
    command.add_argument(
        "--learning-rate",
        action="append",
        type=float,
        metavar="LR",
        help="to try; may be repeated (default: a fifth of the default rate, itself and five times it)",
    )
    command.add_argument(
        "--batch-size", action="append", type=int, metavar="N", help="to try; may be repeated (default: the default)"
    )
    command.add_argument(
        "--tuning-seed",
        action="append",
        type=int,
        metavar="S",
        help=f"of the trials; may be repeated (default: {' '.join(map(str, TUNING_SEEDS))})",
    )
    add_optimizer_argument(command)
    add_workers_argument(command)
    command.add_argument("--paper", action="store_true", help="the paper's values (of RoBERTa-base) below ours")
    add_output_arguments(command)
    command.set_defaults(call=_tune)


def _tune(parsed: argparse.Namespace) -> int:
    methods = asked_methods(parsed, list(METHODS))
    task = asked_task(parsed, parsed.task)
    from lpft_keras import tune
    from lpft_keras.engines import engine

    apart = ("method", "seed", "learning_rate", "batch_size", "tuning_seed", "paper", "engine")
    with engine(parsed.engine), collected(parsed.json) as outcomes:
        found = tune(
            task,
            methods,
            learning_rates=parsed.learning_rate,
            batch_sizes=parsed.batch_size,
            tuning_seeds=parsed.tuning_seed or TUNING_SEEDS,
            seeds=parsed.seed or EVALUATION_SEEDS,
            on_end=outcomes.add,
            show_progress=False if parsed.json else None,
            **split_options(parsed, *apart),
        )
        if not parsed.json:
            from lpft_keras.tables import print_choices

            print_choices(found.choices, task.name)
    return _report(outcomes, parsed.json, parsed.paper)


def _report(outcomes: Outcomes, json: bool, paper: bool) -> int:
    if outcomes.results and not json:
        from lpft_keras.report import result_tables
        from lpft_keras.tables import print_result_tables

        print_result_tables(result_tables(outcomes.results, paper=paper))
    return outcomes.status()
