"""Files of every kind that are written whole and checked when they are read; the cache. No pickles."""

import csv
import hashlib
import io
import json
import logging
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from filelock import FileLock, Timeout

from lpft_keras.atomic import disk_errors, write_atomically
from lpft_keras.checksums import CHECKSUMS, file_sha256, is_intact, write_checksums
from lpft_keras.errors import InputError

log = logging.getLogger(__name__)


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
    write_checksums(path.parent, {**sums, path.name: hashlib.sha256(text).hexdigest()})
    write_atomically(path, lambda file: file.write(text))


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
