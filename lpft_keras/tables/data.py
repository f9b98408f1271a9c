"""Tables of tasks and of their rows."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.table import Table

from lpft_keras.tables.terminal import escape, new_table, show

if TYPE_CHECKING:
    from lpft_keras.overview import Overview
    from lpft_keras.tasks import Task

_BAR = 20  # characters of the longest bar


def print_tasks(tasks: Sequence["Task"]) -> None:
    """Print one line a task.

    Args:
        tasks: The tasks.
    """
    table = Table(box=box.SIMPLE_HEAVY, pad_edge=False, padding=(0, 1, 0, 0))
    for name in ("task", "classes", "metric", "TensorFlow Datasets", "files below --data-dir"):
        table.add_column(name, justify="right" if name == "classes" else "left", no_wrap=True)
    for task in tasks:
        train = task.files.get("train", "generated")
        first = train if isinstance(train, str) else train[0]
        files = f"{first}, ..." if task.files else first
        table.add_row(*map(escape, (task.name, str(len(task.labels)), task.metric, task.tfds or "", files)))
    console = Console()
    console.width = max(console.width, 100)
    console.print(table)


def print_overview(task: str, found: "Overview") -> None:
    """Print a first look at a task: rows and classes of each split, token lengths, and rows that splits share.

    Args:
        task: Name of the task.
        found: What was found.
    """
    table = new_table(f"{task}: rows", _row_notes(found))
    table.add_column("")
    for name in found.splits:
        table.add_column(escape(name), justify="right")
    splits = list(found.splits.values())
    table.add_row("rows", *(f"{split.rows:,}" for split in splits), end_section=True)
    labels = list(splits[0].labels)
    for label in labels:
        table.add_row(escape(label), *(f"{split.labels[label]:,}" for split in splits), end_section=label == labels[-1])
    for what in ("empty", "repeated"):
        counts = [getattr(split, what) for split in splits]
        if any(counts):
            table.add_row(what, *(f"{count:,}" if count else "" for count in counts))
    show(table)
    if any(split.lengths for split in found.splits.values()):
        _print_lengths(task, found)
    console = Console(soft_wrap=True)
    for leak in found.leaks:
        console.print(
            f"[bold]leak:[/bold] {leak.rows:,} of the {escape(leak.split)} rows ({leak.share:.1%}) stand among the "
            f"{escape(leak.other)} rows too"
        )
        for number, texts in leak.examples:
            console.print(escape(f"  row {number}: {' | '.join(texts)!r}"[:160]))


def _row_notes(found: "Overview") -> str:
    contradicting = sum(split.contradicting for split in found.splits.values())
    notes = "repeated: the same texts stand earlier in the split"
    return f"{notes}, {contradicting:,} times with another label" if contradicting else notes


def _print_lengths(task: str, found: "Overview") -> None:
    from lpft_keras.overview import LENGTH_BINS

    table = new_table(f"{task}: tokens a row", "special tokens included, before truncation; share of the rows")
    table.add_column("tokens")
    for name in found.splits:
        table.add_column(escape(name))
    lows = (1, *(end + 1 for end in LENGTH_BINS))
    names = [*(f"{low}-{high}" for low, high in zip(lows, LENGTH_BINS, strict=False)), f"{lows[-1]}-"]
    for number, name in enumerate(names):
        shares = [(split.lengths or [0] * len(names))[number] / split.rows for split in found.splits.values()]
        if any(shares):
            table.add_row(name, *(f"{'█' * round(_BAR / len(shares) * share * 2)} {share:.0%}" for share in shares))
    table.add_section()
    table.add_row("median", *(f"{split.median_length:g}" for split in found.splits.values()))
    table.add_row("longest", *(f"{split.longest:,}" for split in found.splits.values()))
    table.add_row(f"over {found.max_length}", *(f"{split.truncated:.1%}" for split in found.splits.values()))
    show(table)
