"""One run of many, as a process does it: in this one, in one of several here, or on a machine of a cluster.

A process of its own is given its backend and its GPU before Keras wakes in it.
"""

import logging
import os
import sys
import threading
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import joblib
from filelock import FileLock, Timeout

from lpft_keras.backend import chosen_backend
from lpft_keras.errors import InputError, first_line
from lpft_keras.progress import silent_start
from lpft_keras.tasks import Task, TaskData

if TYPE_CHECKING:
    from lpft_keras.results import RunResult

log = logging.getLogger(__name__)

# Keras has global state: of threads that share a process, one works at a time.
_ALONE = threading.Lock()
_ROWS: dict[tuple[str, str], TaskData] = {}  # of the task that this process ran last
_DEVICE: list[FileLock] = []  # the claim of this process's device, held until it ends


@dataclass(frozen=True)
class Request:
    """A run that is wanted.

    Attributes:
        task: The task.
        settings: All that decides its numbers, as `RunSettings` takes it.
        output_dir: Where run directories live.
        directory: The run's directory.
        data_dir: Folder with the task's files.
        only_validation: Leave test rows alone, so that nothing can be chosen by them.
        overwrite: Do it anew.
        callbacks: Keras callbacks.
        tensorboard: Whether to write for TensorBoard.
        show_progress: Whether to show progress bars.
        sweep: Names the sweep that the run is of: its rows are read once a process.
        backend: The Keras backend of a process of its own; None for the process that asks.
        threads: Threads of the process, None for as many as its libraries take.
        devices: Devices of which a process claims one ("gpu:0"); empty for what the backend takes.
        claims: The folder of these claims.
    """

    task: Task
    settings: Mapping[str, Any]
    output_dir: Path
    directory: Path
    data_dir: str | Path | None = None
    only_validation: bool = False
    overwrite: bool = False
    callbacks: Sequence[Any] = ()
    tensorboard: bool = False
    show_progress: bool | None = None
    sweep: str = ""
    backend: str | None = None
    threads: int | None = None
    devices: Sequence[str] = ()
    claims: str | None = None


@dataclass(frozen=True)
class Failure:
    """A run that failed.

    Attributes:
        task: Name of the task.
        settings: Its settings.
        directory: Its directory; what was finished there is kept.
        error: What was wrong, in one line.
        by_input: Whether the user's input was.
        traceback: Where, for errors that are nobody's input.
    """

    task: str
    settings: Mapping[str, Any]
    directory: Path
    error: str
    by_input: bool = False
    traceback: str = field(default="", repr=False)

    def as_dict(self) -> dict[str, Any]:
        """Return what `--json` prints."""
        named = {name: self.settings[name] for name in ("method", "backbone", "seed", "head_scale", "optimizer")}
        return {"task": self.task, **named, "error": self.error, "directory": str(self.directory)}


def perform_request(request: Request, data: TaskData | None = None) -> "RunResult | Failure":
    """Do one run, and return what came of it; only interruptions raise.

    Args:
        request: The run.
        data: The task's rows, where this process has them already.

    Returns:
        The result, or why there is none.
    """
    # Scikit-learn's own jobs stay here: an engine would send them to workers that wait for this very run.
    with _ALONE, joblib.parallel_config("sequential"):
        try:
            _prepare_process(request)
            with silent_start(says=not request.backend):
                from lpft_keras.performing import perform
            from lpft_keras.settings import RunSettings
            from lpft_keras.tasks import load_task

            if data is None:
                key = request.sweep, request.task.name
                if key not in _ROWS:
                    _ROWS.clear()
                    _ROWS[key] = load_task(request.task, request.data_dir, request.settings["limit"])
                data = _ROWS[key]
            return perform(
                request.task,
                RunSettings(**request.settings),
                data.without_tests() if request.only_validation else data,
                request.directory,
                request.output_dir / "cache",
                overwrite=request.overwrite,
                callbacks=request.callbacks,
                tensorboard=request.tensorboard,
                show_progress=request.show_progress,
            )
        except InputError as error:
            return failure(request, str(error), by_input=True)
        except Exception as error:
            return failure(request, f"{type(error).__name__}: {first_line(error)}", traceback.format_exc())


def failure(request: Request, error: str, where: str = "", *, by_input: bool = False) -> Failure:
    """Return a failure of a request."""
    return Failure(request.task.name, dict(request.settings), request.directory, error, by_input, where)


def in_a_worker(
    request: Request, *, threads: int | None = None, devices: Sequence[str] = (), claims: str | None = None
) -> Request:
    """Return a request for a process that may run elsewhere, in another folder, and shows no bars.

    Args:
        request: The run.
        threads: Threads of the process.
        devices: Devices of which it claims one.
        claims: The folder of these claims.

    Returns:
        The request.
    """
    return replace(
        request,
        output_dir=request.output_dir.absolute(),
        directory=request.directory.absolute(),
        data_dir=None if request.data_dir is None else Path(request.data_dir).expanduser().absolute(),
        show_progress=False,
        backend=chosen_backend(),
        threads=threads,
        devices=devices,
        claims=claims,
    )


def _prepare_process(request: Request) -> None:
    """Give a process of its own its backend and device, where Keras does not run in it yet."""
    if request.backend is None:
        return
    if "keras" in sys.modules:
        running = sys.modules["keras"].backend.backend()
        if running != request.backend:
            raise InputError(f"this worker runs Keras on {running}, not on {request.backend}; start another one")
    os.environ["KERAS_BACKEND"] = request.backend
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if request.threads:
        for name in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS"):
            os.environ.setdefault(name, str(request.threads))
    if request.devices and not _DEVICE:
        # Before the backend wakes: it takes hold of every GPU that it sees.
        os.environ["CUDA_VISIBLE_DEVICES"] = _claim_device(request)


def _claim_device(request: Request) -> str:
    """Return the number of a device that no other process of the sweep has, and hold it until this process ends."""
    assert request.claims is not None, "devices are claimed in a folder"
    for place, device in enumerate(request.devices):
        # By place, since a device may be named twice to give it two processes.
        claim = FileLock(Path(request.claims) / f"device-{place}.lock")
        try:
            claim.acquire(timeout=0)
        except Timeout:
            continue
        _DEVICE.append(claim)
        return "" if device == "cpu" else device.removeprefix("gpu:")
    raise InputError(f"all devices ({', '.join(request.devices)}) are taken; start no more processes than devices")
