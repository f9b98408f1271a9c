import logging

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression

from lpft_keras.errors import InputError
from lpft_keras.hyperparameters import ProbeSettings
from lpft_keras.models.classifier import set_head
from lpft_keras.training.forward import forward_function
from lpft_keras.training.linear_probe import linear_probe, usable_folds
from tests import reference
from tests.helpers import small_classifier, small_tokens


def separable(rng, classes, rows=200, features=12):
    x = rng.normal(size=(rows, features))
    return x, (x @ rng.normal(size=(features, classes)) + rng.normal(size=(rows, classes))).argmax(1)


@pytest.mark.parametrize("classes", [2, 3])
def test_the_model_s_probabilities_are_scikit_learn_s(rng, classes):
    """Through the real head: features of a real backbone, kernel and bias written into it."""
    classifier = small_classifier(classes)
    tokens = small_tokens(rng, 120)
    forward = forward_function(classifier)
    features, _ = forward(tokens)
    labels = (features @ rng.normal(size=(features.shape[1], classes))).argmax(1)
    probe = linear_probe(features, labels, classes, ProbeSettings(), seed=1)
    set_head(classifier, probe.kernel, probe.bias)
    fitted = LogisticRegression(C=probe.inverse_strength, solver="newton-cg", tol=1e-6, max_iter=5000)
    expected = fitted.fit(features.astype(np.float64), labels).predict_proba(features.astype(np.float64))
    np.testing.assert_allclose(softmax(forward(tokens)[1].astype(np.float64), axis=1), expected, atol=1e-5)


@pytest.mark.parametrize("classes", [2, 3])
def test_the_default_reaches_the_optimum(rng, classes):
    x, y = separable(rng, classes)
    probe = linear_probe(x, y, classes, ProbeSettings(), seed=1)
    kernel, bias = probe.kernel, probe.bias
    if classes == 2:
        # A head of two columns -u/2 and u/2 has half the squared norm of the row u that scikit-learn penalises.
        gradient = reference.logistic_gradient(x, y, kernel, bias, probe.inverse_strength)
        kernel_gradient = gradient[0] - kernel + 2 * kernel
    else:
        kernel_gradient = reference.logistic_gradient(x, y, kernel, bias, probe.inverse_strength)[0]
    # scikit-learn minimises the mean over the rows: that gradient is what its tolerance speaks of.
    assert np.abs(kernel_gradient).max() / (probe.inverse_strength * len(x)) < 2e-6


def test_the_path_ends_at_the_head(rng):
    x, y = separable(rng, 3)
    probe = linear_probe(x, y, 3, ProbeSettings(), seed=1)
    steps = [step for step, _, _ in probe.path]
    assert steps == sorted(set(steps))
    assert steps[0] == 1
    np.testing.assert_allclose(probe.path[-1][1], probe.kernel, atol=1e-4)
    assert np.linalg.norm(probe.path[0][1] - probe.kernel) > 1e-3


def test_the_paper_s_solver_is_one_setting_away(rng):
    x, y = separable(rng, 3)
    default, paper = (linear_probe(x, y, 3, ProbeSettings(solver=name), seed=1) for name in ("newton-cg", "lbfgs"))
    np.testing.assert_allclose(paper.kernel, default.kernel, atol=1e-2)


def test_folds_follow_the_seed_and_the_rarest_class(rng, caplog):
    with caplog.at_level(logging.WARNING):
        assert usable_folds(np.array([0] * 20 + [1] * 3), 2, 5) == 3
    assert "3 folds instead of 5" in caplog.text
    with pytest.raises(InputError, match="class 1 has 1"):
        usable_folds(np.array([0] * 20 + [1]), 2, 5)
    x, y = separable(rng, 2, rows=40)
    assert len({linear_probe(x, y, 2, ProbeSettings(), seed=s).inverse_strength for s in range(12)}) > 1


@pytest.mark.parametrize("wrong", [{"solver": "lbgfs"}, {"folds": 1}, {"grid": 0}, {"tolerance": -1.0}])
def test_settings_that_fit_nothing_are_refused(wrong):
    with pytest.raises(InputError):
        ProbeSettings(**wrong)
