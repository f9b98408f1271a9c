"""Reliability diagrams before and after temperature scaling, and the numbers beside them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lpft_keras.calibration import reliability_bins
from lpft_keras.page.plots import Axis, Plot
from lpft_keras.page.section import Group, Section
from lpft_keras.page.words import spread, with_unit
from lpft_keras.report import Scored, mean_and_deviation

_SIZE, _HEIGHT = 180, 214
_LEFT, _RIGHT, _TOP, _BOTTOM = 28, 174, 8, 154
_HISTOGRAM = (159, 181)  # top and bottom of the bars of how many rows there are

Cell = tuple[str, str]
"""Mean and standard deviation as shown."""


@dataclass(frozen=True)
class Reliability:
    """One method on one set of rows.

    Attributes:
        title: The method.
        temperature: The fitted temperature over the seeds.
        measures: By "ece", "mce" and "nll": before and after.
        diagrams: The diagrams, all seeds' rows together, by "before" and "after".
    """

    title: str
    temperature: Cell
    measures: dict[str, tuple[Cell, Cell]]
    diagrams: dict[str, Plot]


def reliability(section: Section, split: str) -> list[Reliability]:
    """Return what temperature scaling does to each method on one set of rows."""
    found = []
    for group in section.groups:
        known = [scored for scored in (section.scored(run, split) for run in group.runs) if scored is not None]
        if known:
            found.append(_of_group(group, split, known))
    return found


def _of_group(group: Group, split: str, scored: Sequence[Scored]) -> Reliability:
    measured = [one.measures() for one in scored]

    def cell(when: str, metric: str) -> Cell:
        return spread([one[when][metric] for one in measured], metric)

    metrics = ("ece", "mce", "nll")
    diagrams = {}
    for when in ("before", "after"):
        error = mean_and_deviation([one[when]["ece"] for one in measured])[0]
        label = f"{group.title}, {split} rows, {when} temperature scaling: ECE {with_unit(error, 'ece')}"
        diagrams[when] = _diagram(label, [getattr(one, when) for one in scored], [one.labels for one in scored])
    return Reliability(
        group.title,
        spread([one.temperature for one in scored if one.temperature is not None], "temperature"),
        {metric: (cell("before", metric), cell("after", metric)) for metric in metrics},
        diagrams,
    )


def _diagram(label: str, probabilities: list[np.ndarray], labels: list[np.ndarray]) -> Plot:
    bins = reliability_bins(np.concatenate(probabilities), np.concatenate(labels))
    x, y = Axis(0, 1, _LEFT, _RIGHT, (0, 0.5, 1)), Axis(0, 1, _BOTTOM, _TOP, (0, 0.5, 1))
    plot = Plot(label, x, y, "confidence", _SIZE, _HEIGHT)
    plot.x_ticks, plot.y_ticks = x.ticks(), y.ticks()
    held = bins.filled
    shares = bins.count / bins.count.sum()
    rows = Axis(0, float(shares.max()), _HISTOGRAM[1], _HISTOGRAM[0])
    counts = Plot("", x, rows, "", _SIZE, _HEIGHT)
    for number in np.flatnonzero(held):
        left, right = bins.edges[number], bins.edges[number + 1]
        accuracy, confidence = bins.accuracy[number], bins.confidence[number]
        plot.bar(left + 0.004, right - 0.004, 0, accuracy, "hits")
        middle = (left + right) / 2
        plot.line([middle, middle], [accuracy, confidence], "gap")
        plot.line([left + 0.006, right - 0.006], [confidence, confidence], "sure")
        counts.bar(left + 0.004, right - 0.004, 0, shares[number], "rows")
    plot.line([0, 1], [0, 1], "ideal")
    plot.bars += counts.bars
    return plot
