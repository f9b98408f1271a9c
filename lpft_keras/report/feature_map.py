"""Features and rows of the head before and after training, on one map by t-SNE (Figures 5 and 6)."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.manifold import TSNE

from lpft_keras.figures import CLASS_COLOURS, as_it_is, new_figure
from lpft_keras.report.in_print import method_in_print


@dataclass(frozen=True)
class Moved:
    """What training moved, by one method.

    Attributes:
        features: Of the trained model, float array [rows, d].
        head: Rows of the trained head, one a class, float array [C, d].
        drawn: Rows of the head as it was drawn, [C, d].
    """

    features: np.ndarray
    head: np.ndarray
    drawn: np.ndarray


def feature_map(
    before: np.ndarray, moved: Mapping[str, Moved], labels: np.ndarray, seed: int = 0
) -> list[dict[str, Any]]:
    """Put features and heads of several methods on one plane, by one t-SNE, so that places can be compared.

    Args:
        before: Pre-trained features, which all methods start from, float array [rows, d].
        moved: What each method made of them.
        labels: Class ids of the rows, integers [rows].
        seed: Seed of scikit-learn's t-SNE.

    Returns:
        One mapping a point: method ("" for what all start from), kind ("feature" or "head"), state ("before" or
        "after"), class and the two coordinates.
    """
    classes = range(len(next(iter(moved.values())).head))
    parts: list[tuple[str, str, str, np.ndarray, Iterable[int]]] = [("", "feature", "before", before, labels)]
    for method, own in moved.items():
        parts += [
            (method, "feature", "after", own.features, labels),
            (method, "head", "before", own.drawn, classes),
            (method, "head", "after", own.head, classes),
        ]
    points = np.concatenate([part[3] for part in parts]).astype(np.float64)
    perplexity = min(30.0, (len(points) - 1) / 3)
    places = TSNE(perplexity=perplexity, init="pca", random_state=seed).fit_transform(points)
    names = [(*part[:3], int(label)) for part in parts for label in part[4]]
    keys = ("method", "kind", "state", "class", "x", "y")
    return [
        dict(zip(keys, (*name, float(x), float(y)), strict=True)) for name, (x, y) in zip(names, places, strict=True)
    ]


def plot_feature_map(points: Sequence[Mapping[str, Any]], classes: Sequence[str], title: str) -> Any:
    """Draw what `feature_map` gives: a panel a method, pale before and strong after training.

    Args:
        points: The points.
        classes: Names of the classes.
        title: The figure's title.

    Returns:
        A Matplotlib figure.

    Raises:
        InputError: Matplotlib is not installed.
    """
    methods = list(dict.fromkeys(point["method"] for point in points if point["method"]))
    figure = new_figure(4.2 * len(methods), 4.4)
    panels = figure.subplots(1, len(methods), squeeze=False, sharex=True, sharey=True)[0]
    for axes, method in zip(panels, methods, strict=True):
        for kind, state, style in (
            ("feature", "before", {"s": 16, "alpha": 0.35, "marker": "o"}),
            ("feature", "after", {"s": 16, "alpha": 0.95, "marker": "o"}),
            ("head", "before", {"s": 130, "alpha": 1.0, "marker": "*"}),
            ("head", "after", {"s": 130, "alpha": 1.0, "marker": "*"}),
        ):
            own = [p for p in points if p["kind"] == kind and p["state"] == state and p["method"] in ("", method)]
            colours = [CLASS_COLOURS[point["class"] % len(CLASS_COLOURS)] for point in own]
            filled = state == "after"
            axes.scatter(
                [point["x"] for point in own],
                [point["y"] for point in own],
                facecolors=colours if filled else "none",
                edgecolors="black" if filled and kind == "head" else colours,
                linewidths=0.8,
                **style,
            )
        axes.set(title=method_in_print(method), xticks=[], yticks=[])
    _legend(figure, panels[0], classes, columns=2 * len(methods))
    figure.suptitle(title, fontsize="medium")
    return figure


def _legend(figure: Any, axes: Any, classes: Sequence[str], columns: int) -> None:
    handles = [
        axes.scatter([], [], color=CLASS_COLOURS[number % len(CLASS_COLOURS)], label=name)
        for number, name in enumerate(classes)
    ]
    for marker, size, name in (("o", 20, "feature"), ("*", 90, "row of the head")):
        for filled, state in ((False, "before"), (True, "after")):
            face = "#555555" if filled else "none"
            label = f"{name}, {state}"
            handles.append(
                axes.scatter([], [], s=size, marker=marker, facecolors=face, edgecolors="#555555", label=label)
            )
    labels = [as_it_is(str(handle.get_label())) for handle in handles]
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, frameon=False, fontsize="small")
