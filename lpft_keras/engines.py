"""Many runs spread over processes: here, or on a cluster, through joblib, whose engine is the user's."""

import logging
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING

import joblib
from joblib import Parallel, delayed
from joblib.externals.loky import get_reusable_executor
from joblib.parallel import get_active_backend

from lpft_keras.errors import InputError, first_line
from lpft_keras.tasks import TaskData
from lpft_keras.workers import Failure, Request, failure, in_a_worker, perform_request

if TYPE_CHECKING:
    from lpft_keras.results import RunResult

log = logging.getLogger(__name__)

_CONNECT = 20  # seconds that a cluster may take to answer


def check_workers(workers: int | Sequence[str] | None) -> None:
    """Raise an `InputError` where `workers` is neither a number of processes nor a list of devices."""
    if workers is None or (isinstance(workers, int) and not isinstance(workers, bool) and workers > 0):
        return
    named = isinstance(workers, list | tuple) and workers and all(isinstance(name, str) for name in workers)
    if not named or not all(name == "cpu" or name.removeprefix("gpu:").isdigit() for name in workers):  # type: ignore[union-attr]
        raise InputError(f'workers must be 1 or more, or list the device of each ("gpu:0", "cpu"), not {workers!r}')
    seen = ["cpu", *visible_gpus()]
    missing = [name for name in workers if name not in seen]  # type: ignore[union-attr]
    if missing:
        raise InputError(f"workers names {missing[0]!r}, which this machine has not; it has {', '.join(seen)}")


def spread(
    requests: Sequence[Request],
    loaded: Callable[[Request], TaskData],
    workers: int | Sequence[str] | None = None,
) -> Iterator["RunResult | Failure"]:
    """Do runs, and yield what came of each as it ends, in any order.

    Args:
        requests: The runs.
        loaded: Returns the rows of a request's task, for runs in this process.
        workers: How many processes, or the device of each. None takes the engine that `joblib.parallel_config` names;
            else one process a GPU where there are several GPUs and several runs; else this process.

    Yields:
        Results and failures. A process that is killed fails its own run only.
    """
    backend, jobs = get_active_backend()
    configured = workers is None and (type(backend).__name__ != "LokyBackend" or (jobs or 1) != 1)
    alone = len(requests) == 1 or any(request.settings["data_parallel"] for request in requests)
    gpus = visible_gpus()
    if workers is None and not configured and not alone and len(gpus) > 1:
        workers = gpus
    if isinstance(workers, int) and workers > 1 and gpus:
        # Each backend would take hold of all GPUs that it sees.
        workers = [gpus[number % len(gpus)] for number in range(workers)]
    if configured:
        yield from _elsewhere(requests, jobs, getattr(backend, "supports_return_generator", False))
    elif workers is None or workers == 1:
        for request in requests:
            yield perform_request(request, loaded(request))
    else:
        # Where no device is claimed, a process that is killed leaves no folder behind.
        with nullcontext("") if isinstance(workers, int) else tempfile.TemporaryDirectory() as claims:
            yield from _processes(requests, workers, claims)


def _elsewhere(requests: Sequence[Request], jobs: int | None, streaming: bool) -> Iterator["RunResult | Failure"]:
    """Run where the user's engine runs; what that loses for good has failed."""
    ready = [in_a_worker(request) for request in requests]
    waiting = {request.directory: request for request in ready}
    # A batch of runs would wait for its slowest, and be lost as a whole.
    parallel = Parallel(n_jobs=jobs, batch_size=1, return_as="generator_unordered" if streaming else "list")
    try:
        for outcome in parallel(delayed(perform_request)(request) for request in ready):
            del waiting[outcome.directory]
            yield outcome
    except Exception as error:  # engines raise whatever their many transports raise
        log.warning("the engine broke off: %s", first_line(error))
        yield from (failure(request, f"the engine broke off: {first_line(error)}") for request in waiting.values())


def _processes(
    requests: Sequence[Request], workers: int | Sequence[str], claims: str
) -> Iterator["RunResult | Failure"]:
    """Run in processes of this machine, and go on where one of them is killed."""
    devices = () if isinstance(workers, int) else tuple(workers)
    count = min(len(devices) or int(workers), len(requests))  # type: ignore[arg-type]
    threads = max(1, (os.cpu_count() or 1) // count)
    ready = [in_a_worker(request, threads=threads, devices=devices, claims=claims) for request in requests]
    broken: list[Request] = []
    try:
        for request, outcome in _executed(ready, count):
            if outcome is None:
                broken.append(request)
            else:
                yield outcome
        if broken:
            log.warning("a worker was killed (out of memory?); what it had not finished goes on one run at a time")
        for request in broken:
            # Alone, so that the run that kills its process is known by it.
            for _, outcome in _executed([request], 1):
                hint = "its process was killed; if memory ran out, take a smaller batch or model"
                yield outcome or failure(request, hint)
    finally:
        # Processes that wait would keep their devices and memory.
        get_reusable_executor().shutdown(kill_workers=True)


def _executed(requests: Sequence[Request], count: int) -> Iterator[tuple[Request, "RunResult | Failure | None"]]:
    """Yield what each run came to, None for those that were lost when a process was killed."""
    executor = get_reusable_executor(max_workers=count, reuse=False)
    futures = {executor.submit(perform_request, request): request for request in requests}
    for future in as_completed(futures):
        request, error = futures[future], future.exception()
        if error is None:
            yield request, future.result()
        elif isinstance(error, BrokenProcessPool):
            yield request, None
        else:  # what can't be sent to a process, such as a callback that holds a lock
            yield request, failure(request, f"it can't be sent to another process: {first_line(error)}")


def visible_gpus() -> list[str]:
    """Return the NVIDIA GPUs that a process may take, as "gpu:0", without waking any of them."""
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None:
        return [f"gpu:{name.strip()}" for name in chosen.split(",") if name.strip().isdigit()]
    if shutil.which("nvidia-smi") is None:
        return []
    done = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False)
    count = sum(line.startswith("GPU ") for line in done.stdout.splitlines()) if done.returncode == 0 else 0
    return [f"gpu:{number}" for number in range(count)]


def engine(name: str | None) -> AbstractContextManager[None]:
    """Return a context in which joblib's runs go to an engine.

    Args:
        name: "dask://host:port" (a scheduler), "ray", "ray://host:port", or None for what is configured already.

    Returns:
        A context manager.

    Raises:
        InputError: The name is unknown, the package is not installed, or nobody answers at the address.

    Example:
        >>> with engine("dask://scheduler:8786"):
        ...     lpft_keras.sweep(["cb", "rte"], ["lp", "lp-ft"])
    """
    if name is None:
        return nullcontext()
    scheme, _, address = name.partition("://")
    if scheme == "dask" and address:
        return _dask(address)
    if scheme == "ray":
        return _ray(name if address else None)
    raise InputError(f'unknown engine {name!r}; take "dask://host:port", "ray" or "ray://host:port"')


@contextmanager
def _dask(address: str) -> Iterator[None]:
    try:
        from distributed import Client
    except ImportError:
        raise InputError('the engine dask is not installed: pip install "lpft-keras[distributed]"') from None
    try:
        client = Client(f"tcp://{address}", timeout=_CONNECT)
    except (OSError, ValueError) as error:
        raise InputError(f"no Dask scheduler answers at {address}: {first_line(error)}") from error
    with client:
        if not client.scheduler_info()["workers"]:
            raise InputError(f"the Dask scheduler at {address} has no workers; start some with `dask worker {address}`")
        with joblib.parallel_config("dask", n_jobs=-1):
            yield


@contextmanager
def _ray(address: str | None) -> Iterator[None]:
    try:
        import ray
        from ray.util.joblib import register_ray
    except ImportError:
        raise InputError("the engine ray is not installed: pip install ray") from None
    try:
        ray.init(address=address, ignore_reinit_error=True)
    except (OSError, ValueError, RuntimeError) as error:
        raise InputError(f"no Ray cluster answers at {address}: {first_line(error)}") from error
    register_ray()
    try:
        with joblib.parallel_config("ray", n_jobs=-1):
            yield
    finally:
        ray.shutdown()
