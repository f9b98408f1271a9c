import json

import keras
import numpy as np
import pytest
from keras import ops

from lpft_keras.errors import InputError
from lpft_keras.evaluation import accuracy
from lpft_keras.hyperparameters import OPTIMIZERS, FineTuneSettings
from lpft_keras.models.classifier import get_head
from lpft_keras.training.fine_tune import DivergedError, fine_tune
from lpft_keras.training.forward import forward_function
from tests.helpers import small_classifier, small_data


def trained(rng, epochs=4, rate=3e-3, folder=None, callbacks=(), score=accuracy, dropout=0.0, **settings):
    data = small_data(rng, 48), small_data(rng, 30)
    classifier = small_classifier(dropout=dropout)
    forward = forward_function(classifier)
    history = fine_tune(
        classifier,
        forward,
        *data,
        FineTuneSettings(learning_rate=rate, batch_size=8, epochs=epochs, **settings),
        score=score,
        seed=3,
        folder=folder,
        callbacks=callbacks,
    )
    return classifier, forward, data, history


def test_it_learns_and_the_best_epoch_is_kept(rng):
    classifier, forward, (_, validation), history = trained(rng, epochs=8, rate=1e-2)
    assert [row["step"] for row in history] == list(range(9))
    best = max(history[1:], key=lambda row: row["validation_accuracy"])
    logits = forward(validation.tokens)[1]
    assert accuracy(logits, validation.labels) == pytest.approx(best["validation_accuracy"])
    assert np.linalg.norm(get_head(classifier)[0]) == pytest.approx(best["head_norm"], rel=1e-6)
    assert history[-1]["loss"] < history[1]["loss"]
    assert history[-1]["accuracy"] > 0.6


def test_the_score_decides_which_epoch_is_best(rng):
    """An upside-down score keeps the worst epoch."""
    _, forward, (_, validation), history = trained(
        rng, epochs=5, rate=1e-2, score=lambda logits, labels: -accuracy(logits, labels)
    )
    worst = min(row["validation_accuracy"] for row in history[1:])
    assert accuracy(forward(validation.tokens)[1], validation.labels) == pytest.approx(worst)


def test_history_rows_say_what_the_head_and_logits_are(rng):
    _, _, _, history = trained(rng, epochs=1)
    assert np.isnan(history[0]["loss"])
    assert history[0]["bias_norm"] == 0.0
    assert history[1]["bias_norm"] > 0
    for row in history:
        assert row["head_norm"] > 0
        assert row["logit_norm"] > 0


BROKEN = {"epochs": 3, "dropout": 0.1}


class Stop(Exception):
    pass


class StopAfter(keras.callbacks.Callback):
    def __init__(self, epoch, step):
        super().__init__()
        self.stop_at, self.epoch = (epoch, step), 0

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if (self.epoch, batch) == self.stop_at:
            raise Stop


@pytest.fixture(scope="module")
def unbroken():
    """Weights and history of a training by an optimiser that nothing interrupts, each trained once."""
    known = {}

    def of(optimizer):
        if optimizer not in known:
            classifier, _, _, history = trained(np.random.default_rng(1), **BROKEN, optimizer=optimizer)
            weights = [ops.convert_to_numpy(variable) for variable in classifier.trainable_variables]
            known[optimizer] = weights, json.dumps(history)
        return known[optimizer]

    return of


def interrupt(folder, *stop, optimizer="adam"):
    with pytest.raises(Stop):
        trained(np.random.default_rng(1), folder=folder, callbacks=[StopAfter(*stop)], **BROKEN, optimizer=optimizer)


@pytest.mark.parametrize("stop", [(0, 2), (2, 4)])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_an_interrupted_training_ends_with_the_same_numbers(tmp_path, unbroken, stop, optimizer):
    interrupt(tmp_path, *stop, optimizer=optimizer)
    resumed, _, _, history = trained(np.random.default_rng(1), folder=tmp_path, **BROKEN, optimizer=optimizer)
    weights, expected = unbroken(optimizer)
    assert json.dumps(history) == expected
    for a, b in zip(weights, resumed.trainable_variables, strict=True):
        np.testing.assert_array_equal(a, ops.convert_to_numpy(b))


def test_a_damaged_checkpoint_is_not_used(tmp_path, unbroken):
    interrupt(tmp_path, 2, 1)
    path = tmp_path / "checkpoint.npz"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    _, _, _, history = trained(np.random.default_rng(1), folder=tmp_path, **BROKEN)
    assert json.dumps(history) == unbroken("adam")[1]


def test_a_loss_that_is_no_number_stops_with_the_step(rng, tmp_path):
    with pytest.raises(DivergedError, match=r"step \d+ of epoch 1"):
        trained(rng, rate=1e38, clip_norm=1e30, folder=tmp_path)


def test_keras_callbacks_see_the_validation(rng):
    stopper = keras.callbacks.EarlyStopping(monitor="val_loss", patience=0, min_delta=100.0)
    _, _, _, history = trained(rng, epochs=6, callbacks=[stopper])
    assert len(history) < 7


@pytest.mark.parametrize(
    "wrong",
    [
        {"learning_rate": float("nan")},
        {"learning_rate": 0.0},
        {"learning_rate": -1e-3},
        {"batch_size": 0},
        {"epochs": 0},
        {"micro_batches": 3},
        {"clip_norm": 0.0},
        {"optimizer": "sign"},
    ],
)
def test_settings_that_train_nothing_are_refused(wrong):
    with pytest.raises(InputError):
        FineTuneSettings(**{"learning_rate": 1e-3, "batch_size": 8, **wrong})
