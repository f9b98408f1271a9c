"""What holds for all scalings, and each against the library that fits it."""

import json
import sys

import numpy as np
import pytest
from scipy.special import expit, log_softmax
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from lpft_keras import calibration
from lpft_keras.calibration import SCALINGS
from lpft_keras.errors import InputError
from tests import reference
from tests.calibration.cases import overconfident
from tests.calibration.test_temperature import scikit_learn

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")  # netcal's, at its import


@pytest.fixture(params=SCALINGS)
def name(request):
    if request.param in ("histogram", "beta"):
        pytest.importorskip("netcal")
    return request.param


@pytest.mark.parametrize("classes", [2, 3])
def test_a_scaling_gives_distributions_and_mends_overconfidence(rng, name, classes):
    logits, labels = overconfident(rng, classes=classes, rows=1500)
    fitting, held = (logits[:1000], labels[:1000]), (logits[1000:], labels[1000:])
    fitted = SCALINGS[name]().fit(*fitting)
    p = fitted.predict_proba(held[0])
    assert p.shape == held[0].shape
    assert p.min() >= 0
    np.testing.assert_allclose(p.sum(1), 1, atol=1e-12)
    before = calibration.expected_calibration_error(reference.softmax(held[0]), held[1])
    assert calibration.expected_calibration_error(p, held[1]) < before / 2
    if fitted.keeps_predictions:
        assert (p.argmax(1) == held[0].argmax(1)).all()


@pytest.mark.parametrize("classes", [2, 3])
def test_a_saved_scaling_is_json_and_predicts_the_same(rng, name, classes, tmp_path):
    logits, labels = overconfident(rng, classes=classes)
    fitted = SCALINGS[name]().fit(logits, labels)
    fitted.save(tmp_path / "scaling.json")
    assert json.loads((tmp_path / "scaling.json").read_text())["scaling"] == SCALINGS[name].__name__
    again = calibration.load_scaling(tmp_path / "scaling.json")
    np.testing.assert_array_equal(again.predict_proba(logits), fitted.predict_proba(logits))
    assert again.get_params() == fitted.get_params()


def test_a_scaling_is_an_estimator(rng, name):
    logits, labels = overconfident(rng)
    scaling = SCALINGS[name]()
    assert scaling.fit(logits, labels) is scaling
    with pytest.raises(NotFittedError):
        clone(scaling).predict_proba(logits)
    with pytest.raises(InputError, match="2 columns; the scaling was fitted on 3"):
        scaling.predict_proba(logits[:, :2])


def test_huge_logits_stay_distributions(rng, name):
    logits, labels = overconfident(rng, scale=300.0)
    p = SCALINGS[name]().fit(logits, labels).predict_proba(np.array([[1e4, -1e4, 0.0], [0.0, 0.0, 0.0]]))
    assert np.isfinite(p).all()
    np.testing.assert_allclose(p.sum(1), 1, atol=1e-12)


def test_a_class_without_rows_is_refused_where_it_matters(rng, name):
    logits, _ = overconfident(rng, rows=40)
    labels = np.tile([0, 1], 20)
    if name == "temperature":
        assert np.isfinite(SCALINGS[name]().fit(logits, labels).temperature_)
        return
    with pytest.raises(InputError, match="labels hold no row of class 2 of 3"):
        SCALINGS[name]().fit(logits, labels)


def test_platt_equals_scikit_learn(rng):
    logits, labels = overconfident(rng, classes=2)
    found = calibration.PlattScaling().fit(logits, labels).predict_proba(logits)
    np.testing.assert_allclose(found, scikit_learn("sigmoid", logits, labels, 2), atol=1e-5)


@pytest.mark.parametrize("classes", [2, 3])
def test_isotonic_equals_scikit_learn(rng, classes):
    logits, labels = overconfident(rng, classes=classes)
    p = reference.softmax(logits)
    odds = np.log(p) - np.log1p(-p)
    found = calibration.IsotonicCalibration().fit(logits, labels).predict_proba(logits)
    given = np.stack([-odds[:, 1], odds[:, 1]], axis=1) if classes == 2 else odds
    np.testing.assert_allclose(found, scikit_learn("isotonic", given, labels, classes), atol=1e-9)


def test_matrix_and_dirichlet_reach_the_penalised_optimum(rng):
    """The slope of C * loss + |W|^2 / 2 is zero on logits of spread 1; two classes have one row, the second's."""
    for scaling, features in (
        (calibration.MatrixScaling(C=2.0), lambda f: f),
        (calibration.DirichletCalibration(C=2.0), lambda f: log_softmax(f, axis=1)),
    ):
        logits, labels = overconfident(rng)
        fitted = scaling.fit(logits, labels)
        given = features(logits)
        mean, scale = given.mean(0), np.sqrt(np.square(given - given.mean(0)).mean())
        weights, bias = scale * fitted.weights_, fitted.bias_ + fitted.weights_ @ mean
        slopes = reference.logistic_gradient((given - mean) / scale, labels, weights.T, bias, 2.0)
        for slope in slopes:
            np.testing.assert_allclose(slope, 0, atol=1e-4)
        logits, labels = overconfident(rng, classes=2)
        fitted = scaling.fit(logits, labels)
        p = fitted.predict_proba(logits)
        np.testing.assert_allclose(p[:, 1], expit(features(logits) @ fitted.weights_[1] + fitted.bias_[1]), atol=1e-12)


def test_vector_reaches_the_optimum_and_beats_temperature(rng):
    logits, labels = overconfident(rng)
    fitted = calibration.VectorScaling().fit(logits, labels)
    residual = fitted.predict_proba(logits) - np.eye(3)[labels]
    np.testing.assert_allclose((residual * logits).mean(0), 0, atol=1e-6)
    np.testing.assert_allclose(residual.mean(0), 0, atol=1e-6)
    t = calibration.TemperatureScaling().fit(logits, labels).temperature_
    found = calibration.negative_log_likelihood(logits * fitted.weights_ + fitted.bias_, labels)
    assert found <= calibration.negative_log_likelihood(logits / t, labels)


@pytest.mark.parametrize("factor", [1e-5, 1e4])
def test_scale_and_offset_of_the_logits_do_not_matter(rng, factor):
    logits, labels = overconfident(rng)
    given = factor * logits + 1e3 * factor
    for name in ("temperature", "vector", "matrix"):
        expected = SCALINGS[name]().fit(logits, labels).predict_proba(logits)
        found = SCALINGS[name]().fit(given, labels).predict_proba(given)
        np.testing.assert_allclose(found, expected, atol=1e-4)


def test_logits_beyond_netcals_reach_are_cut_as_it_does(rng):
    scaling = pytest.importorskip("netcal.scaling").BetaCalibration()
    logits, labels = overconfident(rng, classes=2, scale=60.0)
    p = expit(logits[:, 1] - logits[:, 0])
    scaling.fit(p, labels)
    found = calibration.BetaCalibration().fit(logits, labels).predict_proba(logits)[:, 1]
    # netcal takes 1 - p of a rounded p, which near 1 has few digits left.
    np.testing.assert_allclose(found, scaling.transform(p), atol=2e-3)


def test_rows_that_can_be_separated_are_noticed(caplog):
    labels = np.array([0, 1, 2] * 10)
    with caplog.at_level("WARNING", "lpft_keras"):
        calibration.VectorScaling().fit(np.eye(3)[labels], labels)
    assert "separates these 30 rows" in caplog.text


def test_parameters_come_back_as_they_were(rng, tmp_path):
    pytest.importorskip("netcal")
    logits, labels = overconfident(rng)
    for scaling in (calibration.MatrixScaling(C=np.inf), calibration.HistogramBinning(np.int64(7))):
        scaling.fit(logits, labels).save(tmp_path / "scaling.json")
        again = calibration.load_scaling(tmp_path / "scaling.json")
        assert again.get_params() == scaling.get_params()
        again.fit(logits, labels)


def test_histogram_and_beta_equal_netcal(rng):
    pytest.importorskip("netcal")
    from netcal.binning import HistogramBinning
    from netcal.scaling import BetaCalibration

    logits, labels = overconfident(rng, classes=2)
    p = reference.softmax(logits)[:, 1]
    for ours, theirs, rough in (
        (calibration.HistogramBinning(10), HistogramBinning(10), 1e-12),
        (calibration.BetaCalibration(), BetaCalibration(), 1e-6),
    ):
        theirs.fit(p, labels)
        np.testing.assert_allclose(
            ours.fit(logits, labels).predict_proba(logits)[:, 1], theirs.transform(p), atol=rough
        )


def test_a_missing_netcal_says_how_to_install_it(rng, monkeypatch):
    logits, labels = overconfident(rng, rows=50)
    monkeypatch.setitem(sys.modules, "netcal.binning", None)
    monkeypatch.setitem(sys.modules, "netcal", None)
    with pytest.raises(InputError, match=r'pip install "lpft-keras\[netcal\]"'):
        calibration.HistogramBinning().fit(logits, labels)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "no saved scaling"),
        ("{}", "no saved scaling"),
        (
            '{"format": "lpft-keras scaling 1", "scaling": "TemperatureScalin", "params": {}, "fitted": {}}',
            "did you mean",
        ),
        ('{"format": "lpft-keras scaling 1", "scaling": "TemperatureScaling", "params": {}, "fitted": {}}', "damaged"),
        ('{"format": "lpft-keras scaling 1", "scaling": "TemperatureScaling", "params": {"x": 1}}', "damaged"),
    ],
)
def test_a_damaged_file_is_refused(tmp_path, content, words):
    (tmp_path / "scaling.json").write_text(content)
    with pytest.raises(InputError, match=words):
        calibration.load_scaling(tmp_path / "scaling.json")
    with pytest.raises(InputError, match="no saved scaling"):
        calibration.load_scaling(tmp_path / "none.json")


def test_logits_of_probabilities_give_them_back(rng):
    p = reference.softmax(rng.normal(0, 3, (20, 4)))
    np.testing.assert_allclose(reference.softmax(calibration.logits_of(p)), p, atol=1e-12)
    assert np.isfinite(calibration.logits_of([[1.0, 0.0]])).all()
