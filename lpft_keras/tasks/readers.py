"""Files of rows in general formats: JSON lines, CSV and TSV, Parquet, and directories of Hugging Face `datasets`.

Readers are generators, so that a file need not fit into memory. Each row knows its place.
"""

import contextlib
import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from lpft_keras.errors import InputError, first_line, unknown_name
from lpft_keras.tasks.task import Row

_BATCH = 4096  # rows that Parquet and Arrow files are read by
_LONGEST_FIELD = 2**31 - 1


def read_jsonl(path: Path) -> Iterator[Row]:
    """Read a file of one JSON object a line, UTF-8; empty lines are passed over.

    Args:
        path: The file.

    Yields:
        The rows in file order.

    Raises:
        InputError: The file can't be read, is not UTF-8, or a line is no JSON object; names file and line.
    """
    with _opened(path) as file:
        for number, line in enumerate(file, start=1):
            place = f"{path}, line {number}"
            try:
                text = line.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                raise _not_utf8(place, error) from None
            if not text.strip():
                continue
            try:
                fields = json.loads(text)
            except (ValueError, RecursionError) as error:
                if text.lstrip().startswith("["):
                    raise _no_object(place, text) from None
                raise InputError(f"{place}: not valid JSON ({error}); is the file half-written?") from None
            if not isinstance(fields, dict):
                raise _no_object(place, text)
            yield Row(fields, str(path), number)


def read_delimited(
    path: Path,
    *,
    delimiter: str = ",",
    quotes: bool = True,
    columns: Sequence[str] | None = None,
    rename: Mapping[str, str] | None = None,
    short_rows: str = "refuse",
    strict: bool = True,
) -> Iterator[Row]:
    """Read a CSV or TSV file, UTF-8 with or without a byte-order mark.

    Args:
        path: The file.
        delimiter: What parts the columns.
        quotes: Whether fields may be quoted; otherwise quotes are letters like others, as in GLUE's files.
        columns: Names of the columns of a file without a header.
        rename: New names of columns by their old ones.
        short_rows: "refuse", or "drop" for files that are known to hold broken rows.
        strict: Whether letters behind a closing quote are refused; pandas takes them.

    Yields:
        The rows in file order, all values strings.

    Raises:
        InputError: The file can't be read, is not UTF-8, has no usable header, or a row of another length; names file
            and line.
    """
    header = list(columns) if columns else None
    with _long_fields(), _opened(path) as binary:
        reader = csv.reader(
            _decoded(path, binary),
            delimiter=delimiter,
            quoting=csv.QUOTE_MINIMAL if quotes else csv.QUOTE_NONE,
            strict=strict and quotes,
        )
        line = 1
        while True:
            try:
                values = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                hint = "close the quote, or double it inside a field (quotes = false takes quotes literally)"
                if "new-line" in str(error):
                    hint = "a carriage return stands alone; save the file with ordinary line ends"
                reason = str(error).partition(" - ")[0]
                raise InputError(f"{path}, line {line}: {reason}; {hint}") from None
            first, line = line, reader.line_num + 1
            if not values:
                continue  # an empty line
            if header is None:
                header = _header(path, values, rename or {}, delimiter)
            elif len(values) == len(header):
                yield Row(dict(zip(header, values, strict=True)), str(path), first)
            elif short_rows == "refuse" or len(values) > len(header):
                raise InputError(
                    f"{path}, line {first}: {len(values)} fields where the header has {len(header)}; is a "
                    f"{_spoken(delimiter)} or a quote missing or too many?"
                )


def _header(path: Path, values: Sequence[str], rename: Mapping[str, str], delimiter: str) -> list[str]:
    header = [rename.get(name, name) for name in values]
    twice = {name for name in header if header.count(name) > 1}
    if twice:
        raise InputError(f"{path} has several columns named {min(twice)!r}; rename all but one")
    if len(header) == 1 and any(other in header[0] for other in {",", ";", "\t", "|"} - {delimiter}):
        raise InputError(
            f"{path} has the one column {header[0][:60]!r} when read by {_spoken(delimiter)}; name what parts its "
            "columns (delimiter, --delimiter)"
        )
    return header


def _spoken(delimiter: str) -> str:
    return {",": "comma", "\t": "tab", ";": "semicolon"}.get(delimiter, repr(delimiter))


@contextlib.contextmanager
def _long_fields() -> Iterator[None]:
    """Let the csv module take fields of any length for a while: its limit of 128 KB is one for the whole process."""
    before = csv.field_size_limit(_LONGEST_FIELD)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _decoded(path: Path, file: IO[bytes]) -> Iterator[str]:
    for number, line in enumerate(file, start=1):
        try:
            yield line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise _not_utf8(f"{path}, line {number}", error) from None


def read_text_lines(path: Path, encoding: str = "utf-8") -> Iterator[tuple[int, str]]:
    """Yield (number, line without its end) of a text file; raises an `InputError` that names the line as the others."""
    with _opened(path) as file:
        for number, line in enumerate(file, start=1):
            try:
                yield number, line.decode(encoding).rstrip("\r\n")
            except UnicodeDecodeError as error:
                raise _not_utf8(f"{path}, line {number}", error) from None


def read_parquet(path: Path) -> Iterator[Row]:
    """Read a Parquet file.

    Args:
        path: The file.

    Yields:
        The rows in file order.

    Raises:
        InputError: The file is no whole Parquet file.
    """
    import pyarrow
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path) as file:
            yield from _arrow_rows(file.iter_batches(_BATCH), path)
    except (OSError, ValueError, pyarrow.ArrowException) as error:
        raise InputError(f"{path} can't be read as Parquet ({first_line(error)}); is the file whole?") from error


def read_dataset(path: Path) -> Iterator[Row]:
    """Read a split that Hugging Face `datasets` saved with `save_to_disk`; class ids become class names.

    Args:
        path: The split's directory: that of a Dataset, or a folder of a DatasetDict.

    Yields:
        The rows in order.

    Raises:
        InputError: `datasets` is not installed, or the directory holds no split.
    """
    if (path / "dataset_dict.json").is_file():
        splits = sorted(folder.name for folder in path.iterdir() if (folder / "state.json").is_file())
        raise InputError(f"{path} holds several splits; name one of them: {', '.join(str(path / s) for s in splits)}")
    if not (path / "state.json").is_file():
        raise InputError(
            f"{path} is no directory that Hugging Face datasets saved (it has no state.json); name a file, or save "
            "with save_to_disk"
        )
    try:
        import datasets
    except ImportError:
        raise InputError(f'reading {path} needs Hugging Face datasets: pip install "lpft-keras[datasets]"') from None
    try:
        table = datasets.load_from_disk(str(path))
        names = {name: f.names for name, f in table.features.items() if isinstance(f, datasets.ClassLabel)}
        batches = table.with_format("arrow").iter(_BATCH)
        for row in _arrow_rows(batches, path):
            named = {name: _class_name(known, row.fields[name]) for name, known in names.items()}
            yield row._replace(fields={**row.fields, **named}) if named else row
    except Exception as error:  # of damaged files, `datasets` raises whatever it stumbles over
        raise InputError(f"{path} can't be read by Hugging Face datasets ({first_line(error)})") from error


def _class_name(names: Sequence[str], value: int | None) -> str | None:
    """Return the name of a class id; -1 is how `datasets` says that there is none."""
    return None if value is None or value < 0 else names[value]


def _arrow_rows(batches: Any, path: Path) -> Iterator[Row]:
    number = 0
    for batch in batches:
        for fields in batch.to_pylist():
            number += 1
            yield Row(fields, str(path), number, "row")


def reader_of(path: Path, *, delimiter: str | None = None, quotes: bool = True) -> Iterator[Row]:
    """Read a file by its ending: .jsonl (.json, .ndjson), .csv, .tsv (.tab), .parquet, or a directory of `datasets`.

    Args:
        path: The file or directory.
        delimiter: Of .csv and .tsv files; None takes comma and tab.
        quotes: Of .csv and .tsv files: whether fields may be quoted.

    Yields:
        The rows in order.

    Raises:
        InputError: No format has that ending, or the file is wrong.
    """
    if path.is_dir():
        return read_dataset(path)
    match path.suffix.lower():
        case ".jsonl" | ".json" | ".ndjson":
            return read_jsonl(path)
        case ".csv":
            return read_delimited(path, delimiter=delimiter or ",", quotes=quotes)
        case ".tsv" | ".tab":
            return read_delimited(path, delimiter=delimiter or "\t", quotes=quotes)
        case ".parquet" | ".pq":
            return read_parquet(path)
    raise unknown_name(f"ending of {path}", path.suffix, (".csv", ".tsv", ".jsonl", ".parquet"))


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    try:
        with open(path, "rb") as file:
            yield file
    except OSError as error:
        raise InputError(f"can't read {path}: {error.strerror}") from error


def _no_object(place: str, text: str) -> InputError:
    return InputError(f"{place}: a JSON object a line is wanted, no array; found {text.strip()[:40]!r}")


def _not_utf8(place: str, error: UnicodeDecodeError) -> InputError:
    return InputError(f"{place}: not UTF-8 (byte {error.start + 1}); save the file as UTF-8")
