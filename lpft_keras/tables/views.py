"""A kernel view on a terminal."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from lpft_keras.tables.terminal import escape, new_table, show

if TYPE_CHECKING:
    from lpft_keras.kernel_views.words import Sheet


def print_sheets(title: str, sheets: Sequence["Sheet"], conclusions: Sequence[str], directory: Path) -> None:
    """Print tables under one title.

    Args:
        title: The title.
        sheets: The tables.
        conclusions: Lines below them.
        directory: Where the numbers lie.
    """
    console = Console()
    console.print(f"[bold]{escape(title)}[/bold]", soft_wrap=True)
    for sheet in sheets:
        table = new_table(sheet.title, sheet.note)
        for number, name in enumerate(sheet.columns):
            table.add_column(name, justify="right" if number else "left", overflow="fold")
        for row in sheet.rows:
            table.add_row(*map(escape, row))
        show(table)
    for line in conclusions:
        console.print(escape(line), soft_wrap=True)
    console.print(f"[dim]{escape(str(directory))}[/dim]", soft_wrap=True)
