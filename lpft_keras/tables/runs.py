"""Tables of runs: each by itself, over seeds, and what was chosen for them."""

from collections.abc import Mapping, Sequence
from typing import IO, TYPE_CHECKING

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

from lpft_keras.tables.terminal import escape, new_table, show

if TYPE_CHECKING:
    from lpft_keras.report import ResultTable
    from lpft_keras.results import RunResult
    from lpft_keras.tuning import Choice


def print_results(results: Sequence["RunResult"]) -> None:
    """Print one line a run and split: accuracy and the task's own metric first, then calibration.

    Args:
        results: Finished runs of one task.
    """
    from lpft_keras.report.groups import variant_in_words

    first = results[0].summary
    title = f"{escape(first['task'])} on {escape(first['backbone'])}"
    caption = "T: the temperature that suits the validation rows best; above 1, the classifier is too sure of itself"
    metric = results[0].config["metric"]
    if any("zero_shot" in result.summary for result in results):
        caption += f"; 0-shot: {metric.replace('_', ' ')} of the masked language model before any training"
    table = Table(title=title, caption=caption, box=box.SIMPLE_HEAVY, padding=0)
    for name in ("method", "seed", "split"):
        table.add_column(name, justify="right" if name == "seed" else "left")
    columns = {"accuracy": "acc.", "macro_f1": "F1", "nll": "NLL", "brier": "Brier", "ece": "ECE", "mce": "MCE"}
    if metric not in columns:
        columns = {metric: {"matthews_correlation": "Matthews", "f1": "F1 (1)"}[metric], **columns}
    prompted = any("zero_shot" in result.summary for result in results)
    for name in (*columns.values(), *(["0-shot"] if prompted else []), "T", "time"):
        table.add_column(name, justify="right")
    for result in results:
        summary = result.summary
        for number, (split, metrics) in enumerate(result.metrics.items()):
            last = number == len(result.metrics) - 1
            name = summary["method"] + variant_in_words(result.config["settings"])
            own = (escape(name), str(summary["seed"])) if number == 0 else ("", "")
            rest = (f"{summary['temperature']:.2f}", f"{summary['seconds']:.0f} s") if number == 0 else ("", "")
            values = [f"{metrics[name]:.3f}" for name in columns]
            if prompted:
                untouched = summary.get("zero_shot", {}).get(split)
                values.append("" if untouched is None else f"{untouched[metric]:.3f}")
            table.add_row(*own, escape(split), *values, *rest, end_section=last)
    show(table, [result.directory for result in results])


def print_result_tables(tables: Sequence["ResultTable"], file: IO[str] | None = None) -> None:
    """Print means over seeds, or differences of methods, in the layout of the paper's Tables 8, 10 and 16.

    Args:
        tables: What `report.result_tables` gives, or `[report.difference_table(...)]`.
        file: Where to, as plain text; None is standard output.
    """
    console = Console(file=file)
    for result in tables:
        table = new_table(result.title, "; ".join(result.notes))
        for number, name in enumerate(result.columns):
            is_name = number < result.names
            table.add_column(escape(name), justify="left" if is_name else "right", no_wrap=not is_name, overflow="fold")
        for row in result.rows:
            table.add_row(*map(escape, row))
        needed = console.measure(table, options=console.options.update(width=10_000))
        # A file has no width of its own, and no terminal is too narrow for a number to be shown whole.
        console.width = needed.maximum if file else max(console.width, needed.minimum)
        console.print(table)


def print_choices(choices: Mapping[str, Sequence["Choice"]], task: str) -> None:
    """Print what was tried for each method, and what was chosen.

    Args:
        choices: The points of the grid by method.
        task: Name of the task.
    """
    metric = next((choice.metric for points in choices.values() for choice in points), "")
    note = "chosen: the greatest score, of equal ones the least NLL"
    table = new_table(f"{task}: chosen on the validation rows", note)
    table.add_column("method")
    for name in ("learning rate", "batch size", metric.replace("_", " "), "NLL", "trials", "failed", "chosen"):
        table.add_column(name, justify="right")
    for method, points in choices.items():
        for choice in points:
            error = "" if np.isnan(choice.deviation) else f"±{choice.deviation:.3f}"
            score = "" if np.isnan(choice.score) else f"{choice.score:.3f}{error}"
            loss = "" if np.isnan(choice.nll) else f"{choice.nll:.3f}"
            numbers = (f"{choice.learning_rate:g}", str(choice.batch_size), score, loss)
            counts = (str(choice.trials), str(choice.failed or ""), "x" if choice.chosen else "")
            table.add_row(escape(method), *numbers, *counts, end_section=choice is points[-1])
    if choices:
        show(table)
