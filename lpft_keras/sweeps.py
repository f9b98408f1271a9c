"""Many runs: the cross product of tasks, methods, backbones, head scales and seeds, here or on a cluster."""

import logging
import textwrap
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lpft_keras.backbone_names import is_known_backbone
from lpft_keras.engines import check_workers, spread
from lpft_keras.errors import InputError, unknown_name
from lpft_keras.methods import every_method, fine_tuning
from lpft_keras.progress import progress_bar, silent_start
from lpft_keras.results import RunResult
from lpft_keras.settings import RunSettings
from lpft_keras.tasks import Task, TaskData, get_task, load_task
from lpft_keras.workers import Failure, Request

if TYPE_CHECKING:
    import keras

log = logging.getLogger(__name__)

CROSSED = {"task": "tasks", "method": "methods", "backbone": "backbones", "seed": "seeds", "head_scale": "head_scales"}
SETTINGS = {field.name for field in fields(RunSettings)} - CROSSED.keys()


@dataclass(frozen=True)
class SweepResult:
    """What came of many runs.

    Attributes:
        results: Finished runs, in the order they were asked for.
        failures: The others, and why.
    """

    results: list[RunResult]
    failures: list[Failure]


def sweep(
    tasks: str | Path | Task | Sequence[str | Path | Task],
    methods: str | Sequence[str] = "lp-ft",
    seeds: int | Sequence[int] = 1001,
    head_scales: float | Sequence[float] = 1.0,
    backbones: str | Sequence[str] | None = None,
    *,
    workers: int | Sequence[str] | None = None,
    on_end: Callable[[RunResult | Failure], None] | None = None,
    **options: Any,
) -> SweepResult:
    """Run tasks by several methods, backbones, head scales and seeds.

    Finished runs are reused and killed ones go on. What fails is reported and does not stop the rest. Token arrays,
    frozen features and probes are made once for all runs that share them, also by processes side by side.

    Args:
        tasks: Tasks as for `lpft_keras.run`, or one.
        methods: Names of methods, or one; "all" for every one.
        seeds: Seeds, or one.
        head_scales: What the head is multiplied by before fine-tuning; a method without that stage runs once.
        backbones: Names of backbones, or one; None takes each task's own.
        workers: Processes side by side, or the device of each, as ["gpu:0", "gpu:1"], by which `CUDA_VISIBLE_DEVICES`
            is set before its backend starts. None takes the engine of `joblib.parallel_config` ("dask", "ray"), whose
            workers must see the same folders; else a process a GPU where there are several, else this process.
        on_end: Called with each result or failure as it comes.
        **options: Other arguments of `lpft_keras.run`.

    Returns:
        Results and failures.

    Raises:
        InputError: An argument or a data file is wrong: at once, before any run.

    Example:
        >>> found = sweep(["cb", "rte"], ["lp", "lp-ft"], seeds=[1001, 2002], backbones="minilm", data_dir="data")
        >>> found.results[0].metrics["test"]["accuracy"]
    """
    check_workers(workers)
    requests = plan(tasks, methods, seeds, head_scales, backbones, **options)
    return perform_all(requests, workers, on_end=on_end, show_progress=options.get("show_progress"))


def plan(
    tasks: str | Path | Task | Sequence[str | Path | Task],
    methods: str | Sequence[str],
    seeds: int | Sequence[int],
    head_scales: float | Sequence[float] = 1.0,
    backbones: str | Sequence[str] | None = None,
    *,
    data_dir: str | Path | None = None,
    output_dir: str | Path = "runs",
    overwrite: bool = False,
    callbacks: Sequence["keras.callbacks.Callback"] = (),
    tensorboard: bool = False,
    show_progress: bool | None = None,
    **settings: Any,
) -> list[Request]:
    """Return the runs of a cross product, each once, with all that can be wrong of them checked.

    Args:
        tasks: As for `sweep`, like all up to `backbones`.
        methods: Names of methods.
        seeds: Seeds.
        head_scales: Scales of the head.
        backbones: Names of backbones.
        data_dir: As for `run`, like the rest.
        output_dir: Where run directories live.
        overwrite: Do runs anew.
        callbacks: Keras callbacks.
        tensorboard: Whether each run writes for TensorBoard.
        show_progress: Whether to show progress bars.
        **settings: Other fields of `RunSettings`.

    Returns:
        The runs, those of a task together.

    Raises:
        InputError: An argument is wrong.
    """
    check_settings(settings)
    chosen_methods = every_method(as_list(methods, "methods"))
    scales = as_list(head_scales, "head_scales")
    parts = (
        [get_task(name) for name in as_list(tasks, "tasks")],
        as_list(backbones, "backbones"),
        chosen_methods,
        scales,
        as_list(seeds, "seeds"),
    )
    requests: dict[Path, Request] = {}  # what comes to the same run is one
    for task, backbone, method, scale, seed in product(*parts):
        own = {"task": task.name, "backbone": str(backbone or task.backbone), "method": method}
        run = RunSettings(**settings, **own, head_scale=scale, seed=seed)
        directory = run.directory(output_dir)
        known = requests.setdefault(
            directory,
            Request(
                task=task,
                settings=asdict(run),
                output_dir=Path(output_dir),
                directory=directory,
                data_dir=data_dir,
                overwrite=overwrite,
                callbacks=callbacks,
                tensorboard=tensorboard,
                show_progress=show_progress,
            ),
        )
        if known.task != task or known.settings != asdict(run):
            raise InputError(
                f"two runs of this sweep would share the directory {directory}; give the tasks other names"
            )
    # All that can be told without Keras is told by now: importing it takes seconds.
    _check_with_keras(list(requests.values()), callbacks, tensorboard)
    for method in chosen_methods:
        if fine_tuning(method) is None and any(scale != 1 for scale in scales):
            log.info("%s has no fine-tuning stage before which its head would be scaled", method)
    return list(requests.values())


def _check_with_keras(requests: Sequence[Request], callbacks: Sequence[Any], tensorboard: bool) -> None:
    """Refuse callbacks, devices and backbones that no run can use."""
    if callbacks or tensorboard:
        with silent_start():
            from lpft_keras.training.callbacks import check_callbacks, check_tensorboard

        check_callbacks(callbacks)
        if tensorboard:
            check_tensorboard()
    for request in requests:
        RunSettings(**request.settings).check_devices()
    for name in dict.fromkeys(request.settings["backbone"] for request in requests):
        if not is_known_backbone(name):
            with silent_start():
                from lpft_keras.models.backbones import check_backbone

            check_backbone(name)


def check_settings(names: Iterable[str]) -> None:
    """Raise an `InputError` where a name is that of no setting of runs."""
    for name in names:
        if name not in SETTINGS:
            others = [*CROSSED.values(), *SETTINGS, "data_dir", "output_dir", "overwrite", "tensorboard", "workers"]
            raise unknown_name("argument", name, others)


def perform_all(
    requests: Sequence[Request],
    workers: int | Sequence[str] | None = None,
    *,
    rows: Mapping[str, TaskData] | None = None,
    on_end: Callable[[RunResult | Failure], None] | None = None,
    show_progress: bool | None = None,
) -> SweepResult:
    """Do planned runs.

    Args:
        requests: The runs.
        workers: As for `sweep`, like the rest.
        rows: Rows that are loaded already, by the name of their task.
        on_end: Called with each result or failure as it comes.
        show_progress: Whether to show a bar over the runs, where there are several.

    Returns:
        Results and failures.

    Raises:
        InputError: `workers` or a data file is wrong: before any run.
    """
    check_workers(workers)
    if workers is not None and any(request.settings["data_parallel"] for request in requests):
        raise InputError(
            "a data-parallel run takes all devices, so it can't be one of several workers; leave workers out"
        )
    sweep_name = uuid.uuid4().hex
    requests = [replace(request, sweep=sweep_name) for request in requests]

    known: dict[tuple[str, Any, Any], TaskData] = {}

    def loaded(request: Request) -> TaskData:
        if rows and request.task.name in rows:
            return rows[request.task.name]
        key = request.task.name, request.data_dir, request.settings["limit"]
        if key not in known:
            known[key] = load_task(request.task, request.data_dir, request.settings["limit"])
        return known[key]

    for request in requests:
        loaded(request)
    asked = {request.directory.absolute(): request.directory for request in requests}
    outcomes: dict[Path, RunResult | Failure] = {}
    several = len(requests) > 1
    with progress_bar("runs", len(requests), show_progress if several else False) as advance:
        for outcome in spread(requests, loaded, workers):
            # Other processes name directories in full.
            outcome = replace(outcome, directory=asked[outcome.directory.absolute()])
            outcomes[outcome.directory] = outcome
            advance(len(outcomes))
            if several:
                log.info("%d of %d runs: %s %s", len(outcomes), len(requests), outcome.directory, _in_a_word(outcome))
            if isinstance(outcome, Failure) and outcome.traceback:
                log.error("%s", outcome.traceback)
            if on_end is not None:
                on_end(outcome)
    ordered = [outcomes[request.directory] for request in requests]
    return SweepResult(
        [one for one in ordered if isinstance(one, RunResult)], [one for one in ordered if isinstance(one, Failure)]
    )


def as_list(values: Any, name: str) -> list[Any]:
    """Return one value or several as a list, which must not be empty, or an `InputError` says so."""
    single = isinstance(values, str | Path | Task | Mapping) or not isinstance(values, Iterable)
    several = [values] if single else list(values)
    if not several:
        raise InputError(f"{name} hold nothing to run")
    return several


def _in_a_word(outcome: RunResult | Failure) -> str:
    if isinstance(outcome, Failure):
        return f"failed: {textwrap.shorten(outcome.error, 70, placeholder=' ...')}"
    split = "test" if "test" in outcome.metrics else "validation"
    metric = outcome.config["metric"]
    return f"done, {split} {metric.replace('_', ' ')} {outcome.metrics[split][metric]:.3f}"
