import csv
import importlib.util
import subprocess
import sys

import keras
import numpy as np
import pytest
from scipy.special import softmax

import lpft_keras
from lpft_keras.errors import InputError
from lpft_keras.training.callbacks import check_callbacks
from tests import reference

SMALL = {"backbone": "tiny", "limit": 60, "max_length": 48, "epochs": 3, "learning_rate": 3e-3, "micro_batches": 2}


def scalars(folder):
    """Return (step, value) pairs by tag, read by TensorBoard itself."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.util.tensor_util import make_ndarray

    accumulator = EventAccumulator(str(folder), {"tensors": 0})
    accumulator.Reload()
    tags = [tag for tag in accumulator.Tags()["tensors"] if tag.startswith("epoch_")]
    return {
        tag: [(event.step, float(make_ndarray(event.tensor_proto))) for event in accumulator.Tensors(tag)]
        for tag in tags
    }


def test_tensorboard_reads_what_the_history_says(tmp_path, caplog):
    arguments = {"method": "lp-ft", "output_dir": tmp_path, **SMALL}
    plain = lpft_keras.run("demo", **{**arguments, "output_dir": tmp_path / "plain"})
    done = lpft_keras.run("demo", tensorboard=True, **arguments)
    train = scalars(done.directory / "tensorboard" / "train")
    validation = scalars(done.directory / "tensorboard" / "validation")
    epochs = [row for row in done.history if row["stage"] == "fine_tune" and row["step"]]
    for found, tag, name in (
        (train, "epoch_loss", "loss"),
        (train, "epoch_accuracy", "accuracy"),
        (train, "epoch_head_norm", "head_norm"),
        (train, "epoch_logit_norm", "logit_norm"),
        (validation, "epoch_loss", "validation_loss"),
        (validation, "epoch_accuracy", "validation_accuracy"),
    ):
        assert [step for step, _ in found[tag]] == [0, 1, 2]
        np.testing.assert_allclose([value for _, value in found[tag]], [row[name] for row in epochs], rtol=1e-6)
    rates = [rate for _, rate in train["epoch_learning_rate"]]
    assert 3e-3 > rates[0] > rates[1] > rates[2] == 0
    # No part of what the run is: the same numbers, and the run is reused whether or not it was asked for.
    assert done.config == plain.config
    assert done.metrics == plain.metrics
    with caplog.at_level("INFO"):
        assert lpft_keras.run("demo", **arguments).summary == done.summary
        assert "no callback was called" not in caplog.text
        assert lpft_keras.run("demo", tensorboard=True, **arguments).summary == done.summary
    assert "reused the finished run" in caplog.text
    assert "no callback was called" in caplog.text


def test_each_run_of_a_sweep_has_its_own_events_and_lp_has_none(tmp_path, caplog):
    options = {**SMALL, "epochs": 1, "backbones": "tiny", "tensorboard": True}
    del options["backbone"]
    with caplog.at_level("INFO"):
        found = lpft_keras.sweep("demo", ["lp", "ft"], (1, 2), output_dir=tmp_path, workers=2, **options)
    assert not found.failures
    folders = {
        result.directory / "tensorboard" / "train" for result in found.results if "/ft/" in str(result.directory)
    }
    assert len(folders) == 2
    for folder in folders:
        assert [step for step, _ in scalars(folder)["epoch_loss"]] == [0]
    assert not any(
        (result.directory / "tensorboard").exists() for result in found.results if "/lp/" in str(result.directory)
    )


def test_ordinary_callbacks_work(tmp_path):
    seen = []
    stop = keras.callbacks.EarlyStopping("val_loss", min_delta=10.0, patience=1, restore_best_weights=True)
    callbacks = [
        keras.callbacks.CSVLogger(tmp_path / "log.csv"),
        keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(dict(logs))),
        keras.callbacks.ModelCheckpoint(tmp_path / "best.weights.h5", "val_accuracy", save_weights_only=True),
        keras.callbacks.TerminateOnNaN(),
        # With the graph, which is of a model with an input for each micro-batch.
        keras.callbacks.TensorBoard(tmp_path / "events", update_freq="batch", histogram_freq=1),
        stop,
    ]
    done = lpft_keras.run("demo", "ft", output_dir=tmp_path, callbacks=callbacks, **SMALL)
    epochs = done.history[1:]
    assert len(epochs) == len(seen) == 2, "nothing improves by ten nats: stopped after one epoch of patience"
    assert stop.stopped_epoch == 1
    with open(tmp_path / "log.csv", newline="") as file:
        written = list(csv.DictReader(file))
    for row, logs, line in zip(epochs, seen, written, strict=True):
        assert float(line["val_loss"]) == pytest.approx(row["validation_loss"], rel=1e-6)
        assert logs["val_accuracy"] == row["validation_accuracy"]
        assert logs["head_norm"] == row["head_norm"]
    best = max(epochs, key=lambda row: row["validation_accuracy"])
    assert done.metrics["validation"]["accuracy"] == best["validation_accuracy"], "by the metric, whatever stopped it"
    predictions = done.predictions["validation"]
    probabilities = softmax(predictions["logits"].astype(float), axis=1)
    calibration = reference.expected_calibration_error(probabilities, predictions["labels"], 15)
    assert seen[best["step"] - 1]["val_ece"] == pytest.approx(calibration, abs=1e-4)
    assert (tmp_path / "best.weights.h5").is_file()
    assert scalars(tmp_path / "events" / "validation")["epoch_ece"]


def test_an_estimator_takes_them_too():
    stop = keras.callbacks.EarlyStopping("val_loss", min_delta=10.0, patience=1)
    settings = {"backbone": "tiny", "max_length": 16, "epochs": 4, "batch_size": 8, "learning_rate": 3e-3}
    classifier = lpft_keras.TextClassifier("ft", **settings)
    texts, labels = ["a fine film", "a dull film"] * 20, ["good", "bad"] * 20
    classifier.fit(texts, labels, callbacks=[stop])
    assert [row["step"] for row in classifier.history_] == [0, 1, 2]
    with pytest.raises(InputError, match="ReduceLROnPlateau"):
        classifier.fit(texts, labels, callbacks=[keras.callbacks.ReduceLROnPlateau()])


@pytest.mark.parametrize(
    ("callback", "words"),
    [
        (keras.callbacks.ReduceLROnPlateau(), "ReduceLROnPlateau does not fit"),
        (keras.callbacks.LearningRateScheduler(lambda epoch: 0.1), "LearningRateScheduler does not fit"),
        (keras.callbacks.BackupAndRestore("backup"), "BackupAndRestore does not fit"),
        (keras.callbacks.SwapEMAWeights(), "SwapEMAWeights does not fit"),
        (print, "must hold Keras callbacks"),
    ],
)
def test_what_does_not_fit_is_refused_before_any_work(tmp_path, callback, words):
    for start in (lpft_keras.run, lpft_keras.sweep):
        with pytest.raises(InputError, match=words):
            start("demo", output_dir=tmp_path / "runs", callbacks=[callback])
    assert not (tmp_path / "runs").exists()
    check_callbacks([keras.callbacks.EarlyStopping()])


def test_without_tensorboard_one_line_says_so(tmp_path):
    assert importlib.util.find_spec("tensorboard")
    code = (
        "import sys, importlib.util as util; find = util.find_spec\n"
        "util.find_spec = lambda name, *rest: None if name == 'tensorboard' else find(name, *rest)\n"
        "from lpft_keras.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    arguments = ["run", "demo", "--backbone", "tiny", "--tensorboard", "--output-dir", str(tmp_path / "runs")]
    ended = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert ended.stderr.strip().splitlines()[-1].startswith("lpft-keras: --tensorboard needs the package tensorboard")
    assert not (tmp_path / "runs").exists()
