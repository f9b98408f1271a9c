import numpy as np
import pytest

from lpft_keras.calibration import bootstrap_interval, brier_score, expected_calibration_error, negative_log_likelihood
from lpft_keras.errors import InputError
from tests.calibration.cases import predictions


def test_the_interval_is_that_of_scipy(rng):
    from scipy.stats import bootstrap

    _, p, y = predictions(rng)
    found = bootstrap_interval(brier_score, p, y, resamples=2000)
    rows = np.square(p - np.eye(3)[y]).sum(1)
    expected = bootstrap((rows,), np.mean, method="percentile", n_resamples=2000, rng=1).confidence_interval
    assert found.value == brier_score(p, y)
    assert (found.low, found.high) == pytest.approx(tuple(expected), abs=0.01)
    assert found.samples.shape == (2000,)


def test_it_covers_the_true_value_as_often_as_said(rng):
    hits = 0
    for number in range(60):
        p = np.tile([[0.7, 0.3]], (150, 1))
        y = (rng.random(150) < 0.3).astype(int)
        found = bootstrap_interval(brier_score, p, y, resamples=200, level=0.9, seed=number)
        hits += found.low <= 2 * (0.7 * 0.09 + 0.3 * 0.49) <= found.high
    assert 48 <= hits <= 60


def test_options_and_logits_reach_the_metric(rng):
    logits, p, y = predictions(rng)
    found = bootstrap_interval(expected_calibration_error, p, y, resamples=5, bins=3)
    assert found.value == expected_calibration_error(p, y, 3)
    assert bootstrap_interval(negative_log_likelihood, logits, y, resamples=5).value == negative_log_likelihood(
        logits, y
    )
    again = bootstrap_interval(expected_calibration_error, p, y, resamples=5, bins=3)
    np.testing.assert_array_equal(found.samples, again.samples)


@pytest.mark.parametrize(("options", "words"), [({"resamples": 0}, "resamples"), ({"level": 1.0}, "level")])
def test_wrong_options_are_refused(options, words):
    with pytest.raises(InputError, match=words):
        bootstrap_interval(brier_score, [[0.5, 0.5]], [0], **options)
