"""What must hold whatever the predictions are."""

import hypothesis.extra.numpy as arrays
import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from scipy.special import softmax

from lpft_keras import calibration

settings.register_profile("tests", deadline=None, max_examples=60, derandomize=True)
settings.load_profile("tests")

METRICS = [getattr(calibration, name) for name in calibration.__all__ if name.endswith(("_error", "brier_score"))]


@st.composite
def predicted(draw, least=1):
    rows, classes = draw(st.integers(least, 60)), draw(st.integers(2, 6))
    logits = draw(arrays.arrays(np.float64, (rows, classes), elements=st.floats(-30, 30)))
    labels = draw(arrays.arrays(np.int64, rows, elements=st.integers(0, classes - 1)))
    return logits, labels


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.__name__)
@given(case=predicted(), seed=st.integers(0, 100))
def test_order_of_rows_does_not_matter_and_values_are_fractions(metric, case, seed):
    logits, labels = case
    p = softmax(logits, axis=1)
    order = np.random.default_rng(seed).permutation(len(p))
    found = metric(p, labels)
    assert 0 <= found <= (2 if metric is calibration.brier_score else 1) + 1e-12
    if metric is not calibration.thresholded_adaptive_calibration_error:  # equal probabilities share a range by order
        assert metric(p[order], labels[order]) == pytest.approx(found, abs=1e-9)


@given(hits=st.lists(st.integers(1, 9), min_size=1, max_size=5))
def test_a_calibrated_construction_has_no_error(hits):
    """Of ten rows at confidence h/10 exactly h are right (for h below 5 the other class has the greater share)."""
    hits = [max(h, 10 - h) for h in hits]
    p = np.concatenate([np.tile([[h / 10, 1 - h / 10]], (10, 1)) for h in hits])
    labels = np.concatenate([np.arange(10) >= h for h in hits]).astype(int)
    for name in ("expected", "maximum", "equal_mass", "average", "class_wise", "root_mean_square"):
        assert getattr(calibration, f"{name}_calibration_error")(p, labels) == pytest.approx(0, abs=1e-7), name
    # Smoothing is zero to the width of its grid.
    assert calibration.smooth_calibration_error(p, labels) == pytest.approx(0, abs=1e-3)
    assert calibration.brier_decomposition(p, labels).calibration == pytest.approx(0, abs=1e-12)


@given(case=predicted())
def test_errors_are_ordered(case):
    logits, labels = case
    p = softmax(logits, axis=1)
    ece, rms, mce = (
        getattr(calibration, f"{name}_calibration_error")(p, labels)
        for name in ("expected", "root_mean_square", "maximum")
    )
    assert abs(calibration.overconfidence(p, labels)) <= ece + 1e-12
    assert ece <= rms + 1e-12 <= mce + 2e-12
    assert calibration.overconfidence_error(p, labels) <= ece + 1e-12


@given(case=predicted(), temperature=st.floats(0.05, 20))
def test_scaling_by_t_and_by_its_inverse_is_the_identity(case, temperature):
    logits, _ = case
    there, back = calibration.TemperatureScaling(), calibration.TemperatureScaling()
    for scaling, value in ((there, temperature), (back, 1 / temperature)):
        scaling.temperature_, scaling.n_features_in_ = value, logits.shape[1]
    scaled = back.predict_proba(np.log(there.predict_proba(logits).clip(min=1e-300)))
    kept = there.predict_proba(logits).min(axis=1) > 1e-250
    np.testing.assert_allclose(scaled[kept], softmax(logits, axis=1)[kept], atol=1e-9)


@given(case=predicted(least=2))
def test_the_optimum_has_no_slope(case):
    logits, labels = case
    t = calibration.TemperatureScaling().fit(logits, labels).temperature_
    spread = (logits - logits.mean(axis=1, keepdims=True)).std()
    if not spread * np.exp(-6.99) < t < spread * np.exp(6.99):
        return  # no optimum within the bounds

    beta, step = 1 / t, 1e-5 / t
    own = logits[np.arange(len(labels)), labels]
    slope = ((softmax(beta * logits, axis=1) * logits).sum(1) - own).mean()
    assert slope * beta == pytest.approx(0, abs=1e-6)  # in log T
    losses = [calibration.negative_log_likelihood(b * logits, labels) for b in (beta - step, beta, beta + step)]
    assert losses[1] <= min(losses[0], losses[2]) + 1e-12


@given(case=predicted())
def test_decomposition_adds_up(case):
    logits, labels = case
    p = softmax(logits, axis=1)
    parts = calibration.brier_decomposition(p, labels)
    assert parts.calibration + parts.refinement == pytest.approx(calibration.brier_score(p, labels), abs=1e-9)
    assert parts.refinement <= parts.uncertainty + 1e-9
