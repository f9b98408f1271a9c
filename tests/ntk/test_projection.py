"""Projected gradients: right on average, as far off as they say, the same however they are computed."""

import numpy as np
import pytest

from lpft_keras import ntk
from lpft_keras.errors import InputError
from lpft_keras.ntk.passes import bytes_an_example
from lpft_keras.ntk.problem import pose
from tests.ntk import cases

pytestmark = pytest.mark.timeout(1500)  # JAX compiles each model's segments
SEEDS, DIMENSION = 60, 64


@pytest.fixture(scope="module", params=["perceptron", "convolutional", "roberta"])
def case(request):
    return cases.make(request.param)


@pytest.fixture(scope="module")
def draws(case):
    return [ntk.projected_ntk(case.model, case.x, DIMENSION, seed) for seed in range(SEEDS)]


def test_estimates_are_right_on_average_and_spread_as_stated(case, draws):
    estimates = np.stack([draw.kernel().finetune for draw in draws])
    diagonal = np.einsum("icic->ic", case.finetune)
    # The statement, with the exact kernel in place of its estimate.
    stated = np.sqrt((diagonal[:, :, None, None] * diagonal + case.finetune**2) / DIMENSION)
    off = (estimates.mean(axis=0) - case.finetune) / (stated / SEEDS**0.5)
    assert np.abs(off).max() < 5  # 441 entries: a normal variable exceeds 5 once in 4000 such tests
    ratio = estimates.std(axis=0) / stated
    assert ratio.max() < 1.5  # single coordinates may make it smaller, never greater
    if case.finetune.shape[0] and len(case.rows) > 10:  # many coordinates: as of a Gaussian projection
        assert 0.8 < np.median(ratio) < 1.1
    said = np.stack([draw.standard_error() for draw in draws]).mean(axis=0)
    np.testing.assert_allclose(said, stated, rtol=0.4)


def test_p_is_exact_and_products_are_those_of_the_kernel(case, draws, rng):
    kernel = draws[0].kernel()
    np.testing.assert_allclose(kernel.pretrain, case.pretrain, rtol=1e-4, atol=1e-5)
    vector = rng.normal(size=case.pretrain.shape[:2])
    np.testing.assert_allclose(
        draws[0].product(vector), np.einsum("icjd,jd->ic", kernel.total, vector), rtol=1e-4, atol=1e-3
    )


def test_two_sets_are_projected_alike(case):
    part = {k: v[:3] for k, v in case.x.items()} if isinstance(case.x, dict) else case.x[:3]
    whole, some = (ntk.projected_ntk(case.model, x, DIMENSION, 7) for x in (case.x, part))
    across, expected = some.kernel(whole), whole.kernel()
    scale = np.abs(expected.finetune).max()
    np.testing.assert_allclose(across.finetune, expected.finetune[:3], atol=1e-4 * scale)
    np.testing.assert_allclose(across.pretrain, expected.pretrain[:3], rtol=1e-4, atol=1e-5)


def test_many_directions_come_near(case):
    exact = case.finetune
    near = ntk.projected_ntk(case.model, case.x, 1 << 16).kernel().finetune
    assert np.linalg.norm(near - exact) < 0.02 * np.linalg.norm(exact)


def test_little_memory_and_a_directory_change_nothing(case, tmp_path):
    memory = 3 * bytes_an_example(pose(case.model, [case.x], None))
    whole = ntk.projected_ntk(case.model, case.x, DIMENSION)
    for _ in range(2):  # the second time from what is kept
        some = ntk.projected_ntk(case.model, case.x, DIMENSION, max_memory=memory, directory=tmp_path)
        np.testing.assert_allclose(some.gradients, whole.gradients, atol=1e-5 * np.abs(whole.gradients).max())
    assert len(list(tmp_path.glob("tile-*-whole.npz"))) == 3
    with pytest.raises(InputError, match=r"another kernel \(projection differ\)"):
        ntk.projected_ntk(case.model, case.x, DIMENSION, seed=1, max_memory=memory, directory=tmp_path)


def test_one_logit_and_subsets():
    case = cases.make("roberta-two")
    arguments = {"variables": "biases", "single_logit": True}
    exact = ntk.empirical_ntk(case.model, case.x, **arguments)
    near = ntk.projected_ntk(case.model, case.x, 1 << 16, **arguments).kernel()
    np.testing.assert_allclose(near.pretrain, exact.pretrain)
    assert np.linalg.norm(near.finetune - exact.finetune) < 0.05 * np.linalg.norm(exact.finetune)


@pytest.mark.parametrize("dimension", [0, 2.5, None])
def test_a_dimension_is_a_whole_number(dimension):
    case = cases.make("perceptron")
    with pytest.raises(InputError, match="dimension must be a whole number of 1 or more"):
        ntk.projected_ntk(case.model, case.x, dimension)
