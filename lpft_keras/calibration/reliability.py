"""Reliability diagrams."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lpft_keras.arrays import real_number, whole_number
from lpft_keras.calibration.bins import Bins, bin_edges, fill
from lpft_keras.calibration.inputs import top_label
from lpft_keras.errors import InputError
from lpft_keras.figures import new_figure

_ACCURACY, _GAP, _BAND = "#4477aa", "#cc6677", "#222222"
_FEW = 5
"""Bins of fewer rows are drawn pale: their accuracy says little, and a bootstrap of equal rows shows no doubt."""


@dataclass
class ReliabilityDisplay:
    """A reliability diagram: accuracy over confidence, with the gap, a bootstrap band and the confidences' histogram.

    Make one by `from_predictions`, or several side by side by `compare`. A bin without rows is drawn empty: no bar,
    no gap, no band.

    Attributes:
        bins: What each bin holds.
        band: Lower and upper end of each bin's accuracy over the resamples, float64 [2, bins], NaN in empty bins;
            None where none were drawn.
        level: Probability that the band is meant to cover, bin by bin.
        name: Title of the panel.
        figure_: The figure, after `plot`.
        axes_: The diagram's and the histogram's axes, after `plot`.
    """

    bins: Bins
    band: np.ndarray | None = None
    level: float = 0.95
    name: str | None = None
    figure_: Any = field(default=None, init=False, repr=False)
    axes_: Any = field(default=None, init=False, repr=False)

    @classmethod
    def from_predictions(
        cls,
        probabilities: Any,
        labels: Any,
        bins: int = 15,
        *,
        strategy: str = "uniform",
        name: str | None = None,
        resamples: int = 1000,
        level: float = 0.95,
        seed: int = 0,
    ) -> "ReliabilityDisplay":
        """Sort predictions into bins; `plot` draws them.

        Args:
            probabilities: Float array of shape [rows, classes]; each row sums to 1.
            labels: Integer array of shape [rows].
            bins: Number of bins of the top label's probability.
            strategy: "uniform" for equal width, "quantile" for equally many rows.
            name: Title of the panel.
            resamples: Resamples of the bootstrap band; 0 for none.
            level: Probability that the band is meant to cover, bin by bin.
            seed: Seed of the resamples.

        Returns:
            The display.

        Raises:
            InputError: An argument is wrong.

        Example:
            >>> ReliabilityDisplay.from_predictions(probabilities, labels).plot().figure_.savefig("reliability.png")
        """
        whole_number(bins, "bins")
        resamples, level = whole_number(resamples, "resamples", 0), real_number(level, "level", 0, 1)
        confidence, correct = top_label(probabilities, labels)
        edges = bin_edges(bins, strategy, confidence)
        band = _band(confidence, correct, edges, resamples, level, seed) if resamples else None
        return cls(fill(confidence, correct, edges), band, level, name)

    @classmethod
    def compare(cls, panels: Mapping[str, Any], labels: Any, bins: int = 15, **options: Any) -> Any:
        """Draw several predictions of the same rows side by side, such as before and after scaling.

        Args:
            panels: Probabilities [rows, classes] by the title of their panel.
            labels: Integer array of shape [rows].
            bins: Number of bins.
            **options: As for `from_predictions`.

        Returns:
            A Matplotlib figure.

        Raises:
            InputError: An argument is wrong, or Matplotlib is not installed.

        Example:
            >>> ReliabilityDisplay.compare({"before": p, "after": scaling.predict_proba(f)}, labels).savefig("both.pdf")
        """
        if not panels:
            raise InputError("panels hold nothing to compare")
        displays = [cls.from_predictions(p, labels, bins, name=name, **options) for name, p in panels.items()]
        figure = _figure(len(displays))
        grid = figure.subplots(2, len(displays), sharex=True, sharey="row", squeeze=False, height_ratios=(3, 1))
        for column, display in enumerate(displays):
            display.plot(grid[:, column])
            if column:
                for axes in grid[:, column]:
                    axes.set_ylabel("")
        _legend(figure, grid[:, 0], columns=3 if len(displays) > 1 else 2)
        return figure

    def plot(self, axes: Any = None) -> "ReliabilityDisplay":
        """Draw the diagram and the histogram below it.

        Args:
            axes: Two Matplotlib axes, for diagram and histogram, without a legend; None makes a figure with one.

        Returns:
            This display, with `figure_` and `axes_`.

        Raises:
            InputError: Matplotlib is not installed.
        """
        if axes is None:
            figure = _figure(1)
            self.plot(figure.subplots(2, 1, sharex=True, height_ratios=(3, 1)))
            _legend(figure, self.axes_, columns=2)
            return self
        diagram, histogram = axes
        self._draw_diagram(diagram)
        self._draw_histogram(histogram)
        self.figure_, self.axes_ = diagram.figure, (diagram, histogram)
        return self

    def _bars(self) -> tuple[np.ndarray, dict[str, Any]]:
        """Return where the filled bins' bars start, and how they are drawn."""
        left, width = self.bins.edges[:-1], np.diff(self.bins.edges)
        filled = self.bins.filled
        return left[filled], {"width": width[filled], "align": "edge", "edgecolor": "white", "linewidth": 0.6}

    def _draw_diagram(self, diagram: Any) -> None:
        from matplotlib.colors import to_rgba

        held, filled = self.bins, self.bins.filled
        left, bars = self._bars()
        accuracy, confidence = held.accuracy[filled], held.confidence[filled]
        few = held.count[filled] < _FEW
        drawn = diagram.bar(left, accuracy, color=_ACCURACY, **bars)
        gaps = diagram.bar(
            left,
            confidence - accuracy,
            bottom=accuracy,
            **bars | {"color": to_rgba(_GAP, 0.3), "hatch": "////", "edgecolor": _GAP},
        )
        for bar, gap, pale, under in zip(drawn, gaps, few, accuracy > confidence, strict=True):
            if pale:
                bar.set_facecolor(to_rgba(_ACCURACY, 0.4))
            if under:  # the gap lies on the bar, whose colour stays seen
                gap.set_facecolor("none")
        # The legend's bars, whatever colour the first bins have.
        diagram.bar([0], [0], color=_ACCURACY, label="accuracy")
        if few.any():
            diagram.bar([0], [0], color=to_rgba(_ACCURACY, 0.4), label=f"accuracy, fewer than {_FEW} rows")
        diagram.bar([0], [0], color=to_rgba(_GAP, 0.3), hatch="////", edgecolor=_GAP, label="gap to confidence")
        if self.band is not None:
            low, high = self.band[:, filled]
            width = bars["width"]
            middle = left + width / 2
            diagram.vlines(
                middle, low, high, color=_BAND, linewidth=1.1, label=f"bootstrap, {100 * self.level:g} %", zorder=3
            )
            for end in (low, high):
                diagram.hlines(end, middle - width / 5, middle + width / 5, color=_BAND, linewidth=1.1, zorder=3)
        diagram.plot([0, 1], [0, 1], color="#555555", linestyle="--", linewidth=0.9, zorder=2, label="as sure as right")
        diagram.set(xlim=(0, 1), ylim=(0, 1), title=self.name or "")
        diagram.text(
            0.03,
            0.97,
            f"ECE {100 * held.expected_error:.1f} %\nMCE {100 * held.maximum_error:.1f} %",
            transform=diagram.transAxes,
            ha="left",
            va="top",
            zorder=5,
            bbox={"facecolor": "white", "edgecolor": "#bbbbbb", "boxstyle": "round,pad=0.3", "alpha": 0.9},
        )
        diagram.set(ylabel="accuracy")

    def _draw_histogram(self, histogram: Any) -> None:
        held, filled = self.bins, self.bins.filled
        left, bars = self._bars()
        histogram.bar(left, held.shares, color="#999999", **bars)
        for value, line, label in (
            (held.shares @ held.accuracy[filled], "-", "accuracy of all rows"),
            (held.shares @ held.confidence[filled], ":", "mean confidence"),
        ):
            colour = _ACCURACY if line == "-" else _GAP
            histogram.axvline(value, color=colour, linestyle=line, linewidth=1.8, label=label)
        ticks = np.linspace(0, 1, 6)
        histogram.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        histogram.set(xlabel="confidence", ylabel="share of rows", ylim=(0, None))


def _band(
    confidence: np.ndarray, correct: np.ndarray, edges: np.ndarray, resamples: int, level: float, seed: int
) -> np.ndarray:
    """Return the quantiles of each bin's accuracy over resamples of all rows."""
    which = np.searchsorted(edges[1:-1], confidence, side="left")
    size = len(edges) - 1
    # Hits and misses of each bin are all that a resample can change.
    counts = np.bincount(2 * which + correct, minlength=2 * size)
    drawn = np.random.default_rng(seed).multinomial(len(confidence), counts / len(confidence), resamples)
    misses, hits = drawn[:, 0::2], drawn[:, 1::2]
    with np.errstate(invalid="ignore"):
        accuracy = hits / (hits + misses)
    ends = np.full((2, size), np.nan)
    for number in np.flatnonzero(np.isfinite(accuracy).any(axis=0)):
        ends[:, number] = np.nanquantile(accuracy[:, number], [(1 - level) / 2, (1 + level) / 2])
    return ends


def _legend(figure: Any, axes: Sequence[Any], columns: int) -> None:
    """Put one legend of all that is drawn below the panels, where no bar can be."""
    found = [part for one in axes for part in zip(*one.get_legend_handles_labels(), strict=True)]
    known = {label: handle for handle, label in found}
    figure.legend(
        known.values(), known.keys(), loc="outside lower center", ncols=columns, frameon=False, fontsize="small"
    )


def _figure(panels: int) -> Any:
    return new_figure(0.6 + 3.4 * panels, 5.0)
