"""Progress bars on standard error: shown to a person at a terminal, silent under CI and `--json`."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def progress_bar(label: str, total: int, show: bool | None = None) -> Iterator[Callable[[int], None]]:
    """Show a bar with the remaining time while a long piece of work runs.

    Args:
        label: What is being done.
        total: Number of steps in all.
        show: Whether to show it; None shows it where standard error is a terminal and `CI` is not set.

    Yields:
        A function that takes the number of steps done so far.
    """
    if show is None:
        show = sys.stderr.isatty() and not os.environ.get("CI")
    if not show:
        yield lambda done: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(label, total=total)
        yield lambda done: progress.update(task, completed=done)
