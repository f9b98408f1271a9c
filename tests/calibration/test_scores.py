import numpy as np
import pytest

from lpft_keras import calibration
from tests import reference
from tests.calibration.cases import overconfident, predictions


@pytest.mark.parametrize("classes", [2, 3, 7])
def test_scores_equal_their_slow_twins(rng, classes):
    logits, p, y = predictions(rng, classes=classes)
    assert calibration.brier_score(p, y) == pytest.approx(reference.brier_score(p, y), abs=1e-12)
    assert calibration.class_mean_brier_score(p, y) == pytest.approx(reference.brier_score(p, y) / classes, abs=1e-12)
    expected = reference.negative_log_likelihood(logits, y)
    assert calibration.negative_log_likelihood(logits, y) == pytest.approx(expected, abs=1e-12)


def test_scores_equal_scikit_learn(rng):
    from sklearn.metrics import brier_score_loss, log_loss

    logits, p, y = predictions(rng)
    assert calibration.negative_log_likelihood(logits, y) == pytest.approx(log_loss(y, p), abs=1e-12)
    assert calibration.brier_score(p, y) == pytest.approx(brier_score_loss(y, p, labels=[0, 1, 2]), abs=1e-12)
    _, p, y = predictions(rng, classes=2)
    assert calibration.class_mean_brier_score(p, y) == pytest.approx(brier_score_loss(y, p[:, 1]), abs=1e-12)


def test_large_logits_stay_finite():
    logits = np.array([[1e4, -1e4], [-1e4, 1e4]])
    assert calibration.negative_log_likelihood(logits, np.array([0, 0])) == pytest.approx(1e4)


@pytest.mark.parametrize("classes", [2, 4])
def test_decomposition_equals_its_slow_twin_and_adds_up(rng, classes):
    for p, y in (
        predictions(rng, rows=150, classes=classes)[1:],
        (np.round(predictions(rng, 150, classes)[1], 1), None),
    ):
        if y is None:  # few distinct values, each of several rows
            p = p / p.sum(1, keepdims=True)
            y = rng.integers(0, classes, len(p))
        parts = calibration.brier_decomposition(p, y)
        assert parts.refinement == pytest.approx(reference.brier_refinement(p, y), abs=1e-9)
        assert parts.calibration + parts.refinement == pytest.approx(calibration.brier_score(p, y), abs=1e-12)
        assert parts.uncertainty - parts.resolution == pytest.approx(parts.refinement, abs=1e-12)
        assert min(parts.calibration, parts.refinement, parts.resolution) >= 0


def test_decomposition_of_few_values_is_the_textbooks():
    """DeGroot and Fienberg: rows of one forecast together, its square distance from what came, and what came itself."""
    p = np.repeat([[0.9, 0.1], [0.4, 0.6]], 10, axis=0)
    y = np.array([0] * 7 + [1] * 3 + [0] * 5 + [1] * 5)
    parts = calibration.brier_decomposition(p, y)
    assert parts.calibration == pytest.approx((2 * 0.2**2 + 2 * 0.1**2) / 2)
    assert parts.refinement == pytest.approx((2 * 0.7 * 0.3 + 2 * 0.5 * 0.5) / 2)
    assert parts.uncertainty == pytest.approx(2 * 0.6 * 0.4)


def test_scaling_pays_calibration_and_leaves_refinement(rng):
    """Of two classes, temperature keeps the order of all probabilities: refinement can't change."""
    logits, y = overconfident(rng, classes=2)
    before = calibration.brier_decomposition(reference.softmax(logits), y)
    after = calibration.brier_decomposition(reference.softmax(logits / 4), y)
    assert after.refinement == pytest.approx(before.refinement, abs=1e-9)
    assert after.calibration < before.calibration / 2
