"""Checksums of the files in a directory that is done, so that no damaged one is ever used."""

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path

from lpft_keras.atomic import write_atomically
from lpft_keras.errors import InputError

CHECKSUMS = "checksums.txt"
"""Lies in a directory that is done, and names the files of it, in the format of `sha256sum`."""


def write_checksums(directory: Path, sums: Mapping[str, str]) -> None:
    """Write the checksums of a directory's files, and in the first line, a comment for `sha256sum`, their own.

    Args:
        directory: The directory.
        sums: SHA-256 by the name of a file, in the directory or below.
    """
    lines = "".join(f"{digest}  {name}\n" for name, digest in sums.items()).encode()
    own = f"# {hashlib.sha256(lines).hexdigest()}\n".encode()
    write_atomically(directory / CHECKSUMS, lambda file: file.write(own + lines))


def is_intact(path: Path) -> bool:
    """Return whether a file is what the checksums beside it say, where they name it; False where it can't be read.

    Raises:
        InputError: The checksums themselves are damaged.
    """
    if not path.is_file():
        return False
    wanted = _checksums(path.parent).get(path.name)
    return wanted is None or _is(path, wanted)


def check_intact(directory: Path) -> None:
    """Raise an `InputError` where a file is not what the checksums in a directory say, but for whole Keras files."""
    for name, digest in _checksums(directory).items():
        path = directory / name
        if path.suffix != ".keras" and not _is(path, digest):
            raise InputError(
                f"{path} is missing or damaged; bring it back, or remove {directory / CHECKSUMS} where you changed it"
            )


def _is(path: Path, digest: str) -> bool:
    try:
        return path.is_file() and file_sha256(path) == digest
    except OSError:  # gone meanwhile, or nobody may read it
        return False


def _checksums(directory: Path) -> dict[str, str]:
    """Return checksums by the names of files; none of a version that wrote none, or where somebody else wrote them."""
    path = directory / CHECKSUMS
    try:
        own, _, lines = path.read_bytes().partition(b"\n")
    except OSError:
        return {}
    if re.match(rb"[0-9a-f]{32,128} ", own):  # as `sha256sum` and its like print them, for their own use
        return {}
    if own != f"# {hashlib.sha256(lines).hexdigest()}".encode():
        raise InputError(f"{path} is damaged; do anew what lies beside it (--overwrite), or remove it to go without")
    return {name: digest for digest, _, name in (line.partition("  ") for line in lines.decode().splitlines())}


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
