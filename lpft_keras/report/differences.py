"""How much better one method is than another, and how surely: differences of runs that share seed and test rows."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lpft_keras.calibration.bootstrap import Interval, check_bootstrap, percentile_interval
from lpft_keras.errors import InputError, unknown_name
from lpft_keras.report.groups import groups_by_task
from lpft_keras.report.in_print import (
    method_in_print,
    metrics_in_print,
    number_in_print,
    task_in_print,
    title_in_print,
)
from lpft_keras.report.rendering import ResultTable
from lpft_keras.report.resampling import RESAMPLED, resampled
from lpft_keras.report.results_table import own_metric, reported_splits, runs_of
from lpft_keras.results import RunResult

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Difference:
    """A method less another, on one set of rows.

    Attributes:
        task: Name of the task.
        backbone: Name of the backbone.
        split: Which rows.
        method: Name of the method's group, as `groups` has it.
        versus: That of the method it is compared with.
        metric: Name of the metric.
        seeds: The seeds that both have.
        level: What the interval is meant to cover.
        interval: The mean difference over the seeds, and its bootstrap interval.
    """

    task: str
    backbone: str
    split: str
    method: str
    versus: str
    metric: str
    seeds: tuple[int, ...]
    level: float
    interval: Interval

    def as_dict(self) -> dict[str, Any]:
        """Return what `--json` prints."""
        names = ("task", "backbone", "split", "method", "versus", "metric")
        return {
            **{name: getattr(self, name) for name in names},
            "difference": self.interval.value,
            "low": self.interval.low,
            "high": self.interval.high,
            "level": self.level,
            "runs": len(self.seeds),
        }


def paired_differences(
    results: Sequence[RunResult],
    metric: str | None = None,
    versus: str | None = None,
    *,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> list[Difference]:
    """Compare methods with one of them, over the seeds and rows that they share.

    The interval is that of a percentile bootstrap on two levels (Owen 2007, "The pigeonhole bootstrap"): a resample
    draws seeds with replacement, and test rows with replacement, the same rows for all seeds and both methods. It
    covers what other seeds *and* other test rows of the same kind would change. With one seed only the rows vary. With
    few seeds it is too narrow as far as these go: the variance between S seeds counts by (S-1)/S. What is chance of one
    seed on one row alone counts three times, which makes it wider. In simulations of two equal methods with five seeds
    each, intervals of 95 % held 0 in 89 % of cases where the seeds' chance outweighs, and in all where it is that of
    single rows. A resample repeats rows, which adds to calibration errors, though hardly to the difference of two.

    A thousand resamples of 25 runs take hundredths of a second on 300 rows, and a second or two on 40,000.

    Args:
        results: Finished runs of any tasks and backbones, each named once.
        metric: A metric of `evaluation.METRICS`, "nll", "brier" or "ece"; None takes each task's own.
        versus: The method, or the name of its group, that the others are compared with; None takes "ft", or the first
            where there is none.
        resamples: How many times seeds and rows are drawn.
        level: Probability that an interval is meant to cover, in (0, 1).
        seed: Seed of the drawing.

    Returns:
        Method less reference of each task, backbone, set of rows and method; test rows (validation rows where there
        are no others), then shifted sets. Methods without a seed in common with the reference are left out.

    Raises:
        InputError: A name or number is wrong, two runs were measured on different rows, or no two methods can be
            compared.

    Example:
        >>> paired_differences(results, versus="ft")[0].interval
        Interval(value=0.0321, low=-0.0107, high=0.075)
    """
    check_bootstrap(resamples, level, seed)
    if metric is not None and metric not in RESAMPLED:
        raise unknown_name("metric of differences", metric, RESAMPLED)
    kinds = groups_by_task(results)
    names = dict.fromkeys(name for found in kinds.values() for name in found)
    if versus is not None and versus not in names:
        raise unknown_name("method", versus, names)
    differences = []
    for (task, backbone), found in kinds.items():
        reference = versus or ("ft" if "ft" in found else next(iter(found)))
        if reference not in found:
            log.warning("%s on %s: no run of %s to compare with", task, backbone, reference)
            continue
        own = metric or own_metric(runs_of(found))
        for split in reported_splits(runs_of(found)):
            differences += _differences(found, reference, split, own, resamples, level, seed)
    if not differences:
        raise InputError("no two methods of one task and backbone have a seed in common, so none can be compared")
    return differences


def _differences(
    found: dict[str, list[RunResult]],
    reference: str,
    split: str,
    metric: str,
    resamples: int,
    level: float,
    seed: int,
) -> list[Difference]:
    """Compare the methods of one task and backbone on one set of rows."""
    runs = [run for run in runs_of(found) if split in run.metrics]
    if not runs:
        return []
    task, backbone = (runs[0].summary[part] for part in ("task", "backbone"))
    logits, labels = _aligned(runs, split)
    values, samples = resampled(metric, logits, labels, resamples, seed)
    place = {run.directory: number for number, run in enumerate(runs)}
    by_seed = {
        name: {r.summary["seed"]: place[r.directory] for r in members if r.directory in place}
        for name, members in found.items()
    }
    differences = []
    for name in found:
        if name == reference:
            continue
        seeds = tuple(sorted(by_seed[name].keys() & by_seed[reference].keys()))
        if not seeds:
            log.warning("%s on %s: %s and %s have no seed in common", task, backbone, name, reference)
            continue
        ours, theirs = ([by_seed[which][own] for own in seeds] for which in (name, reference))
        interval = _interval(values[ours] - values[theirs], samples[ours] - samples[theirs], level, seed)
        differences.append(Difference(task, backbone, split, name, reference, metric, seeds, level, interval))
    return differences


def _interval(values: np.ndarray, samples: np.ndarray, level: float, seed: int) -> Interval:
    """Draw seeds: differences of all rows [seeds] and of resamples [seeds, resamples] give the mean's interval."""
    count, resamples = samples.shape
    drawn = np.random.default_rng([seed, 1]).integers(0, count, (resamples, count))
    means = np.take_along_axis(samples.T, drawn, axis=1).mean(axis=1)
    return percentile_interval(float(values.mean()), means, level)


def _aligned(runs: Sequence[RunResult], split: str) -> tuple[list[np.ndarray], np.ndarray]:
    """Return each run's logits, and the labels that all agree upon."""
    logits: list[np.ndarray] = []
    labels = np.empty(0)
    for run in runs:
        predictions = run.predictions
        if split not in predictions:
            raise unknown_name(f"split of {run.directory}", split, predictions)
        own = predictions[split]
        if logits and (own["logits"].shape != logits[0].shape or not np.array_equal(own["labels"], labels)):
            raise InputError(
                f"{runs[0].directory} and {run.directory} were measured on different {split} rows, so they can't be "
                "compared row by row; give runs on the same data"
            )
        logits.append(own["logits"])
        labels = own["labels"]
    return logits, labels


def difference_table(differences: Sequence[Difference]) -> ResultTable:
    """Return differences as a table.

    Args:
        differences: What `paired_differences` gives.

    Returns:
        One row a difference; of fractions in points of per cent.

    Example:
        >>> print(as_markdown([difference_table(paired_differences(results))]))
    """
    backbones = list(dict.fromkeys(one.backbone for one in differences))
    metrics = list(dict.fromkeys(one.metric for one in differences))
    asked = metrics[0] if len(metrics) == 1 else None
    several = len(backbones) > 1
    rows = []
    for one in differences:
        low, high = (number_in_print(end, one.metric, "+") for end in (one.interval.low, one.interval.high))
        rows.append(
            (
                task_in_print(one.task, one.metric, asked),
                *([one.backbone] if several else []),
                one.split,
                f"{method_in_print(one.method)} - {method_in_print(one.versus)}",
                number_in_print(one.interval.value, one.metric, "+"),
                f"[{low}, {high}]",
                str(len(one.seeds)),
            )
        )
    notes = ["mean over the seeds that both have; interval: bootstrap of seeds and of rows, paired"]
    if any(len(one.seeds) == 1 for one in differences):
        notes.append("where there is one seed, only rows vary")
    return ResultTable(
        title=title_in_print("" if several else backbones[0], f"difference in {metrics_in_print(metrics)}"),
        columns=(
            "task",
            *(["backbone"] if several else []),
            "rows",
            "methods",
            "difference",
            f"{100 * differences[0].level:g} % interval",
            "seeds",
        ),
        rows=tuple(rows),
        notes=tuple(notes),
        records=tuple(one.as_dict() for one in differences),
        names=4 if several else 3,
    )
