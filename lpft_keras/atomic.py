"""Files that are whole or absent, whatever happens while they are written."""

import errno
import glob
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from lpft_keras.errors import InputError, first_line

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


def write_atomically(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Write a file so that it is either whole or not there, whatever kills the process meanwhile.

    What a process that was killed had half written of the same file is removed.

    Args:
        path: Where the file shall be. Its folder is made.
        write: Called with the open binary file.

    Raises:
        InputError: The folder can't be written, or the disk is full.
    """
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = _temporary(path)
        try:
            with os.fdopen(handle, "wb") as file:
                write(file)
                file.flush()
                os.fsync(file.fileno())
                os.chmod(temporary, 0o666 & ~umask())
                if fcntl is None:
                    file.close()  # Windows renames no open file
                os.replace(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Raise an `InputError` where the system refuses to write a file or folder, with what it says and the way out."""
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        hint = "make room there, or choose another output directory" if full else "choose another output directory"
        why = error.strerror or first_line(error)
        raise InputError(f"can't write {path}: {why}; {hint} (what is finished is kept)") from error


def _temporary(path: Path) -> tuple[int, str]:
    """Open a file that is to get another's name, locked until it is closed; those that nobody holds are removed."""
    prefix, suffix = f".{path.name}.", ".part"
    if fcntl is None:
        return tempfile.mkstemp(suffix, prefix, path.parent)
    for part in path.parent.glob(f"{glob.escape(prefix)}*{suffix}"):
        with suppress(OSError), open(part, "rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            part.unlink()
    while True:
        handle, name = tempfile.mkstemp(suffix, prefix, path.parent)
        with suppress(OSError):  # a file system without locks
            fcntl.flock(handle, fcntl.LOCK_EX)
        if os.path.exists(name):  # else another process took it for one that nobody holds
            return handle, name
        os.close(handle)


def umask() -> int:
    """Return the process's mask of file permissions."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
