import numpy as np
import pytest

from lpft_keras import calibration
from tests import reference


def predictions(rng, rows=400, classes=3):
    logits = rng.normal(0, 2, (rows, classes))
    return logits, reference.softmax(logits), rng.integers(0, classes, rows)


@pytest.mark.parametrize("classes", [2, 3, 7])
@pytest.mark.parametrize("bins", [1, 10, 15])
def test_metrics_equal_their_slow_twins(rng, classes, bins):
    logits, p, y = predictions(rng, classes=classes)
    for name in ("expected_calibration_error", "maximum_calibration_error"):
        assert getattr(calibration, name)(p, y, bins) == pytest.approx(getattr(reference, name)(p, y, bins), abs=1e-12)
    assert calibration.brier_score(p, y) == pytest.approx(reference.brier_score(p, y), abs=1e-12)
    assert calibration.negative_log_likelihood(logits, y) == pytest.approx(
        reference.negative_log_likelihood(logits, y), abs=1e-12
    )


@pytest.mark.parametrize("classes", [2, 3])
def test_ece_equals_netcal(rng, classes):
    netcal = pytest.importorskip("netcal.metrics")
    _, p, y = predictions(rng, classes=classes)
    # netcal takes two classes for something else; the top label's confidence and correctness say the same to both.
    expected = netcal.ECE(15).measure(p.max(1), (p.argmax(1) == y).astype(int))
    assert calibration.expected_calibration_error(p, y) == pytest.approx(expected, abs=1e-9)


def test_brier_and_nll_equal_scikit_learn(rng):
    from sklearn.metrics import brier_score_loss, log_loss

    logits, p, y = predictions(rng)
    assert calibration.negative_log_likelihood(logits, y) == pytest.approx(log_loss(y, p), abs=1e-12)
    assert calibration.brier_score(p, y) == pytest.approx(brier_score_loss(y, p, labels=[0, 1, 2]), abs=1e-12)


def test_confidence_one_and_values_on_bin_edges():
    certain = np.array([[1.0, 0.0], [1.0, 0.0]])
    assert calibration.expected_calibration_error(certain, np.array([0, 1])) == pytest.approx(0.5)
    # 0.6 is the upper edge of its bin of ten, so that it shares the bin with 0.55, not with 0.65.
    edge = np.array([[0.6, 0.4], [0.55, 0.45], [0.65, 0.35]])
    labels = np.array([0, 1, 0])
    assert calibration.maximum_calibration_error(edge, labels, 10) == pytest.approx(0.35)
    assert calibration.expected_calibration_error(edge, labels, 10) == pytest.approx(
        (2 * abs(0.5 - 0.575) + abs(1 - 0.65)) / 3
    )


@pytest.mark.parametrize(
    ("probabilities", "labels", "error", "words"),
    [
        ([[0.5, 0.6]], [0], ValueError, "row 0"),
        ([[-0.1, 1.1]], [0], ValueError, "row 0"),
        ([[0.5, 0.5]], [2], ValueError, "0..1"),
        ([[0.5, 0.5]], [-1], ValueError, "0..1"),
        ([[0.5, 0.5]], [0, 1], ValueError, "shape"),
        ([[0.5, 0.5]], [0.0], TypeError, "integers"),
        ([0.5, 0.5], [0, 1], ValueError, "classes"),
        (np.empty((0, 2)), np.empty(0, int), ValueError, "no rows"),
        ([[np.nan, 0.5]], [0], ValueError, "NaN"),
    ],
)
def test_what_is_no_prediction_is_refused(probabilities, labels, error, words):
    for metric in (calibration.expected_calibration_error, calibration.brier_score):
        with pytest.raises(error, match=words):
            metric(np.array(probabilities), np.array(labels))
