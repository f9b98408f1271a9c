"""Runs that differ by their seed only belong together; whatever else differs is named."""

from collections.abc import Sequence
from typing import Any

from lpft_keras.errors import InputError
from lpft_keras.results import RunResult


def groups(results: Sequence[RunResult]) -> dict[str, list[RunResult]]:
    """Put runs of one task and backbone together that differ by their seed only.

    Args:
        results: Finished runs, each named once.

    Returns:
        The runs by method and by what else sets them apart, in the order of their first ones.

    Raises:
        InputError: Two runs have the same settings and seed: counted as two they would make the spread too small.
    """
    settings = [{name: value for name, value in run.config["settings"].items() if name != "seed"} for run in results]
    found: dict[str, list[RunResult]] = {}
    for own, result in zip(settings, results, strict=True):
        members = found.setdefault(own["method"] + _apart(own, settings), [])
        for member in members:
            if member.summary["seed"] == result.summary["seed"]:
                both = f"{member.directory} and {result.directory}"
                raise InputError(f"{both} are the same run of {own['method']!r}; give one of them")
        members.append(result)
    return found


def _apart(own: dict[str, Any], kinds: Sequence[dict[str, Any]]) -> str:
    """Return in words the head's scale, and what sets settings apart from others of the method."""
    alike = [kind for kind in kinds if kind["method"] == own["method"]]
    differing = [name for name in own if any(kind.get(name) != own[name] for kind in alike)]
    words = [f"{name}={own[name]}" for name in differing if name != "head_scale"]
    return " ".join([head_scale_in_words(own), *words]).rstrip()


def head_scale_in_words(settings: dict[str, Any]) -> str:
    """Return " x10" for a head that was scaled by 10 before fine-tuning, nothing for one that was not."""
    scale = settings.get("head_scale", 1.0)
    return "" if scale == 1 else f" x{scale:g}"
