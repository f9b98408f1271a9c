import numpy as np
import pytest

from lpft_keras import ntk
from lpft_keras.errors import InputError
from lpft_keras.ntk import low_rank


def test_products_have_the_mean_and_the_variance_of_the_theory(rng):
    x = rng.normal(size=6)
    y = x + rng.normal(size=6) / 2
    draws = 40_000
    products = ntk.low_rank_products(x, y, rank=5, sigma=0.7, draws=draws)
    mean, variance = ntk.low_rank_moments(x, y, rank=5, sigma=0.7)
    assert mean == pytest.approx(0.49 * 5 * sum(a * b for a, b in zip(x, y, strict=True)))
    assert products.mean() == pytest.approx(mean, abs=4 * np.sqrt(variance / draws))
    assert products.var() == pytest.approx(variance, rel=0.06)


def test_products_are_those_of_a_matrix(rng):
    """The first A is the generator's first numbers; one draw is the product of its images."""
    x, y = rng.normal(size=(2, 4))
    a = np.random.default_rng(7).normal(0, 0.5, (3, 4))
    assert ntk.low_rank_products(x, y, 3, 0.5, draws=1, seed=7)[0] == pytest.approx((a @ x) @ (a @ y), rel=1e-12)


def test_draws_do_not_depend_on_the_memory_they_are_made_in(rng, monkeypatch):
    x, y = rng.normal(size=(2, 4))
    whole = ntk.low_rank_products(x, y, 3, draws=50, seed=1)
    monkeypatch.setattr(low_rank, "_BLOCK", 100)
    np.testing.assert_allclose(ntk.low_rank_products(x, y, 3, draws=50, seed=1), whole, rtol=1e-12)


@pytest.mark.parametrize("radius", [0.1, 10.0])
def test_the_printed_bound_is_false_and_the_corrected_one_holds(radius):
    """r = 64, epsilon = 2/3, x = x' of norm c; the probability claimed is 0.626."""
    claimed = ntk.concentration_probability(64, 2 / 3)
    assert claimed == pytest.approx(0.626, abs=1e-3)
    x = np.array([radius, 0.0])
    off = np.abs(ntk.low_rank_products(x, x, 64, draws=20_000) - 64 * radius**2)
    held = {
        form: float((off <= ntk.concentration_bound(64, 2 / 3, radius, form=form)).mean())
        for form in ("printed", "proof", "corrected")
    }
    assert held["printed"] < claimed - 0.1
    assert held["corrected"] > 0.999
    # How often chi-squared of 64 degrees is within 2/3 (printed) and 128/3 (proof) over c of its mean.
    printed, proof = (0.444, 1.0) if radius < 1 else (0.0047, 0.297)
    assert held["printed"] == pytest.approx(printed, abs=0.03 * printed**0.5)
    assert held["proof"] == pytest.approx(proof, abs=0.02)


def test_the_corrected_bound_holds_for_different_inputs_and_other_entries(rng):
    x, y = rng.normal(size=(2, 12))
    radius = max(np.linalg.norm(x), np.linalg.norm(y))
    off = np.abs(ntk.low_rank_products(x, y, 100, 0.3, draws=5000) - 0.09 * 100 * x @ y)
    held = (off <= ntk.concentration_bound(100, 0.5, radius, 0.3)).mean()
    assert held >= ntk.concentration_probability(100, 0.5) > 0.8


def test_the_statement_is_vacuous_below_rank_38():
    assert ntk.smallest_rank() == 38
    assert ntk.concentration_probability(38, 2 / 3) > 0 > ntk.concentration_probability(37, 2 / 3)
    assert ntk.concentration_probability(8, 2 / 3) < -1
    for epsilon in (0.1, 0.9):
        first = next(rank for rank in range(1, 10**4) if ntk.concentration_probability(rank, epsilon) > 0)
        assert ntk.smallest_rank(epsilon) == first
    assert min(ntk.smallest_rank(eps) for eps in np.linspace(0.01, 0.99, 99)) == 38


def test_what_is_out_of_range_is_refused():
    for call, message in (
        (lambda: ntk.low_rank_products([1, 2], [1, 2, 3], 4), "one shape"),
        (lambda: ntk.low_rank_products([1, 2], [1, 2], 0), "rank"),
        (lambda: ntk.low_rank_products([1, 2], [1, 2], 4, sigma=0), "sigma"),
        (lambda: ntk.low_rank_products([1, 2], [1, 2], 4, draws=0), "draws"),
        (lambda: ntk.low_rank_products([1, 2], [1, 2], 4, seed=-1), "seed"),
        (lambda: ntk.concentration_probability(4, 1), "epsilon"),
        (lambda: ntk.concentration_bound(4, 0.5, 1, form="correct"), "did you mean 'corrected'"),
        (lambda: ntk.concentration_bound(4, 0.5, -1), "radius"),
    ):
        with pytest.raises(InputError, match=message):
            call()
