"""Runs that differ by their seed only belong together; whatever else differs is named."""

from collections.abc import Iterable, Sequence
from typing import Any

from lpft_keras.errors import InputError
from lpft_keras.methods import METHODS
from lpft_keras.report.published import TASK_ORDER
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


def groups_by_task(results: Sequence[RunResult]) -> dict[tuple[str, str], dict[str, list[RunResult]]]:
    """Put runs of any tasks and backbones together that differ by their seed only.

    Args:
        results: Finished runs, each named once.

    Returns:
        What `groups` gives, by (task, backbone): tasks in the paper's order, then others in that of their first runs;
        methods in the order of `METHODS`, heads of a greater scale later.

    Raises:
        InputError: There are no runs, or two have the same settings and seed.
    """
    if not results:
        raise InputError("there are no runs to read; give finished run directories")
    kinds: dict[tuple[str, str], list[RunResult]] = {}
    for result in sorted(results, key=lambda result: result.config["settings"].get("head_scale", 1.0)):
        kinds.setdefault((result.summary["task"], result.summary["backbone"]), []).append(result)
    ordered = sorted(kinds, key=lambda kind: _place(kind[0], TASK_ORDER))
    found = {kind: groups(kinds[kind]) for kind in ordered}
    return {kind: {name: members[name] for name in in_order(members)} for kind, members in found.items()}


def in_order(names: Iterable[str]) -> list[str]:
    """Return names of groups, each once, by their method in the order of `METHODS`."""
    return sorted(dict.fromkeys(names), key=lambda name: _place(name.split(" ")[0], tuple(METHODS)))


def _place(name: str, order: Sequence[str]) -> int:
    return order.index(name) if name in order else len(order)


def _apart(own: dict[str, Any], kinds: Sequence[dict[str, Any]]) -> str:
    """Return in words head's scale and optimiser, and what sets settings apart from others of method and optimiser."""
    alike = [kind for kind in kinds if all(kind.get(name) == own.get(name) for name in ("method", "optimizer"))]
    differing = [name for name in own if any(kind.get(name) != own[name] for kind in alike)]
    words = [f"{name}={_shown(own[name])}" for name in differing if name != "head_scale"]
    return " ".join([variant_in_words(own), *words]).rstrip()


def _shown(value: Any) -> Any:
    """Return label words as "Yes/No", all else as it is."""
    words = value.values() if isinstance(value, dict) else value
    return words if isinstance(value, str) or not isinstance(words, Iterable) else "/".join(map(str, words))


def variant_in_words(settings: dict[str, Any]) -> str:
    """Return " x10 by sgd" for a head that was scaled by 10 and fine-tuned by SGD, nothing for what is the paper's."""
    scale, optimizer = settings.get("head_scale", 1.0), settings.get("optimizer", "adam")
    return ("" if scale == 1 else f" x{scale:g}") + ("" if optimizer == "adam" else f" by {optimizer}")
