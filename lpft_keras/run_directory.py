"""Whose a run directory is: that of the run whose configuration it holds, until somebody overwrites it."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lpft_keras.atomic import disk_errors
from lpft_keras.checksums import CHECKSUMS
from lpft_keras.errors import InputError
from lpft_keras.results import RunResult
from lpft_keras.settings import RunSettings, completed
from lpft_keras.storage import read_json, write_json
from lpft_keras.tasks import Task, TaskData

_DONE = "metrics.json"


def run_config(task: Task, settings: RunSettings, data: TaskData) -> dict[str, Any]:
    """Return what a run's `config.json` holds: all that decides its numbers."""
    import keras

    return {
        "settings": settings.as_dict(),
        "labels": list(data.labels),
        "metric": task.metric,
        "backend": keras.backend.backend(),
        "data": data.checksums(),
    }


def is_finished(directory: Path, config: dict[str, Any]) -> bool:
    """Return whether a directory holds the finished run of a configuration.

    Args:
        directory: The directory.
        config: What `run_config` gives.

    Returns:
        Whether there is nothing left to do.

    Raises:
        InputError: The directory holds a run of another configuration, finished or begun.
    """
    known = read_json(directory / "config.json")
    known = known if known is None else completed(known)
    finished = (directory / _DONE).is_file()
    if known is None and finished:
        raise InputError(f"{directory / 'config.json'} is missing or damaged; do the run anew (--overwrite)")
    begun = (directory / "checkpoint").is_dir()
    if known is not None and known != config and (finished or begun):
        raise InputError(
            f"{directory} holds a run with other settings ({differences(known, config)}); "
            "overwrite it (--overwrite) or choose another output directory, or another name for a task of your own"
        )
    return known is not None and finished


def claim(directory: Path, config: dict[str, Any], overwrite: bool) -> RunResult | None:
    """Make a run directory ours: return its finished run, or write its configuration.

    Args:
        directory: The directory.
        config: What `config.json` is to hold.
        overwrite: Remove whatever is there first.

    Returns:
        The finished run with that configuration; None where there is none, and the directory is ours.

    Raises:
        InputError: The directory holds a run of another configuration, finished or begun.
    """
    if overwrite and directory.is_dir():
        with disk_errors(directory):
            _clear(directory)
    if is_finished(directory, config):
        return RunResult.load(directory)
    begun_on = [read_json(directory / name) for name in ("config.json", "environment.json")]
    with disk_errors(directory):
        if None in begun_on:  # nobody knows of what a state there would be
            shutil.rmtree(directory / "checkpoint", ignore_errors=True)
        (directory / CHECKSUMS).unlink(missing_ok=True)
        for debris in [*directory.glob(".part.*"), *directory.glob(".*.part"), *directory.glob("checkpoint/.*.part")]:
            debris.unlink(missing_ok=True)
    write_json(directory / "config.json", config)
    return None


def _clear(directory: Path) -> None:
    """Remove a run. What says that it is done goes first, so that a kill leaves nothing that looks finished."""
    (directory / _DONE).unlink(missing_ok=True)
    (directory / CHECKSUMS).unlink(missing_ok=True)
    for entry in directory.iterdir():
        if entry.name in ("ntk", "kernel_view"):
            continue  # what was measured of it has a configuration of its own
        shutil.rmtree(entry) if entry.is_dir() else entry.unlink()


def differences(known: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    """Return in words how one configuration differs from another."""
    found = []
    for there, asked in ((known.get("settings", {}), wanted["settings"]), (known, wanted)):
        for name in {**asked, **there}:
            if name not in ("settings", "data", "labels") and there.get(name) != asked.get(name):
                found.append(f"{name}: {there.get(name)} there, {asked.get(name)} asked for")
    there, asked = known.get("data", {}), wanted["data"]
    found += [f"other {name} data" for name in {**asked, **there} if there.get(name) != asked.get(name)]
    return "; ".join(found) or "other class names"
