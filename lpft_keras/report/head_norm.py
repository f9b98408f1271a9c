"""How the head's norm before fine-tuning drives how far the features move (Figures 3, 10 and 11)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from lpft_keras.figures import new_figure
from lpft_keras.methods import fine_tuning
from lpft_keras.report.in_print import method_colour, method_in_print
from lpft_keras.results import RunResult


@dataclass(frozen=True)
class HeadNormPoint:
    """Runs of one method and scale, over their seeds.

    Attributes:
        method: Name of the method.
        scale: What the head was multiplied by.
        runs: How many there are.
        start_head_norm: Norm of the head at the start of fine-tuning, mean.
        feature_change: Mean distance of the features from the pre-trained ones, mean.
        standard_error: Standard error of the mean of `feature_change`, NaN for one run.
        accuracy: Mean.
    """

    method: str
    scale: float
    runs: int
    start_head_norm: float
    feature_change: float
    standard_error: float
    accuracy: float


def head_norm_points(results: Sequence[RunResult], split: str = "test") -> list[HeadNormPoint]:
    """Read the head-norm experiment off its runs.

    Args:
        results: Runs of one task and backbone with several head scales; methods without fine-tuning are left out.
        split: The rows whose features are compared; the validation rows where a run has no others.

    Returns:
        One point a method and scale, scales rising.
    """
    held: dict[tuple[str, float], list[RunResult]] = {}
    for result in results:
        if fine_tuning(result.summary["method"]) is not None:
            key = result.summary["method"], float(result.config["settings"]["head_scale"])
            held.setdefault(key, []).append(result)
    order = list(dict.fromkeys(method for method, _ in held))
    return [
        _point(method, scale, held[method, scale], split)
        for method, scale in sorted(held, key=lambda key: (order.index(key[0]), key[1]))
    ]


def _point(method: str, scale: float, results: Sequence[RunResult], split: str) -> HeadNormPoint:
    norms = [result.start_head_norm for result in results]
    # A task without test rows is measured on its validation rows.
    metrics = [result.metrics.get(split, result.metrics["validation"]) for result in results]
    changes = np.array([measured["feature_change"] for measured in metrics])
    error = changes.std(ddof=1) / np.sqrt(len(changes)) if len(changes) > 1 else np.nan
    return HeadNormPoint(
        method,
        scale,
        len(results),
        float(np.mean(norms)),
        float(changes.mean()),
        float(error),
        float(np.mean([measured["accuracy"] for measured in metrics])),
    )


def trends(points: Sequence[HeadNormPoint]) -> dict[str, float]:
    """Return how feature change goes with the head's norm: Spearman's rank correlation, by method.

    Args:
        points: The points.

    Returns:
        -1 where feature change falls with each greater norm, as the paper's theory has it, 1 where it rises with each;
        methods with fewer than three scales are left out.
    """
    found = {}
    for method in dict.fromkeys(point.method for point in points):
        own = [point for point in points if point.method == method]
        if len(own) > 2:
            correlation = spearmanr([p.start_head_norm for p in own], [p.feature_change for p in own]).statistic
            found[method] = float(correlation)
    return found


def plot_head_norm(points: Sequence[HeadNormPoint], title: str = "") -> Any:
    """Draw feature change against the head's scale and against its norm, with standard-error bands.

    Args:
        points: What `head_norm_points` gives.
        title: The figure's title.

    Returns:
        A Matplotlib figure of two panels.

    Raises:
        InputError: Matplotlib is not installed.
    """
    figure = new_figure(7.6, 3.4)
    left, right = figure.subplots(1, 2, sharey=True)
    for axes, name in ((left, "scale"), (right, "start_head_norm")):
        for method in dict.fromkeys(point.method for point in points):
            own = sorted((point for point in points if point.method == method), key=lambda p: getattr(p, name))
            x = [getattr(point, name) for point in own]
            change = np.array([point.feature_change for point in own])
            error = np.nan_to_num([point.standard_error for point in own])
            colour = method_colour(method) or "#555555"
            axes.plot(x, change, marker="o", markersize=3.5, color=colour, label=method_in_print(method))
            axes.fill_between(x, change - error, change + error, color=colour, alpha=0.2, linewidth=0)
        axes.set_xscale("log")
        axes.set_ylim(bottom=0)
    runs = sorted({point.runs for point in points})
    seeds = f"{runs[0]} to {runs[-1]} runs a point" if len(runs) > 1 else f"{runs[0]} run{'s' * (runs[0] > 1)} a point"
    left.set(xlabel="scale of the head", ylabel="feature change (mean distance)")
    right.set(xlabel="norm of the head before fine-tuning")
    figure.legend(*left.get_legend_handles_labels(), loc="outside right center", frameon=False)
    figure.suptitle(f"{title}, {seeds}", fontsize="medium")
    return figure
