"""A run on rows that are loaded: its directory is claimed, its stages done, and what they found written."""

import logging
import os
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from scipy.special import softmax

from lpft_keras.distribution import on_all_devices
from lpft_keras.encodings import encoded_splits
from lpft_keras.environment import environment
from lpft_keras.evaluation import METRICS, best_temperature, evaluate, evaluate_features, warn_if_collapsed
from lpft_keras.methods import LinearProbe, get_method
from lpft_keras.models.backbones import load_backbone
from lpft_keras.models.classifier import get_head
from lpft_keras.pipeline import Trained, train_classifier
from lpft_keras.randomness import global_state_kept
from lpft_keras.representation import head_norm
from lpft_keras.results import RunResult, write_history
from lpft_keras.rows import row_counts, surest_errors
from lpft_keras.run_directory import claim, run_config
from lpft_keras.settings import RunSettings
from lpft_keras.storage import claimed, fingerprint, write_arrays, write_json, write_last
from lpft_keras.tasks import Task, TaskData, few_shot
from lpft_keras.training.batches import Encoded
from lpft_keras.training.callbacks import tensorboard_callback
from lpft_keras.training.linear_probe import usable_folds
from lpft_keras.weights import check_same_weights, save_weights

log = logging.getLogger(__name__)


def perform(
    task: Task,
    settings: RunSettings,
    data: TaskData,
    directory: Path,
    cache: Path,
    *,
    overwrite: bool = False,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    tensorboard: bool = False,
    show_progress: bool | None = None,
) -> RunResult:
    """Do a run on rows that are loaded already, unless its directory holds it, finished.

    Args:
        task: The task.
        settings: All that decides the numbers.
        data: The rows, of which few are drawn where the settings say so.
        directory: The run's directory. Of several processes that ask for it, one works and the others wait.
        cache: Where token arrays, features and probes are kept for other runs.
        overwrite: As for `run`, like the rest.
        callbacks: Keras callbacks for fine-tuning.
        tensorboard: Whether to write for TensorBoard.
        show_progress: Whether to show progress bars.

    Returns:
        The result.

    Raises:
        InputError: The directory holds another run, a class has too few rows, or the loss diverged.
    """
    data = few_shot(data, settings.shots, settings.seed)
    settings.pipeline().for_classes(data.labels)  # a class without a label word shows at once
    if LinearProbe() in get_method(settings.method):
        usable_folds(data.train.labels, len(data.labels), settings.pipeline().probe.folds)
    config = run_config(task, settings, data)
    # Named by its place below the output directory, which other machines may have elsewhere.
    place = fingerprint([os.path.relpath(directory, cache.parent)])
    with claimed(cache / f"run-{place}", str(directory)), global_state_kept(), on_all_devices(settings.data_parallel):
        finished = claim(directory, config, overwrite)
        if finished is not None:
            unused = "; no callback was called, nothing written for TensorBoard" if tensorboard or callbacks else ""
            log.info("reused the finished run in %s%s", directory, unused)
            return finished
        if tensorboard:
            if settings.pipeline().fine_tune is None:
                log.info("%s has no fine-tuning stage that could be written for TensorBoard", settings.method)
            callbacks = [*callbacks, tensorboard_callback(directory / "tensorboard")]
        return _run(task, settings, data, directory, cache, callbacks, show_progress)


def _run(
    task: Task,
    settings: RunSettings,
    data: TaskData,
    directory: Path,
    cache: Path,
    callbacks: Sequence[keras.callbacks.Callback],
    show_progress: bool | None,
) -> RunResult:
    """Do the work of a run whose directory is ours. What it found is written, metrics.json last: it says "done"."""
    start = time.monotonic()
    if settings.pipeline().fine_tune is not None:
        log.info("%s", settings.rates_in_words())
    backbone = load_backbone(settings.backbone, dropout=settings.dropout, dtype=settings.dtype)
    if (directory / "checkpoint").is_dir():
        check_same_weights(directory, backbone)
    pipeline = settings.pipeline().for_classes(data.labels)
    write_json(directory / "environment.json", environment(data.checksums(), backbone.source))
    tokens = encoded_splits(backbone, data, settings.max_length, cache, show_progress, pipeline.prompt)
    rows = row_counts(data, tokens)
    trained = train_classifier(
        backbone,
        len(data.labels),
        tokens["train"],
        tokens["validation"],
        pipeline,
        score=METRICS[task.metric],
        observed={name: tokens[name].tokens for name in data.evaluated()},
        folder=directory / "checkpoint",
        cache=cache,
        callbacks=callbacks,
        show_progress=show_progress,
    )
    predictions, features, metrics, errors = _evaluated(trained, data, tokens)
    logits, labels = predictions["validation/logits"], predictions["validation/labels"]
    warn_if_collapsed(logits, labels)
    write_arrays(directory / "predictions.npz", predictions)
    write_arrays(directory / "features.npz", features)
    write_history(directory / "history.csv", trained.history)
    write_json(directory / "rows.json", {**rows, "errors": errors})
    save_weights(directory, settings.method, trained.classifier, backbone)
    summary = {
        "task": settings.task,
        "method": settings.method,
        "backbone": settings.backbone,
        "seed": settings.seed,
        "metrics": metrics,
        **_zero_shot(trained, tokens),
        "temperature": best_temperature(logits, labels),
        "head_norm": head_norm(get_head(trained.classifier)[0]),
        "seconds": round(time.monotonic() - start, 3),
        "directory": str(directory),
    }
    write_last(directory / "metrics.json", summary)
    shutil.rmtree(directory / "checkpoint", ignore_errors=True)
    return RunResult.load(directory)


def _zero_shot(trained: Trained, tokens: Mapping[str, Encoded]) -> dict[str, Any]:
    """Return the metrics of the untouched masked language model by split, where there is a prompt."""
    found = {name: evaluate(logits, tokens[name].labels) for name, logits in trained.zero_shot.items()}
    return {"zero_shot": found} if found else {}


def _evaluated(
    trained: Trained, data: TaskData, tokens: Mapping[str, Encoded]
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], dict[str, Any], dict[str, Any]]:
    """Return predictions, features, metrics and the surest errors of the evaluated splits."""
    predictions, features, metrics, errors = {}, {}, {}, {}
    for name, split in data.evaluated().items():
        pooled, logits = trained.outputs(tokens[name].tokens)
        labels = tokens[name].labels
        features[f"{name}/features"], features[f"{name}/pretrained"] = pooled, trained.pretrained[name]
        predictions[f"{name}/logits"], predictions[f"{name}/labels"] = logits, labels
        errors[name] = surest_errors(split, softmax(logits.astype(np.float64), axis=1), data.labels)
        metrics[name] = evaluate(logits, labels) | evaluate_features(pooled, trained.pretrained[name], labels)
    return predictions, features, metrics, errors
