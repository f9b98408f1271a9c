"""The way through a kernel view: fine-tune where that is missing, measure what is missing, judge, write."""

import json
import logging
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np

from lpft_keras import ntk
from lpft_keras.arrays import real_number, whole_number
from lpft_keras.errors import InputError, unknown_name
from lpft_keras.experiment import perform
from lpft_keras.kernel_views import measures
from lpft_keras.kernel_views.measures import Rows
from lpft_keras.kernel_views.verdict import in_words, judged
from lpft_keras.kernel_views.words import as_markdown
from lpft_keras.methods import LinearProbe, fine_tuning, get_method
from lpft_keras.models.backbones import check_backbone
from lpft_keras.models.classifier import get_head
from lpft_keras.randomness import global_state_kept
from lpft_keras.representation import head_norm
from lpft_keras.results import RunResult, environment
from lpft_keras.run_directory import differences
from lpft_keras.settings import RunSettings
from lpft_keras.starting import Start, drawn_rows, inputs_of, start_of
from lpft_keras.storage import fingerprint, read_json, write_arrays, write_atomically, write_json
from lpft_keras.tasks import TASKS, Task, TaskData, few_shot, get_task, load_task
from lpft_keras.training.forward import forward_function
from lpft_keras.training.linear_probe import linear_probe
from lpft_keras.training.optimizers import OPTIMIZERS

log = logging.getLogger(__name__)

KINDS = ("sgd", "signgd", "asymmetric-signgd")
# Rows whose kernel, and whose gradients, are taken before and after fine-tuning, and those of the low-rank kernels.
_SOME, _FEW, _FEWEST = 64, 16, 8


@dataclass(frozen=True)
class KernelView:
    """A kernel view that was taken.

    Attributes:
        directory: Where its files are: `kernel_view.json`, `kernel_view.md`, and each kernel in `kernel-<kind>.npz`.
        report: What `kernel_view.json` holds and `--json` prints.
    """

    directory: Path
    report: dict[str, Any]


def kernel_view(
    task: str | Path | Task,
    method: str | None = None,
    backbone: str | None = None,
    data_dir: str | Path | None = None,
    seed: int = 13,
    epochs: int = 10,
    max_length: int = 128,
    output_dir: str | Path = "runs",
    *,
    optimizers: Sequence[str] = ("adam", "sgd", "signgd"),
    learning_rates: Mapping[str, float] | None = None,
    prompt: bool | str | None = None,
    shots: int | None = 16,
    rows: int = 300,
    max_memory: float = 8e9,
    overwrite: bool = False,
    show_progress: bool | None = None,
    **settings: Any,
) -> KernelView:
    """Fine-tune by several optimisers, and test whether each behaves as its kernel does (Malladi et al. 2023).

    Runs that are there already are reused, and so is what a killed report had measured.

    Args:
        task: As for `lpft_keras.run`, like all arguments not described here.
        method: "ft", "lp-ft", "lora" or "lp-lora"; None takes "ft" with a prompt, whose head the masked language model
            brings, and "lp-ft" without, whose head comes of linear probing.
        backbone: Name of the backbone; None takes the task's own.
        data_dir: Folder with the task's official files; None takes TensorFlow Datasets.
        seed: Draws the few rows; `methods.FEW_SHOT_SEEDS` are the paper's.
        epochs: Passes over the training rows.
        max_length: Tokens a row.
        output_dir: Where run directories live; the report lies in `<run directory>/kernel_view`.
        optimizers: By what to fine-tune: "adam", "sgd", "signgd".
        learning_rates: Rates by optimiser; where it names none, the default of `lpft_keras.run`.
        prompt: True, a template, or None for none.
        shots: Rows a class; None takes all.
        rows: Of training, validation and test rows, so many at most are in the kernels; the others are not looked at,
            but for fine-tuning, which has all training and validation rows.
        max_memory: Bytes that a kernel's tiles may take.
        overwrite: Measure anew; finished runs are kept.
        show_progress: Whether to show progress bars; None decides by the terminal.
        **settings: Other settings of `lpft_keras.run`.

    Returns:
        The view, all of it on disk already.

    Raises:
        InputError: An argument or a file is wrong.

    Example:
        >>> view = lpft_keras.kernel_view("demo", prompt=True)
        >>> view.report["verdict"]["sgd"]["holds"]
    """
    task = get_task(task)
    rates = dict(learning_rates or {})
    if not optimizers:
        raise InputError(f"optimizers is empty; name one or more of {', '.join(OPTIMIZERS)}")
    for name in [*optimizers, *rates]:
        if name not in OPTIMIZERS:
            raise unknown_name("optimizer", name, OPTIMIZERS)
    unused = [name for name in rates if name not in optimizers]
    if unused:
        raise InputError(f"learning_rates names {unused[0]!r}, by which nothing is fine-tuned (optimizers)")
    method = method or ("ft" if prompt else "lp-ft")
    _check(method)
    rows, max_memory = _checked_sizes(rows, max_memory)

    def chosen(optimizer: str) -> RunSettings:
        return RunSettings(
            task=task.name,
            method=method,
            backbone=str(backbone or task.backbone),
            seed=seed,
            epochs=epochs,
            max_length=max_length,
            optimizer=optimizer,
            learning_rate=rates.get(optimizer),
            prompt=prompt,
            shots=shots,
            **settings,
        )

    every = {name: chosen(name) for name in dict.fromkeys(optimizers)}
    first = next(iter(every.values()))
    check_backbone(first.backbone)
    data, cache = load_task(task, data_dir, first.limit), Path(output_dir) / "cache"
    directory = chosen("adam").directory(output_dir) / "kernel_view"
    view = _View(every, data, directory, cache, rows, max_memory, show_progress)
    if known := view.known(overwrite):
        return known
    runs = {
        name: perform(task, own, data, own.directory(output_dir), cache, show_progress=show_progress)
        for name, own in every.items()
    }
    return view.taken(runs)


def kernel_view_of(
    run_directory: str | Path,
    data_dir: str | Path | None = None,
    *,
    task: str | Path | Task | None = None,
    rows: int = 300,
    max_memory: float = 8e9,
    overwrite: bool = False,
    show_progress: bool | None = None,
) -> KernelView:
    """Test whether a finished run behaved as its optimiser's kernel does.

    Args:
        run_directory: The run's directory.
        data_dir: As for `kernel_view`, like the rest.
        task: The run's task, where the catalogue does not have it: a TOML file or a `Task`.
        rows: So many rows of each split at most are in the kernels.
        max_memory: Bytes that a kernel's tiles may take.
        overwrite: Measure anew.
        show_progress: Whether to show progress bars.

    Returns:
        The view, in `<run directory>/kernel_view`.

    Raises:
        InputError: The directory holds no finished run, or one of a method without fine-tuning.
    """
    result = RunResult.load(run_directory)
    settings = RunSettings(**result.config["settings"])
    _check(settings.method)
    rows, max_memory = _checked_sizes(rows, max_memory)
    if task is None and settings.task not in TASKS:
        raise InputError(
            f"{run_directory} is a run of a task of your own, {settings.task!r}; name it beside the run: a TOML file "
            "(--task), or a Task"
        )
    found = get_task(settings.task if task is None else task)
    if found.name != settings.task:
        raise InputError(f"{run_directory} is a run of task {settings.task!r}, not of {found.name!r}")
    data = load_task(found, data_dir, settings.limit)
    sums = few_shot(data, settings.shots, settings.seed).checksums()
    other = [name for name, checksum in result.config["data"].items() if sums.get(name) != checksum]
    if other:
        raise InputError(f"the {other[0]} rows are not those of the run in {run_directory}; give its own (--data-dir)")
    directory = Path(run_directory)
    own, cache = directory / "kernel_view", directory / "kernel_view" / "cache"
    view = _View({settings.optimizer: settings}, data, own, cache, rows, max_memory, show_progress)
    return view.known(overwrite) or view.taken({settings.optimizer: result})


def _check(method: str) -> None:
    if fine_tuning(method) is None:
        raise InputError(f"method {method!r} has no fine-tuning stage that could behave like a kernel")


def _checked_sizes(rows: int, max_memory: float) -> tuple[int, float]:
    return whole_number(rows, "rows", 2), real_number(max_memory, "max_memory", 0, np.inf)


class _View:
    """A kernel view of some runs that start alike."""

    def __init__(
        self,
        every: Mapping[str, RunSettings],
        data: TaskData,
        directory: Path,
        cache: Path,
        rows: int,
        max_memory: float,
        show_progress: bool | None,
    ):
        settings = next(iter(every.values()))
        self._settings, self._directory, self._cache = settings, directory, cache
        self._data = few_shot(data, settings.shots, settings.seed)
        self._rows, self._memory, self._show = rows, max_memory, show_progress
        self._config = {
            "settings": settings.as_dict(),
            "runs": {name: own.rates()[1] for name, own in every.items()},
            "rows": rows,
            "backend": keras.backend.backend(),
            "data": self._data.checksums(),
        }
        # What a killed report had measured of other settings is left alone.
        self._parts = directory / f"parts-{fingerprint([json.dumps(self._config, sort_keys=True)])[:12]}"

    def known(self, overwrite: bool) -> KernelView | None:
        """Return the finished view that the directory holds, None where there is none or it shall be taken anew."""
        path = self._directory / "kernel_view.json"
        if overwrite:
            path.unlink(missing_ok=True)
            shutil.rmtree(self._parts, ignore_errors=True)
        found = read_json(path)
        if found is None:
            return None
        if found["config"] != self._config:
            what = differences(found["config"], self._config)
            raise InputError(
                f"{self._directory} holds a kernel view of other settings ({what}); overwrite it (--overwrite) or "
                "move it"
            )
        log.info("reused the kernel view in %s", self._directory)
        return KernelView(self._directory, found["report"])

    def taken(self, runs: Mapping[str, RunResult]) -> KernelView:
        """Take the view of runs that are done."""
        begun = time.monotonic()
        with global_state_kept():
            start = start_of(self._settings, self._data, self._cache, self._show)
            report = self._report(start, runs)
        report |= {"seconds": round(time.monotonic() - begun, 3), "directory": str(self._directory)}
        write_json(self._directory / "environment.json", environment(self._data.checksums(), start.source))
        text = as_markdown(report).encode()
        write_atomically(self._directory / "kernel_view.md", lambda file: file.write(text))
        write_json(self._directory / "kernel_view.json", {"config": self._config, "report": report})
        shutil.rmtree(self._parts, ignore_errors=True)
        return KernelView(self._directory, read_json(self._directory / "kernel_view.json")["report"])

    def _kept(self, name: str, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Return a part of the report, measured before or now."""
        path = self._parts / f"{name}.json"
        if read_json(path) is None:
            log.info("kernel view: %s", name.replace("-", " "))
            write_json(path, make())
        return read_json(path)

    def _splits(self, start: Start) -> tuple[dict[str, Rows], np.ndarray]:
        """Return the rows that are looked at, and which of the test rows they are."""
        forward, seed = forward_function(start.classifier), self._settings.seed
        splits, indices = {}, np.arange(0)
        for name, split in (("train", "train"), ("validation", "validation"), ("test", self._tested(start))):
            indices = drawn_rows(len(start.tokens[split]), self._rows, seed)
            part = start.tokens[split].take(indices)
            splits[name] = Rows(inputs_of(part), part.labels, forward(part.tokens)[1])
        return splits, indices

    def _tested(self, start: Start) -> str:
        """Return the split that tests; a task without test rows is tested on its validation rows."""
        return "test" if "test" in start.tokens else "validation"

    def _report(self, start: Start, runs: Mapping[str, RunResult]) -> dict[str, Any]:
        settings, (splits, indices) = self._settings, self._splits(start)
        tested, norm = self._tested(start), head_norm(get_head(start.classifier)[0])
        tuned = {
            name: {
                "accuracy": measures.accuracy(run.predictions[tested]["logits"][indices], splits["test"].labels),
                "learning_rate": run.config["settings"]["learning_rate"],
                "directory": str(run.directory),
            }
            for name, run in runs.items()
        }
        report: dict[str, Any] = {
            "task": settings.task,
            "method": settings.method,
            "backbone": settings.backbone,
            "seed": settings.seed,
            "prompt": settings.prompt,
            "shots": settings.shots,
            "rows": {"train": len(splits["train"]), "validation": len(splits["validation"]), tested: len(indices)},
            "classes": len(self._data.labels),
            "start": {"accuracy": splits["test"].accuracy, "head_norm": norm},
            "fine_tuning": tuned,
            "kernels": {
                kind: self._kept(f"kernel-{kind}", partial(self._kernel, start, splits, kind)) for kind in KINDS
            },
            "linear": {},
            "fixed_features": {},
        }
        for name, run in runs.items():
            weights = run.model().get_weights()
            linear = partial(measures.linear_model, start.classifier, weights, splits, tuned[name]["accuracy"])
            some, few = splits["train"].head(_SOME), splits["test"].head(_FEW)
            fixed = partial(measures.fixed_features, start.classifier, weights, some, few, self._show)
            report["linear"][name] = self._kept(f"linear-{name}", linear)
            report["fixed_features"][name] = self._kept(f"fixed-features-{name}", fixed)
        rate = tuned["sgd"]["learning_rate"] if "sgd" in tuned else 0.1
        steps = partial(measures.first_step, start.classifier, splits["train"], splits["test"].head(_SOME))
        report["first_step"] = self._kept("first-step", partial(steps, [rate, rate / 10, rate / 100]))
        report["theory"] = self._kept("theory", partial(self._theory, start, splits["train"]))
        report["verdict"] = {
            name: (verdict := judged(report, name)) | {"words": in_words(verdict, report, name)} for name in runs
        }
        return report

    def _kernel(self, start: Start, splits: Mapping[str, Rows], kind: str) -> dict[str, Any]:
        """Compute a kernel, and solve the task by it."""
        single = len(self._data.labels) == 2

        def compute(train, test, kind):
            return ntk.train_test_ntk(
                start.classifier,
                train,
                test,
                kind=kind,
                single_logit=single,
                max_memory=self._memory,
                directory=self._parts / f"pieces-{kind}",
                show_progress=self._show,
            )

        kernels = measures.kernels_of(splits, kind, compute)
        flipped = None
        if kind == "asymmetric-signgd":
            flipped = measures.kernels_of(splits, f"{kind}-flipped", compute)
        write_arrays(self._directory / f"kernel-{kind}.npz", kernels)
        found = measures.kernel_accuracy(kernels, flipped, splits, kind)
        if kind == "sgd":
            found |= measures.gradient_flow(kernels, splits)
        return found

    def _theory(self, start: Start, train: Rows) -> dict[str, Any]:
        """Return what the paper's own propositions say here: the optimum of linear probing, and low rank."""
        found: dict[str, Any] = {"lp_optimum_gap": None}
        if LinearProbe() in get_method(self._settings.method):
            part = start.tokens["train"]
            features, _ = forward_function(start.classifier)(part.tokens)
            classes, probe = len(self._data.labels), self._settings.pipeline().probe
            fitted = linear_probe(features, part.labels, classes, probe, self._settings.seed)
            found["lp_optimum_gap"] = ntk.lp_optimum_gap(
                features, part.labels, fitted.kernel, fitted.bias, fitted.inverse_strength
            )
        values = {**self._settings.as_dict(), "lora_style": "paper"}
        method = "lp-lora" if LinearProbe() in get_method(self._settings.method) else "lora"
        values |= {"method": method, "batch_size": None, "learning_rate": None}
        adapted = RunSettings(**values)
        fresh = start_of(adapted, self._data, self._cache, self._show)
        found["low_rank"] = measures.low_rank(
            fresh.classifier, train.head(_FEWEST), adapted.pipeline().lora, show_progress=self._show
        )
        return found
