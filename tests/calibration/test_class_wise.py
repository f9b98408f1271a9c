import numpy as np
import pytest

from lpft_keras import calibration
from lpft_keras.errors import InputError
from tests import reference
from tests.calibration.cases import predictions


@pytest.mark.parametrize("classes", [2, 3, 7])
@pytest.mark.parametrize("bins", [1, 10, 15])
def test_class_wise_error_equals_its_slow_twin(rng, classes, bins):
    _, p, y = predictions(rng, classes=classes)
    expected = reference.class_wise_calibration_error(p, y, bins)
    assert calibration.class_wise_calibration_error(p, y, bins) == pytest.approx(expected, abs=1e-12)


def test_class_wise_error_is_netcals_of_each_class_alone(rng):
    metrics = pytest.importorskip("netcal.metrics")
    _, p, y = predictions(rng)
    expected = np.mean([metrics.ECE(15).measure(p[:, k], (y == k).astype(int)) for k in range(3)])
    assert calibration.class_wise_calibration_error(p, y) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("threshold", [0.0, 0.01, 0.3, 0.99])
@pytest.mark.parametrize("rows", [7, 400])
def test_thresholded_error_equals_its_slow_twin(rng, threshold, rows):
    _, p, y = predictions(rng, rows=rows)
    expected = reference.thresholded_adaptive_calibration_error(p, y, 15, threshold)
    found = calibration.thresholded_adaptive_calibration_error(p, y, 15, threshold=threshold)
    assert found == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("threshold", [-0.1, 1.0, float("nan"), "half"])
def test_a_threshold_that_is_no_probability_is_refused(threshold):
    with pytest.raises(InputError, match="threshold must be a number above 0 and below 1"):
        calibration.thresholded_adaptive_calibration_error([[0.5, 0.5]], [0], threshold=threshold)
