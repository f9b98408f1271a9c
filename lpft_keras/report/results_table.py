"""Mean and standard deviation over seeds, in the layout of the paper's Tables 8, 10 and 16."""

from collections.abc import Sequence

from lpft_keras.errors import InputError, unknown_name
from lpft_keras.report.cells import Cell, Row, table_of
from lpft_keras.report.groups import groups_by_task, in_order
from lpft_keras.report.in_print import method_in_print, metrics_in_print, task_in_print
from lpft_keras.report.published import published
from lpft_keras.report.rendering import ResultTable
from lpft_keras.results import RunResult

_Groups = dict[str, list[RunResult]]


def result_tables(results: Sequence[RunResult], metric: str | None = None, paper: bool = False) -> list[ResultTable]:
    """Return the paper's tables of results, made of runs of any tasks, backbones, methods and settings.

    Runs that differ by their seed only are one cell: mean and standard deviation (of a sample, `ddof=1`). Tasks without
    shifted sets share a table, a task a row and a method a column (Tables 8 and 16); a task with shifted sets has its
    own, a method a row and a set of rows a column (Table 10).

    Args:
        results: Finished runs, each named once.
        metric: A key of the runs' metrics, for example "ece"; None takes each task's own, named in the row where it is
            not accuracy.
        paper: Put the paper's values below ours, and how far ours are from them in standard deviations. They are of
            RoBERTa-base; a note says so where ours are not.

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


def _cell(
    task: str, backbone: str, split: str, method: str, metric: str, runs: Sequence[RunResult], paper: bool
) -> Cell:
    values = [run.metrics.get(split, {}).get(metric) for run in runs]
    theirs = published(task, split, method, metric) if paper else None
    return Cell(task, backbone, split, method, metric, tuple(v for v in values if v is not None), theirs)


def _table_of_tasks(kinds: dict[tuple[str, str], _Groups], metric: str | None, paper: bool) -> ResultTable:
    """Return the layout of Tables 8 and 16."""
    methods = in_order(name for found in kinds.values() for name in found)
    rows = []
    for (task, backbone), found in kinds.items():
        runs = runs_of(found)
        own, split = metric or own_metric(runs), reported_splits(runs)[0]
        cells = [_cell(task, backbone, split, name, own, found.get(name, ()), paper) for name in methods]
        rows.append(Row(backbone, (task_in_print(task, own, metric, split),), cells))
    title = metrics_in_print(cell.measure for row in rows for cell in row.cells)
    return table_of(title, ["task"], [method_in_print(name) for name in methods], rows, paper=paper)


def _table_of_shifts(task: str, kinds: dict[str, _Groups], metric: str | None, paper: bool) -> ResultTable:
    """Return the layout of Table 10."""
    runs = [run for found in kinds.values() for run in runs_of(found)]
    own, splits = metric or own_metric(runs), reported_splits(runs)
    rows = [
        Row(backbone, (method_in_print(name),), [_cell(task, backbone, s, name, own, members, paper) for s in splits])
        for backbone, found in kinds.items()
        for name, members in found.items()
    ]
    in_distribution = f"{task} (ID)" if splits[0] == "test" else f"{task} (ID, {splits[0]})"
    title = metrics_in_print(cell.measure for row in rows for cell in row.cells)
    return table_of(title, ["method"], [in_distribution, *splits[1:]], rows, paper=paper, of=f"trained on {task}")
