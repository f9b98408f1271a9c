"""Tables and figures of the paper: which there are, and what was made."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from lpft_keras.tables.runs import print_result_tables
from lpft_keras.tables.terminal import escape, new_table, show

if TYPE_CHECKING:
    from lpft_keras.exhibits import Exhibit
    from lpft_keras.reproduction import Reproduction


def print_exhibits(exhibits: Sequence["Exhibit"]) -> None:
    """Print one line a table or figure: its name, what it shows, and of which tasks.

    Args:
        exhibits: The tables and figures.
    """
    table = new_table("Tomihari and Sato (NeurIPS 2024)", "runs: tasks x methods x seeds (x head scales) by default")
    for name in ("name", "what it shows", "tasks"):
        table.add_column(name, overflow="fold")
    table.add_column("runs", justify="right")
    for exhibit in exhibits:
        count = len(exhibit.tasks) * len(exhibit.methods) * len(exhibit.seeds) * len(exhibit.head_scales)
        runs = f"{count} kernels" if exhibit.kernels else str(count or "-")
        table.add_row(exhibit.name, escape(exhibit.title), " ".join(exhibit.tasks), runs)
    show(table)


def print_reproduction(made: "Reproduction") -> None:
    """Print a table that was made, or where a figure lies.

    Args:
        made: What was made.
    """
    console = Console()
    console.print(f"[bold]{escape(made.exhibit.title_in_full)}[/bold]", soft_wrap=True)
    print_result_tables(made.tables)
    for failure in made.failures:
        console.print(f"without {escape(f'{failure.directory}: {failure.error}')}", soft_wrap=True)
    stems: dict[Path, list[str]] = {}
    for path in made.files:
        stems.setdefault(path.with_suffix(""), []).append(path.suffix)
    for stem, endings in stems.items():
        console.print(f"[dim]{escape(str(stem))} {' '.join(endings)}[/dim]", soft_wrap=True)
