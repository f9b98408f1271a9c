"""Figures of kernels, as Matplotlib figures."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lpft_keras.figures import as_it_is, new_figure
from lpft_keras.ntk.statistics import by_class, singular_values, trace_norms


def plot_singular_values(kernels: Mapping[str, np.ndarray], colours: Mapping[str, str] | None = None) -> Any:
    """Draw normalised singular values, greatest first, on a logarithmic scale (Figures 2 and 7).

    Args:
        kernels: Arrays of shape [N1, C, N2, C] by the name that the legend shows.
        colours: Colours by the same names; None, or where a name is missing, takes Matplotlib's.

    Returns:
        A Matplotlib figure.

    Raises:
        InputError: Matplotlib is not installed.
    """
    figure = new_figure(5.0, 3.6)
    axes = figure.subplots()
    for name, kernel in kernels.items():
        values = singular_values(kernel, normalized=True)
        axes.semilogy(
            np.arange(1, len(values) + 1), values.clip(min=1e-12), label=name, color=(colours or {}).get(name)
        )
    axes.set(xlabel="index", ylabel="singular value / greatest", ylim=(1e-9, 2))
    axes.legend(frameon=False)
    return figure


def plot_trace_norms(
    kernels: Mapping[str, np.ndarray], rows: np.ndarray, columns: np.ndarray, classes: Sequence[str] | None = None
) -> Any:
    """Draw the nuclear norm of each C x C block, examples of a class side by side (Figures 8 and 9).

    Args:
        kernels: Arrays of shape [N1, C, N2, C] by the title of their panel.
        rows: Labels of the N1 examples.
        columns: Labels of the N2 examples.
        classes: Names of the classes; None takes their numbers.

    Returns:
        A Matplotlib figure, one panel a kernel, each with a scale of its own.

    Raises:
        InputError: Matplotlib is not installed.
    """
    figure = new_figure(3.4 * len(kernels), 3.2)
    panels = figure.subplots(1, len(kernels), squeeze=False)[0]
    for axes, (name, kernel) in zip(panels, kernels.items(), strict=True):
        image = axes.imshow(by_class(trace_norms(kernel), rows, columns), cmap="viridis", aspect="auto")
        figure.colorbar(image, ax=axes, shrink=0.8)
        for labels, line in ((columns, axes.axvline), (rows, axes.axhline)):
            for edge in np.cumsum(np.unique(labels, return_counts=True)[1])[:-1]:
                line(edge - 0.5, color="white", linewidth=0.8)
        for labels, ticks in ((columns, axes.set_xticks), (rows, axes.set_yticks)):
            present, counts = np.unique(labels, return_counts=True)
            names = [str(label) if classes is None else as_it_is(classes[label]) for label in present]
            ticks(np.cumsum(counts) - counts / 2 - 0.5, names, fontsize="x-small")
        axes.tick_params(length=0)
        axes.set_yticks(axes.get_yticks(), axes.get_yticklabels(), rotation=90, va="center")
        axes.set(title=name)
    return figure
