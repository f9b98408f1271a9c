"""Runs that differ by their seed only belong together; whatever else differs is named."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lpft_keras.results import RunResult


@dataclass(frozen=True)
class Group:
    """Runs of the same settings but the seed.

    Attributes:
        task: Name of the task.
        method: Name of the method, with what sets it apart from others of that method.
        backbone: Name of the backbone.
        results: The runs, in the order given.
    """

    task: str
    method: str
    backbone: str
    results: tuple[RunResult, ...]

    def over_seeds(self, measure: Callable[[RunResult], float]) -> tuple[float, float]:
        """Return mean and standard deviation of a measure over the runs.

        Args:
            measure: A function of a run.

        Returns:
            The mean, and the standard deviation with the divisor n - 1, NaN for one run.
        """
        values = np.array([measure(result) for result in self.results], dtype=np.float64)
        return float(values.mean()), float(values.std(ddof=1)) if len(values) > 1 else float("nan")


def groups(results: Sequence[RunResult]) -> list[Group]:
    """Put runs together that differ by their seed only.

    Args:
        results: Finished runs.

    Returns:
        The groups, in the order of their first runs.
    """
    settings = [{name: value for name, value in run.config["settings"].items() if name != "seed"} for run in results]
    found: list[tuple[dict[str, Any], list[RunResult]]] = []
    for own, result in zip(settings, results, strict=True):
        for known, members in found:
            if known == own:
                members.append(result)
                break
        else:
            found.append((own, [result]))
    kinds = [known for known, _ in found]
    return [
        Group(own["task"], own["method"] + _apart(own, kinds), own["backbone"], tuple(members))
        for own, members in found
    ]


def _apart(own: dict[str, Any], kinds: Sequence[dict[str, Any]]) -> str:
    """Return in words what sets settings apart from those of the same task, method and backbone."""
    alike = [kind for kind in kinds if all(kind[name] == own[name] for name in ("task", "method", "backbone"))]
    differing = [name for name in own if any(kind.get(name) != own[name] for kind in alike)]
    return "".join(f" {name}={own[name]}" for name in differing)
