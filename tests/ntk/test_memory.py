"""What a kernel takes of memory, as it is foretold and as Python sees it."""

import tracemalloc

import keras
import pytest

from lpft_keras import ntk
from lpft_keras.errors import InputError
from lpft_keras.ntk import memory
from lpft_keras.ntk.computation import Options, _plan
from lpft_keras.ntk.passes import bytes_an_example
from lpft_keras.ntk.problem import pose
from tests.ntk import cases

ROWS, CLASSES = 600, 3


@pytest.fixture(scope="module")
def perceptron():
    """Of small layers: examples take little beside the kernel."""
    body = keras.Input((8,))
    features = keras.layers.Dense(8, activation="tanh", name="second")(
        keras.layers.Dense(8, activation="tanh", name="first")(body)
    )
    return cases.with_head(body, features, CLASSES)[0]


@pytest.fixture
def x(rng):
    return rng.normal(size=(ROWS, 8)).astype("float32")


def peak_of(work):
    """Return by how many bytes Python's arrays grew at most."""
    work()  # what is compiled, and kept for the model, comes first
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    work()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak - before


@pytest.mark.parametrize("examples", [ROWS, 200])  # one tile, and several
@pytest.mark.parametrize(("parts", "groups"), [(None, 1), ("layer", 2), ("kind", 2)])
def test_a_kernel_takes_what_is_foretold(perceptron, x, examples, parts, groups):
    problem = pose(perceptron, [x], None)
    budget = examples * bytes_an_example(problem)
    foretold = memory.kernel_bytes([ROWS], CLASSES, groups, _plan(problem, True, Options(None, max_memory=budget), 1))
    peak = peak_of(lambda: ntk.empirical_ntk(perceptron, x, parts=parts, max_memory=budget))
    assert peak <= foretold <= 2 * peak


@pytest.mark.parametrize("examples", [ROWS, 200])
def test_projected_gradients_take_what_is_foretold(perceptron, x, examples):
    problem = pose(perceptron, [x], None)
    budget = examples * bytes_an_example(problem)
    tiles = _plan(problem, True, Options(None, max_memory=budget, dimension=2048), 1)
    foretold = memory.projection_bytes(ROWS, CLASSES, 2048, tiles)
    peak = peak_of(lambda: ntk.projected_ntk(perceptron, x, 2048, max_memory=budget))
    assert peak <= foretold <= 2 * peak


def test_a_containers_limit_counts(tmp_path):
    whole = memory.machine_memory([])
    limits = [tmp_path / "memory.max", tmp_path / "memory.limit_in_bytes"]
    assert memory.machine_memory(limits) == whole
    limits[0].write_text("max\n")
    assert memory.machine_memory(limits) == whole
    limits[1].write_text("1000000\n")
    assert memory.machine_memory(limits) == 1_000_000
    limits[1].write_text(f"{1 << 63}\n")
    assert memory.machine_memory(limits) == whole


@pytest.mark.parametrize(
    ("have", "advice"), [(1 << 27, r", or its projected form, .* dimension=3106\)$"), (1 << 23, "$")]
)
def test_what_does_not_fit_is_refused_with_advice_that_helps(perceptron, x, monkeypatch, have, advice):
    """A projection on a handful of directions would fit, and say nothing."""
    monkeypatch.setattr(memory, "machine_memory", lambda: have)
    with pytest.raises(InputError, match=f"takes .* this machine has {have:,}; take fewer examples" + advice):
        ntk.empirical_ntk(perceptron, x)
