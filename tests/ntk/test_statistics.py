import time

import numpy as np
import pytest

from lpft_keras import ntk
from lpft_keras.errors import InputError
from tests import reference


@pytest.fixture
def kernels(rng):
    """P and F of a made-up Jacobian, 6 examples and 3 classes; F of rank 5."""
    features, jacobian = rng.normal(size=(6, 4)), rng.normal(size=(18, 5))
    pretrain = np.einsum("ij,cd->icjd", features @ features.T + 1, np.eye(3))
    return pretrain, (jacobian @ jacobian.T).reshape(6, 3, 6, 3)


@pytest.fixture
def delta(rng):
    return ntk.residuals(rng.normal(size=(6, 3)), rng.integers(0, 3, 6))


def test_ft_ratio_equals_the_slow_twin(kernels, delta):
    assert ntk.ft_ratio(*kernels, delta) == pytest.approx(reference.ft_ratio(*kernels, delta), rel=1e-12)


def test_residuals_are_onehot_minus_softmax(rng):
    logits = rng.normal(size=(6, 3))
    expected = np.eye(3)[[0, 1, 2, 0, 1, 2]] - reference.softmax(logits)
    np.testing.assert_allclose(ntk.residuals(logits, [0, 1, 2, 0, 1, 2]), expected, atol=1e-15)


def test_trace_norms_equal_the_slow_twin_and_p_has_the_known_ones(kernels):
    np.testing.assert_allclose(ntk.trace_norms(kernels[1]), reference.trace_norms(kernels[1]), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(ntk.trace_norms(kernels[0]), 3 * np.abs(kernels[0][:, 0, :, 0]), rtol=1e-12)


def test_ranks_differ_by_their_tolerance(rng):
    basis = np.linalg.qr(rng.normal(size=(12, 12)))[0]
    values = np.array([1, 1e-1, 1e-3, 1e-5, 1e-8, 1e-10, *[0] * 6])
    kernel = (basis * values @ basis.T).reshape(4, 3, 4, 3)
    assert ntk.rank(kernel) == 4  # tolerance 12 x 1.2e-7 = 1.4e-6
    assert ntk.rank(kernel, "float64") == 6
    assert ntk.rank(kernel, 1e-2) == 2
    np.testing.assert_allclose(ntk.singular_values(kernel)[:6], values[:6], rtol=1e-4)
    assert ntk.singular_values(5 * kernel, normalized=True)[0] == 1
    with pytest.raises(InputError, match="tolerance"):
        ntk.rank(kernel, "float16")


def test_frobenius_norm_of_p_is_that_of_the_theory(kernels):
    """||P||^2 = C ||K_phi + 1 1^T||^2."""
    inner = kernels[0][:, 0, :, 0]
    assert ntk.frobenius_norm(kernels[0]) == pytest.approx(np.sqrt(3) * np.linalg.norm(inner))


def test_kernels_that_differ_by_a_number_are_aligned(kernels, rng):
    factor, left = ntk.scalar_fit(3.5e-3 * kernels[1], kernels[1])
    assert factor == pytest.approx(3.5e-3)
    assert left < 1e-12
    assert ntk.alignment(2 * kernels[1], kernels[1]) == pytest.approx(1)
    shifted = kernels[1] + 7.0  # the same number for all pairs of examples
    assert ntk.alignment(shifted, kernels[1], centered=True) == pytest.approx(1)
    assert ntk.alignment(shifted, kernels[1]) < 0.99
    other = kernels[1] + rng.normal(size=kernels[1].shape)
    factor, left = ntk.scalar_fit(other, kernels[1])
    grid = [np.linalg.norm(other - s * kernels[1]) for s in np.linspace(factor - 0.1, factor + 0.1, 21)]
    assert int(np.argmin(grid)) == 10
    assert left == pytest.approx(min(grid) / np.linalg.norm(other))


def test_examples_of_a_class_lie_side_by_side(rng):
    matrix, labels = rng.normal(size=(4, 4)), np.array([1, 0, 1, 0])
    np.testing.assert_array_equal(ntk.by_class(matrix, labels), matrix[[1, 3, 0, 2]][:, [1, 3, 0, 2]])


def test_statistics_gather_the_table(kernels, delta):
    table = ntk.statistics(ntk.NTK(*kernels), delta)
    assert table["rank"]["finetune"] == 5
    assert table["rank"]["pretrain"] == 15
    assert table["ft_ratio"] == ntk.ft_ratio(*kernels, delta)
    assert table["frobenius_norm"]["total"] == pytest.approx(np.linalg.norm(kernels[0] + kernels[1]))


def test_five_hundred_examples_take_seconds(rng):
    rows = rng.normal(size=(1500, 40))
    kernel = (rows @ rows.T).reshape(500, 3, 500, 3)
    start = time.monotonic()
    assert ntk.rank(kernel) == 40
    assert ntk.trace_norms(kernel).shape == (500, 500)
    assert time.monotonic() - start < 60
