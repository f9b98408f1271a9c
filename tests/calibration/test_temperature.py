import logging

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator

from lpft_keras.calibration import TemperatureScaling, negative_log_likelihood
from lpft_keras.errors import InputError
from tests import reference
from tests.calibration.cases import overconfident


class Logits(ClassifierMixin, BaseEstimator):
    """A classifier, to scikit-learn, whose decisions are what it is given; for two classes half their difference."""

    def __init__(self, classes):
        self.classes = classes

    def fit(self, x, y=None):
        self.classes_ = np.arange(self.classes)
        return self

    def decision_function(self, x):
        return (x[:, 1] - x[:, 0]) / 2 if self.classes == 2 else x

    def predict(self, x):
        return x.argmax(axis=1)


def scikit_learn(method, logits, labels, classes):
    frozen = FrozenEstimator(Logits(classes).fit(logits))
    return CalibratedClassifierCV(frozen, method=method).fit(logits, labels).predict_proba(logits)


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("scale", [0.3, 1.0, 4.0])
def test_temperature_equals_the_bisected_optimum_and_scikit_learn(rng, classes, scale):
    logits, labels = overconfident(rng, classes=classes, scale=scale)
    fitted = TemperatureScaling().fit(logits, labels)
    assert fitted.temperature_ == pytest.approx(reference.temperature(logits, labels), rel=1e-9)
    expected = scikit_learn("temperature", logits, labels, classes)
    np.testing.assert_allclose(fitted.predict_proba(logits), expected, atol=1e-6)
    assert negative_log_likelihood(logits / fitted.temperature_, labels) <= negative_log_likelihood(logits, labels)


@pytest.mark.parametrize("scale", [0.5, 2.0, 8.0])
def test_the_papers_procedure_agrees_with_the_optimum(rng, scale):
    logits, labels = overconfident(rng, scale=scale)
    exact, adam = (TemperatureScaling(solver).fit(logits, labels) for solver in ("exact", "adam"))
    assert adam.temperature_ == pytest.approx(exact.temperature_, abs=1e-3)
    assert 10 < adam.n_iter_ < 100_000


def test_the_papers_procedure_takes_the_steps_of_adam(rng):
    """Two hundred steps against PyTorch's own Adam."""
    torch = pytest.importorskip("torch")
    logits, labels = overconfident(rng)
    temperature = torch.ones((), dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([temperature], lr=1e-3)
    steps, best, since = 0, (np.inf, 1.0), 0
    while since < 10:
        loss = torch.nn.functional.cross_entropy(torch.tensor(logits) / temperature, torch.tensor(labels))
        steps, since = steps + 1, since + 1
        if loss.item() < best[0]:
            best, since = (loss.item(), temperature.item()), 0
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    fitted = TemperatureScaling("adam").fit(logits, labels)
    assert fitted.temperature_ == pytest.approx(best[1], abs=1e-6)
    assert fitted.n_iter_ == pytest.approx(steps, abs=20)


def test_probabilities_are_scaled_and_predictions_stay(rng):
    logits, labels = overconfident(rng)
    fitted = TemperatureScaling().fit(logits, labels)
    probabilities = fitted.predict_proba(logits)
    np.testing.assert_allclose(probabilities, reference.softmax(logits / fitted.temperature_), atol=1e-12)
    assert (probabilities.argmax(1) == logits.argmax(1)).all()


def test_perfect_predictions_give_a_bound_and_say_so(caplog):
    logits = np.eye(3) * 5
    with caplog.at_level(logging.WARNING, "lpft_keras"):
        fitted = TemperatureScaling().fit(logits, np.arange(3))
    assert 0 < fitted.temperature_ < 0.01
    assert fitted.predict_proba(logits).max(axis=1).min() == pytest.approx(1)
    assert "every one is right" in caplog.text
    # Adam stops where the likelihood can't be told from 1.
    assert 0 < TemperatureScaling("adam").fit(logits, np.arange(3)).temperature_ < 0.2


def test_logits_that_say_nothing_give_the_other_bound(caplog):
    with caplog.at_level(logging.WARNING, "lpft_keras"):
        fitted = TemperatureScaling().fit([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]], [0, 1, 0, 1])
    assert fitted.temperature_ > 100
    assert "say nothing" in caplog.text


@pytest.mark.parametrize("factor", [1e-6, 1e-3, 1e4, 1e8])
def test_the_scale_of_the_logits_does_not_matter(rng, factor):
    logits, labels = overconfident(rng)
    expected = TemperatureScaling().fit(logits, labels).temperature_
    offset = 100 * factor * rng.normal(size=(len(logits), 1))
    found = TemperatureScaling().fit(factor * logits + offset, labels).temperature_
    assert found == pytest.approx(factor * expected, rel=1e-6)


def test_equal_logits_have_temperature_one():
    assert TemperatureScaling().fit(np.zeros((4, 3)), [0, 1, 2, 0]).temperature_ == 1


def test_one_row_and_one_class_are_fitted():
    assert np.isfinite(TemperatureScaling().fit([[1.0, 2.0]], [1]).temperature_)
    assert np.isfinite(TemperatureScaling().fit([[1.0, 2.0, 0.0], [3.0, 2.0, 1.0]], [1, 1]).temperature_)


def test_an_unknown_solver_is_refused():
    with pytest.raises(InputError, match="unknown solver 'adm'; did you mean 'adam'"):
        TemperatureScaling("adm").fit([[1.0, 2.0]], [1])
