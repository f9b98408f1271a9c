"""Proposition 2 on real kernels: F over fresh adapters, over many draws of A, against F over the weights they adapt."""

import keras
import numpy as np
import pytest
from keras import ops

from lpft_keras import ntk
from lpft_keras.models.lora import enable_lora, lora_variables
from lpft_keras.models.lora_layers import LowRank
from lpft_keras.training.batches import model_inputs
from tests.helpers import small_classifier, small_tokens

pytestmark = pytest.mark.timeout(1500)

ROWS, WIDTH, ALPHA, DRAWS = 5, 16, 6.0, 36


def drawn(rank):
    """Return the exact kernel over the adapted weights, and LoRA's for each draw of A, of variance 1 / (3 d)."""
    model = small_classifier()
    enable_lora(model, rank=rank, alpha=ALPHA)
    x = model_inputs(small_tokens(np.random.default_rng(0), ROWS), np.arange(ROWS), 32)
    frozen = [layer._kernel for layer in model._flatten_layers() if isinstance(layer, LowRank)]
    assert len(frozen) == 4  # query and value of two layers
    whole = ntk.empirical_ntk(model, x, variables=frozen)
    down = [variable for variable in lora_variables(model) if variable.path.endswith("lora_a")]
    assert {tuple(variable.shape) for variable in down} == {(rank, WIDTH)}
    rng, kernels = np.random.default_rng(rank), []
    for _ in range(DRAWS):
        for variable in down:
            variable.assign(rng.uniform(-1, 1, variable.shape) / WIDTH**0.5)
        kernels.append(ntk.empirical_ntk(model, x, variables="lora"))
    return model, x, whole, kernels


@pytest.fixture(scope="module")
def of_rank():
    return {rank: drawn(rank) for rank in (2, 8)}


def expected(rank):
    """(alpha / r)^2 sigma^2 r, sigma^2 of the uniform distribution on +-1/sqrt(d)."""
    return (ALPHA / rank) ** 2 * rank / (3 * WIDTH)


@pytest.mark.slow
@pytest.mark.parametrize("rank", [2, 8])
def test_the_mean_over_draws_is_the_proposition_s_number_times_the_kernel(of_rank, rank):
    _, _, whole, kernels = of_rank[rank]
    exact = expected(rank) * whole.finetune
    low = np.stack([kernel.finetune for kernel in kernels])
    error = low.std(axis=0, ddof=1) / DRAWS**0.5
    deviations = (low.mean(axis=0) - exact) / error
    # Entries are far from independent, so that only their size can be told: none is far off, most are near.
    assert np.abs(deviations).max() < 5
    assert np.sqrt((deviations**2).mean()) < 2
    assert (error > 0).all()
    factors = np.array([ntk.scalar_fit(kernel.finetune, whole.finetune)[0] for kernel in kernels])
    spread = factors.std(ddof=1) / DRAWS**0.5
    assert factors.mean() == pytest.approx(expected(rank), abs=4 * spread)
    assert spread < 0.15 * expected(rank)  # so that the mean says something


@pytest.mark.slow
def test_the_spread_falls_with_the_root_of_the_rank(of_rank):
    """Four times the rank, half of it: of the factor, and of what no factor explains."""
    relative, rest = {}, {}
    for rank, (_, _, whole, kernels) in of_rank.items():
        fits = np.array([ntk.scalar_fit(kernel.finetune, whole.finetune) for kernel in kernels])
        relative[rank], rest[rank] = fits[:, 0].std(ddof=1) / fits[:, 0].mean(), np.sqrt((fits[:, 1] ** 2).mean())
    assert relative[2] / relative[8] == pytest.approx(2, rel=0.4)
    assert rest[2] / rest[8] == pytest.approx(2, rel=0.25)


@pytest.mark.slow
def test_p_is_that_of_full_fine_tuning_and_f_follows_b_alone(of_rank):
    model, x, whole, kernels = of_rank[8]
    for kernel in (kernels[0], kernels[-1]):
        np.testing.assert_allclose(kernel.pretrain, whole.pretrain, rtol=1e-6)
    # phi as Keras itself gives it: B is zero, whatever A is.
    phi = keras.Model(model.input, model.get_layer("head").input).predict(x, verbose=0).astype("float64")
    by_hand = np.einsum("nm,cd->ncmd", phi @ phi.T + 1, np.eye(3))
    np.testing.assert_allclose(whole.pretrain, by_hand, rtol=1e-4, atol=1e-4)
    up = [variable for variable in lora_variables(model) if variable.path.endswith("lora_b")]
    assert not any(ops.convert_to_numpy(variable).any() for variable in up)
    by_b = ntk.empirical_ntk(model, x, variables=up)
    np.testing.assert_allclose(by_b.finetune, kernels[-1].finetune, rtol=1e-5, atol=1e-9)
