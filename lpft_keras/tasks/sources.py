"""Where rows come from: local files in the official format, or TensorFlow Datasets."""

import contextlib
import json
import os
import sys
from pathlib import Path
from typing import Any

from lpft_keras.errors import InputError, first_line
from lpft_keras.tasks.task import Row, Task


def local_rows(task: Task, split: str, data_dir: str | Path) -> list[Row]:
    """Read one official file of a task.

    Args:
        task: Names the files.
        split: "train" or "test".
        data_dir: A folder that holds the files, or a folder of theirs named like the task.

    Returns:
        The rows in file order.

    Raises:
        InputError: The folder or file is missing, empty, half-written, or not UTF-8.
    """
    return read_jsonl(_find(task, split, Path(data_dir).expanduser()))


def _find(task: Task, split: str, data_dir: Path) -> Path:
    if not data_dir.is_dir():
        raise InputError(f"data directory {data_dir} does not exist; give the folder that holds {task.name}/")
    name = task.files[split]
    folders = [data_dir / task.name, data_dir / task.name.upper(), data_dir]
    for folder in folders:
        if (folder / name).is_file():
            return folder / name
    raise InputError(
        f"no file {folders[0] / name} (nor {folders[-1] / name}); task {task.name!r} needs "
        f"{' and '.join(task.files.values())} in the official format"
    )


def read_jsonl(path: Path) -> list[Row]:
    """Read a file of one JSON object a line.

    Args:
        path: The file, UTF-8; empty lines are passed over.

    Returns:
        The rows in file order.

    Raises:
        InputError: The file is empty, not UTF-8, or a line is no JSON object; names file and line.
    """
    rows = []
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"can't read {path}: {error.strerror}") from error
    for number, line in enumerate(content.splitlines(), start=1):
        place = f"{path}, line {number}"
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise InputError(f"{place}: not UTF-8 (byte {error.start + 1}); save the file as UTF-8") from None
        if not text.strip():
            continue
        try:
            fields = json.loads(text)
        except ValueError as error:
            raise InputError(f"{place}: not valid JSON ({error}); is the file half-written?") from None
        if not isinstance(fields, dict):
            raise InputError(f"{place}: a JSON object was expected, found {text.strip()[:40]!r}")
        rows.append(Row(fields, place))
    if not rows:
        raise InputError(f"{path} is empty; it must hold one JSON object a line")
    return rows


def tfds_rows(task: Task, split: str) -> list[Row]:
    """Read one split of a task from TensorFlow Datasets, downloading and preparing it where that was not done yet.

    TFDS stores records in a shuffled order; `idx` brings that of the official file back, which the split rule needs.

    Args:
        task: Names the builder.
        split: "train", or "test": the official validation split, since the official test split has no labels.

    Returns:
        The rows in the order of the official file.

    Raises:
        InputError: The task has no builder, or the data could not be downloaded.
    """
    if task.tfds is None:
        raise InputError(f"task {task.name!r} is not in TensorFlow Datasets; give its files with data_dir (--data-dir)")
    import tensorflow_datasets as tfds

    official = "validation" if split == "test" else split
    try:
        # TFDS reads its variable once, when it is imported; a variable set since then counts too.
        builder = tfds.builder(task.tfds, data_dir=os.environ.get("TFDS_DATA_DIR"))
        _ask_host(builder)
        with contextlib.redirect_stdout(sys.stderr):  # standard output is for results
            builder.download_and_prepare()
        records = list(tfds.as_numpy(builder.as_dataset(split=official)))
    except Exception as error:  # TFDS raises whatever its many transports raise
        raise InputError(
            f"TensorFlow Datasets could not prepare {task.tfds} ({type(error).__name__}: {first_line(error)}); "
            f"without network, give a folder with the official {' and '.join(task.files.values())} "
            "as data_dir (--data-dir)"
        ) from error
    records.sort(key=lambda record: int(record["idx"]))
    return [
        Row(
            {
                name: value.decode("utf-8") if isinstance(value, bytes) else value.item()
                for name, value in record.items()
            },
            f"{task.tfds} {official}, idx {record['idx']}",
        )
        for record in records
    ]


def _ask_host(builder: Any) -> None:
    """Ask for what is to be downloaded once, since TFDS goes on asking a dead network for minutes.

    What lies in TFDS's folder already, prepared or as downloaded archives, is TFDS's to find.
    """
    url = getattr(builder.builder_config, "data_url", None)
    archives = builder.data_path.parents[2] / "downloads"  # <data_dir>/<name>/<config>/<version>
    if url is None or builder.data_path.exists() or archives.exists():
        return
    import requests

    try:
        requests.head(url, timeout=20, allow_redirects=True)
    except requests.RequestException as error:
        raise ConnectionError(f"no answer from {url}") from error
