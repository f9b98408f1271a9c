"""What exhibits need: the runs and kernels, each once, and which of them are there already."""

import logging
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from itertools import product
from pathlib import Path
from typing import Any

from lpft_keras.arrays import whole_number
from lpft_keras.errors import InputError, first_line
from lpft_keras.exhibits import Exhibit
from lpft_keras.kernel_results import KernelResult, finished_kernel, kernel_config
from lpft_keras.kernels import run_ntk
from lpft_keras.methods import get_method
from lpft_keras.run_directory import is_finished, run_config
from lpft_keras.settings import OF_TRAINING, RunSettings
from lpft_keras.sweeps import check_settings, plan
from lpft_keras.tasks import Task, TaskData
from lpft_keras.workers import Failure, Request

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Options:
    """How exhibits are to be made.

    Attributes:
        methods: Only these methods; None takes each exhibit's.
        seeds: Seeds; None takes each exhibit's.
        backbone: Name of the backbone; None takes each task's own.
        data_dir: Folder with the official files.
        output_dir: Where run directories live.
        rows: Rows of a kernel.
        overwrite: Do everything anew.
        tensorboard: Whether runs write for TensorBoard.
        show_progress: Whether to show progress bars.
        settings: Other settings of runs.
    """

    methods: Sequence[str] | None = None
    seeds: Sequence[int] | None = None
    backbone: str | None = None
    data_dir: str | Path | None = None
    output_dir: Path = Path("runs")
    rows: int = 250
    overwrite: bool = False
    tensorboard: bool = False
    show_progress: bool | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self):
        """Refuse what no run or kernel can be made of."""
        whole_number(self.rows, "rows", 2)
        check_settings(self.settings)
        for method in self.methods or ():
            get_method(method)

    def in_words(self) -> str:
        """Return the settings that are not those of the paper, "limit=60, epochs=1"."""
        defaults = {setting.name: setting.default for setting in fields(RunSettings)}
        return ", ".join(f"{name}={value}" for name, value in self.settings.items() if value != defaults[name])

    def backbone_of(self, task: Task) -> str:
        """Return the name of the backbone that a task is run with."""
        return str(self.backbone or task.backbone)


@dataclass(frozen=True)
class KernelRequest:
    """A kernel that is wanted.

    Attributes:
        task: The task.
        settings: All that decides it, but its rows.
        options: Rows, data, and whether to compute it anew.
    """

    task: Task
    settings: RunSettings
    options: Options

    @property
    def directory(self) -> Path:
        """Where the kernel lies."""
        return self.settings.directory(self.options.output_dir) / "ntk"

    def is_there(self, data: TaskData) -> bool:
        """Return whether the kernel of these rows is finished; raises where the directory holds another one."""
        config = kernel_config(self.settings, self.options.rows, data)
        return not self.options.overwrite and finished_kernel(self.directory, config) is not None

    def perform(self, show_progress: bool | None) -> KernelResult | Failure:
        """Compute the kernel, unless it is there, and return it, or why there is none; only interruptions raise."""
        try:
            return self._compute(show_progress)
        except InputError as error:
            return self._failure(str(error), by_input=True)
        except Exception as error:
            log.exception("the kernel in %s failed", self.directory)
            return self._failure(f"{type(error).__name__}: {first_line(error)}")

    def _failure(self, error: str, by_input: bool = False) -> Failure:
        return Failure(self.task.name, asdict(self.settings), self.directory, error, by_input)

    def _compute(self, show_progress: bool | None) -> KernelResult:
        own = {field.name: getattr(self.settings, field.name) for field in fields(RunSettings)}
        kept = {name: value for name, value in own.items() if name not in ("task", *OF_TRAINING)}
        return run_ntk(
            self.task,
            **kept,
            data_dir=self.options.data_dir,
            output_dir=self.options.output_dir,
            rows=self.options.rows,
            overwrite=self.options.overwrite,
            show_progress=show_progress,
        )


@dataclass(frozen=True)
class Work:
    """Runs and kernels."""

    runs: Sequence[Request] = ()
    kernels: Sequence[KernelRequest] = ()

    def directories(self) -> list[Path]:
        """Return where it all lies."""
        return [*(run.directory for run in self.runs), *(kernel.directory for kernel in self.kernels)]

    def without(self, known: Container[Path]) -> "Work":
        """Return the work in other directories than some."""
        return Work(
            [run for run in self.runs if run.directory not in known],
            [kernel for kernel in self.kernels if kernel.directory not in known],
        )

    def to_do(self, loaded: Mapping[str, TaskData]) -> "Work":
        """Return what was not finished before, or shall be done anew.

        Args:
            loaded: The rows by the name of their task.

        Returns:
            The rest of the work.

        Raises:
            InputError: A directory holds a run or kernel of other settings or data.
        """
        return Work(
            [run for run in self.runs if not _is_there(run, loaded[run.task.name])],
            [kernel for kernel in self.kernels if not kernel.is_there(loaded[kernel.task.name])],
        )


def _is_there(run: Request, data: TaskData) -> bool:
    config = run_config(run.task, RunSettings(**run.settings), data)
    return not run.overwrite and is_finished(run.directory, config)


def all_of(works: Iterable[Work]) -> Work:
    """Return the work of several exhibits, what they share once."""
    runs: dict[Path, Request] = {}
    kernels: dict[Path, KernelRequest] = {}
    for work in works:
        runs |= {run.directory: run for run in work.runs}
        kernels |= {kernel.directory: kernel for kernel in work.kernels}
    return Work(list(runs.values()), list(kernels.values()))


def needed(exhibit: Exhibit, tasks: Sequence[Task], options: Options) -> Work:
    """Return what an exhibit needs.

    Args:
        exhibit: The exhibit.
        tasks: Its tasks.
        options: How it is to be made.

    Returns:
        Runs or kernels; neither for an exhibit without methods.

    Raises:
        InputError: An argument is wrong.
    """
    if not exhibit.methods:
        return Work()
    methods = [name for name in exhibit.methods if options.methods is None or name in options.methods]
    seeds = options.seeds or exhibit.seeds
    if exhibit.kernels:
        return Work(kernels=list(_kernels(tasks, methods, seeds, options)))
    runs = plan(
        tasks,
        methods,
        seeds,
        exhibit.head_scales,
        options.backbone,
        data_dir=options.data_dir,
        output_dir=options.output_dir,
        overwrite=options.overwrite,
        tensorboard=options.tensorboard,
        show_progress=options.show_progress,
        **options.settings,
    )
    return Work(runs)


def _kernels(
    tasks: Sequence[Task], methods: Sequence[str], seeds: Sequence[int], options: Options
) -> Iterator[KernelRequest]:
    kept = {name: value for name, value in options.settings.items() if name not in OF_TRAINING}
    for task, method, seed in product(tasks, methods, seeds):
        own: dict[str, Any] = {"backbone": options.backbone_of(task), "method": method, "seed": seed}
        yield KernelRequest(task, RunSettings(task=task.name, **own, **kept), options)
