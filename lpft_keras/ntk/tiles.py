"""Which examples are computed together, so that memory stays bounded, and what of it is done already."""

import itertools
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout

from lpft_keras.errors import InputError
from lpft_keras.storage import claimed, read_arrays, read_json, write_arrays, write_json


@dataclass(frozen=True)
class Tile:
    """Examples whose gradients are held at once.

    Attributes:
        columns: Numbers of the examples whose columns of the kernel are computed.
        rows: Numbers of further examples, which give rows only.
        square: Whether the rows of the columns' own examples are computed too.
    """

    columns: np.ndarray
    rows: np.ndarray
    square: bool

    @property
    def examples(self) -> np.ndarray:
        """All its examples, columns first."""
        return np.concatenate([self.columns, self.rows])


def plan_tiles(
    columns: int, others: int, square: bool, capacity: int, parts: int = 1, symmetric: bool = True
) -> list[Tile]:
    """Cut a kernel into tiles of at most `capacity` examples each.

    Args:
        columns: How many examples, from the first on, have columns.
        others: How many further ones have rows only.
        square: Whether the kernel of the first with themselves is wanted.
        capacity: How many examples fit into memory, 2 or more.
        parts: Into how many parts the examples are cut at least; a tile is a part, or two.
        symmetric: Whether the kernel of the first with themselves is its own transpose, so that half is enough.

    Returns:
        The tiles. With more than one, the gradients of an example are computed once for each tile it is in.
    """
    left, right = np.arange(columns), columns + np.arange(others)
    if columns + others <= capacity and parts == 1:
        return [Tile(left, right, square)]
    half = max(1, min(capacity // 2, -(-(columns + others) // parts)))
    first_ones, rest = (np.array_split(x, -(-len(x) // half)) if len(x) else [] for x in (left, right))
    empty = np.arange(0)
    tiles = [Tile(part, more, False) for part in first_ones for more in rest]
    if square:
        tiles += [Tile(part, empty, True) for part in first_ones]
        pairs = itertools.combinations if symmetric else itertools.permutations
        tiles += [Tile(first, second, False) for first, second in pairs(first_ones, 2)]
    return tiles


class Store:
    """A directory in which finished pieces of a kernel lie, so that a killed computation goes on.

    A piece is one segment's share of one tile, a file that is whole or absent. Several processes can share the
    directory: a tile is computed by whoever holds its lock, which a process that dies gives back.

    Args:
        directory: Where the pieces lie; made where missing.
        identity: What the kernel depends on: hashes of weights and data, and settings.
        size: Bytes that the pieces will take at most.

    Raises:
        InputError: The directory holds pieces of another kernel, or the disk is too small.
    """

    def __init__(self, directory: Path, identity: dict, size: int):
        self._directory = directory
        path = directory / "metadata.json"
        with claimed(path):  # else one of two that begin at once might remove what the other has made
            known = read_json(path)
            if known is None:
                for piece in directory.glob("tile-*.npz"):
                    piece.unlink(missing_ok=True)  # the file that said of what they are is damaged
                write_json(path, identity)
        if known is not None and known != identity:
            differing = next((name for name in identity if known.get(name) != identity[name]), "version")
            raise InputError(
                f"{directory} holds pieces of another kernel ({differing} differ); take another directory or remove it"
            )
        free = shutil.disk_usage(directory).free
        if size > free:
            raise InputError(
                f"the kernel's pieces need {size:,} bytes in {directory}, where {free:,} are free; make room there, or "
                "choose another directory"
            )

    def read(self, tile: int, piece: str) -> dict[str, np.ndarray] | None:
        """Return a finished piece of a tile, or None."""
        return read_arrays(self._path(tile, piece))

    def write(self, tile: int, piece: str, arrays: dict[str, np.ndarray]) -> None:
        """Keep a finished piece of a tile."""
        write_arrays(self._path(tile, piece), arrays)

    def finish(self, tile: int, arrays: dict[str, np.ndarray]) -> None:
        """Keep a whole tile, and drop its pieces."""
        self.write(tile, "whole", arrays)
        for path in self._directory.glob(f"tile-{tile}-segment-*.npz"):
            path.unlink(missing_ok=True)

    @contextmanager
    def claimed(self, tile: int, wait: bool) -> Iterator[bool]:
        """Hold a tile, and yield whether it is ours; with `wait`, until whoever holds it gives it back."""
        lock = FileLock(self._directory / f"tile-{tile}.lock")
        try:
            lock.acquire(blocking=wait)
        except Timeout:
            yield False
            return
        try:
            yield True
        finally:
            lock.release()

    def _path(self, tile: int, piece: str) -> Path:
        return self._directory / f"tile-{tile}-{piece}.npz"
