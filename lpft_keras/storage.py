"""Files that are whole or absent: atomic writing, checked reading, content hashes. No pickles."""

import csv
import errno
import glob
import hashlib
import io
import json
import logging
import os
import re
import tempfile
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import numpy as np
from filelock import FileLock, Timeout

from lpft_keras.errors import InputError, first_line

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

log = logging.getLogger(__name__)

CHECKSUMS = "checksums.txt"
"""Lies in a directory that is done, and names the files of it."""


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


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file atomically, keys in the order given; NaN becomes null."""
    text = _json_text(value).encode()
    write_atomically(path, lambda file: file.write(text))


def _json_text(value: Any) -> str:
    return as_json(value, indent=2, ensure_ascii=False) + "\n"


def as_json(value: Any, **options: Any) -> str:
    """Return a value as JSON, one line unless an indent is asked for; NaN and infinities become null."""
    return json.dumps(_finite(value), allow_nan=False, **options)


def _finite(value: Any) -> Any:
    """Replace what JSON can't say (NaN, infinities) by null, all the way down."""
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, float | np.floating):
        return float(value) if np.isfinite(value) else None
    return value


def read_json(path: Path) -> Any:
    """Read a JSON file, or return None where it is missing or damaged."""
    if not is_intact(path):
        return None
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return None


def has_form(value: Any, form: Any) -> bool:
    """Tell whether what was read of JSON has the form that its reader takes it to have.

    Args:
        value: The value.
        form: A type or a tuple of types; a list of one form, that of all items; or a dict of forms by key, of which "*"
            stands for every key, and a key with "?" behind may be missing. Other keys may hold anything.

    Returns:
        Whether it has.

    Example:
        >>> has_form({"rows": 3, "labels": ["a"]}, {"rows": int, "labels": [str], "seed?": int})
        True
    """
    if isinstance(form, list):
        return isinstance(value, list) and all(has_form(item, form[0]) for item in value)
    if not isinstance(form, dict):
        return isinstance(value, form) and not (isinstance(value, bool) and form is int)
    if not isinstance(value, dict):
        return False
    if "*" in form:
        return all(has_form(item, form["*"]) for item in value.values())
    needed = all(name in value for name in form if not name.endswith("?"))
    there = {name: part for name, part in form.items() if name.removesuffix("?") in value}
    return needed and all(has_form(value[name.removesuffix("?")], part) for name, part in there.items())


def write_last(path: Path, value: Any, files: Iterable[Path] | None = None) -> None:
    """Write the JSON file that says that its directory is done, and before it the checksums of the files there.

    They lie in `checksums.txt`, in the format of `sha256sum`, which also checks them.

    Args:
        path: The JSON file.
        value: What it shall hold.
        files: The other files, in the directory or below; None takes all that are in it.
    """
    text = _json_text(value).encode()
    known = [other for other in path.parent.iterdir() if other.is_file()] if files is None else files
    others = [other for other in known if other.name not in (path.name, CHECKSUMS) and not other.name.startswith(".")]
    sums = {other.relative_to(path.parent).as_posix(): file_sha256(other) for other in sorted(others)}
    sums[path.name] = hashlib.sha256(text).hexdigest()
    lines = "".join(f"{digest}  {name}\n" for name, digest in sums.items()).encode()
    own = f"# {hashlib.sha256(lines).hexdigest()}\n".encode()  # a comment for sha256sum
    write_atomically(path.parent / CHECKSUMS, lambda file: file.write(own + lines))
    write_atomically(path, lambda file: file.write(text))


def is_intact(path: Path) -> bool:
    """Return whether a file is what the checksums beside it say, where they name it; False where it is missing.

    Raises:
        InputError: The checksums themselves are damaged.
    """
    return path.is_file() and _checksums(path.parent).get(path.name) in (None, file_sha256(path))


def check_intact(directory: Path) -> None:
    """Raise an `InputError` where a file is not what the checksums in a directory say, but for whole Keras files."""
    for name, digest in _checksums(directory).items():
        path = directory / name
        if path.suffix != ".keras" and not (path.is_file() and file_sha256(path) == digest):
            raise InputError(
                f"{path} is missing or damaged; bring it back, or remove {directory / CHECKSUMS} where you changed it"
            )


def _checksums(directory: Path) -> dict[str, str]:
    """Return checksums by the names of files; none of a version that wrote none."""
    path = directory / CHECKSUMS
    try:
        own, _, lines = path.read_bytes().partition(b"\n")
    except OSError:
        return {}
    if own != f"# {hashlib.sha256(lines).hexdigest()}".encode():
        raise InputError(f"{path} is damaged; do anew what lies beside it (--overwrite), or remove it to go without")
    return {name: digest for digest, _, name in (line.partition("  ") for line in lines.decode().splitlines())}


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file; an `InputError` says what is wrong of it."""
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise InputError(f"can't read {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:  # TOML's own, UTF-8's, and Python's for numbers of 5,000 digits
        raise InputError(f"{path} is no valid TOML: {error}") from None


def write_csv(path: Path, columns: Iterable[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write a CSV file atomically, its cells those of `csv_cell`."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(columns), lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({name: csv_cell(value) for name, value in row.items()})
    write_atomically(path, lambda file: file.write(text.getvalue().encode()))


def csv_cell(value: Any) -> Any:
    """Return a value for CSV: NaN is empty, and text that a spreadsheet would run as a formula has an apostrophe."""
    if isinstance(value, str):
        return f"'{value}" if value.startswith(("=", "+", "-", "@", "\t", "\r", "\n")) else value
    return "" if value != value else value


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays into one `.npz` file atomically."""
    write_atomically(path, lambda file: np.savez(file, **arrays))  # type: ignore[arg-type]


def read_arrays(path: Path) -> dict[str, np.ndarray] | None:
    """Read an `.npz` file whole, or return None where it is missing or damaged (its checksums are checked)."""
    if not is_intact(path):
        return None
    try:
        archive = np.load(path, allow_pickle=False)
        if isinstance(archive, np.ndarray):
            return None  # a lone array, not an archive
        with archive:
            if len(archive.files) != _members(path):
                return None  # the archive's directory is damaged, which zipfile would not notice
            return {name: archive[name] for name in archive.files}
    except Exception:  # whatever zipfile and NumPy raise of damaged headers
        return None


def _members(path: Path) -> int:
    """Return how many members a ZIP archive says at its end that it has."""
    with open(path, "rb") as file:
        file.seek(max(0, path.stat().st_size - 65557))  # the greatest size of the end record
        tail = file.read()
    place = tail.rfind(b"PK\x05\x06") + 10
    return int.from_bytes(tail[place : place + 2], "little")


def write_rows(path: Path, parts: Iterable[np.ndarray], shape: tuple[int, ...], dtype: np.dtype) -> None:
    """Write an `.npy` file atomically, its rows part by part, so that they need not fit into memory.

    Args:
        path: Where the file shall be.
        parts: The rows, in order.
        shape: Shape of them all.
        dtype: Their dtype.
    """

    def write(file: IO[bytes]) -> None:
        header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        for part in parts:
            file.write(np.ascontiguousarray(part, dtype).data)

    write_atomically(path, write)


def slug(name: str) -> str:
    """Return a name that is one file or folder, whatever the handle or path it came from."""
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.") or "unnamed"
    # File systems end at 255, and some names get an ending.
    return plain if len(plain) <= 200 else f"{plain[:180]}-{fingerprint([name])[:12]}"


def fingerprint(parts: Iterable[object]) -> str:
    """Return a short hexadecimal hash of strings, bytes, numbers and arrays, in order."""
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        if isinstance(part, np.ndarray):
            kind = part.dtype.name if part.dtype.kind == "V" else part.dtype.str  # bfloat16 is of no kind of NumPy's
            head = f"{kind}{part.shape}".encode()
            body = np.ascontiguousarray(part).reshape(-1).view(np.uint8).data
        elif isinstance(part, bytes):
            head, body = b"bytes", memoryview(part)
        else:
            head, body = type(part).__name__.encode(), memoryview(repr(part).encode())
        digest.update(f"{len(head)}:{len(body)}:".encode() + head)
        digest.update(body)
    return digest.hexdigest()


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def claimed(path: Path, name: str | None = None) -> Iterator[None]:
    """Hold a file for this process while it is made or looked at; others wait. A dead process gives it back.

    Args:
        path: The file, which need not be there; the lock lies in the folder `locks` beside it.
        name: What those who wait are told.

    Raises:
        InputError: The folder can't be written.
    """
    lock = FileLock(path.parent / "locks" / f"{path.name}.lock")
    with disk_errors(Path(lock.lock_file)):
        Path(lock.lock_file).parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            log.info("waiting for another process that makes %s", name or path.name)
            lock.acquire()
    try:
        yield
    finally:
        lock.release()


def cached_arrays(path: Path, make: Callable[[], Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Return the arrays of a cache file, making and writing them where it is missing or damaged.

    Of several processes that want it, one makes it.

    Args:
        path: The cache file; its name must hold a hash of all that the arrays depend on.
        make: Computes the arrays.

    Returns:
        The arrays by name.
    """
    with claimed(path):
        arrays = read_arrays(path)
        if arrays is None:
            arrays = dict(make())
            write_arrays(path, arrays)
    return arrays
