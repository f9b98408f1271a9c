"""How long missing runs and kernels will take: one optimiser step is measured, the rest is counted in tokens.

A step costs three times a forward pass of its tokens, and both grow with the tokens. What a kernel costs is counted in
the same unit, from its floating-point operations. So it is an estimate: good to about a factor of two, and it knows
nothing of what else the machine does.
"""

import logging
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

import keras
import numpy as np

from lpft_keras.encodings import encoded_splits
from lpft_keras.evaluation import METRICS
from lpft_keras.methods import FineTune, LinearProbe, fine_tuning, get_method
from lpft_keras.models.backbones import load_backbone
from lpft_keras.pipeline import train_classifier
from lpft_keras.randomness import global_state_kept
from lpft_keras.reproduction.work import Work
from lpft_keras.settings import RunSettings
from lpft_keras.tasks import Task, TaskData
from lpft_keras.training.batches import Encoded

log = logging.getLogger(__name__)

_STEPS = 4  # of each of two epochs; those of the first may compile


@dataclass(frozen=True)
class Cost:
    """What is to be done.

    Attributes:
        runs: Runs to do.
        runs_there: Runs that are there.
        kernels: Kernels to compute.
        kernels_there: Kernels that are there.
        seconds: What it will take in one process, about; 0 where nothing is to be done.
        step_seconds: The measured optimiser step, NaN where none was needed.
        step_of: What it is a step of.
    """

    runs: int
    runs_there: int
    kernels: int
    kernels_there: int
    seconds: float = 0.0
    step_seconds: float = math.nan
    step_of: str = ""

    def in_words(self) -> str:
        """Return the cost in a line."""
        parts = []
        for count, there, name in ((self.runs, self.runs_there, "run"), (self.kernels, self.kernels_there, "kernel")):
            if count or there:
                parts.append(f"{count} {name}{'s' * (count != 1)} to do, {there} there")
        if not parts:
            return "nothing to run"
        if self.runs or self.kernels:
            parts.append(f"about {_duration(self.seconds)} in one process")
            parts.append(f"one step of {self.step_of} takes {self.step_seconds:.3g} s")
        return "; ".join(parts)


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


@dataclass(frozen=True)
class _Step:
    """A measured optimiser step.

    Attributes:
        name: What it is a step of.
        seconds: Its median.
        per_token: The same over its tokens.
        start: Seconds to load the backbone and to compile.
    """

    name: str
    seconds: float
    per_token: float
    start: float


def estimate(work: Work, loaded: Mapping[str, TaskData], show_progress: bool | None = None) -> Cost:
    """Measure a step of what is to be done, and count the rest in it.

    Args:
        work: All runs and kernels, those too that are there.
        loaded: The rows by the name of their task.
        show_progress: Whether to show progress bars.

    Returns:
        The cost. Token arrays that are made on the way stay in the cache for the runs.

    Raises:
        InputError: A directory holds a run or kernel of other settings or data.
    """
    to_do = work.to_do(loaded)
    nothing = Cost(
        runs=len(to_do.runs),
        runs_there=len(work.runs) - len(to_do.runs),
        kernels=len(to_do.kernels),
        kernels_there=len(work.kernels) - len(to_do.kernels),
    )
    runs = [(run.task, RunSettings(**run.settings), run.output_dir) for run in to_do.runs]
    kernels = [(kernel.task, kernel.settings, kernel.options.output_dir) for kernel in to_do.kernels]
    if not runs and not kernels:
        return nothing
    tokens: dict[tuple[str, str], dict[str, Encoded]] = {}
    steps: dict[tuple[str, bool], _Step] = {}
    with global_state_kept():
        for task, settings, output_dir in [*runs, *kernels]:
            of_rows, of_step = (task.name, settings.backbone), (settings.backbone, _adapts(settings))
            if of_rows not in tokens:
                backbone = load_backbone(settings.backbone, dropout=settings.dropout, dtype=settings.dtype)
                cache = output_dir / "cache"
                data = loaded[task.name]
                tokens[of_rows] = encoded_splits(backbone, data, settings.max_length, cache, show_progress)
            if of_step not in steps:
                classes = len(loaded[task.name].labels)
                steps[of_step] = _measured(task, settings, classes, tokens[of_rows], show_progress)

    def own(task: Task, settings: RunSettings) -> tuple[Mapping[str, Encoded], _Step]:
        return tokens[task.name, settings.backbone], steps[settings.backbone, _adapts(settings)]

    seconds = sum(_of_run(settings, *own(task, settings)) for task, settings, _ in runs)
    for (task, settings, _), kernel in zip(kernels, to_do.kernels, strict=True):
        seconds += _of_kernel(len(loaded[task.name].labels), kernel.options.rows, *own(task, settings))
    first = next(iter(steps.values()))
    return replace(nothing, seconds=seconds, step_seconds=first.seconds, step_of=first.name)


def _adapts(settings: RunSettings) -> bool:
    return fine_tuning(settings.method) == FineTune(lora=True)


class _Timer(keras.callbacks.Callback):
    """Notes how long each step took."""

    def __init__(self):
        super().__init__()
        self.seconds: list[float] = []

    def on_train_batch_begin(self, batch, logs=None):
        self._start = time.monotonic()

    def on_train_batch_end(self, batch, logs=None):
        self.seconds.append(time.monotonic() - self._start)


def _measured(
    task: Task, settings: RunSettings, classes: int, tokens: Mapping[str, Encoded], show_progress: bool | None
) -> _Step:
    """Train on a few batches for two epochs, as a run would."""
    settings = replace(settings, method="lora" if _adapts(settings) else "ft", epochs=2)
    batch_size, _ = settings.rates()
    train = tokens["train"].take(np.arange(min(_STEPS * batch_size, len(tokens["train"]))))
    validation = tokens["validation"].take(np.arange(min(batch_size, len(tokens["validation"]))))
    log.info("measuring a step of %s on %s: two epochs of %d rows", settings.method, task.name, len(train))
    start = time.monotonic()
    timer = _Timer()
    train_classifier(
        load_backbone(settings.backbone, dropout=settings.dropout, dtype=settings.dtype),
        classes,
        train,
        validation,
        settings.pipeline(),
        score=METRICS[task.metric],
        callbacks=[timer],
        show_progress=show_progress,
    )
    taken = time.monotonic() - start
    later = timer.seconds[len(timer.seconds) // 2 :]
    seconds = float(np.median(later))
    per_token = seconds / (min(batch_size, len(train)) * float(train.tokens.lengths.mean()))
    return _Step(f"{settings.method} on {task.name}", seconds, per_token, max(taken - 2 * sum(later), 0.0))


def _count(tokens: Mapping[str, Encoded], *names: str) -> float:
    return float(sum(int(tokens[name].tokens.lengths.sum()) for name in names if name in tokens))


def _of_run(settings: RunSettings, tokens: Mapping[str, Encoded], step: _Step) -> float:
    """Return seconds of a run: training, validation after each epoch, features and logits before and after."""
    evaluated = _count(tokens, *(name for name in tokens if name != "train"))
    forward, trained = 2 * evaluated, 0.0
    if LinearProbe() in get_method(settings.method):
        forward += _count(tokens, "train")
    if fine_tuning(settings.method):
        trained = settings.epochs * _count(tokens, "train")
        forward += settings.epochs * _count(tokens, "validation")
    return step.start + step.per_token * (trained + forward / 3)


def _of_kernel(classes: int, rows: int, tokens: Mapping[str, Encoded], step: _Step) -> float:
    """Return seconds of a kernel: C backward passes a row, and the products of all rows' gradients."""
    test = tokens.get("test", tokens["validation"])
    inside, across = min(rows, len(tokens["train"])), min(rows, len(test))
    length = float(tokens["train"].tokens.lengths.mean())
    passes = (inside + across) * length * (1 + 3 * classes) / 3  # in steps of a token, each 6 operations a weight
    products = inside * (inside / 2 + across) * classes**2 * 2 / 6
    return step.start + step.per_token * (passes + products)
