"""`reproduce()`: the name of a table or figure -> what is missing is run, and the exhibit made of it all."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lpft_keras.engines import check_workers
from lpft_keras.errors import InputError
from lpft_keras.exhibits import EXHIBITS, Exhibit, get_exhibit
from lpft_keras.figures import check_figures
from lpft_keras.kernel_results import KernelResult
from lpft_keras.methods import every_method
from lpft_keras.progress import progress_bar
from lpft_keras.report import ResultTable
from lpft_keras.reproduction.cost import Cost, estimate
from lpft_keras.reproduction.making import Drawn, Material, make_figures, make_tables
from lpft_keras.reproduction.work import Options, Work, all_of, needed
from lpft_keras.reproduction.writing import write_exhibit
from lpft_keras.results import RunResult
from lpft_keras.storage import slug
from lpft_keras.sweeps import as_list, perform_all
from lpft_keras.tasks import Task, TaskData, get_task, load_task
from lpft_keras.workers import Failure

log = logging.getLogger(__name__)

_Outcome = RunResult | KernelResult | Failure


@dataclass(frozen=True)
class Reproduction:
    """A table or figure that was made anew.

    Attributes:
        exhibit: Which.
        tables: The tables, of a table.
        figures: The figures, of a figure.
        files: What was written.
        failures: Runs and kernels that failed, so that it is made without them.
    """

    exhibit: Exhibit
    tables: Sequence[ResultTable] = ()
    figures: Sequence[Drawn] = ()
    files: Sequence[Path] = ()
    failures: Sequence[Failure] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return what `--json` prints."""
        records = [record for table in self.tables for record in table.records]
        records += [record for figure in self.figures for record in figure.records]
        return {
            "name": self.exhibit.name,
            "title": self.exhibit.title,
            "files": [str(path) for path in self.files],
            "records": records,
            "failures": [failure.as_dict() for failure in self.failures],
        }


def reproduce(
    names: str | Sequence[str],
    tasks: str | Path | Task | Sequence[str | Path | Task] | None = None,
    methods: str | Sequence[str] | None = None,
    seeds: int | Sequence[int] | None = None,
    *,
    backbone: str | None = None,
    data_dir: str | Path | None = None,
    output_dir: str | Path = "runs",
    rows: int = 250,
    overwrite: bool = False,
    tensorboard: bool = False,
    dry_run: bool = False,
    workers: int | Sequence[str] | None = None,
    on_estimate: Callable[[Cost], None] | None = None,
    on_end: Callable[[Reproduction], None] | None = None,
    show_progress: bool | None = None,
    **settings: Any,
) -> list[Reproduction]:
    """Make tables and figures of the paper, with any backbone and data, beside the published numbers.

    Only what is missing is run. What it will take is said before it starts.

    Args:
        names: "table8", "figure3" or several; "all" for all of them. See `lpft_keras.exhibits.EXHIBITS`.
        tasks: Tasks instead of the paper's own, as for `lpft_keras.run`; None takes those of the paper whose data are
            at hand.
        methods: Only these methods.
        seeds: Seeds instead of the paper's five.
        backbone: Name of the backbone; None takes each task's own, the paper's RoBERTa-base.
        data_dir: Folder with the official files; None takes TensorFlow Datasets.
        output_dir: Where run directories live; what is made lies in `<output_dir>/paper/<backbone>`.
        rows: Rows of train and test that a kernel is of.
        overwrite: Do all runs and kernels anew.
        tensorboard: Whether runs write for TensorBoard.
        dry_run: Say what it would take, and do nothing.
        workers: Processes side by side, as for `lpft_keras.sweep`.
        on_estimate: Called with what it will take, before it starts.
        on_end: Called with each table or figure as it is made.
        show_progress: Whether to show progress bars; None shows them on a terminal, but not under CI.
        **settings: Other arguments of `lpft_keras.run`: epochs, limit, max_length, ...

    Returns:
        What was made, in the order of the names; nothing of a dry run.

    Raises:
        InputError: A name, argument or data file is wrong: at once, before any run.

    Example:
        >>> (table,) = lpft_keras.reproduce("table8", "cb", backbone="minilm", data_dir="data")
        >>> table.tables[0].records[0]["mean"], table.files
    """
    exhibits = _named(names)
    check_workers(workers)
    for name in ("prompt", "label_words", "shots"):
        if settings.get(name) is not None:
            raise InputError(f"the paper's tables and figures are of all rows and of no prompt; {name} is for sweep")
    options = Options(
        methods=None if methods is None else every_method(as_list(methods, "methods")),
        seeds=None if seeds is None else as_list(seeds, "seeds"),
        backbone=backbone,
        data_dir=data_dir,
        output_dir=Path(output_dir),
        rows=rows,
        overwrite=overwrite,
        tensorboard=tensorboard,
        show_progress=show_progress,
        settings=settings,
    )
    asked = {exhibit: _tasks(exhibit, tasks) for exhibit in _of_methods(exhibits, options.methods)}
    for exhibit in asked:
        needed(exhibit, asked[exhibit], options)  # what is wrong with arguments shows before any file is read
    loaded = _loaded(asked, tasks is not None, data_dir, settings.get("limit"))
    at_hand = _at_hand(asked, loaded)
    works = {exhibit: needed(exhibit, found, options) for exhibit, found in at_hand.items()}
    cost = estimate(all_of(works.values()), loaded, show_progress)
    log.info("%s", cost.in_words())
    if on_estimate is not None:
        on_estimate(cost)
    if dry_run:
        return []
    known: dict[Path, _Outcome] = {}
    made = []
    for exhibit, work in works.items():
        known |= _performed(work.without(known), workers, loaded, show_progress)
        tasks_there = at_hand[exhibit]
        name = "-".join([exhibit.name, *([] if tasks is None else [slug(task.name) for task in tasks_there])])
        outcomes = [known[directory] for directory in work.directories()]
        one = _made(exhibit, tasks_there, outcomes, loaded, options, name)
        made.append(one)
        if on_end is not None:
            on_end(one)
    return made


def _named(names: str | Sequence[str]) -> list[Exhibit]:
    """Return the exhibits of these names, each once; figures need a library that may be missing."""
    found: list[Exhibit] = []
    for name in as_list(names, "names"):
        found += EXHIBITS.values() if name == "all" else [get_exhibit(name)]
    if any(exhibit.is_figure for exhibit in found):
        check_figures()
    return list(dict.fromkeys(found))


def _tasks(exhibit: Exhibit, tasks: Any) -> list[Task]:
    """Return the tasks that were asked for, or those of the paper."""
    named = [get_task(task) for task in (exhibit.tasks if tasks is None else as_list(tasks, "tasks"))]
    found = {task.name: task for task in named}
    for task in named:
        if found[task.name] != task:
            raise InputError(f"two of the tasks are named {task.name!r}; give them names of their own")
    return list(found.values())


def _loaded(
    asked: Mapping[Exhibit, Sequence[Task]], named: bool, data_dir: str | Path | None, limit: int | None
) -> dict[str, TaskData]:
    """Return the rows of all tasks that need them; of tasks that nobody named, what is at hand, if anything is."""
    loaded: dict[str, TaskData] = {}
    missing: dict[str, InputError] = {}
    wanted = {task.name: task for exhibit, tasks in asked.items() if exhibit.needs_rows for task in tasks}
    for name, task in wanted.items():
        try:
            loaded[name] = load_task(task, data_dir, limit)
        except InputError as error:
            if named:
                raise
            missing[name] = error
    if missing and not loaded:
        raise next(iter(missing.values()))
    for name, reason in missing.items():
        log.warning("left out %s: %s", name, reason)
    return loaded


def _at_hand(asked: Mapping[Exhibit, Sequence[Task]], loaded: Mapping[str, TaskData]) -> dict[Exhibit, list[Task]]:
    """Return exhibits with those of their tasks whose rows are there; those without any are left out."""
    found = {}
    for exhibit, tasks in asked.items():
        there = [task for task in tasks if task.name in loaded or not exhibit.needs_rows]
        if there:
            found[exhibit] = there
        else:
            log.warning("left out %s: no data of %s", exhibit.name, ", ".join(task.name for task in tasks))
    return found


def _of_methods(exhibits: Sequence[Exhibit], methods: Sequence[str] | None) -> list[Exhibit]:
    """Return the exhibits that have any of some methods, or need none; an `InputError` where none has."""
    found = [one for one in exhibits if methods is None or not one.methods or set(one.methods) & set(methods)]
    if not found:
        first = exhibits[0]
        raise InputError(f"{first.name} is of {', '.join(first.methods)}; ask for one of them, or leave methods out")
    for exhibit in exhibits:
        if exhibit not in found:
            log.warning("left out %s: it is of %s", exhibit.name, ", ".join(exhibit.methods))
    return found


def _performed(
    work: Work,
    workers: int | Sequence[str] | None,
    loaded: Mapping[str, TaskData],
    show_progress: bool | None,
) -> dict[Path, _Outcome]:
    """Do runs, then kernels one after another: each takes the whole machine."""
    outcomes: list[_Outcome] = []
    if work.runs:
        found = perform_all(work.runs, workers, rows=loaded, show_progress=show_progress)
        outcomes += [*found.results, *found.failures]
    several = len(work.kernels) > 1
    with progress_bar("kernels", len(work.kernels), show_progress if several else False) as advance:
        for number, kernel in enumerate(work.kernels, start=1):
            outcomes.append(kernel.perform(False if several else show_progress))
            advance(number)
    return {outcome.directory: outcome for outcome in outcomes}


def _made(
    exhibit: Exhibit,
    tasks: Sequence[Task],
    outcomes: Sequence[_Outcome],
    loaded: Mapping[str, TaskData],
    options: Options,
    name: str,
) -> Reproduction:
    """Make and write an exhibit of what its runs came to; what sets them apart from the paper's is said in it."""
    runs = [one for one in outcomes if isinstance(one, RunResult)]
    kernels = [one for one in outcomes if isinstance(one, KernelResult)]
    failures = [one for one in outcomes if isinstance(one, Failure)]
    if exhibit.methods and not (runs or kernels):
        return Reproduction(exhibit, failures=failures)
    backbones = {task.name: options.backbone_of(task) for task in tasks if exhibit.layout != "rows"}
    data = {task.name: loaded[task.name] for task in tasks if task.name in loaded}
    material = Material(backbones, data, runs, kernels)
    tables = [] if exhibit.is_figure else make_tables(exhibit, material)
    figures = make_figures(exhibit, material) if exhibit.is_figure else []
    settings = options.in_words()
    if settings and exhibit.methods:
        said = f"other settings than the paper's: {settings}"
        tables = [replace(table, notes=(*table.notes, said)) for table in tables]
        figures = [replace(figure, caption=f"{figure.caption} {said[0].upper()}{said[1:]}.") for figure in figures]
    files = write_exhibit(options.output_dir / "paper", name, exhibit, list(backbones.values()), tables, figures)
    return Reproduction(exhibit, tables, figures, files, failures)
