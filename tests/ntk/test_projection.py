"""Projected gradients: right on average, as far off as they say, the same however they are computed."""

import keras
import numpy as np
import pytest
from keras import ops

from lpft_keras import ntk
from lpft_keras.errors import InputError
from lpft_keras.models.classifier import scale_head
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


def test_the_tail_is_chebyshevs_and_not_that_of_a_gaussian_projection():
    """Gradients of two equal coordinates, another two for each example: these meet in a bucket, or F is exact."""
    examples, dimension, epsilon = 1500, 512, 0.5
    body = keras.Input((2 * examples,))
    features = keras.layers.Dense(1, use_bias=False, kernel_initializer="ones")(body)
    model, _ = cases.with_head(body, features, classes=2)
    x = np.repeat(np.eye(examples, dtype="float32"), 2, axis=1)
    exact = 2 * ops.convert_to_numpy(model.get_layer("head").kernel)[0, 0] ** 2  # of a logit with itself
    off = []
    for seed in range(3):
        gradients = ntk.projected_ntk(model, x, dimension, seed).gradients[:, 0].astype("float64")
        off.extend(np.abs((gradients**2).sum(axis=1) - exact) > epsilon * exact)
    tail = np.mean(off)
    assert tail == pytest.approx(1 / dimension, rel=0.8)
    assert 4 * np.exp(-(epsilon**2 - epsilon**3) * dimension / 4) < tail <= 2 / (dimension * epsilon**2)


def test_projections_of_unlike_kinds_have_no_kernel():
    case = cases.make("perceptron")
    one = ntk.projected_ntk(case.model, case.x, 8)
    others = {
        r"seed \(0 and 1\)": ntk.projected_ntk(case.model, case.x, 8, seed=1),
        r"dimension \(8 and 9\)": ntk.projected_ntk(case.model, case.x, 9),
        "variables": ntk.projected_ntk(case.model, case.x, 8, variables="no-head"),
    }
    before = case.model.get_weights()
    scale_head(case.model, 2.0)
    others["weights"] = ntk.projected_ntk(case.model, case.x, 8)
    case.model.set_weights(before)
    for message, other in others.items():
        for use in (one.kernel, one.standard_error, lambda other: one.product(np.ones((7, 3)), other)):
            with pytest.raises(InputError, match=f"unlike {message}"):
                use(other)


def test_wrong_vectors_and_dtypes_are_refused():
    case = cases.make("perceptron")
    one = ntk.projected_ntk(case.model, case.x, 8)
    for vector, message in (
        (np.ones((7, 2)), r"the vector must have the shape \(7, 3\), not \(7, 2\)"),
        (np.full((7, 3), np.nan), "the vector holds NaN"),
        ([["a"] * 3] * 7, "vector must be real numbers"),
    ):
        with pytest.raises(InputError, match=message):
            one.product(vector)
        with pytest.raises(InputError, match=message):
            ntk.vector_product(case.model, case.x, vector)
    for dtype in ("bfloat16", "tensorfloat32", ["float32"]):
        with pytest.raises(InputError, match="unknown dtype"):
            ntk.projected_ntk(case.model, case.x, 8, dtype=dtype)


@pytest.mark.parametrize("dimension", [0, 2.5, None])
def test_a_dimension_is_a_whole_number(dimension):
    case = cases.make("perceptron")
    with pytest.raises(InputError, match="dimension must be a whole number of 1 or more"):
        ntk.projected_ntk(case.model, case.x, dimension)
