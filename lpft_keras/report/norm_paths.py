"""How the head's norm grows along the linear probe and along fine-tuning (Figures 1 and 4)."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lpft_keras.figures import new_figure
from lpft_keras.report.cells import mean_and_deviation
from lpft_keras.report.in_print import method_colour, method_in_print
from lpft_keras.results import RunResult


def norm_paths(groups: Mapping[str, Sequence[RunResult]]) -> list[dict[str, Any]]:
    """Return the head's norm and the training accuracy along training.

    Args:
        groups: Finished runs of one task and backbone by method.

    Returns:
        One mapping a method, seed, stage and step: iterations of the probe, epochs of fine-tuning (0 is the start).
    """
    return [
        {
            "method": method,
            "seed": run.summary["seed"],
            **{name: row[name] for name in ("stage", "step", "head_norm", "accuracy")},
        }
        for method, members in groups.items()
        for run in members
        for row in run.history
    ]


def plot_norm_paths(groups: Mapping[str, Sequence[RunResult]], title: str) -> Any:
    """Draw head norm and training accuracy along LP's iterations and FT's epochs, and the norms of the trained heads.

    Args:
        groups: As for `norm_paths`.
        title: The figure's title.

    Returns:
        A Matplotlib figure: one line a seed; bars are means over seeds, their whiskers standard deviations.

    Raises:
        InputError: Matplotlib is not installed.
    """
    rows = norm_paths(groups)
    figure = new_figure(9.6, 5.0)
    panels = figure.subplots(2, 3, sharex="col", gridspec_kw={"height_ratios": (1, 1)})
    probed = [row for row in rows if row["method"] == "lp"]
    tuned = [row for row in rows if row["stage"] == "fine_tune"]
    for column, own, name in ((0, probed, "iterations of LP"), (1, tuned, "epochs of fine-tuning")):
        for axes, measure in zip(panels[:, column], ("head_norm", "accuracy"), strict=True):
            _draw_paths(axes, own, measure)
            axes.xaxis.get_major_locator().set_params(integer=True)
            axes.set_visible(bool(own))
        panels[1, column].set(xlabel=name, ylim=(0, 1.03))
        panels[0, column].set(ylim=(0, 1.1 * max((row["head_norm"] for row in own), default=1)))
    panels[0, 0].set(ylabel="norm of the head")
    panels[1, 0].set(ylabel="training accuracy")
    for axes in panels[:, 2]:
        axes.remove()
    _draw_bars(figure.add_subplot(panels[0, 2].get_gridspec()[:, 2]), groups)
    known = {
        label: line for axes in panels[0, :2] for line, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    figure.legend(known.values(), known.keys(), loc="outside lower center", ncols=5, frameon=False, fontsize="small")
    figure.suptitle(title, fontsize="medium")
    return figure


def _draw_paths(axes: Any, rows: Sequence[Mapping[str, Any]], measure: str) -> None:
    for method, seed in dict.fromkeys((row["method"], row["seed"]) for row in rows):
        own = [row for row in rows if (row["method"], row["seed"]) == (method, seed) and not np.isnan(row[measure])]
        x, y = [row["step"] for row in own], [row[measure] for row in own]
        label = method_in_print(method)
        axes.plot(x, y, color=method_colour(method), label=label, marker="o", markersize=2, linewidth=1.1, alpha=0.8)


def _draw_bars(axes: Any, groups: Mapping[str, Sequence[RunResult]]) -> None:
    for place, (method, members) in enumerate(groups.items()):
        norms = [run.summary["head_norm"] for run in members]
        mean, deviation = mean_and_deviation(norms)
        spread = np.nan_to_num(deviation)
        axes.bar(place, mean, yerr=spread or None, color=method_colour(method), capsize=3)
        axes.text(place, mean + spread, f"{mean:.3g}", ha="center", va="bottom", fontsize="small")
    axes.set_xticks(range(len(groups)), [method_in_print(name) for name in groups], fontsize="small")
    axes.set(ylabel="norm of the trained head")
    axes.margins(y=0.1)
