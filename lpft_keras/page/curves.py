"""Learning curves of each method, on axes that all methods of a section share."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from lpft_keras.page.plots import Axis, Plot
from lpft_keras.page.section import Group, Section
from lpft_keras.page.words import counted

_WIDTH, _HEIGHT = 320, 190
_LEFT, _RIGHT, _TOP, _BOTTOM = 42, 310, 10, 150

_MEASURES = (
    ("loss", "loss (nats)", (("loss", "train"), ("validation_loss", "validation")), 1),
    ("accuracy", "accuracy (%)", (("accuracy", "train"), ("validation_accuracy", "validation")), 100),
    ("head norm", "norm of the head", (("head_norm", "head"),), 1),
)


@dataclass(frozen=True)
class Curves:
    """The curves of one method and stage.

    Attributes:
        title: The method, and the stage where it is that of the probe.
        steps: What the horizontal axis counts: "epoch" or "iteration".
        plots: Loss, accuracy and norm of the head, by their title.
    """

    title: str
    steps: str
    plots: dict[str, Plot]


def curves(section: Section) -> list[Curves]:
    """Return the curves of all methods of a section.

    Methods whose probes are the same, as those that begin with one on the same features, share its curves.
    """
    probes: list[tuple[list[str], list[list[dict[str, Any]]]]] = []
    for group in section.groups:
        runs = _stage(group, "linear_probe")
        titles = next((titles for titles, known in probes if known == runs), None)
        if titles is not None:
            titles.append(group.title)
        elif runs:
            probes.append(([group.title], runs))
    found = [(_probe_title(titles), "iteration", runs) for titles, runs in probes]
    tuned = [(group, _stage(group, "fine_tune")) for group in section.groups]
    epochs = [(group.title, "epoch", runs) for group, runs in tuned if runs]
    drawn = []
    for kind in (found, epochs):
        axes = {name: _axis([run for _, _, runs in kind for run in runs], columns) for name, _, columns, _ in _MEASURES}
        longest = max((row["step"] for _, _, runs in kind for run in runs for row in run), default=1)
        for title, steps, runs in kind:
            drawn.append(Curves(title, steps, _plots(title, steps, runs, axes, longest, section)))
    return drawn


def _probe_title(both: list[str]) -> str:
    return "Linear probe of " + (", ".join(both[:-1]) + " and " + both[-1] if len(both) > 1 else both[0])


def _stage(group: Group, stage: str) -> list[list[dict[str, Any]]]:
    """Return the rows of a stage of each run that has it."""
    runs = [[row for row in history if row["stage"] == stage] for history in group.history]
    return [rows for rows in runs if rows]


def _axis(runs: list[list[dict[str, Any]]], columns: tuple[tuple[str, str], ...]) -> Axis:
    values = [row[column] for run in runs for row in run for column, _ in columns]
    return Axis.over(values, _BOTTOM, _TOP, zero=columns[0][0] != "accuracy")


def _plots(
    title: str, steps: str, runs: list[list[dict[str, Any]]], axes: dict[str, Axis], longest: int, section: Section
) -> dict[str, Plot]:
    first = min(row["step"] for run in runs for row in run)
    plots = {}
    for name, heading, columns, factor in _MEASURES:
        x = Axis.over([first, longest], _LEFT, _RIGHT, about=5, whole=True)
        x = Axis(first, max(longest, first + 1), _LEFT, _RIGHT, tuple(v for v in x.values if first <= v <= longest))
        plot = Plot(_spoken(title, heading, steps, runs, columns), x, axes[name], steps, _WIDTH, _HEIGHT)
        plot.x_ticks, plot.y_ticks = x.ticks(), axes[name].ticks(factor)
        for run in runs:
            for column, kind in columns:
                plot.line([row["step"] for row in run], [row[column] for row in run], kind)
            if name == "accuracy" and steps == "epoch" and section.metric == "accuracy":
                step, best = _kept(run)
                plot.dot(step, best, "kept")
        plots[heading] = plot
    return plots


def _kept(run: list[dict[str, Any]]) -> tuple[float, float]:
    """Return the epoch that was kept where accuracy chose it: the first of the best, the start apart."""
    epochs = [row for row in run if row["step"] > 0] or run
    best = max(epochs, key=lambda row: np.nan_to_num(row["validation_accuracy"], nan=-1))
    return best["step"], best["validation_accuracy"]


def _spoken(
    title: str, heading: str, steps: str, runs: list[list[dict[str, Any]]], columns: tuple[tuple[str, str], ...]
) -> str:
    said = []
    for column, kind in columns:
        ends = [(run[0][column], run[-1][column]) for run in runs]
        first, last = (float(np.mean([pair[which] for pair in ends])) for which in (0, 1))
        if np.isfinite([first, last]).all():
            said.append(f"{kind} from {first:.3g} to {last:.3g}")
        elif np.isfinite(last):
            said.append(f"{kind} {last:.3g} at the end")
    seeds = f", mean of {counted(len(runs), 'seed')}" if len(runs) > 1 else ""
    return f"{title}: {heading} by {steps}; {', '.join(said)}{seeds}"
