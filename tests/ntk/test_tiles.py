"""Kernels in tiles, killed and gone on with, and shared between processes."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import keras
import numpy as np
import pytest

from lpft_keras import ntk
from lpft_keras.errors import InputError
from lpft_keras.models.classifier import scale_head
from lpft_keras.models.lora import enable_lora
from lpft_keras.ntk.tiles import plan_tiles
from lpft_keras.training.batches import model_inputs
from tests.helpers import small_classifier, small_tokens

pytestmark = pytest.mark.timeout(1500)  # JAX compiles each model's segments


@pytest.mark.parametrize("square", [True, False])
@pytest.mark.parametrize(("columns", "others", "capacity"), [(7, 0, 9), (7, 0, 3), (5, 4, 4), (5, 4, 9), (1, 6, 2)])
def test_tiles_cover_each_wanted_pair_once_and_fit(columns, others, capacity, square):
    if not square and not others:
        pytest.skip("nothing is wanted")
    seen = np.zeros((columns + others, columns), int)
    for tile in plan_tiles(columns, others, square, capacity):
        assert len(tile.examples) <= capacity
        if tile.square:
            seen[np.ix_(tile.columns, tile.columns)] += 1
        if len(tile.rows):
            seen[np.ix_(tile.rows, tile.columns)] += 1
            if tile.rows[0] < columns:
                seen[np.ix_(tile.columns, tile.rows)] += 1
    assert (seen[columns:] == 1).all()
    assert (seen[:columns] == (1 if square else 0)).all()


@pytest.fixture
def model():
    return small_classifier()


@pytest.fixture
def x(rng):
    return model_inputs(small_tokens(rng, 9), np.arange(9), 32)


def test_any_memory_gives_the_same_numbers(model, x):
    whole = ntk.train_test_ntk(model, x, {name: array[:5] for name, array in x.items()})
    each = _bytes_an_example(model, x)
    for examples in (2, 5, 9):
        inside, across = ntk.train_test_ntk(
            model, x, {name: array[:5] for name, array in x.items()}, max_memory=examples * each
        )
        for ours, theirs in ((inside, whole[0]), (across, whole[1])):
            for a, b in ((ours.pretrain, theirs.pretrain), (ours.finetune, theirs.finetune)):
                # Batches of other shapes round otherwise, in float32.
                np.testing.assert_allclose(a, b, rtol=0, atol=1e-5 * np.abs(b).max())


def test_large_examples_are_differentiated_fewer_at_once_with_the_same_numbers(model, x, monkeypatch):
    whole = ntk.empirical_ntk(model, x)
    monkeypatch.setattr("lpft_keras.ntk.passes._BYTES", 1)
    monkeypatch.setattr("lpft_keras.ntk.passes._FEWEST", 2)
    fewer = ntk.empirical_ntk(model, x)
    for a, b in ((fewer.pretrain, whole.pretrain), (fewer.finetune, whole.finetune)):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-5 * np.abs(b).max())


def _bytes_an_example(model, x):
    """As the refusal of too little memory tells it."""
    with pytest.raises(InputError, match="two examples at once need") as caught:
        ntk.empirical_ntk(model, x, max_memory=1000)
    return int(str(caught.value).split("need ")[1].split(";")[0].replace(",", "")) // 2


def test_a_directory_keeps_what_is_done(model, x, tmp_path):
    first = ntk.empirical_ntk(model, x, directory=tmp_path, parts=lambda path: path.rsplit("/", 1)[-1])
    stamps = {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("*.npz")}
    assert stamps
    again = ntk.empirical_ntk(model, x, directory=tmp_path, parts=lambda path: path.rsplit("/", 1)[-1])
    np.testing.assert_array_equal(again.finetune, first.finetune)
    assert set(again.parts) == set(first.parts)
    assert {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("*.npz")} == stamps


def test_a_changed_model_or_data_set_is_refused(model, x, tmp_path):
    ntk.empirical_ntk(model, x, directory=tmp_path)
    with pytest.raises(InputError, match=r"another kernel \(data differ\)"):
        ntk.empirical_ntk(model, {name: array[1:] for name, array in x.items()}, directory=tmp_path)
    with pytest.raises(InputError, match=r"another kernel \(max_memory or workers differ\)"):
        ntk.empirical_ntk(model, x, directory=tmp_path, max_memory=5 * _bytes_an_example(model, x))
    with pytest.raises(InputError, match=r"another kernel \(variables differ\)"):
        ntk.empirical_ntk(model, x, directory=tmp_path, variables=lambda v: "layer_0" in v.path)
    scale_head(model, 2.0)
    with pytest.raises(InputError, match=r"another kernel \(weights differ\)"):
        ntk.empirical_ntk(model, x, directory=tmp_path)


def test_choices_and_models_of_the_same_shape_are_told_apart(model, x, tmp_path):
    ntk.empirical_ntk(model, x, directory=tmp_path / "choice", variables=lambda v: "layer_0" in v.path)
    with pytest.raises(InputError, match=r"another kernel \(variables differ\)"):
        ntk.empirical_ntk(model, x, directory=tmp_path / "choice", variables=lambda v: "layer_1" in v.path)
    ntk.empirical_ntk(model, x, directory=tmp_path / "pooling")
    other = small_classifier(pooling="mean")
    with pytest.raises(InputError, match=r"another kernel \(model differ\)"):
        ntk.empirical_ntk(other, x, directory=tmp_path / "pooling")


@pytest.mark.slow
def test_workers_share_what_one_does_alone(model, x, tmp_path):
    """With variables and parts chosen by functions of the caller, which other processes have to be told of."""
    arguments = {"variables": lambda variable: "bias" in variable.path, "parts": lambda path: path.split("/")[0]}
    arguments["dtype"] = "float64" if keras.backend.backend() == "tensorflow" else "float32"
    alone = ntk.empirical_ntk(model, x, **arguments)
    shared = ntk.empirical_ntk(model, x, workers=2, directory=tmp_path, **arguments)
    assert len(list(tmp_path.glob("tile-*-whole.npz"))) == 3
    assert set(shared.parts) == set(alone.parts)
    np.testing.assert_allclose(shared.finetune, alone.finetune, rtol=0, atol=1e-5 * np.abs(alone.finetune).max())
    one_by_name = ntk.empirical_ntk(model, x, workers=["cpu:0"], **arguments)
    np.testing.assert_allclose(one_by_name.finetune, alone.finetune, rtol=0, atol=1e-5 * np.abs(alone.finetune).max())


def test_a_model_that_cannot_be_sent_is_refused(model, x):
    enable_lora(model, rank=2)
    with pytest.raises(InputError, match="can't be sent to other processes"):
        ntk.empirical_ntk(model, x, workers=2)


SCRIPT = """
import sys
import numpy as np
from lpft_keras import ntk
from lpft_keras.training.batches import model_inputs
from tests.helpers import small_classifier, small_tokens

x = model_inputs(small_tokens(np.random.default_rng(0), 24), np.arange(24), 32)
kernel = ntk.empirical_ntk(small_classifier(), x, directory=sys.argv[1], max_memory=float(sys.argv[2]))
np.savez(sys.argv[3], kernel.finetune)
"""


def start(folder, memory, result):
    arguments = [sys.executable, "-c", SCRIPT, str(folder), str(memory), str(result)]
    return subprocess.Popen(arguments, cwd=Path(__file__).parents[2], stderr=subprocess.DEVNULL)


@pytest.mark.slow
@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="what is kept knows nothing of backends; once will do"
)
def test_a_killed_kernel_goes_on_and_two_processes_share_one(model, x, tmp_path):
    memory = 8 * _bytes_an_example(model, x)  # 24 examples in tiles of 8: several tiles
    whole, shared = tmp_path / "whole.npz", tmp_path / "shared"
    assert start(tmp_path / "alone", memory, whole).wait(timeout=300) == 0
    for pieces in (1, 3):  # killed twice, at unlike moments
        process = start(shared, memory, tmp_path / "killed.npz")
        while process.poll() is None and len(list(shared.glob("*.npz"))) < pieces:
            time.sleep(0.005)
        assert process.poll() is None, "it ended before it could be killed"
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    results = [tmp_path / f"{number}.npz" for number in range(2)]
    processes = [start(shared, memory, result) for result in results]
    assert [process.wait(timeout=300) for process in processes] == [0, 0]
    expected = np.load(whole)["arr_0"]
    for result in results:
        np.testing.assert_array_equal(np.load(result)["arr_0"], expected)
    assert len(list(shared.glob("tile-*-whole.npz"))) > 1
    assert not list(shared.glob("tile-*-segment-*.npz"))
