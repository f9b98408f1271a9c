import numpy as np
import pytest
from sklearn.linear_model import LogisticRegressionCV

from lpft_keras import ntk
from lpft_keras.errors import InputError
from tests.ntk.reference_solvers import logistic_in_kernel_norm


@pytest.fixture
def labelled(rng):
    """Features that tell the class, with their kernel."""
    labels = np.arange(60) % 3
    features = rng.normal(size=(60, 5)) + 3 * np.eye(5)[labels]
    return np.einsum("ij,cd->icjd", features @ features.T + 1, np.eye(3)), labels


def test_kernel_regression_is_the_paper_s(labelled):
    """Against scikit-learn called as the original code calls it: rows n C + c, targets 0 and 1."""
    kernel, labels = labelled
    train, test = kernel[:40, :, :40], kernel[40:, :, :40]
    regression = ntk.KernelRegression().fit(train, labels[:40])
    theirs = LogisticRegressionCV(
        max_iter=10_000, random_state=0, cv=5, Cs=10, l1_ratios=(0.0,), scoring="accuracy", use_legacy_attributes=False
    )
    targets = np.eye(3)[labels].astype(int)
    theirs.fit(train.reshape(120, 120), targets[:40].reshape(-1))
    assert regression.logit_accuracy(test, labels[40:]) == theirs.score(test.reshape(60, 120), targets[40:].reshape(-1))
    decisions = theirs.decision_function(test.reshape(60, 120)).reshape(20, 3)
    np.testing.assert_allclose(regression.decision_function(test), decisions, rtol=1e-10)
    assert regression.accuracy(test, labels[40:]) > 0.8
    assert regression.logit_accuracy(train, labels[:40]) >= 2 / 3


def test_kernel_regression_refuses_what_does_not_fit(labelled):
    kernel, labels = labelled
    with pytest.raises(InputError, match=r"\[N, C, N, C\]"):
        ntk.KernelRegression().fit(kernel[:40], labels[:40])
    with pytest.raises(InputError, match="too few"):
        ntk.KernelRegression().fit(kernel[:4, :, :4], labels[:4])
    with pytest.raises(InputError, match="folds must be"):
        ntk.KernelRegression(folds=1).fit(kernel[:, :, :60], labels)
    with pytest.raises(InputError, match="unknown solver 'lbfsg'; did you mean 'lbfgs'"):
        ntk.KernelRegression("lbfsg").fit(kernel, labels)
    with pytest.raises(InputError, match=r"unknown penalty 'rhks'; did you mean 'rkhs'\?"):
        ntk.KernelRegression(penalty="rhks").fit(kernel, labels)


def test_one_logit_wants_folds_of_both_classes(one):
    labels = np.where(np.arange(24) < 3, 1, 0)
    for penalty in ("coefficients", "rkhs"):
        with pytest.raises(InputError, match="3 examples"):
            ntk.KernelRegression(penalty=penalty).fit(one.train, labels)
        ntk.KernelRegression(folds=3, penalty=penalty).fit(one.train, labels)


def test_the_penalty_in_the_kernel_s_norm_is_minimised(problem):
    """Against a minimiser of the objective in alpha itself, at the strength that was chosen."""
    rows = 24 * problem.classes
    solver = ntk.KernelRegression("newton-cg", penalty="rkhs").fit(problem.train, problem.labels.train)
    labels = problem.labels.train
    targets = 2.0 * (np.eye(3)[labels].reshape(-1) if problem.classes == 3 else labels) - 1
    alpha, bias = logistic_in_kernel_norm(problem.train.reshape(rows, rows), targets, float(solver.regression_.C_))
    expected = problem.test.reshape(-1, rows) @ alpha + bias
    found = solver.decision_function(problem.test)
    found = found[:, 1] if problem.classes == 1 else found.reshape(-1)
    np.testing.assert_allclose(found, expected, rtol=2e-3, atol=2e-3 * np.abs(expected).max())


def test_the_kernel_s_norm_does_not_mind_its_scale_and_coefficients_do(three):
    labels = three.labels.train
    small, large = (ntk.KernelRegression(penalty="rkhs").fit(s * three.train, labels) for s in (1, 1e4))
    np.testing.assert_allclose(
        small.decision_function(three.test), large.decision_function(1e4 * three.test), rtol=1e-3, atol=1e-3
    )
    assert small.regression_.C_ == large.regression_.C_
    small, large = (ntk.KernelRegression(max_iterations=200).fit(s * three.train, labels) for s in (1e-6, 1))
    assert np.abs(small.decision_function(1e-6 * three.test) - large.decision_function(three.test)).max() > 0.01


def test_folds_keep_examples_whole_and_share_classes_out(three, rng):
    labels = rng.permutation(three.labels.train)
    solver = ntk.KernelRegression(penalty="rkhs", folds=4).fit(three.train, labels)
    for _, held in solver.regression_.cv.split():
        examples = np.unique(held // 3)
        assert len(held) == 3 * len(examples) == 18
        np.testing.assert_array_equal(np.bincount(labels[examples]), [2, 2, 2])


def test_a_kernel_that_rounding_made_indefinite_is_solved(three):
    kernel = three.train.astype("float32")
    assert np.linalg.eigvalsh(kernel.reshape(72, 72).astype("float64"))[0] < 0
    rounded = ntk.KernelRegression(penalty="rkhs").fit(kernel, three.labels.train)
    exact = ntk.KernelRegression(penalty="rkhs").fit(three.train, three.labels.train)
    found, expected = rounded.decision_function(three.test.astype("float32")), exact.decision_function(three.test)
    np.testing.assert_allclose(found, expected, atol=1e-2 * np.abs(expected).max())
