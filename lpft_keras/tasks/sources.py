"""Where rows come from: local files in the official format or of the user's own, or TensorFlow Datasets."""

import contextlib
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lpft_keras.errors import InputError, first_line
from lpft_keras.progress import silent_start
from lpft_keras.tasks.task import Row, Task

log = logging.getLogger(__name__)


def local_rows(task: Task, split: str, data_dir: str | Path | None) -> Iterator[Row]:
    """Read one file of a task.

    Args:
        task: Names its files.
        split: A split that the task has a file for.
        data_dir: A folder that holds the folders of the official files, or that of the task's; None where the task
            names files of its own.

    Yields:
        The rows in file order.

    Raises:
        InputError: The folder or file is missing, empty, or wrong.
    """
    assert task.read is not None, "a task with files has a reader"
    path = _find(task, split, None if data_dir is None else Path(data_dir).expanduser())
    empty = True
    for row in task.read(path):
        empty = False
        yield row
    if empty:
        raise InputError(f"{path} is empty; it must hold the {split} rows of task {task.name!r}")


def has_own_files(task: Task) -> bool:
    """Return whether a task names its files by absolute paths, so that no folder is needed to find them."""
    return any(Path(path).is_absolute() for path in task.files.values() if isinstance(path, str))


def _find(task: Task, split: str, data_dir: Path | None) -> Path:
    asked = task.files[split]
    names = (asked,) if isinstance(asked, str) else asked
    if data_dir is None:
        return Path(names[0])
    if not os.path.isdir(data_dir):  # `Path.is_dir` raises where a name is too long
        raise InputError(f"data directory {data_dir} does not exist; give the folder that holds {task.name}/")
    # The task's own folder may be given too; those of its shifted sets lie beside it.
    roots = [data_dir, data_dir.absolute().parent] if _plain(data_dir.name) == _plain(task.name) else [data_dir]
    for name in names:
        folder, _, rest = name.partition("/")
        candidates = [path / rest for root in roots for path in _folders(root, folder)]
        candidates += [] if split in task.ood else [data_dir / rest]
        for candidate in candidates:
            if candidate.is_file():
                return candidate
    raise InputError(
        f"no file {data_dir / names[0]}; task {task.name!r} needs {official_files(task)} in the official format"
    )


def _folders(parent: Path, name: str) -> list[Path]:
    """Return the folders of a name, however its letters and dashes are written ("sst2", "SST-2")."""
    try:
        return sorted(path for path in parent.iterdir() if _plain(path.name) == _plain(name) and path.is_dir())
    except OSError:
        return []


def _plain(name: str) -> str:
    return name.lower().replace("-", "").replace("_", "")


def official_files(task: Task) -> str:
    """Return in words which files of a task are looked for."""
    return ", ".join(name if isinstance(name, str) else " or ".join(name) for name in task.files.values())


def tfds_rows(task: Task, split: str) -> Iterator[Row]:
    """Read one split of a task from TensorFlow Datasets, downloading and preparing it where that was not done yet.

    Args:
        task: Names the builder and its splits.
        split: A split of the task; where official test rows have no labels, the official validation rows test.

    Yields:
        The rows as TFDS stores them, shuffled; where it knows their places in the official file, their numbers are
        these. Rows without a gold label are left out.

    Raises:
        InputError: The task has no builder, or the data could not be downloaded.
    """
    if task.tfds is None:
        raise InputError(
            f"task {task.name!r} is not in TensorFlow Datasets; give the folder of its files "
            f"({official_files(task)}) as data_dir (--data-dir)"
        )
    with silent_start():
        import tensorflow  # noqa: F401 - which TFDS imports when it is first used, with notes
        import tensorflow_datasets as tfds

    official = task.tfds_splits[split]
    unlabelled = 0
    try:
        # TFDS reads its variable once, when it is imported; a variable set since then counts too.
        builder = tfds.builder(task.tfds, data_dir=os.environ.get("TFDS_DATA_DIR"))
        _ask_host(builder)
        with contextlib.redirect_stdout(sys.stderr):  # standard output is for results
            builder.download_and_prepare()
        names = builder.info.features[task.label].names
        for place, record in enumerate(tfds.as_numpy(builder.as_dataset(split=official))):
            if record[task.label] < 0:
                unlabelled += 1
                continue
            fields = {name: v.decode() if isinstance(v, bytes) else v.item() for name, v in record.items()}
            fields[task.label] = names[record[task.label]]
            yield Row(fields, f"{task.tfds} {official}", int(record.get("idx", place)), "idx")
    except Exception as error:  # TFDS raises whatever its many transports raise
        raise InputError(
            f"TensorFlow Datasets could not prepare {task.tfds} ({type(error).__name__}: {first_line(error)}); "
            f"without network, give the folder of the official files ({official_files(task)}) as data_dir (--data-dir)"
        ) from error
    if unlabelled:
        log.info("%s %s: left out %d rows without a gold label", task.tfds, official, unlabelled)


def _ask_host(builder: Any) -> None:
    """Ask for what is to be downloaded once, since TFDS goes on asking a dead network for minutes.

    What lies in TFDS's folder already, prepared or as downloaded archives, is TFDS's to find.
    """
    config = builder.builder_config
    # Builders without configurations know their addresses by the checksums that are registered for them.
    url = getattr(config, "data_url", None) or next(iter(builder.url_infos), None)
    # <data_dir>/<name>/<version>, or <data_dir>/<name>/<config>/<version>
    archives = builder.data_path.parents[2 if config else 1] / "downloads"
    if url is None or builder.data_path.exists() or archives.exists():
        return
    import requests

    try:
        requests.head(url, timeout=20, allow_redirects=True)
    except requests.RequestException as error:
        raise ConnectionError(f"no answer from {url}") from error
