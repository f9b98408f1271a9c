"""One kernel view: measure what is missing, judge, write."""

import json
import logging
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np

from lpft_keras import __version__, ntk
from lpft_keras.atomic import disk_errors, write_atomically
from lpft_keras.checksums import CHECKSUMS
from lpft_keras.environment import environment
from lpft_keras.errors import InputError
from lpft_keras.evaluation import accuracy
from lpft_keras.kernel_views import measures
from lpft_keras.kernel_views.measures import Rows
from lpft_keras.kernel_views.verdict import in_words, judged
from lpft_keras.kernel_views.words import as_markdown
from lpft_keras.methods import LinearProbe, get_method
from lpft_keras.models.classifier import get_head
from lpft_keras.ntk.computation import KINDS as EVERY_KIND
from lpft_keras.randomness import global_state_kept
from lpft_keras.representation import head_norm
from lpft_keras.results import RunResult
from lpft_keras.run_directory import differences
from lpft_keras.settings import RunSettings
from lpft_keras.starting import Start, drawn_rows, inputs_of, start_of
from lpft_keras.storage import (
    as_json,
    claimed,
    fingerprint,
    read_arrays,
    read_json,
    write_arrays,
    write_json,
    write_last,
)
from lpft_keras.tasks import TaskData, few_shot
from lpft_keras.training.forward import forward_function
from lpft_keras.training.linear_probe import linear_probe

log = logging.getLogger(__name__)

_DONE = "kernel_view.json"
KINDS = tuple(kind for kind in EVERY_KIND if not kind.endswith("-flipped"))
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


class View:
    """A kernel view of some runs that start alike."""

    def __init__(
        self,
        every: Mapping[str, RunSettings],
        runs: Mapping[str, Path],
        data: TaskData,
        directory: Path,
        cache: Path | None,
        rows: int,
        max_memory: float,
        show_progress: bool | None,
    ):
        every = dict(sorted(every.items()))
        settings = next(iter(every.values()))
        self._settings, self._directory = settings, directory
        self._data = few_shot(data, settings.shots, settings.seed)
        self._rows, self._memory, self._show = rows, max_memory, show_progress
        self._runs = runs
        self._config = {
            "version": __version__,
            "settings": settings.as_dict(),
            "runs": {name: own.rates()[1] for name, own in every.items()},
            "rows": rows,
            "backend": keras.backend.backend(),
            "data": self._data.checksums(),
        }
        # What a killed report had measured of other settings is left alone until one is finished.
        self._parts = directory / f"parts-{fingerprint([json.dumps(self._config, sort_keys=True)])[:12]}"
        self._cache = cache or self._parts / "cache"

    def known(self, overwrite: bool) -> KernelView | None:
        """Return the finished view that the directory holds, None where there is none or it shall be taken anew."""
        path = self._directory / _DONE
        found = None if self._taken_anew(overwrite) else read_json(path)
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

    def _taken_anew(self, overwrite: bool) -> bool:
        """Return whether all is measured anew: as asked, or because a run was done anew since."""
        done = [run / "metrics.json" for run in self._runs.values()]
        measured = [path for path in (self._directory / _DONE, self._parts) if path.exists()]
        newest = max((one.stat().st_mtime for one in done if one.exists()), default=0)
        return overwrite or any(newest > path.stat().st_mtime for path in measured)

    def taken(self, runs: Mapping[str, RunResult], overwrite: bool) -> KernelView:
        """Take the view of runs that are done. Of several processes that take it, one works and the others wait."""
        path = self._directory / _DONE
        with claimed(path, str(self._directory)):
            if known := self.known(overwrite):
                return known
            with disk_errors(self._directory):
                if self._taken_anew(overwrite):
                    path.unlink(missing_ok=True)
                    shutil.rmtree(self._parts, ignore_errors=True)
                (self._directory / CHECKSUMS).unlink(missing_ok=True)
            return self._taken(runs)

    def _taken(self, runs: Mapping[str, RunResult]) -> KernelView:
        begun = time.monotonic()
        with global_state_kept():
            start = start_of(self._settings, self._data, self._cache, self._show)
            report = self._report(start, runs)
        report |= {"seconds": round(time.monotonic() - begun, 3), "directory": str(self._directory)}
        write_json(self._directory / "environment.json", environment(self._data.checksums(), start.source))
        text = as_markdown(report).encode()
        write_atomically(self._directory / "kernel_view.md", lambda file: file.write(text))
        for kind in KINDS:
            (self._parts / f"kernel-{kind}.npz").replace(self._directory / f"kernel-{kind}.npz")
        write_last(self._directory / _DONE, {"config": self._config, "report": report})
        # What was measured of other settings, too: where a view is finished, nobody goes on with it.
        for folder in self._directory.glob("parts-*"):
            shutil.rmtree(folder, ignore_errors=True)
        return KernelView(self._directory, read_json(self._directory / _DONE)["report"])

    def _kept(self, name: str, make: Callable[[], dict[str, Any]], arrays: bool = False) -> dict[str, Any]:
        """Return a part of the report, measured before or now; with `arrays`, some that were written lie beside it."""
        path = self._parts / f"{name}.json"
        known = read_json(path) or {}
        lost = arrays and read_arrays(path.with_suffix(".npz")) is None
        if lost or known.get("digest") != fingerprint([as_json(known.get("measured"))]):
            log.info("kernel view: %s", name.replace("-", " "))
            found = json.loads(as_json(make()))
            write_json(path, {"measured": found, "digest": fingerprint([as_json(found)])})
            return found
        return known["measured"]

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
                "accuracy": accuracy(run.predictions[tested]["logits"][indices], splits["test"].labels),
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
                kind: self._kept(f"kernel-{kind}", partial(self._kernel, start, splits, kind), arrays=True)
                for kind in KINDS
            },
            "linear": {},
            "fixed_features": {},
        }
        for name, run in runs.items():
            weights = run.model().get_weights()
            linear = partial(measures.linear_model, start.classifier, weights, splits, tuned[name]["accuracy"])
            some, few = splits["train"].head(_SOME), splits["test"].head(_FEW)
            fixed = partial(measures.fixed_features, start.classifier, weights, some, few, self._memory, self._show)
            report["linear"][name] = self._kept(f"linear-{name}", linear)
            report["fixed_features"][name] = self._kept(f"fixed-features-{name}", fixed)
        step = partial(measures.first_step, start.classifier, splits["train"], splits["test"].head(_SOME))
        report["first_step"] = {
            rule: self._kept(f"first-step-{rule}", partial(step, rule)) for rule in ("sgd", "signgd")
        }
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
        if f"{kind}-flipped" in EVERY_KIND:
            flipped = measures.kernels_of(splits, f"{kind}-flipped", compute)
        write_arrays(self._parts / f"kernel-{kind}.npz", kernels)  # in place once the view is done
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
        values |= {"method": method, "batch_size": None, "learning_rate": None, "micro_batches": None}
        adapted = RunSettings(**values)
        fresh = start_of(adapted, self._data, self._cache, self._show)
        found["low_rank"] = measures.low_rank(
            fresh.classifier,
            train.head(_FEWEST),
            adapted.pipeline().lora,
            max_memory=self._memory,
            show_progress=self._show,
        )
        return found
