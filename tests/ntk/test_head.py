import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from lpft_keras import ntk
from lpft_keras.errors import InputError
from tests import reference
from tests.ntk.reference_solvers import loss_by_angle_and_norm


@pytest.fixture
def head(rng):
    """Features, labels, kernel and bias of 7 examples and 3 classes."""
    return rng.normal(size=(7, 5)), np.arange(7) % 3, rng.normal(size=(5, 3)), rng.normal(size=3)


@pytest.mark.parametrize("with_bias", [False, True])
def test_gradients_are_finite_differences_by_angle_and_norm(head, with_bias):
    features, labels, kernel, bias = head
    norms, lengths = np.linalg.norm(kernel, axis=0), np.linalg.norm(features, axis=1)
    cosines = features @ kernel / norms / lengths[:, None]
    shift = bias if with_bias else np.zeros(3)
    found = ntk.head_gradients(features, labels, kernel, bias if with_bias else None)
    step = 1e-6
    for k in range(3):
        one = step * np.eye(3)[k]
        by_norm = [
            loss_by_angle_and_norm(cosines, norms + sign * one, lengths, labels, shift).mean() for sign in (1, -1)
        ]
        assert found.norms[k] == pytest.approx((by_norm[0] - by_norm[1]) / (2 * step), rel=1e-6, abs=1e-9)
        by_cosine = [loss_by_angle_and_norm(cosines + sign * one, norms, lengths, labels, shift) for sign in (1, -1)]
        expected = (by_cosine[0] - by_cosine[1]) / (2 * step)
        np.testing.assert_allclose(found.cosines[:, k], expected, rtol=1e-6, atol=1e-9)


def test_the_gradient_by_a_norm_is_that_by_the_row_along_the_row(head):
    features, labels, kernel, bias = head
    by_kernel = features.T @ (reference.softmax(features @ kernel + bias) - np.eye(3)[labels]) / 7
    expected = [by_kernel[:, k] @ kernel[:, k] / np.sqrt(kernel[:, k] @ kernel[:, k]) for k in range(3)]
    np.testing.assert_allclose(ntk.head_gradients(*head).norms, expected, rtol=1e-12)


def test_signs_are_those_of_the_paper(head):
    """Less loss where the own class's angle closes, more where another's does (equation 7)."""
    features, labels, kernel, bias = head
    own = np.eye(3, dtype=bool)[labels]
    cosines = ntk.head_gradients(features, labels, kernel, bias).cosines
    assert (cosines[own] < 0).all()
    assert (cosines[~own] > 0).all()


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("strength", [0.05, 3.0])
def test_scikit_learn_s_optimum_has_no_gap_and_others_have(rng, classes, strength):
    labels = np.arange(60) % classes
    features = rng.normal(size=(60, 8)) + np.eye(8)[labels]
    model = LogisticRegression(C=strength, tol=1e-12, max_iter=10_000, solver="newton-cg").fit(features, labels)
    rows, bias = model.coef_, model.intercept_
    if classes == 2:
        rows, bias = np.concatenate([-rows, rows]) / 2, np.concatenate([-bias, bias]) / 2
    assert ntk.lp_optimum_gap(features, labels, rows.T, bias, strength) < 1e-6
    assert ntk.lp_optimum_gap(features, labels, rows.T, bias, 2 * strength) > 0.1
    assert ntk.lp_optimum_gap(features, labels, 1.1 * rows.T, bias, strength) > 0.1
    assert ntk.lp_optimum_gap(features, labels, rows.T, bias + np.eye(classes)[0], strength) > 0.1
    # The identity itself, example by example, for a new x.
    delta = np.eye(classes)[labels] - reference.softmax(features @ rows.T + bias)
    x = rng.normal(size=8)
    by_kernel = sum((x @ phi + 1) * d for phi, d in zip(features, delta, strict=True))
    factor = 2 / strength if classes == 2 else 1 / strength
    np.testing.assert_allclose(by_kernel, factor * rows @ x, rtol=1e-5, atol=1e-6)


def test_the_gap_is_the_relative_one_by_definition(head):
    features, labels, kernel, bias = head
    delta = np.eye(3)[labels] - reference.softmax(features @ kernel + bias)
    right = [kernel.T @ x / 0.7 for x in features]
    left = [sum((x @ phi + 1) * d for phi, d in zip(features, delta, strict=True)) for x in features]
    expected = np.sqrt(sum(((a - b) ** 2).sum() for a, b in zip(left, right, strict=True)))
    expected /= np.sqrt(sum((b**2).sum() for b in right))
    assert ntk.lp_optimum_gap(*head, 0.7) == pytest.approx(expected, rel=1e-12)


def test_what_does_not_fit_is_refused(head):
    features, labels, kernel, bias = head
    for arguments, message in (
        ((features, labels, kernel.T), "don't fit"),
        ((features, labels, kernel[:, :1]), "two classes"),
        ((features, labels, kernel, bias[:2]), r"bias must be of shape \(3,\)"),
        ((features, labels + 1, kernel), r"0\.\.2, found 1\.\.3"),
        ((features, labels[:-1], kernel), "labels must be of shape"),
        ((features * np.nan, labels, kernel), "features holds NaN"),
        ((features, labels, kernel * [1, 0, 1]), "class 1 is zero"),
    ):
        with pytest.raises(InputError, match=message):
            ntk.head_gradients(*arguments)
    with pytest.raises(InputError, match="inverse_strength"):
        ntk.lp_optimum_gap(*head, 0)
    with pytest.raises(InputError, match="zero on all rows"):
        ntk.lp_optimum_gap(features, labels, 0 * kernel, bias, 1.0)
