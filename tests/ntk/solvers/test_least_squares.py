import numpy as np
import pytest
from sklearn.kernel_ridge import KernelRidge

from lpft_keras import ntk


def _targets(problem):
    if problem.classes == 1:
        return np.where(problem.labels.train == 1, 1.0, -1.0)
    return np.eye(3)[problem.labels.train].reshape(-1)


def _last_logits(decisions, problem):
    return (decisions[:, 1:] if problem.classes == 1 else decisions).reshape(-1)


def test_regularised_it_is_ridge_regression_of_scikit_learn(problem):
    rows = 24 * problem.classes
    matrix = problem.train.reshape(rows, rows)
    ridge = KernelRidge(alpha=0.01 * np.linalg.svd(matrix)[1][0], kernel="precomputed").fit(matrix, _targets(problem))
    solver = ntk.KernelLeastSquares(regularization=0.01).fit(problem.train, problem.labels.train)
    assert solver.rank_ == rows
    expected = ridge.predict(problem.test.reshape(-1, rows))
    found = _last_logits(solver.decision_function(problem.test), problem)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


def test_a_singular_kernel_gives_the_solution_of_least_norm(problem):
    rows = 24 * problem.classes
    matrix = problem.train.reshape(rows, rows)
    rank = np.linalg.matrix_rank(problem.gradients.train.reshape(rows, -1))
    solver = ntk.KernelLeastSquares().fit(problem.train, problem.labels.train)
    assert solver.rank_ == rank < rows
    expected = np.linalg.pinv(matrix, rcond=1e-12) @ _targets(problem)
    np.testing.assert_allclose(solver.dual_coef_.reshape(-1), expected, rtol=1e-6, atol=1e-9)
    # As weights, it is least squares on the gradients.
    weights = np.linalg.lstsq(problem.gradients.train.reshape(rows, -1), _targets(problem))[0]
    outside = problem.gradients.test.reshape(12 * problem.classes, -1) @ weights
    found = _last_logits(solver.decision_function(problem.test), problem)
    np.testing.assert_allclose(found, outside, rtol=1e-6, atol=1e-8)


def test_a_singular_kernel_in_float32_wants_a_tolerance(three):
    kernel, test = three.train.astype("float32"), three.test.astype("float32")
    solver = ntk.KernelLeastSquares(tolerance=1e-6).fit(kernel, three.labels.train)
    exact = ntk.KernelLeastSquares().fit(three.train, three.labels.train)
    assert solver.rank_ == exact.rank_
    assert ntk.KernelLeastSquares().fit(kernel, three.labels.train).rank_ > exact.rank_
    found, expected = solver.decision_function(test), exact.decision_function(three.test)
    np.testing.assert_allclose(found, expected, atol=1e-2)


def test_an_asymmetric_kernel_is_solved_with_its_sign_on_the_training_side(three):
    solver = ntk.KernelLeastSquares(regularization=0.1).fit(three.signed.train, three.labels.train)
    matrix = three.signed.train.reshape(72, 72)
    ridge = matrix + 0.1 * np.linalg.svd(matrix)[1][0] * np.eye(72)
    residue = ridge @ solver.dual_coef_.reshape(-1) - _targets(three)
    assert np.abs(residue).max() < 1e-9
    assert solver.accuracy(three.signed.test, three.labels.test) == pytest.approx(1, abs=0.25)
