import json

import keras
import numpy as np
import pytest
from keras import ops

from lpft_keras.errors import InputError
from lpft_keras.evaluation import accuracy
from lpft_keras.models.classifier import get_head
from lpft_keras.training.fine_tune import DivergedError, FineTuneSettings, adam, fine_tune
from lpft_keras.training.forward import forward_function
from tests import reference
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


def test_the_optimiser_is_the_paper_s(rng):
    """Against the float64 twin and against torch's AdamW without decay, clipping and linear decay by torch too."""
    torch = pytest.importorskip("torch")
    # The last column's gradients are as small as epsilon, so that where epsilon is added shows.
    start, gradients = rng.normal(size=(5, 4)), rng.normal(size=(30, 5, 4)) * [3, 3, 3, 1e-8]
    settings = FineTuneSettings(learning_rate=0.05, batch_size=8)
    variable = keras.Variable(start.astype("float32"))
    optimizer = adam(settings, len(gradients))
    weight = torch.nn.Parameter(torch.tensor(start))
    peer = torch.optim.AdamW([weight], lr=0.05, eps=1e-8, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(peer, lambda t: 1 - t / len(gradients))
    for gradient in gradients:
        optimizer.apply([ops.convert_to_tensor(gradient.astype("float32"))], [variable])
        weight.grad = torch.tensor(gradient)
        torch.nn.utils.clip_grad_norm_([weight], 1.0)
        peer.step()
        schedule.step()
    expected = reference.adam(start, gradients, 0.05)
    assert np.abs(expected - start).max() > 0.1
    np.testing.assert_allclose(ops.convert_to_numpy(variable), expected, atol=1e-5)
    np.testing.assert_allclose(weight.detach().numpy(), expected, atol=1e-5)
    assert float(optimizer.learning_rate) == pytest.approx(0.0, abs=1e-9)


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
    classifier, _, _, history = trained(np.random.default_rng(1), epochs=3, dropout=0.1)
    return [ops.convert_to_numpy(variable) for variable in classifier.trainable_variables], json.dumps(history)


def interrupt(folder, *stop):
    with pytest.raises(Stop):
        trained(np.random.default_rng(1), epochs=3, folder=folder, callbacks=[StopAfter(*stop)], dropout=0.1)


@pytest.mark.parametrize("stop", [(0, 2), (2, 4)])
def test_an_interrupted_training_ends_with_the_same_numbers(tmp_path, unbroken, stop):
    interrupt(tmp_path, *stop)
    resumed, _, _, history = trained(np.random.default_rng(1), epochs=3, folder=tmp_path, dropout=0.1)
    weights, expected = unbroken
    assert json.dumps(history) == expected
    for a, b in zip(weights, resumed.trainable_variables, strict=True):
        np.testing.assert_array_equal(a, ops.convert_to_numpy(b))


def test_a_damaged_checkpoint_is_not_used(tmp_path, unbroken):
    interrupt(tmp_path, 2, 1)
    path = tmp_path / "checkpoint.npz"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    _, _, _, history = trained(np.random.default_rng(1), epochs=3, folder=tmp_path, dropout=0.1)
    assert json.dumps(history) == unbroken[1]


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
    ],
)
def test_settings_that_train_nothing_are_refused(wrong):
    with pytest.raises(InputError):
        FineTuneSettings(**{"learning_rate": 1e-3, "batch_size": 8, **wrong})
