import numpy as np
import pytest
from scipy.integrate import solve_ivp

from lpft_keras import ntk
from lpft_keras.errors import InputError
from tests.ntk.reference_solvers import descent_on_weights


def _targets(problem):
    if problem.classes == 1:
        return np.where(problem.labels.train == 1, 1.0, -1.0)
    return np.eye(3)[problem.labels.train].reshape(-1)


def _outputs(flow, problem, logits=True):
    decisions = flow.decision_function(problem.test, problem.logits.test if logits else None)
    return decisions[:, 1] if problem.classes == 1 else decisions.reshape(-1)


def test_the_flow_is_that_of_the_differential_equation(problem):
    rows = 24 * problem.classes
    both = np.concatenate([problem.train, problem.test]).reshape(-1, rows)
    start = np.concatenate([problem.logits.train, problem.logits.test]).reshape(-1)
    targets = _targets(problem)
    time = 0.5

    def slope(_, f):
        return -both @ (f[:rows] - targets) / 24

    # BDF: rates of the directions differ by orders of magnitude.
    exact = solve_ivp(slope, (0, time), start, method="BDF", rtol=1e-9, atol=1e-11).y[:, -1]
    flow = ntk.GradientFlow(time=time).fit(problem.train, problem.labels.train, problem.logits.train)
    np.testing.assert_allclose(_outputs(flow, problem), exact[rows:], rtol=1e-5, atol=1e-5)
    inside = flow.decision_function(problem.train, problem.logits.train)
    inside = inside[:, 1] if problem.classes == 1 else inside.reshape(-1)
    np.testing.assert_allclose(inside, exact[:rows], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("steps", [0, 1, 40])
@pytest.mark.parametrize("share", [0.01, 0.9, 1.2])
def test_steps_of_gradient_descent_are_those_on_the_weights(problem, steps, share):
    """A loop over steps in the space of weights, at rates below, near and above the greatest."""
    rows = 24 * problem.classes
    rate = share * ntk.largest_learning_rate(problem.train)
    residual = _targets(problem) - problem.logits.train.reshape(-1)
    weights = descent_on_weights(problem.gradients.train.reshape(rows, -1), residual, 24, rate, steps)
    change = problem.gradients.test.reshape(12 * problem.classes, -1) @ weights
    expected = problem.logits.test.reshape(-1) + change
    flow = ntk.GradientFlow(learning_rate=rate, steps=steps)
    found = _outputs(flow.fit(problem.train, problem.labels.train, problem.logits.train), problem)
    np.testing.assert_allclose(found, expected, rtol=1e-7, atol=1e-8 * max(1, np.abs(expected).max()))


def test_descent_below_the_greatest_rate_converges_and_above_it_diverges(problem):
    rows = 24 * problem.classes
    gradients, targets = problem.gradients.train.reshape(rows, -1), _targets(problem)
    greatest = ntk.largest_learning_rate(problem.train)
    assert greatest == pytest.approx(48 / np.linalg.svd(problem.train.reshape(rows, rows))[1][0])
    direction = np.linalg.svd(gradients)[2][0]  # the one that is the first to diverge
    below = [abs(descent_on_weights(gradients, targets, 24, 0.98 * greatest, n) @ direction) for n in (300, 600)]
    above = [abs(descent_on_weights(gradients, targets, 24, 1.02 * greatest, n) @ direction) for n in (300, 600)]
    assert below[0] == pytest.approx(below[1], rel=1e-3)
    assert above[1] > 1e4 * above[0] > 1e4 * below[0]
    settled = ntk.GradientFlow(learning_rate=0.98 * greatest, steps=10**9, f0_scaling=np.inf)
    end = ntk.GradientFlow(f0_scaling=np.inf).fit(problem.train, problem.labels.train)
    found = settled.fit(problem.train, problem.labels.train)
    np.testing.assert_allclose(found.dual_coef_, end.dual_coef_, rtol=1e-6, atol=1e-8)
    with pytest.raises(InputError, match="gradient descent diverges"):
        ntk.GradientFlow(learning_rate=1.02 * greatest, steps=10**6, f0_scaling=np.inf).fit(
            problem.train, problem.labels.train
        )


def test_the_end_of_training_is_least_squares_of_least_norm(problem):
    flow = ntk.GradientFlow().fit(problem.train, problem.labels.train, problem.logits.train)
    solver = ntk.KernelLeastSquares(f0_scaling=1.0).fit(problem.train, problem.labels.train, problem.logits.train)
    np.testing.assert_allclose(flow.dual_coef_, solver.dual_coef_, rtol=1e-5, atol=1e-8)
    late = ntk.GradientFlow(time=1e12).fit(problem.train, problem.labels.train, problem.logits.train)
    np.testing.assert_allclose(late.dual_coef_, flow.dual_coef_, rtol=1e-5, atol=1e-8)
    start = ntk.GradientFlow(time=0).fit(problem.train, problem.labels.train, problem.logits.train)
    np.testing.assert_array_equal(_outputs(start, problem), problem.logits.test.reshape(-1))


def test_null_directions_stay_where_they_are(three):
    """The kernel is singular: what no weight can reach is not reached, however long it takes."""
    values, vectors = np.linalg.eigh(three.train.reshape(72, 72))
    null = vectors[:, values < 1e-10 * values[-1]]
    assert null.shape[1] > 10
    flow = ntk.GradientFlow(time=1e9).fit(three.train, three.labels.train, three.logits.train)
    inside = flow.decision_function(three.train, three.logits.train)
    np.testing.assert_allclose(null.T @ (inside - three.logits.train).reshape(-1), 0, atol=1e-8)
    single = three.train.astype("float32")
    rounded = ntk.GradientFlow(tolerance=1e-6).fit(single, three.labels.train, three.logits.train)
    expected = ntk.GradientFlow().fit(three.train, three.labels.train, three.logits.train)
    np.testing.assert_allclose(_outputs(rounded, three), _outputs(expected, three), atol=2e-2)


def test_small_rates_keep_their_digits(one):
    flow = ntk.GradientFlow(learning_rate=1e-18, steps=1, f0_scaling=np.inf).fit(one.train, one.labels.train)
    projected = one.train.reshape(24, 24) @ flow.dual_coef_[:, 0]
    expected = 1e-18 * one.train.reshape(24, 24) @ _targets(one) / 24
    np.testing.assert_allclose(projected, expected, rtol=1e-9)


def test_what_goes_together_is_checked(one):
    for parameters, message in (
        ({"time": -1}, "time"),
        ({"learning_rate": 0.1}, "give time, or learning_rate and steps"),
        ({"steps": 3}, "give time"),
        ({"time": 1.0, "learning_rate": 0.1, "steps": 3}, "give time"),
        ({"learning_rate": 0.0, "steps": 3}, "learning_rate must be"),
        ({"learning_rate": 0.1, "steps": 1.5}, "steps must be"),
        ({"tolerance": -1}, "tolerance"),
        ({"time": 1.0}, "wants the model's logits"),
    ):
        with pytest.raises(InputError, match=message):
            ntk.GradientFlow(**parameters).fit(one.train, one.labels.train)
    assert ntk.largest_learning_rate(0 * one.train) == np.inf
    with pytest.raises(InputError, match=r"\[N, C, N, C\]"):
        ntk.largest_learning_rate(one.test)
