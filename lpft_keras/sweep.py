"""Many runs of one task: the cross product of methods, head scales and seeds, one after the other."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import fields
from typing import Any

from lpft_keras.experiment import run
from lpft_keras.methods import fine_tuning
from lpft_keras.results import RunResult
from lpft_keras.settings import RunSettings
from lpft_keras.tasks import Task, get_task

log = logging.getLogger(__name__)

HEAD_SCALES = (0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 50.0, 100.0)
"""What the head is multiplied by in the paper's head-norm experiment (Figures 3, 10 and 11)."""


def sweep(
    task: str | Task,
    methods: Sequence[str] = ("lp-ft",),
    seeds: Sequence[int] = (1001,),
    head_scales: Sequence[float] = (1.0,),
    **options: Any,
) -> Iterator[RunResult]:
    """Run a task by several methods, head scales and seeds. Finished runs are reused, killed ones go on.

    Args:
        task: As for `lpft_keras.run`.
        methods: Names of methods.
        seeds: Seeds.
        head_scales: What the head is multiplied by before fine-tuning; a method without that stage runs once.
        **options: Other arguments of `lpft_keras.run`.

    Yields:
        One result a run, as soon as it is there. All settings are checked before the first run starts.

    Raises:
        InputError: An argument is wrong, or a run failed by the user's input.

    Example:
        >>> results = list(sweep("cb", ["ft", "lp-ft"], head_scales=HEAD_SCALES, backbone="minilm"))
    """
    task = get_task(task)
    names = {field.name for field in fields(RunSettings)}
    settings: dict[str, Any] = {name: value for name, value in options.items() if name in names}
    settings |= {"task": task.name, "backbone": str(options.get("backbone") or task.backbone)}
    combinations: list[dict[str, Any]] = [
        {"method": method, "seed": seed, "head_scale": scale}
        for method in methods
        for scale in (head_scales if fine_tuning(method) else head_scales[:1])
        for seed in seeds
    ]
    for own in combinations:
        RunSettings(**settings, **own)
    for own in combinations:
        scaled = (
            "" if own["head_scale"] == 1 or not fine_tuning(own["method"]) else f", head times {own['head_scale']:g}"
        )
        log.info("%s: %s%s, seed %d", task.name, own["method"], scaled, own["seed"])
        yield run(task, **options, **own)
