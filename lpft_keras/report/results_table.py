"""Mean and standard deviation over seeds, in the layout of the paper's Tables 8, 10 and 16."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lpft_keras.errors import InputError, unknown_name
from lpft_keras.evaluation import METRICS
from lpft_keras.report.groups import groups_by_task, in_order
from lpft_keras.report.published import published
from lpft_keras.report.rendering import ResultTable
from lpft_keras.results import RunResult

_Groups = dict[str, list[RunResult]]
_IN_PRINT = {"lp": "LP", "ft": "FT", "lp-ft": "LP-FT", "lora": "LoRA", "lp-lora": "LP-LoRA"}
PER_CENT = {*METRICS, "ece", "mce"}
_PAPERS_BACKBONE = "roberta_base_en"


def result_tables(results: Sequence[RunResult], metric: str | None = None, paper: bool = False) -> list[ResultTable]:
    """Return the paper's tables of results, made of runs of any tasks, backbones, methods and settings.

    Runs that differ by their seed only are one cell: mean and standard deviation (of a sample, `ddof=1`). Tasks without
    shifted sets share a table, a task a row and a method a column (Tables 8 and 16); a task with shifted sets has its
    own, a method a row and a set of rows a column (Table 10).

    Args:
        results: Finished runs, each named once.
        metric: A key of the runs' metrics, for example "ece"; None takes each task's own, named in the row where it is
            not accuracy.
        paper: Put the paper's values below ours. They are of RoBERTa-base; a note says so where ours are not.

    Returns:
        The tables. Test rows are measured, validation rows where a task's runs have no others, which the row says.

    Raises:
        InputError: No run has a value of the metric, the same run is given twice, or there is none.

    Example:
        >>> tables = result_tables(lpft_keras.sweep("cb", ["ft", "lp-ft"], seeds=[1, 2, 3]).results, paper=True)
        >>> print(as_markdown(tables))
    """
    kinds = groups_by_task(results)
    shifted = {task for (task, _), found in kinds.items() if len(reported_splits(runs_of(found))) > 1}
    tables = []
    plain = {kind: found for kind, found in kinds.items() if kind[0] not in shifted}
    if plain:
        tables.append(_table_of_tasks(plain, metric, paper))
    for task in dict.fromkeys(task for task, _ in kinds if task in shifted):
        own = {backbone: found for (name, backbone), found in kinds.items() if name == task}
        tables.append(_table_of_shifts(task, own, metric, paper))
    if not any(record["runs"] for table in tables for record in table.records):
        raise _nothing_measured(metric, results)
    return tables


def _nothing_measured(metric: str | None, results: Sequence[RunResult]) -> InputError:
    known = dict.fromkeys(name for run in results for values in run.metrics.values() for name in values)
    if metric is None or metric in known:
        return InputError(f"no run has a value of {metric or 'its metric'}: its rows allow none; name another metric")
    return unknown_name("metric", metric, known)


def runs_of(found: _Groups) -> list[RunResult]:
    """Return the runs of all groups."""
    return [run for members in found.values() for run in members]


def reported_splits(runs: Sequence[RunResult]) -> list[str]:
    """Return "test", or "validation" where no run has test rows, and the names of the shifted sets."""
    names = dict.fromkeys(split for run in runs for split in run.metrics)
    return ["test" if "test" in names else "validation", *(n for n in names if n not in ("test", "validation"))]


def own_metric(runs: Sequence[RunResult]) -> str:
    """Return the metric of the runs' task, which they must agree upon."""
    named = {run.config["metric"]: run.directory for run in runs}
    if len(named) > 1:
        (one, first), (other, second) = list(named.items())[:2]
        raise InputError(f"{first} was selected by {one}, {second} by {other}; name the metric to report")
    return next(iter(named))


@dataclass(frozen=True)
class _Cell:
    """One metric of runs that differ by their seed only. `paper` is None where the paper is not asked for."""

    task: str
    backbone: str
    split: str
    method: str
    metric: str
    values: tuple[float, ...]
    paper: tuple[float, float] | None

    @property
    def shown(self) -> str:
        return _shown(*mean_and_deviation(self.values), self.metric)

    @property
    def shown_paper(self) -> str:
        return _shown(*self.paper, self.metric) if self.paper else ""

    def as_dict(self) -> dict[str, Any]:
        mean, deviation = mean_and_deviation(self.values)
        record: dict[str, Any] = {
            "task": self.task,
            "backbone": self.backbone,
            "split": self.split,
            "method": self.method,
            "metric": self.metric,
            "mean": mean,
            "std": deviation,
            "runs": len(self.values),
        }
        return record if self.paper is None else {**record, "paper": self.paper[0], "paper_std": self.paper[1]}


def mean_and_deviation(values: Sequence[float]) -> tuple[float, float]:
    """Return the mean, NaN of nothing, and the sample's standard deviation, NaN below two values."""
    mean = float(np.mean(values)) if values else np.nan
    return mean, float(np.std(values, ddof=1)) if len(values) > 1 else np.nan


def _cell(
    task: str, backbone: str, split: str, method: str, metric: str, runs: Sequence[RunResult], paper: bool
) -> _Cell:
    values = [run.metrics.get(split, {}).get(metric) for run in runs]
    theirs = (published(task, split, method, metric) or (np.nan, np.nan)) if paper else None
    return _Cell(task, backbone, split, method, metric, tuple(v for v in values if v is not None), theirs)


@dataclass(frozen=True)
class _Row:
    backbone: str
    name: str
    cells: list[_Cell]


def _table_of_tasks(kinds: dict[tuple[str, str], _Groups], metric: str | None, paper: bool) -> ResultTable:
    """Return the layout of Tables 8 and 16."""
    methods = in_order(name for found in kinds.values() for name in found)
    rows = []
    for (task, backbone), found in kinds.items():
        runs = runs_of(found)
        own, split = metric or own_metric(runs), reported_splits(runs)[0]
        cells = [_cell(task, backbone, split, name, own, found.get(name, ()), paper) for name in methods]
        rows.append(_Row(backbone, task_in_print(task, own, metric, split), cells))
    return _table("task", [method_in_print(name) for name in methods], rows, "", paper)


def _table_of_shifts(task: str, kinds: dict[str, _Groups], metric: str | None, paper: bool) -> ResultTable:
    """Return the layout of Table 10."""
    runs = [run for found in kinds.values() for run in runs_of(found)]
    own, splits = metric or own_metric(runs), reported_splits(runs)
    rows = [
        _Row(backbone, method_in_print(name), [_cell(task, backbone, s, name, own, members, paper) for s in splits])
        for backbone, found in kinds.items()
        for name, members in found.items()
    ]
    in_distribution = f"{task} (ID)" if splits[0] == "test" else f"{task} (ID, {splits[0]})"
    return _table("method", [in_distribution, *splits[1:]], rows, task, paper)


def _table(heading: str, columns: Sequence[str], rows: Sequence[_Row], trained_on: str, paper: bool) -> ResultTable:
    """Put rows together, with a column of backbones where there are several, and of seeds where these differ."""
    cells = [cell for row in rows for cell in row.cells]
    backbones = list(dict.fromkeys(row.backbone for row in rows))
    counts = {len(cell.values) for cell in cells if cell.values}

    def line(backbone: str, name: str, numbers: Iterable[str], seeds: str) -> tuple[str, ...]:
        leading, last = [backbone] if len(backbones) > 1 else [], [seeds] if len(counts) > 1 else []
        return (*leading, name, *numbers, *last)

    shown = []
    for row in rows:
        shown.append(line(row.backbone, row.name, [cell.shown for cell in row.cells], _seeds(row.cells)))
        theirs = [cell.shown_paper for cell in row.cells]
        if any(theirs):
            shown.append(line("", "paper (RoBERTa-base)", theirs, ""))
    of = [*(backbones if len(backbones) == 1 else []), *([f"trained on {trained_on}"] if trained_on else [])]
    return ResultTable(
        title=title_in_print(" ".join(of), metrics_in_print(cell.metric for cell in cells)),
        columns=line("backbone", heading, columns, "seeds"),
        rows=tuple(shown),
        notes=(_about_seeds(counts), *([_about_paper(cells, backbones)] if paper else [])),
        records=tuple(cell.as_dict() for cell in cells if cell.values or cell.shown_paper),
        names=2 if len(backbones) > 1 else 1,
    )


def _seeds(cells: Sequence[_Cell]) -> str:
    """Return how many seeds a row's cells have: one number where those that are filled agree, else each."""
    counts = [len(cell.values) for cell in cells]
    filled = {count for count in counts if count}
    return str(filled.pop()) if len(filled) == 1 else "/".join(map(str, counts))


def _about_seeds(counts: set[int]) -> str:
    if counts == {1}:
        return "one seed each, so no standard deviation"
    return f"mean ± standard deviation over {f'{counts.pop()} seeds' if len(counts) == 1 else 'the seeds'}"


def _about_paper(cells: Sequence[_Cell], backbones: Sequence[str]) -> str:
    if not any(cell.shown_paper for cell in cells):
        return "the paper has no values of these"
    note = "paper: Tomihari and Sato 2024, RoBERTa-base, 5 seeds"
    others = [backbone for backbone in backbones if backbone != _PAPERS_BACKBONE]
    return f"{note}: another backbone than {', '.join(others)}" if others else note


def method_in_print(name: str) -> str:
    """Return a group's name with its method as the paper writes it."""
    method, space, rest = name.partition(" ")
    return _IN_PRINT.get(method, method) + space + rest


def task_in_print(task: str, metric: str, asked: str | None, split: str = "test") -> str:
    """Return a task with what else the reader of a row must know: a metric that nobody asked for, unusual rows."""
    said = [metric] * (metric not in ("accuracy", asked)) + [f"{split} rows"] * (split != "test")
    return f"{task} ({', '.join(said)})" if said else task


def title_in_print(of: str, measured: str) -> str:
    """Return a title, for runs that have nothing in common too."""
    return f"{of}: {measured}" if of else measured


def metrics_in_print(metrics: Iterable[str]) -> str:
    """Return a title for one metric, or for those of several tasks."""
    named = list(dict.fromkeys(metrics))
    if len(named) > 1:
        return "accuracy (%), or the metric (%) that a row names"
    return f"{named[0]} (%)" if named[0] in PER_CENT else named[0]


def number_in_print(value: float, metric: str, sign: str = "") -> str:
    """Return a number as tables show it: two decimals of per cent, or three digits of what is no fraction."""
    # Adding 0 turns a rounded -0 into 0.
    return f"{round(100 * value, 2) + 0.0:{sign}.2f}" if metric in PER_CENT else f"{value:{sign}.3g}"


def _shown(mean: float, deviation: float, metric: str) -> str:
    if np.isnan(mean):
        return ""
    text = number_in_print(mean, metric)
    return text if np.isnan(deviation) else f"{text}±{number_in_print(deviation, metric)}"
