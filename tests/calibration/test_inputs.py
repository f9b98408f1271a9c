import numpy as np
import pytest

from lpft_keras import calibration
from lpft_keras.errors import InputError

OF_PROBABILITIES = [
    getattr(calibration, name)
    for name in calibration.__all__
    if name.endswith(("_error", "brier_score", "decomposition"))
] + [calibration.overconfidence, calibration.reliability_bins]


@pytest.mark.parametrize("metric", OF_PROBABILITIES, ids=lambda metric: metric.__name__)
@pytest.mark.parametrize(
    ("probabilities", "labels", "words"),
    [
        ([[0.5, 0.6]], [0], "row 0 of probabilities is no distribution, it sums to 1.1"),
        ([[0.5, 0.5], [-0.1, 1.1]], [0, 0], "row 1 of probabilities is no distribution, it holds -0.1"),
        ([[0.5, 0.5], [2.0, -3.0]], [0, 0], "take the softmax of logits"),
        ([[0.5, 0.5]], [2], r"labels must lie in 0\.\.1, found 2"),
        ([[0.5, 0.5]], [-1], r"labels must lie in 0\.\.1"),
        ([[0.5, 0.5]], [0, 1], r"labels must be of shape \(1,\)"),
        ([[0.5, 0.5]], [0.0], "labels must be integers"),
        ([[0.5, 0.5]], ["yes"], "labels must be real numbers"),
        ([0.5, 0.5], [0, 1], r"numpy.stack\(\[1 - p, p\]"),
        ([[1.0]], [0], "two classes or more"),
        ([[0.5, 0.5], [1.0]], [0, 0], "probabilities can't be read"),
        (np.empty((0, 2)), np.empty(0, int), "probabilities hold no rows"),
        ([[np.nan, 0.5]], [0], "probabilities hold NaN or infinity, first in row 0"),
        ([[0.5, 0.5], [np.inf, 0.5]], [0, 0], "first in row 1"),
    ],
)
def test_what_is_no_prediction_is_refused_in_one_line(metric, probabilities, labels, words):
    with pytest.raises(InputError, match=words) as caught:
        metric(probabilities, labels)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("bins", [0, -3, 2.5, True, "ten", None])
def test_bins_must_be_a_number_of_bins(bins):
    for name in ("expected_calibration_error", "equal_mass_calibration_error", "class_wise_calibration_error"):
        with pytest.raises(InputError, match="bins must be a whole number of 1 or more"):
            getattr(calibration, name)([[0.5, 0.5]], [0], bins)


def test_logits_must_be_finite():
    with pytest.raises(InputError, match="logits hold NaN or infinity, first in row 1"):
        calibration.negative_log_likelihood([[0.0, 1.0], [np.nan, 0.0]], [0, 1])
    with pytest.raises(InputError, match="logits hold NaN or infinity, first in row 0"):
        calibration.TemperatureScaling().fit([[np.inf, 1.0]], [0])


def test_integers_that_are_probabilities_are_taken():
    assert calibration.brier_score([[1, 0], [0, 1]], [0, 0]) == pytest.approx(1.0)
