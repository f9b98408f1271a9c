"""Standard error: progress bars for a person at a terminal, silent under CI and `--json`; and no notes of others."""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_PYTHONS = signal.default_int_handler
_seen = threading.Event()


def _interrupted(*_: object) -> None:
    _seen.set()
    raise KeyboardInterrupt


def end_where_stuck(sentence: str) -> None:
    """Let Ctrl-C end this process, the command line's own, a second later where compiled code keeps Python from it.

    TensorFlow compiles and computes for seconds without a look at signals. No file is half written whenever it ends.

    Args:
        sentence: What is said then.
    """
    if signal.getsignal(signal.SIGINT) is not _PYTHONS:
        return
    signal.signal(signal.SIGINT, _interrupted)  # by which `silent_start` knows a process that is ours
    if os.name != "posix":
        return
    noticed, wakes = os.pipe()
    os.set_blocking(wakes, False)
    signal.set_wakeup_fd(wakes, warn_on_full_buffer=False)

    def wait() -> None:
        while os.read(noticed, 1)[0] != signal.SIGINT:
            pass
        if not _seen.wait(1):
            os.write(2, f"{sentence}\n".encode())
            os._exit(130)

    threading.Thread(target=wait, daemon=True).start()


def shows_progress(show: bool | None = None) -> bool:
    """Return whether a bar is drawn: as told, or else where standard error is a terminal and `CI` is not set."""
    return sys.stderr.isatty() and not os.environ.get("CI") if show is None else show


@contextmanager
def progress_bar(label: str, total: int, show: bool | None = None) -> Iterator[Callable[[int], None]]:
    """Show a bar with the remaining time while a long piece of work runs.

    Args:
        label: What is being done.
        total: Number of steps in all.
        show: Whether to show it; None decides by the terminal.

    Yields:
        A function that takes the number of steps done so far.
    """
    if not shows_progress(show):
        yield lambda done: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(label, total=total)
        yield lambda done: progress.update(task, completed=done)


@contextmanager
def silent_start(says: bool = True) -> Iterator[None]:
    """Keep TensorFlow's start-up notes, which no setting silences, off standard error. Exceptions pass.

    Ctrl-C ends a process of our own at once: packages that are being imported may swallow its exception.

    Args:
        says: Whether that is said. A process that a sweep started, which says nothing, is always our own.
    """
    sys.stderr.flush()
    saved, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)

    def leave(*_: object) -> None:
        if says:
            os.write(saved, b"lpft-keras: interrupted while it started; nothing was begun, call it again\n")
        os._exit(130)

    # Only where Ctrl-C is the command line's, or Python's in a sweep's process: not where an embedding program, or
    # another thread, has its say.
    before = signal.getsignal(signal.SIGINT)
    ours = before is (_interrupted if says else _PYTHONS) and threading.current_thread() is threading.main_thread()
    if ours:
        signal.signal(signal.SIGINT, leave)
    os.dup2(null, 2)
    try:
        yield
    finally:
        if ours:
            signal.signal(signal.SIGINT, before)
        os.dup2(saved, 2)
        os.close(saved)
        os.close(null)
