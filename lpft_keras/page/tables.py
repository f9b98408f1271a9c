"""The tables of a section: methods by metric, differences, settings, features, kernels, confusions."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.metrics import confusion_matrix

from lpft_keras.errors import InputError
from lpft_keras.methods import unused_settings
from lpft_keras.page.plots import Axis, Tick
from lpft_keras.page.section import Section
from lpft_keras.page.words import spread, unit
from lpft_keras.report import (
    Difference,
    Represented,
    mean_and_deviation,
    number_in_print,
    paired_differences,
    represent,
)
from lpft_keras.report.in_print import method_in_print
from lpft_keras.report.resampling import RESAMPLED
from lpft_keras.settings import OF_TRAINING
from lpft_keras.storage import read_json

METRICS = ("accuracy", "macro_f1", "nll", "brier", "ece", "mce")
LESS_IS_BETTER = ("nll", "brier", "ece", "mce")

_CLASSES_SHOWN = 12
"""Classes of a confusion matrix that is drawn whole; of more, the most frequent confusions are listed."""

_CONFUSIONS_LISTED = 10


@dataclass(frozen=True)
class Cell:
    """A number over the seeds as shown, and whether it is the best of its column."""

    mean: str
    deviation: str
    best: bool = False


@dataclass(frozen=True)
class Comparison:
    """The methods on one set of rows: by title, how many runs there are, and a cell for each metric."""

    split: str
    rows: int | None
    methods: dict[str, tuple[int, list[Cell]]]


def metrics_of(section: Section) -> list[str]:
    """Return what is compared: the task's own metric first."""
    return list(dict.fromkeys([section.metric, *METRICS]))


def comparisons(section: Section) -> list[Comparison]:
    """Return the methods by metric, on each set of rows that is reported, and on the validation rows at last."""
    names = list(dict.fromkeys([*section.splits, "validation"]))
    return [_comparison(section, name) for name in names if any(name in run.metrics for run in section.runs)]


def _comparison(section: Section, split: str) -> Comparison:
    metrics = metrics_of(section)
    values = {group.title: [group.values(split, metric) for metric in metrics] for group in section.groups}
    shown = {
        title: [spread(column, metric) for column, metric in zip(of, metrics, strict=True)]
        for title, of in values.items()
    }
    best: list[str | None] = []
    for number, metric in enumerate(metrics):
        means = [(mean_and_deviation(of[number])[0], title) for title, of in values.items()]
        known = [(mean, title) for mean, title in means if not math.isnan(mean)]
        choose = min if metric in LESS_IS_BETTER else max
        several = len({of[number][0] for of in shown.values()}) > 1  # where all are alike, none is best
        best.append(shown[choose(known)[1]][number][0] if known and several else None)
    methods = {
        group.title: (
            len(group.values(split, section.metric)),
            [Cell(*cell, cell[0] == best[number]) for number, cell in enumerate(shown[group.title])],
        )
        for group in section.groups
    }
    return Comparison(split, section.row_count(split), methods)


@dataclass(frozen=True)
class Strip:
    """A row of marks along an axis, places in per cent of its length.

    Attributes:
        title: What the row is of.
        marks: By name: middle, lower and upper end as places, the number as text, and what is written
            beside it.
    """

    title: str
    marks: dict[str, tuple[float, float, float, str, str]]


@dataclass(frozen=True)
class Strips:
    """Rows of marks along one axis.

    Attributes:
        rows: The rows.
        ticks: Marks of the axis.
        zero: Where 0 is, None where the axis does not hold it.
    """

    rows: list[Strip]
    ticks: list[Tick]
    zero: float | None = None


def _axis(values: Sequence[float], metric: str, zero: bool = False) -> tuple[Axis, list[Tick]]:
    axis = Axis.over([*values, *([0.0] if zero else [])], 2, 98)
    return axis, axis.ticks(100 if unit(metric) else 1)


def glance(section: Section) -> Strips | None:
    """Return the task's metric of each method on all sets of rows that are reported."""
    found = {
        group.title: {split: mean_and_deviation(group.values(split, section.metric)) for split in section.splits}
        for group in section.groups
    }
    ends = [
        value
        for of in found.values()
        for mean, sd in of.values()
        if not math.isnan(mean)
        for value in (mean - np.nan_to_num(sd), mean + np.nan_to_num(sd))
    ]
    if not ends:
        return None
    axis, ticks = _axis(ends, section.metric)
    rows = []
    for title, of in found.items():
        marks = {}
        for split, (mean, sd) in of.items():
            if math.isnan(mean):
                continue
            spreading = 0.0 if math.isnan(sd) else sd
            text = number_in_print(mean, section.metric) + (
                "" if math.isnan(sd) else f" ± {number_in_print(sd, section.metric)}"
            )
            marks[split] = (
                axis.at(mean),
                axis.at(mean - spreading),
                axis.at(mean + spreading),
                text + unit(section.metric),
                "",
            )
        rows.append(Strip(title, marks))
    return Strips(rows, ticks)


def best_group(section: Section) -> str | None:
    """Return the name of the group that is best by the task's metric on the first set of rows."""
    split = section.splits[0] if section.splits else ""
    means = [(mean_and_deviation(group.values(split, section.metric))[0], group.name) for group in section.groups]
    known = [(mean, name) for mean, name in means if not math.isnan(mean)]
    # Of equal ones the first, as the table has them.
    return max(known, key=lambda pair: pair[0])[1] if known else None


def differences(section: Section) -> tuple[list[Difference], str]:
    """Return each method less the best one with an interval, and why there are none where there are none."""
    best = best_group(section)
    if len(section.groups) < 2 or best is None:
        return [], ""
    if section.metric not in RESAMPLED:
        return [], f"{section.metric} has no paired differences"
    try:
        return paired_differences(section.runs, section.metric, best), ""
    except InputError as error:
        return [], str(error)


def difference_strips(found: Sequence[Difference], split: str) -> Strips:
    """Return the differences on one set of rows as strips."""
    own = [one for one in found if one.split == split]
    axis, ticks = _axis([end for one in own for end in (one.interval.low, one.interval.high)], own[0].metric, zero=True)
    rows = []
    for one in own:
        value, low, high = (
            number_in_print(v, one.metric, "+") for v in (one.interval.value, one.interval.low, one.interval.high)
        )
        places = (axis.at(one.interval.value), axis.at(one.interval.low), axis.at(one.interval.high))
        rows.append(Strip(method_in_print(one.method), {split: (*places, _minus(value), _minus(f"[{low}, {high}]"))}))
    return Strips(rows, ticks, axis.at(0))


def _minus(text: str) -> str:
    return text.replace("-", "\N{MINUS SIGN}")


def settings(section: Section) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Return the settings that all groups share, and by group those that differ."""
    own: dict[str, dict[str, Any]] = {}
    for group in section.groups:
        hidden = {"seed", "task", "backbone", "method", *unused_settings(group.method)}
        kept = group.runs[0].config["settings"]
        own[group.title] = {name: value for name, value in kept.items() if name not in hidden}
    names = dict.fromkeys(name for of in own.values() for name in of)
    shared: dict[str, Any] = {}
    differing: dict[str, dict[str, Any]] = {title: {} for title in own}
    for name in names:
        # A method that does not use a setting has none; None is a value, as of a run without a prompt beside one with.
        used = [of[name] for of in own.values() if name in of]
        if any(value != used[0] for value in used):
            for title, of in own.items():
                differing[title][name] = of.get(name)
        elif used[0] is not None:
            shared[name] = used[0]
    return shared, differing


def features(section: Section) -> tuple[dict[str, list[Represented]], str]:
    """Return the representation measures on the first set of rows, by method, and why some are missing."""
    found: dict[str, list[Represented]] = {}
    why = ""
    for group in section.groups:
        for run in group.runs:
            try:
                found.setdefault(group.title, []).append(represent(run, section.splits[0]))
            except (InputError, KeyError, IndexError) as error:
                why = str(error)
    return {title: measured for title, measured in found.items() if measured}, why


def kernels(section: Section) -> dict[str, list[dict[str, Any]]]:
    """Return the summaries of kernels that were computed at the start of these runs' fine-tuning, by method.

    A kernel of other settings or data than its run's is left out.
    """
    found: dict[str, list[dict[str, Any]]] = {}
    for group in section.groups:
        for run in group.runs:
            kept = read_json(run.directory / "ntk" / "kernel.json")
            if (
                isinstance(kept, dict)
                and "kernels" in kept.get("summary", {})
                and _of_run(kept.get("config", {}), run.config)
            ):
                found.setdefault(group.title, []).append(kept["summary"])
    return found


def _of_run(kernel: dict[str, Any], run: dict[str, Any]) -> bool:
    """Return whether a kernel's configuration is that of a run, apart from what training alone uses."""
    own, theirs = ({n: v for n, v in c.get("settings", {}).items() if n not in OF_TRAINING} for c in (kernel, run))
    return own == theirs and kernel.get("data") == run.get("data")


@dataclass(frozen=True)
class Confusion:
    """True by predicted class, the rows of all seeds together.

    Attributes:
        title: The method.
        counts: int64 [classes, classes]; None where there are too many to draw.
        shares: Each row's shares, as per cent of the true class.
        worst: The most frequent confusions: true class, predicted class, how often, share of the true class's rows.
    """

    title: str
    counts: list[list[int]] | None
    shares: list[list[float]]
    worst: list[tuple[str, str, int, float]]


def confusions(section: Section, split: str) -> list[Confusion]:
    """Return how each method confuses the classes of one set of rows."""
    found = []
    classes = len(section.labels)
    for group in section.groups:
        known = [section.predictions[str(run.directory)].get(split) for run in group.runs]
        kept = [parts for parts in known if parts and parts["logits"].shape[1] == classes]
        if not kept:
            continue
        labels, logits = (np.concatenate([parts[name] for parts in kept]) for name in ("labels", "logits"))
        counts = confusion_matrix(labels, logits.argmax(axis=1), labels=range(classes))
        shares = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
        wrong = np.where(np.eye(classes, dtype=bool), 0, counts)
        order = np.argsort(-wrong, axis=None, kind="stable")[:_CONFUSIONS_LISTED]
        pairs = [divmod(int(place), classes) for place in order if wrong.flat[place]]
        worst = [(section.labels[t], section.labels[p], int(counts[t, p]), float(shares[t, p])) for t, p in pairs]
        drawn = counts.tolist() if classes <= _CLASSES_SHOWN else None
        found.append(Confusion(group.title, drawn, shares.round(1).tolist(), worst))
    return found
