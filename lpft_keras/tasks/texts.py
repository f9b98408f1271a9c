"""Texts of many rows, outside of memory: a temporary file, of which the system keeps as much at hand as it has room."""

import mmap
import tempfile
from array import array
from collections.abc import Iterator, Sequence
from typing import IO, overload

import numpy as np

from lpft_keras.errors import InputError


class Texts(Sequence[tuple[str, ...]]):
    """Rows of one or two segments, read-only; a slice is a view.

    A million rows take some 16 bytes of memory each, whatever their length.

    Args:
        data: UTF-8 of all segments one after the other.
        ends: Where each segment ends, int64 [rows, segments].
        rows: The rows of this view, int64; None takes all in order.
    """

    def __init__(self, data: mmap.mmap | bytes, ends: np.ndarray, rows: np.ndarray | None = None):
        self._data = data
        self._ends = ends
        self._rows = np.arange(len(ends)) if rows is None else rows

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self._rows)

    @overload
    def __getitem__(self, index: int) -> tuple[str, ...]: ...
    @overload
    def __getitem__(self, index: slice) -> "Texts": ...
    def __getitem__(self, index):
        """Return one row, or a view of several."""
        if isinstance(index, slice):
            return self.take(self._rows_of(index))
        return tuple(part.decode() for part in self._segments(int(self._rows[index])))

    def __iter__(self) -> Iterator[tuple[str, ...]]:
        """Yield the rows."""
        for parts in self.encoded():
            yield tuple(part.decode() for part in parts)

    def __eq__(self, other: object) -> bool:
        """Return whether other rows, of any sequence, are the same."""
        if not isinstance(other, Sequence) or len(other) != len(self):
            return NotImplemented
        return all(own == tuple(row) for own, row in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]

    def encoded(self) -> Iterator[list[bytes]]:
        """Yield the rows' segments in UTF-8."""
        return (self._segments(row) for row in self._rows.tolist())

    def take(self, rows: np.ndarray) -> "Texts":
        """Return a view of some rows, by their numbers in this one."""
        return Texts(self._data, self._ends, self._rows[rows])

    def _rows_of(self, index: slice) -> np.ndarray:
        return np.arange(*index.indices(len(self)))

    def _segments(self, row: int) -> list[bytes]:
        ends = self._ends[row].tolist()
        start = int(self._ends[row - 1, -1]) if row else 0
        return [self._data[first:last] for first, last in zip([start, *ends], ends, strict=False)]


class TextsWriter:
    """Writes texts row by row.

    Args:
        segments: Segments of each row.
    """

    def __init__(self, segments: int):
        self._segments = segments
        self._file: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 (closed by finish)
        self._ends = array("q")
        self._end = 0

    def add(self, segments: Sequence[str]) -> None:
        """Add a row.

        Args:
            segments: Its texts.

        Raises:
            UnicodeEncodeError: A text holds half of a surrogate pair, which is no Unicode.
            InputError: There is no room for the temporary file.
        """
        for text in segments:
            data = text.encode()
            self._end += len(data)
            self._ends.append(self._end)
            try:
                self._file.write(data)
            except OSError as error:
                raise _no_room(error) from error

    def finish(self) -> Texts:
        """Return what was written."""
        try:
            self._file.flush()
        except OSError as error:
            raise _no_room(error) from error
        # An empty file can't be mapped.
        data = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ) if self._end else b""
        self._file.close()
        return Texts(data, np.frombuffer(self._ends, np.int64).reshape(-1, self._segments))


def _no_room(error: OSError) -> InputError:
    return InputError(
        f"can't keep the texts in the temporary folder {tempfile.gettempdir()}: {error.strerror}; make room there, or "
        "name another one by the variable TMPDIR"
    )
