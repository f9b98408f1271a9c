"""What all tables on a terminal share."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich import box, markup
from rich.console import Console
from rich.table import Table

from lpft_keras.markdown import one_line


def spread(values: Sequence[float], form: str = "{:.2f}") -> str:
    """Return mean and, for several values, standard deviation, with as many decimals."""
    mean = form.format(np.mean(values))
    if len(values) < 2:
        return mean
    deviation = np.std(values, ddof=1)
    return f"{mean}±{deviation:.2g}" if "e" in mean else f"{mean}±{deviation:.{len(mean.partition('.')[2])}f}"


def escape(text: str) -> str:
    """Return text of a user's that a terminal shows as it is: no markup of rich's, no codes that command it."""
    return markup.escape(one_line(text))


def new_table(title: str, caption: str) -> Table:
    """Return an empty table; title and caption are shown as they are."""
    return Table(title=escape(title), caption=escape(caption), box=box.SIMPLE_HEAVY, padding=0, pad_edge=False)


def show(table: Table, paths: Sequence[Path] = ()) -> None:
    """Print a table of numbers, and where they lie."""
    console = Console()
    console.width = max(console.width, 80)  # a table squeezed narrower than its numbers says nothing
    console.print(table)
    for path in paths:
        console.print(f"[dim]{escape(str(path))}[/dim]", soft_wrap=True)
