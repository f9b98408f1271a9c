"""Runs that differ by their seed only belong together; whatever else differs is named."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lpft_keras.errors import InputError
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


def groups(results: Sequence[RunResult]) -> list[Group]:
    """Put runs together that differ by their seed only.

    Args:
        results: Finished runs, each named once.

    Returns:
        The groups, in the order of their first runs.

    Raises:
        InputError: Two runs have the same settings and seed: counted as two they would make the spread too small.
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
    for own, members in found:
        seeds = [result.summary["seed"] for result in members]
        if len(set(seeds)) < len(seeds):
            twice = [str(result.directory) for result in members if seeds.count(result.summary["seed"]) > 1]
            raise InputError(f"{' and '.join(twice[:2])} are the same run of {own['method']!r}; give one of them")
    kinds = [known for known, _ in found]
    return [
        Group(own["task"], own["method"] + _apart(own, kinds), own["backbone"], tuple(members))
        for own, members in found
    ]


def _apart(own: dict[str, Any], kinds: Sequence[dict[str, Any]]) -> str:
    """Return in words the head's scale, and what sets settings apart from others of the task, method and backbone."""
    alike = [kind for kind in kinds if all(kind[name] == own[name] for name in ("task", "method", "backbone"))]
    differing = [name for name in own if any(kind.get(name) != own[name] for kind in alike)]
    words = [f"{name}={own[name]}" for name in differing if name != "head_scale"]
    return " ".join([head_scale_in_words(own), *words]).rstrip()


def head_scale_in_words(settings: dict[str, Any]) -> str:
    """Return " x10" for a head that was scaled by 10 before fine-tuning, nothing for one that was not."""
    scale = settings.get("head_scale", 1.0)
    return "" if scale == 1 else f" x{scale:g}"
