import numpy as np
import pytest
from sklearn.svm import SVC, SVR

from lpft_keras import ntk
from lpft_keras.errors import InputError


def _flat(decisions, problem):
    return decisions[:, 1] if problem.classes == 1 else decisions.reshape(-1)


def test_classification_is_scikit_learn_s_on_rows(problem):
    rows = 24 * problem.classes
    labels = problem.labels.train
    targets = labels if problem.classes == 1 else np.eye(3)[labels].reshape(-1)
    theirs = SVC(C=0.3, kernel="precomputed").fit(problem.train.reshape(rows, rows), targets)
    solver = ntk.KernelSVC(inverse_strength=0.3).fit(problem.train, labels)
    expected = theirs.decision_function(problem.test.reshape(-1, rows))
    np.testing.assert_allclose(_flat(solver.decision_function(problem.test), problem), expected, rtol=1e-9, atol=1e-9)
    assert (solver.dual_coef_ == 0).any()


def test_regression_is_scikit_learn_s_on_what_the_logits_leave(problem):
    rows = 24 * problem.classes
    labels, logits = problem.labels.train, problem.logits
    targets = 2.0 * labels - 1 if problem.classes == 1 else np.eye(3)[labels].reshape(-1)
    theirs = SVR(C=2.0, epsilon=0.2, kernel="precomputed")
    theirs.fit(problem.train.reshape(rows, rows), targets - logits.train.reshape(-1) / 50)
    solver = ntk.KernelSVR(2.0, 0.2, f0_scaling=50.0).fit(problem.train, labels, logits.train)
    expected = theirs.predict(problem.test.reshape(-1, rows)) + logits.test.reshape(-1) / 50
    found = _flat(solver.decision_function(problem.test, logits.test), problem)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


def test_regularisation_is_added_to_the_training_kernel_only(one):
    matrix = one.train.reshape(24, 24)
    shifted = matrix + 0.5 * np.linalg.svd(matrix)[1][0] * np.eye(24)
    theirs = SVC(kernel="precomputed").fit(shifted, one.labels.train)
    solver = ntk.KernelSVC(regularization=0.5).fit(one.train, one.labels.train)
    expected = theirs.decision_function(one.test.reshape(12, 24))
    np.testing.assert_allclose(solver.decision_function(one.test)[:, 1], expected, rtol=1e-9)


def test_one_class_alone_is_always_told(one):
    solver = ntk.KernelSVC().fit(one.train, np.ones(24, int))
    assert solver.predict(one.test).tolist() == [1] * 12


def test_parameters_out_of_range_are_refused(one):
    for solver, message in (
        (ntk.KernelSVC(inverse_strength=0), "inverse_strength must be a number above 0"),
        (ntk.KernelSVR(inverse_strength=np.inf), "inverse_strength"),
        (ntk.KernelSVR(epsilon=-0.1), "epsilon must be a number of 0 or more"),
    ):
        with pytest.raises(InputError, match=message):
            solver.fit(one.train, one.labels.train)
