"""One model on several devices: the numbers of one device. The devices are virtual ones, in processes of their own."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from lpft_keras.models.backbones import load_backbone
from lpft_keras.models.encoding import encode
from lpft_keras.results import RunResult
from lpft_keras.tasks import get_task, load_task
from lpft_keras.training.forward import forward_function

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="starts JAX itself, once"),
    pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="jax is not installed"),
]

METHODS = ("lp", "lp-ft", "lora")

# 60 rows in batches of 16 leave a last one of 12, which is filled up.
_CODE = """
import json, sys
from pathlib import Path
import jax, keras, numpy as np
import lpft_keras

folder, parallel = Path(sys.argv[1]), sys.argv[2] == "parallel"
settings = dict(dropout=0.1, limit=60, max_length=48, epochs=2, learning_rate=1e-3)
cuts, places = set(), set()
place = jax.make_array_from_process_local_data

def watched(*arguments):
    array = place(*arguments)
    cuts.add((array.shape[0], array.addressable_shards[0].data.shape[0], len(array.sharding.device_set)))
    return array

jax.make_array_from_process_local_data = watched

class Watcher(keras.callbacks.Callback):
    def on_train_begin(self, logs=None):
        for variable in [*self.model.variables, *self.model.optimizer.variables]:
            places.add(len(variable.value.sharding.device_set))

class Stop(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        raise InterruptedError

def run(method, where, callback, **other):
    arguments = {**settings, "backbone": "pocket", "output_dir": folder / where, "data_parallel": parallel, **other}
    return lpft_keras.run("demo", method, callbacks=[callback], **arguments)

before = keras.distribution.DataParallel(devices=keras.distribution.list_devices()[:1]) if parallel else None
keras.distribution.set_distribution(before)
kept, errors = [], []
for method in sys.argv[3:]:
    run(method, "whole", Watcher())
    kept.append(keras.distribution.distribution() is before)
if parallel and "lp-ft" in sys.argv:
    try:
        run("lp-ft", "resumed", Stop())
    except InterruptedError:
        kept.append(keras.distribution.distribution() is before)
    run("lp-ft", "resumed", Watcher())
    for start in (
        lambda: run("ft", "never", Watcher(), batch_size=6),
        lambda: lpft_keras.sweep("demo", "ft", backbones="pocket", batch_size=6, data_parallel=True, **settings),
        lambda: run("lp-ft", "whole", Watcher(), data_parallel=False),
    ):
        try:
            start()
        except lpft_keras.InputError as error:
            errors.append(str(error))
facts = {"devices": jax.device_count(), "cuts": sorted(cuts), "places": sorted(places), "kept": kept, "errors": errors}
(folder / "facts.json").write_text(json.dumps(facts))
"""


def in_a_process(folder, devices, *arguments):
    flags = f"--xla_force_host_platform_device_count={devices}"
    done = subprocess.run(
        [sys.executable, "-c", _CODE, str(folder), *arguments],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[1],
        env={**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags},
    )
    assert done.returncode == 0, done.stderr
    return folder, json.loads((folder / "facts.json").read_text())


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    return in_a_process(tmp_path_factory.mktemp("one"), 1, "alone", *METHODS)


@pytest.fixture(scope="module")
def four(tmp_path_factory):
    return in_a_process(tmp_path_factory.mktemp("four"), 4, "parallel", *METHODS)


def result(folder, method, where="whole"):
    return RunResult.load(folder / where / "demo" / method / "pocket" / "seed_1001")


def assert_same_numbers(found, expected):
    for split, parts in expected.predictions.items():
        np.testing.assert_array_equal(found.predictions[split]["labels"], parts["labels"])
        np.testing.assert_allclose(found.predictions[split]["logits"], parts["logits"], atol=5e-5)
        np.testing.assert_allclose(found.features[split], expected.features[split], atol=5e-5)
        assert found.metrics[split] == pytest.approx(expected.metrics[split], rel=1e-4, abs=1e-5)
    for row, other in zip(found.history, expected.history, strict=True):
        assert row.pop("stage") == other.pop("stage")
        assert row == pytest.approx(other, rel=1e-4, abs=1e-5, nan_ok=True)


@pytest.mark.parametrize("method", METHODS)
def test_four_devices_give_the_numbers_of_one_dropout_included(one, four, method):
    found, expected = result(four[0], method), result(one[0], method)
    assert (found.config["settings"]["data_parallel"], expected.config["settings"]["data_parallel"]) == (True, False)
    assert_same_numbers(found, expected)


def test_all_four_devices_take_part(one, four):
    assert (one[1]["devices"], one[1]["cuts"], one[1]["places"]) == (1, [], [1])
    assert (four[1]["devices"], four[1]["places"]) == (4, [4])
    # Micro-batches of 4 rows, labels and weights of 16, and evaluation's 32.
    assert four[1]["cuts"] == [[4, 1, 4], [16, 4, 4], [32, 8, 4]]


def test_a_stopped_run_goes_on_with_the_same_numbers(four):
    whole, resumed = result(four[0], "lp-ft"), result(four[0], "lp-ft", "resumed")
    assert resumed.metrics == whole.metrics
    assert [str(row) for row in resumed.history] == [str(row) for row in whole.history]


@pytest.mark.parametrize("method", ["lp-ft", "lora"])
def test_a_run_on_four_devices_is_read_on_one_and_by_any_backend(four, method):
    run = result(four[0], method)
    tokens = encode(load_backbone("pocket"), load_task(get_task("demo"), limit=60).test.texts, 48)
    logits = forward_function(run.model())(tokens)[1]
    np.testing.assert_allclose(logits, run.predictions["test"]["logits"], atol=5e-5)


def test_the_distribution_set_before_is_set_again_also_after_errors(one, four):
    assert one[1]["kept"] == [True] * 3
    assert four[1]["kept"] == [True] * 4


def test_a_batch_that_devices_cannot_share_is_refused_before_any_work(four):
    words = "4 devices can't share a batch of 6 rows in 1 micro-batch evenly; take a batch_size that 4 divides"
    assert four[1]["errors"][:2] == [words, words]
    assert not (four[0] / "never").exists()


def test_a_run_on_one_device_is_another_run(four):
    assert len(four[1]["errors"]) == 3
    assert "data_parallel: True there, False asked for" in four[1]["errors"][2]


def test_three_devices_share_evaluation_batches_too(one, tmp_path):
    folder, facts = in_a_process(tmp_path, 3, "parallel", "lp")
    assert facts["cuts"] == [[33, 11, 3]]
    assert_same_numbers(result(folder, "lp"), result(one[0], "lp"))
