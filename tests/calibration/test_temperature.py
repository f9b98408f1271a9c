import numpy as np
import pytest

from lpft_keras.calibration import TemperatureScaling, negative_log_likelihood
from tests import reference


def overconfident(rng, rows=500, classes=3, scale=4.0):
    true = rng.normal(0, 1, (rows, classes))
    labels = np.array([rng.choice(classes, p=p) for p in reference.softmax(true)])
    return true * scale, labels


@pytest.mark.parametrize("scale", [0.3, 1.0, 4.0])
def test_temperature_equals_the_bisected_optimum(rng, scale):
    logits, labels = overconfident(rng, scale=scale)
    fitted = TemperatureScaling().fit(logits, labels)
    assert fitted.temperature_ == pytest.approx(reference.temperature(logits, labels), rel=1e-5)
    assert negative_log_likelihood(logits / fitted.temperature_, labels) <= negative_log_likelihood(logits, labels)


def test_probabilities_are_scaled_and_predictions_stay(rng):
    logits, labels = overconfident(rng)
    fitted = TemperatureScaling().fit(logits, labels)
    probabilities = fitted.predict_proba(logits)
    np.testing.assert_allclose(probabilities, reference.softmax(logits / fitted.temperature_), atol=1e-12)
    assert (probabilities.argmax(1) == logits.argmax(1)).all()


def test_perfect_predictions_give_a_finite_temperature():
    logits = np.eye(3) * 5
    assert np.isfinite(TemperatureScaling().fit(logits, np.arange(3)).temperature_)
