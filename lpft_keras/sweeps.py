"""Many runs of one task: the cross product of methods, head scales and seeds, one after the other."""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from itertools import product
from typing import Any

from lpft_keras.errors import InputError
from lpft_keras.experiment import run
from lpft_keras.methods import fine_tuning
from lpft_keras.results import RunResult
from lpft_keras.settings import RunSettings
from lpft_keras.tasks import Task, get_task

log = logging.getLogger(__name__)


def sweep(
    task: str | Task,
    methods: str | Sequence[str] = "lp-ft",
    seeds: int | Sequence[int] = 1001,
    head_scales: float | Sequence[float] = 1.0,
    **options: Any,
) -> Iterator[RunResult]:
    """Run a task by several methods, head scales and seeds. Finished runs are reused, killed ones go on.

    Args:
        task: As for `lpft_keras.run`.
        methods: Names of methods, or one.
        seeds: Seeds, or one.
        head_scales: What the head is multiplied by before fine-tuning; a method without that stage runs once.
        **options: Other arguments of `lpft_keras.run`.

    Returns:
        An iterator of one result a run, each computed when it is asked for.

    Raises:
        InputError: An argument is wrong: at once, before any run. A run that fails by the user's input raises when its
            turn comes.

    Example:
        >>> results = list(sweep("cb", ["ft", "lp-ft"], head_scales=HEAD_SCALES, backbone="minilm"))
    """
    task = get_task(task)
    names = {field.name for field in fields(RunSettings)}
    settings: dict[str, Any] = {name: value for name, value in options.items() if name in names}
    settings |= {"task": task.name, "backbone": str(options.get("backbone") or task.backbone)}
    names_of_methods, scales = _several(methods, "methods"), _several(head_scales, "head_scales")
    chosen: dict[RunSettings, dict[str, Any]] = {}  # what comes to the same run is one
    for method, scale, seed in product(names_of_methods, scales, _several(seeds, "seeds")):
        own = {"method": method, "seed": seed, "head_scale": scale}
        chosen.setdefault(RunSettings(**settings, **own), own)
    for one in chosen:
        one.check_devices()
    for method in names_of_methods:
        if fine_tuning(method) is None and any(scale != 1 for scale in scales):
            log.info("%s has no fine-tuning stage before which its head would be scaled", method)
    return _run_all(task, chosen, options)


def _several(values: Any, name: str) -> list[Any]:
    """Return one value or several as a list, which must not be empty."""
    several = list(values) if isinstance(values, Iterable) and not isinstance(values, str) else [values]
    if not several:
        raise InputError(f"{name} hold nothing to run")
    return several


def _run_all(task: Task, chosen: Mapping[RunSettings, dict[str, Any]], options: dict[str, Any]) -> Iterator[RunResult]:
    if len(chosen) > 1:
        log.info("%d runs; finished ones are reused", len(chosen))
    for settings, own in chosen.items():
        scaled = "" if settings.head_scale == 1 else f", head times {settings.head_scale:g}"
        log.info("%s: %s%s, seed %d", task.name, settings.method, scaled, settings.seed)
        yield run(task, **options, **own)
