"""Cells of tables, the paper's numbers beside ours, and tables made of rows of cells."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lpft_keras.report.in_print import number_in_print, title_in_print
from lpft_keras.report.published import Published
from lpft_keras.report.rendering import ResultTable

PAPERS_BACKBONE = "roberta_base_en"
_PAPER, _DIFFERENCE = "paper (RoBERTa-base)", "difference (s.d.)"


@dataclass(frozen=True)
class Cell:
    """One measure of runs that differ by their seed only.

    Attributes:
        task: Name of the task.
        backbone: Name of the backbone.
        split: Which rows.
        method: Name of the method, or of its group.
        measure: Name of the measure.
        values: One a seed.
        paper: The paper's number, None where it has none.
    """

    task: str
    backbone: str
    split: str
    method: str
    measure: str
    values: tuple[float, ...]
    paper: Published | None = None

    @property
    def mean(self) -> float:
        """Mean over the seeds, NaN of none."""
        return mean_and_deviation(self.values)[0]

    @property
    def deviation(self) -> float:
        """Standard deviation over the seeds, NaN below two."""
        return mean_and_deviation(self.values)[1]

    @property
    def difference(self) -> float:
        """Ours less the paper's, in standard deviations of the difference of two single runs.

        sqrt(s^2 + s_paper^2), of which one that is unknown counts 0; NaN where nothing is left to divide by.
        """
        if self.paper is None:
            return np.nan
        scale = np.hypot(*np.nan_to_num([self.deviation, self.paper.deviation]))
        return (self.mean - self.paper.mean) / scale if scale > 0 else np.nan

    def as_dict(self, with_paper: bool) -> dict[str, Any]:
        """Return the numbers in full precision."""
        record = {
            "task": self.task,
            "backbone": self.backbone,
            "split": self.split,
            "method": self.method,
            "metric": self.measure,
            "mean": self.mean,
            "std": self.deviation,
            "runs": len(self.values),
        }
        if not with_paper:
            return record
        mean, deviation = (self.paper.mean, self.paper.deviation) if self.paper else (np.nan, np.nan)
        table = self.paper.table if self.paper else ""
        return {
            **record,
            "paper": mean,
            "paper_std": deviation,
            "paper_table": table,
            "difference_in_std": self.difference,
        }


@dataclass(frozen=True)
class Row:
    """A row of a table: its names and its cells."""

    backbone: str
    names: tuple[str, ...]
    cells: Sequence[Cell]


def mean_and_deviation(values: Sequence[float]) -> tuple[float, float]:
    """Return the mean, NaN of nothing, and the sample's standard deviation, NaN below two values."""
    mean = float(np.mean(values)) if values else np.nan
    return mean, float(np.std(values, ddof=1)) if len(values) > 1 else np.nan


def table_of(
    title: str,
    headings: Sequence[str],
    columns: Sequence[str],
    rows: Sequence[Row],
    *,
    paper: bool = False,
    of: str = "",
    notes: Sequence[str] = (),
    seeds: bool = True,
) -> ResultTable:
    """Put rows together, with a column of backbones where there are several, and of seeds where these differ.

    Args:
        title: What was measured.
        headings: Headings of a row's names.
        columns: Headings of the cells.
        rows: The rows.
        paper: Put the paper's numbers, and how far ours are from them, below each row that it has any of.
        of: What else than the backbone stands in the title's front.
        notes: What a reader has to know beside what is said of every table.
        seeds: Whether the numbers come from seeds, which a note then counts.

    Returns:
        The table.
    """
    cells = [cell for row in rows for cell in row.cells]
    backbones = list(dict.fromkeys(row.backbone for row in rows if row.backbone))
    counts = {len(cell.values) for cell in cells if cell.values} if seeds else set()

    def line(backbone: str, names: Sequence[str], numbers: Iterable[str], own_seeds: str) -> tuple[str, ...]:
        leading, last = [backbone] if len(backbones) > 1 else [], [own_seeds] if len(counts) > 1 else []
        return (*leading, *names, *numbers, *last)

    shown = []
    for row in rows:
        shown.append(line(row.backbone, row.names, [_ours(cell) for cell in row.cells], _seeds(row.cells)))
        for name, write in ((_PAPER, _theirs), (_DIFFERENCE, _difference)) if paper else ():
            numbers = [write(cell) for cell in row.cells]
            if any(numbers):
                shown.append(line("", (name, *[""] * (len(headings) - 1)), numbers, ""))
    front = [*(backbones if len(backbones) == 1 else []), *([of] if of else [])]
    return ResultTable(
        title=title_in_print(" ".join(front), title),
        columns=line("backbone", headings, columns, "seeds"),
        rows=tuple(shown),
        notes=(*([_about_seeds(counts)] if counts else []), *notes, *(_about_paper(cells, backbones) if paper else [])),
        records=tuple(cell.as_dict(paper) for cell in cells if cell.values or (paper and cell.paper)),
        names=len(headings) + (len(backbones) > 1),
    )


def _ours(cell: Cell) -> str:
    return _spread(cell.mean, cell.deviation, cell.measure)


def _theirs(cell: Cell) -> str:
    return _spread(cell.paper.mean, cell.paper.deviation, cell.measure) if cell.paper else ""


def _difference(cell: Cell) -> str:
    if np.isnan(cell.difference):
        return ""
    if abs(cell.difference) >= 1000:  # seeds that all but agree say nothing finer
        return ">999" if cell.difference > 0 else "<-999"
    return f"{round(cell.difference, 1) + 0.0:+.1f}"


def _spread(mean: float, deviation: float, measure: str) -> str:
    if np.isnan(mean):
        return ""
    text = number_in_print(mean, measure)
    return text if np.isnan(deviation) else f"{text}±{number_in_print(deviation, measure)}"


def _seeds(cells: Sequence[Cell]) -> str:
    """Return how many seeds a row's cells have: one number where those that are filled agree, else each."""
    counts = [len(cell.values) for cell in cells]
    filled = {count for count in counts if count}
    return str(filled.pop()) if len(filled) == 1 else "/".join(map(str, counts))


def _about_seeds(counts: set[int]) -> str:
    if counts == {1}:
        return "one seed each, so no standard deviation"
    return f"mean ± standard deviation over {f'{next(iter(counts))} seeds' if len(counts) == 1 else 'the seeds'}"


def _about_paper(cells: Sequence[Cell], backbones: Sequence[str]) -> list[str]:
    if not any(cell.paper for cell in cells):
        return ["the paper has no values of these"]
    note = "paper: Tomihari and Sato 2024, RoBERTa-base, 5 seeds"
    others = [backbone for backbone in backbones if backbone != PAPERS_BACKBONE]
    told = [f"{note}: another backbone than {', '.join(others)}" if others else note]
    if any(not np.isnan(cell.difference) for cell in cells):
        told.append("difference: ours less the paper's, over the root of both variances")
    return told
