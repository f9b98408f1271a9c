import numpy as np
import pytest

from lpft_keras.calibration import smooth_calibration_error
from tests import reference
from tests.calibration.cases import overconfident, predictions


def cases(rng):
    yield predictions(rng)[1:]
    for scale in (0.5, 1.0, 3.0):
        logits, labels = overconfident(rng, scale=scale)
        yield reference.softmax(logits), labels


def test_smooth_error_equals_its_slow_twin(rng):
    for p, y in cases(rng):
        assert smooth_calibration_error(p, y) == pytest.approx(reference.smooth_calibration_error(p, y), abs=2e-5)


def test_smooth_error_equals_that_of_its_authors(rng):
    relplot = pytest.importorskip("relplot")
    for p, y in cases(rng):
        expected = relplot.smECE(p.max(1), (p.argmax(1) == y).astype(float))
        # Theirs stops bisecting the bandwidth at 1e-3.
        assert smooth_calibration_error(p, y) == pytest.approx(expected, abs=2e-3)


def test_certain_and_right_has_no_error():
    assert smooth_calibration_error(np.eye(3), np.arange(3)) == pytest.approx(0, abs=1e-12)


def test_certain_and_wrong_has_the_greatest():
    assert smooth_calibration_error(np.eye(2), np.array([1, 0])) == pytest.approx(1, abs=1e-3)
