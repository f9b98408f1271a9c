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
    differing = _differing(settings)
    found: dict[str, dict[int, RunResult]] = {}
    for own, result in zip(settings, results, strict=True):
        members = found.setdefault(own["method"] + _apart(own, differing[_kind(own)]), {})
        seed = result.summary["seed"]
        if seed in members:
            both = f"{members[seed].directory} and {result.directory}"
            raise InputError(f"{both} are the same run of {own['method']!r}; give one of them")
        members[seed] = result
    return {name: list(members.values()) for name, members in found.items()}


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


def _kind(own: dict[str, Any]) -> tuple[Any, Any]:
    return own.get("method"), own.get("optimizer")


def _differing(settings: Sequence[dict[str, Any]]) -> dict[tuple[Any, Any], set[str]]:
    """Return by method and optimiser the names of settings that are not the same in all runs of them."""
    first: dict[tuple[Any, Any], dict[str, Any]] = {}
    found: dict[tuple[Any, Any], set[str]] = {}
    for own in settings:
        known = first.setdefault(_kind(own), own)
        unlike = {name for name in {**known, **own} if known.get(name) != own.get(name)}
        found.setdefault(_kind(own), set()).update(unlike)
    return found


def _apart(own: dict[str, Any], differing: set[str]) -> str:
    """Return in words head's scale and optimiser, and what sets settings apart from others of method and optimiser."""
    words = [f"{name}={_shown(own[name])}" for name in own if name in differing and name != "head_scale"]
    return " ".join([variant_in_words(own), *words]).rstrip()


def _shown(value: Any) -> Any:
    """Return label words as "Yes/No", all else as it is."""
    words = value.values() if isinstance(value, dict) else value
    return words if isinstance(value, str) or not isinstance(words, Iterable) else "/".join(map(str, words))


def variant_in_words(settings: dict[str, Any]) -> str:
    """Return " x10 by sgd" for a head that was scaled by 10 and fine-tuned by SGD, nothing for what is the paper's."""
    scale, optimizer = settings.get("head_scale", 1.0), settings.get("optimizer", "adam")
    return ("" if scale == 1 else f" x{scale:g}") + ("" if optimizer == "adam" else f" by {optimizer}")
