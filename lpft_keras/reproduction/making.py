"""Finished runs and kernels in, the paper's tables and figures out."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lpft_keras.errors import InputError
from lpft_keras.exhibits import Exhibit
from lpft_keras.figures import as_it_is
from lpft_keras.kernel_results import KernelResult
from lpft_keras.methods import METHODS
from lpft_keras.models.classifier import drawn_head, get_head
from lpft_keras.ntk.plots import plot_singular_values, plot_trace_norms
from lpft_keras.ntk.statistics import singular_values, trace_norms
from lpft_keras.report import (
    ResultTable,
    calibration_table,
    feature_change_table,
    feature_map,
    head_norm_points,
    head_norm_table,
    kernel_table,
    norm_paths,
    plot_feature_map,
    plot_head_norm,
    plot_norm_paths,
    rates_table,
    representation_table,
    result_tables,
    rows_table,
)
from lpft_keras.report.cells import PAPERS_BACKBONE
from lpft_keras.report.feature_map import Moved
from lpft_keras.report.groups import groups_by_task
from lpft_keras.report.in_print import method_in_print
from lpft_keras.report.results_table import reported_splits
from lpft_keras.results import RunResult
from lpft_keras.tasks import TaskData


@dataclass(frozen=True)
class Material:
    """What an exhibit is made of.

    Attributes:
        backbones: Name of the backbone by that of the task.
        data: The rows by the name of their task; empty where they are not needed.
        runs: Finished runs.
        kernels: Computed kernels.
    """

    backbones: Mapping[str, str]
    data: Mapping[str, TaskData] = field(default_factory=dict)
    runs: Sequence[RunResult] = ()
    kernels: Sequence[KernelResult] = ()


@dataclass(frozen=True)
class Drawn:
    """A figure.

    Attributes:
        place: What tells it from others of the exhibit: task, and rows where there are several kinds.
        figure: The Matplotlib figure.
        caption: What it shows.
        records: The numbers it shows, one mapping a point, all with the same keys.
    """

    place: tuple[str, ...]
    figure: Any
    caption: str
    records: tuple[dict[str, Any], ...]


def make_tables(exhibit: Exhibit, material: Material) -> list[ResultTable]:
    """Return the tables of an exhibit.

    Args:
        exhibit: A table.
        material: What it is made of.

    Returns:
        One table, or one of each kind of task.
    """
    return _TABLES[exhibit.layout](material, exhibit.tables)


def make_figures(exhibit: Exhibit, material: Material) -> list[Drawn]:
    """Return the figures of an exhibit, one a task and backbone, and one a set of rows where it has several.

    Args:
        exhibit: A figure.
        material: What it is made of.

    Returns:
        The figures.

    Raises:
        InputError: Matplotlib is not installed.
    """
    kinds: dict[tuple[str, str], Any] = {}
    if exhibit.kernels:
        for kernel in material.kernels:
            kinds.setdefault((kernel.summary["task"], kernel.summary["backbone"]), []).append(kernel)
    else:
        kinds |= groups_by_task(material.runs)
    return [one for kind, found in kinds.items() for one in _FIGURES[exhibit.layout](exhibit, material, *kind, found)]


def _of(task: str, backbone: str, *said: str) -> str:
    whose = "" if backbone == PAPERS_BACKBONE else " (the paper: RoBERTa-base)"
    return as_it_is(", ".join([f"{task} on {backbone}{whose}", *said]))


def _norm_paths(task: str, backbone: str, found: Mapping[str, Sequence[RunResult]]) -> Drawn:
    figure = plot_norm_paths(found, _of(task, backbone))
    caption = (
        "Norm of the head and training accuracy along LP's iterations and fine-tuning's epochs, and norms at the end."
    )
    return Drawn((task,), figure, caption, tuple(norm_paths(found)))


def _feature_map(task: str, backbone: str, found: Mapping[str, Sequence[RunResult]]) -> Drawn:
    # Of one seed, so that all start from the same head.
    seeds = set.intersection(*({run.summary["seed"] for run in members} for members in found.values()))
    if not seeds:
        raise InputError(f"{', '.join(found)} of {task} have no seed in common, whose features could share a map")
    first = {m: next(run for run in members if run.summary["seed"] == min(seeds)) for m, members in found.items()}
    one = next(iter(first.values()))
    split = reported_splits([one])[0]
    moved = {}
    for method, run in first.items():
        kernel = get_head(run.model())[0]
        drawn = drawn_head(run.summary["seed"], *kernel.shape)
        moved[method] = Moved(run.features[split], kernel.T, drawn.T)
    points = feature_map(one.pretrained_features[split], moved, one.predictions[split]["labels"])
    said = f"{split} rows, seed {one.summary['seed']}"
    figure = plot_feature_map(points, one.config["labels"], _of(task, backbone, said))
    caption = f"t-SNE of the features of the {split} rows and of the head's rows, before and after training."
    return Drawn((task,), figure, caption, tuple(points))


def _head_scales(exhibit: Exhibit, task: str, backbone: str, found: Mapping[str, Sequence[RunResult]]) -> list[Drawn]:
    runs = [run for members in found.values() for run in members]
    there = reported_splits(runs)
    splits = [split for split in exhibit.splits if split in there]
    if not splits:
        # Another task has shifted sets of its own, where it has any.
        out_of_distribution = "test" not in exhibit.splits and exhibit.splits
        splits = (there[1:] if out_of_distribution else []) or there[:1]
    drawn = []
    for split in splits:
        points = head_norm_points(runs, split)
        figure = plot_head_norm(points, _of(task, backbone, f"{split} rows"))
        caption = (
            f"Feature change of the {split} rows in fine-tuning against what the head was multiplied by before, and "
            "against its norm then; bands are standard errors."
        )
        drawn.append(Drawn((task, *([split] if len(splits) > 1 else [])), figure, caption, tuple(map(vars, points))))
    return drawn


def _parts(kernels: Sequence[KernelResult]) -> dict[str, np.ndarray]:
    """Return P, which all share, and each method's F on the training rows, of the first seed."""
    first: dict[str, KernelResult] = {}
    for kernel in kernels:
        first.setdefault(kernel.summary["method"], kernel)
    trained = {method: kernel.kernels["train"] for method, kernel in first.items()}
    parts = {"Pre-train E": next(iter(trained.values())).pretrain}
    return parts | {_ft_part(method): kernel.finetune for method, kernel in trained.items()}


def _ft_part(method: str) -> str:
    return f"FT E, {method_in_print(method)}"


def _singular_values(task: str, backbone: str, kernels: Sequence[KernelResult]) -> Drawn:
    parts = _parts(kernels)
    figure = plot_singular_values(parts, {_ft_part(name): method.colour for name, method in METHODS.items()})
    figure.suptitle(_of(task, backbone), fontsize="medium")
    records = [
        {"kernel": name, "index": index, "singular_value": float(value)}
        for name, part in parts.items()
        for index, value in enumerate(singular_values(part), start=1)
    ]
    caption = "Singular values of the kernels on the training rows, over the greatest."
    return Drawn((task,), figure, caption, tuple(records))


def _trace_norms(task: str, backbone: str, kernels: Sequence[KernelResult], classes: Sequence[str]) -> Drawn:
    parts = _parts(kernels)
    labels = kernels[0].rows["train"]["labels"]
    figure = plot_trace_norms(parts, labels, labels, classes)
    figure.suptitle(_of(task, backbone), fontsize="medium")
    records = []
    for name, part in parts.items():
        norms = trace_norms(part)
        for row in np.unique(labels).tolist():
            for column in np.unique(labels).tolist():
                mean = float(norms[np.ix_(labels == row, labels == column)].mean())
                records.append({"kernel": name, "class": row, "other_class": column, "mean_trace_norm": mean})
    caption = "Trace norm of each block of the kernels on the training rows, examples of a class side by side."
    return Drawn((task,), figure, caption, tuple(records))


_TABLES: dict[str, Callable[[Material, tuple[int, ...]], list[ResultTable]]] = {
    "rates": lambda material, papers: [rates_table(list(material.backbones.items()), papers)],
    "rows": lambda material, papers: [rows_table(material.data, papers)],
    "kernels": lambda material, papers: [kernel_table([one.summary for one in material.kernels], papers)],
    "results": lambda material, papers: result_tables(material.runs, paper=True),
    "representation": lambda material, papers: [representation_table(material.runs, papers)],
    "calibration": lambda material, papers: [calibration_table(material.runs, papers)],
    "feature_change": lambda material, papers: [feature_change_table(material.runs, papers)],
    "head_norm": lambda material, papers: [head_norm_table(material.runs, papers)],
}
# Of a task, a backbone, and their runs by method, or their kernels.
_FIGURES: dict[str, Callable[..., list[Drawn]]] = {
    "norm_paths": lambda exhibit, material, *own: [_norm_paths(*own)],
    "feature_map": lambda exhibit, material, *own: [_feature_map(*own)],
    "head_scale": lambda exhibit, material, *own: _head_scales(exhibit, *own),
    "singular_values": lambda exhibit, material, *own: [_singular_values(*own)],
    "trace_norms": lambda exhibit, material, task, backbone, kernels: [
        _trace_norms(task, backbone, kernels, material.data[task].labels)
    ],
}
