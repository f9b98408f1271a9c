"""Fine-tuning: `fit()`, best epoch on validation restored, resumable after every epoch."""

import logging
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import keras
import numpy as np
from scipy.special import log_softmax, softmax

from lpft_keras.calibration import expected_calibration_error
from lpft_keras.distribution import devices_in_use
from lpft_keras.errors import InputError
from lpft_keras.hyperparameters import FineTuneSettings
from lpft_keras.models.classifier import get_head
from lpft_keras.progress import progress_bar, shows_progress
from lpft_keras.randomness import global_state_kept
from lpft_keras.representation import head_norm
from lpft_keras.training.batches import Encoded, TrainingBatches, default_micro_batches, micro_batched
from lpft_keras.training.checkpoint import Checkpoint
from lpft_keras.training.forward import Forward
from lpft_keras.training.optimizers import make_optimizer

log = logging.getLogger(__name__)

HistoryRow = dict[str, str | int | float]
Score = Callable[[np.ndarray, np.ndarray], float]


class DivergedError(InputError):
    """The loss turned NaN or infinite; what was finished before is kept."""


def head_record(classifier_head: tuple[np.ndarray, np.ndarray], logits: np.ndarray) -> HistoryRow:
    """Return the norms of head, bias and logits that every row of a history holds."""
    kernel, bias = classifier_head
    return {
        "head_norm": head_norm(kernel),
        "bias_norm": float(np.linalg.norm(bias.astype(np.float64))),
        "logit_norm": float(np.linalg.norm(logits.astype(np.float64), axis=1).mean()),
    }


def mean_loss(logits: np.ndarray, labels: np.ndarray) -> float:
    """Return the mean cross-entropy of logits, NaN where the logits are."""
    return float(-log_softmax(logits.astype(np.float64), axis=1)[np.arange(len(labels)), labels].mean())


def _calibration_error(logits: np.ndarray, labels: np.ndarray) -> float:
    """Return the expected calibration error; NaN of a training that diverged, which is told apart later."""
    if not np.isfinite(logits).all():
        return math.nan
    return expected_calibration_error(softmax(logits.astype(np.float64), axis=1), labels)


def fine_tune(
    classifier: keras.Model,
    forward: Forward,
    train: Encoded,
    validation: Encoded,
    settings: FineTuneSettings,
    *,
    score: Score,
    seed: int,
    folder: Path | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    show_progress: bool | None = None,
) -> list[HistoryRow]:
    """Fine-tune a classifier's trainable variables; freeze what shall stay before the call.

    Args:
        classifier: A model of `build_classifier`; it ends with the weights of its best epoch.
        forward: Its forward function.
        train: Training rows.
        validation: Rows that choose the best epoch.
        settings: The settings.
        score: What the best epoch is best in: a function of (logits, labels), greater is better. Of equal epochs the
            first is taken.
        seed: Seed of the batches.
        folder: Where the state after each epoch is kept; a state found there is gone on from.
        callbacks: Keras callbacks. They see the model that `fit` trains; it shares its variables with the classifier.
            Their logs hold the epoch's history, and the expected calibration error on the validation rows.
        show_progress: Whether to show a progress bar; None decides by the terminal.

    Returns:
        One row an epoch. Step 0 is the state before, without a training loss, since no training row was seen.

    Raises:
        DivergedError: The loss turned NaN or infinite.
    """
    micro_batches = settings.micro_batches or default_micro_batches(settings.batch_size, devices_in_use())
    steps = -(-len(train) // settings.batch_size)
    optimizer = make_optimizer(settings.optimizer, settings.learning_rate, steps * settings.epochs, settings.clip_norm)
    optimizer.build(classifier.trainable_variables)
    checkpoint = Checkpoint(folder, classifier, optimizer)
    first_epoch, history = checkpoint.restore()
    if first_epoch:
        log.info("going on after epoch %d of %d, which an earlier process finished", first_epoch, settings.epochs)

    quiet = shows_progress(show_progress)
    watch = _Watch(classifier, forward, validation, score, checkpoint, history, steps, settings, seed, quiet)
    if not history:
        watch.record(0, math.nan, math.nan)
    model = micro_batched(classifier, micro_batches)
    model.compile(
        optimizer=optimizer,
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        weighted_metrics=[keras.metrics.SparseCategoricalAccuracy(name="accuracy")],
        # XLA would compile every shape anew; where it is the backend's only way, TrainingBatches keeps shapes few.
        jit_compile=keras.backend.backend() == "jax",
    )
    batches = TrainingBatches(train, settings.batch_size, micro_batches, settings.epochs, seed, first_epoch)
    bar = progress_bar("fine-tuning", steps * settings.epochs, show_progress)
    with global_state_kept(), bar as advance:
        watch.advance = advance
        model.fit(
            batches.for_keras(),
            steps_per_epoch=steps,
            initial_epoch=first_epoch,
            epochs=settings.epochs,
            shuffle=False,
            verbose=0,
            callbacks=[watch, *callbacks],
        )
    checkpoint.restore_best()
    return history


class _Watch(keras.callbacks.Callback):
    """Writes history and checkpoint after each epoch, and stops at a loss that is no number."""

    def __init__(self, classifier, forward, validation, score, checkpoint, history, steps, settings, seed, quiet):
        super().__init__()
        self._classifier = classifier
        self._forward = forward
        self._validation = validation
        self._score = score
        self._checkpoint = checkpoint
        self._history = history
        self._steps = steps
        self._settings = settings
        self._seed = seed
        self._quiet = quiet
        self._epoch = 0
        self.advance: Callable[[int], object] = lambda step: None  # the bar's, once there is one

    def record(self, epoch: int, loss: float, accuracy: float) -> tuple[float, float]:
        """Add a row to the history; return the score and the calibration error on the validation rows."""
        labels = self._validation.labels
        logits = self._forward(self._validation.tokens)[1]
        value = self._score(logits, labels)
        if epoch and not self._quiet:
            log.info("epoch %d of %d: loss %.4f, validation %.4f", epoch, self._settings.epochs, loss, value)
        self._history.append(
            {
                "stage": "fine_tune",
                "step": epoch,
                "loss": loss,
                "accuracy": accuracy,
                "validation_loss": mean_loss(logits, labels),
                "validation_accuracy": float((logits.argmax(axis=1) == labels).mean()),
                **head_record(get_head(self._classifier), logits),
            }
        )
        return value, _calibration_error(logits, labels)

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch = epoch

    def on_train_batch_begin(self, batch, logs=None):
        if keras.backend.backend() == "torch":
            import torch

            # There Keras draws the masks of dropout layers from PyTorch's own generator, whatever their state says.
            torch.manual_seed(int(np.random.default_rng([self._seed, 2, self._epoch, batch]).integers(2**63)))

    def on_train_batch_end(self, batch, logs=None):
        self.advance(self._epoch * self._steps + batch + 1)
        self._check(logs["loss"], batch + 1)

    def _check(self, loss, step):
        if not math.isfinite(loss):
            raise DivergedError(
                f"the loss is {loss} at step {step} of epoch {self._epoch + 1}, learning rate "
                f"{self._settings.learning_rate:g}; take a smaller learning rate, with --overwrite (overwrite=True) or "
                "another output directory where epochs were finished before: they are kept"
            )

    def on_epoch_end(self, epoch, logs=None):
        score, calibration_error = self.record(epoch + 1, float(logs["loss"]), float(logs["accuracy"]))
        # The training loss is that before the last step, which may itself have broken the weights.
        self._check(self._history[-1]["validation_loss"], self._steps)
        # Callbacks that come after, such as EarlyStopping, find the validation under the names Keras uses.
        row = self._history[-1]
        logs["val_loss"], logs["val_accuracy"] = row["validation_loss"], row["validation_accuracy"]
        logs["val_ece"] = calibration_error
        logs |= {name: row[name] for name in ("head_norm", "bias_norm", "logit_norm")}
        if score > self._checkpoint.best_score:
            self._checkpoint.keep_best(epoch, score)
        self._checkpoint.save(epoch, self._history)
