"""The runs of one task and backbone, and what is read off them once for all parts of a section."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from lpft_keras.errors import InputError
from lpft_keras.report import Scored, groups_by_task, score_run
from lpft_keras.report.in_print import method_in_print
from lpft_keras.report.results_table import own_metric, reported_splits
from lpft_keras.results import RunResult


@dataclass(frozen=True)
class Group:
    """Runs that differ by their seed only.

    Attributes:
        name: What sets them apart, as `report.groups` says it.
        runs: The runs.
    """

    name: str
    runs: tuple[RunResult, ...]

    @property
    def title(self) -> str:
        """The name with its method as the paper writes it."""
        return method_in_print(self.name)

    @property
    def method(self) -> str:
        """The method alone."""
        return self.name.split(" ")[0]

    def values(self, split: str, metric: str) -> list[float]:
        """Return a metric of the runs that have it."""
        found = (run.metrics.get(split, {}).get(metric) for run in self.runs)
        return [value for value in found if value is not None]

    @property
    def seconds(self) -> list[float]:
        """How long each run took, of those that say so."""
        return [run.summary["seconds"] for run in self.runs if "seconds" in run.summary]

    @cached_property
    def history(self) -> list[list[dict[str, Any]]]:
        """Each run's history; none of those without one."""
        return [rows for rows in (readable(run, "history") for run in self.runs) if rows]


@dataclass(frozen=True)
class Section:
    """The runs of one task and backbone.

    Attributes:
        task: Name of the task.
        backbone: Name of the backbone.
        groups: The runs by what sets them apart.
        number: Which section of the page, from 1.
    """

    task: str
    backbone: str
    groups: tuple[Group, ...]
    number: int = 1
    _scored: dict[tuple[str, str], Scored | None] = field(default_factory=dict, repr=False)

    @property
    def runs(self) -> list[RunResult]:
        """All runs."""
        return [run for group in self.groups for run in group.runs]

    @cached_property
    def splits(self) -> list[str]:
        """What is reported: "test", or "validation" where no run has test rows, then the shifted sets."""
        return [name for name in reported_splits(self.runs) if any(name in run.metrics for run in self.runs)]

    @cached_property
    def metric(self) -> str:
        """The metric of the task, accuracy where its runs were chosen by different ones."""
        try:
            return own_metric(self.runs)
        except InputError:
            return "accuracy"

    @cached_property
    def predictions(self) -> dict[str, dict[str, dict[str, Any]]]:
        """Logits and labels by run directory and split; nothing of a run whose file is missing."""
        return {str(run.directory): readable(run, "predictions") or {} for run in self.runs}

    @cached_property
    def rows(self) -> dict[str, dict[str, Any]]:
        """What each run kept of its rows, by run directory; those of before this was kept have nothing."""
        found = {str(run.directory): readable(run, "rows") for run in self.runs}
        return {directory: kept for directory, kept in found.items() if kept is not None}

    @cached_property
    def labels(self) -> list[str]:
        """The class names of the first run; numbers where it does not name them."""
        named = [labels for labels in (run.config.get("labels") for run in self.runs) if labels]
        if named:
            return named[0]
        logits = [parts["logits"] for splits in self.predictions.values() for parts in splits.values()]
        return [str(number) for number in range(logits[0].shape[1])] if logits else []

    def row_counts(self, split: str) -> list[int]:
        """Return the numbers of rows that a split has in the runs, each once, rising."""
        return sorted({len(found[split]["labels"]) for found in self.predictions.values() if split in found})

    def row_count(self, split: str) -> int | None:
        """Return how many rows a split has, None where no run says."""
        for found in self.predictions.values():
            if split in found:
                return len(found[split]["labels"])
        for kept in self.rows.values():
            if split in kept["splits"]:
                return kept["splits"][split]["rows"]
        return None

    def scored(self, run: RunResult, split: str) -> Scored | None:
        """Return a run's predictions before and after temperature scaling; None where nothing can fit it."""
        key = str(run.directory), split
        if key not in self._scored:
            try:
                self._scored[key] = score_run(run, split=split)
            except (InputError, KeyError):  # validation rows alone, or none kept
                self._scored[key] = None
        return self._scored[key]


def readable(run: RunResult, part: str) -> Any:
    """Return a part of a run, None where its file is missing, of another version or damaged."""
    try:
        return getattr(run, part)
    except InputError:
        return None


def sections(results: Sequence[RunResult]) -> list[Section]:
    """Return runs of any tasks and backbones in sections.

    Args:
        results: Finished runs, each named once.

    Raises:
        InputError: There are none, or two have the same settings and seed.
    """
    kinds = groups_by_task(results)
    return [
        Section(task, backbone, tuple(Group(name, tuple(runs)) for name, runs in found.items()), number)
        for number, ((task, backbone), found) in enumerate(kinds.items(), start=1)
    ]
