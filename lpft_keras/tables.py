"""Result tables for a terminal."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from lpft_keras.kernels import KernelResult
    from lpft_keras.results import RunResult
    from lpft_keras.tasks import Task


def print_results(results: Sequence["RunResult"]) -> None:
    """Print one line a run and split: accuracy first, then calibration.

    Args:
        results: Finished runs of one task.
    """
    first = results[0].summary
    title = f"{escape(first['task'])} on {escape(first['backbone'])}"
    caption = "T: the temperature that suits the validation rows best; above 1, the classifier is too sure of itself"
    table = Table(title=title, caption=caption, box=box.SIMPLE_HEAVY, padding=0)
    for name in ("method", "seed", "split"):
        table.add_column(name, justify="right" if name == "seed" else "left")
    for name in ("acc.", "F1", "NLL", "Brier", "ECE", "MCE", "T", "time"):
        table.add_column(name, justify="right")
    for result in results:
        summary = result.summary
        for number, (split, metrics) in enumerate(result.metrics.items()):
            last = number == len(result.metrics) - 1
            own = (summary["method"], str(summary["seed"])) if number == 0 else ("", "")
            rest = (f"{summary['temperature']:.2f}", f"{summary['seconds']:.0f} s") if number == 0 else ("", "")
            values = (f"{metrics[name]:.3f}" for name in ("accuracy", "macro_f1", "nll", "brier", "ece", "mce"))
            table.add_row(*own, escape(split), *values, *rest, end_section=last)
    _show(table, [result.directory for result in results])


def print_tasks(tasks: Sequence["Task"]) -> None:
    """Print one line a task.

    Args:
        tasks: The tasks.
    """
    table = Table(box=box.SIMPLE_HEAVY, pad_edge=False)
    for name in ("task", "labels", "text", "metric", "where from"):
        table.add_column(name, overflow="fold")
    for task in tasks:
        files = "--data-dir: " + ", ".join(task.files.values()) if task.files else "generated"
        sources = [f"TFDS {task.tfds}", files] if task.tfds else [files]
        cells = (task.name, "\n".join(task.labels), "\n".join(task.template), task.metric, "\n".join(sources))
        table.add_row(*map(escape, cells))
    Console().print(table)


def print_kernels(results: Sequence["KernelResult"]) -> None:
    """Print kernels in the layout of the paper's Tables 2 and 9.

    Args:
        results: Computed kernels of one task.
    """
    first = results[0].summary
    rows = first["rows"]
    title = (
        f"{escape(first['task'])} on {escape(first['backbone'])}: {rows['train']} training, {rows['test']} test rows"
    )
    caption = "Acc.: kernel regression, train/test, each logit counted (as the paper prints it), and each example"
    table = Table(title=title, caption=caption, box=box.SIMPLE_HEAVY, padding=0, pad_edge=False)
    for name in ("method", "kernel"):
        table.add_column(name)
    for name in ("seed", "rank", "FN", "acc. logits", "acc. examples", "FT ratio"):
        table.add_column(name, justify="right")
    shown = {"pretrain": "P", "finetune": "F", "total": "NTK"}
    for result in results:
        summary = result.summary
        for name, kernel in summary["kernels"].items():
            accuracies = (
                f"{100 * kernel[key]['train']:.1f}/{100 * kernel[key]['test']:.1f}"
                for key in ("logit_accuracy", "accuracy")
            )
            own = (summary["method"], str(summary["seed"])) if name == "pretrain" else ("", "")
            ratio = f"{summary['ft_ratio']:.4f}" if name == "finetune" else ""
            norm = f"{kernel['frobenius_norm']:.3g}"
            table.add_row(
                own[0], shown[name], own[1], str(kernel["rank"]), norm, *accuracies, ratio, end_section=name == "total"
            )
    _show(table, [result.directory for result in results])


def _show(table: Table, directories: Sequence[Path]) -> None:
    """Print a table of numbers, and where they lie."""
    console = Console()
    console.width = max(console.width, 80)  # a table squeezed narrower than its numbers says nothing
    console.print(table)
    for directory in directories:
        console.print(f"[dim]{escape(str(directory))}[/dim]", soft_wrap=True)
