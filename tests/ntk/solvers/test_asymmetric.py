import keras
import numpy as np
import pytest

from lpft_keras import ntk
from lpft_keras.errors import InputError
from tests.ntk.reference_solvers import asymmetric_machine


def _signs(labels, classes):
    return 2.0 * (labels if classes == 1 else np.eye(3)[labels].reshape(-1)) - 1


@pytest.mark.parametrize("mixing", [0, 0.3, 1])
def test_it_is_the_original_s_in_the_other_layout(problem, mixing):
    rows = [24 * problem.classes, 12 * problem.classes]
    gradients = [problem.gradients.train.reshape(rows[0], -1), problem.gradients.test.reshape(rows[1], -1)]
    signs = _signs(problem.labels.train, problem.classes)
    expected = asymmetric_machine(*gradients, signs, gamma=0.37, mixing=mixing)
    machine = ntk.AsymmetricLeastSquaresSVM(gamma=0.37, mixing=mixing)
    signed = problem.signed
    found = machine.fit(signed.train, problem.labels.train).decision_function(signed.test, flipped=signed.flipped)
    found = found[:, 1] if problem.classes == 1 else found.reshape(-1)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6 * np.abs(expected).max())
    accuracy = machine.accuracy(signed.test, problem.labels.test, flipped=signed.flipped)
    assert accuracy == np.mean(machine.predict(signed.test, flipped=signed.flipped) == problem.labels.test)


def test_both_classifiers_are_one_for_a_symmetric_kernel(problem):
    machine = ntk.AsymmetricLeastSquaresSVM(gamma=0.01).fit(problem.train, problem.labels.train)
    np.testing.assert_allclose(machine.dual_coef_, machine.flipped_coef_, rtol=1e-6, atol=1e-9)


def test_with_logits_at_the_start_labels_times_the_whole_output_are_one_less_the_error(one):
    """y (f0 / s + K alpha) + beta / gamma = 1, and the same with the sign on the other side."""
    gamma, scaling = 0.5, 7.0
    machine = ntk.AsymmetricLeastSquaresSVM(gamma=gamma, mixing=1.0, f0_scaling=scaling)
    machine.fit(one.signed.train, one.labels.train, one.logits.train)
    y = _signs(one.labels.train, 1)
    alpha, beta = y * machine.dual_coef_[:, 0], y * machine.flipped_coef_[:, 0]
    whole = machine.decision_function(one.signed.train, one.logits.train)[:, 1]
    np.testing.assert_allclose(y * whole, 1 - beta / gamma, atol=1e-8)
    other = one.signed.train.reshape(24, 24).T @ (beta * y) + one.logits.train[:, 0] / scaling
    np.testing.assert_allclose(y * other, 1 - alpha / gamma, atol=1e-8)
    # A great s leaves the logits out.
    machines = [ntk.AsymmetricLeastSquaresSVM(gamma, 1.0, f0_scaling=s) for s in (1e9, np.inf)]
    far, without = (m.fit(one.signed.train, one.labels.train, one.logits.train) for m in machines)
    np.testing.assert_allclose(far.dual_coef_, without.dual_coef_, rtol=1e-6, atol=1e-9)


def test_a_singular_system_is_solved_by_least_squares_of_least_norm(one):
    """Which it is where 1 / gamma is a singular value; and the other ridges are those of the system itself."""
    kernel, y = one.signed.train, _signs(one.labels.train, 1)
    signed = y[:, None] * kernel[:, 0, :, 0] * y
    for gamma, rank in ((1 / np.linalg.svd(signed)[1][2], 47), (0.37, 48)):
        system = np.block([[np.eye(24) / gamma, signed.T], [signed, np.eye(24) / gamma]])
        expected, _, found, _ = np.linalg.lstsq(system, np.ones(48), rcond=1e-13)
        assert found == rank
        machine = ntk.AsymmetricLeastSquaresSVM(gamma).fit(kernel, one.labels.train)
        coefficients = np.concatenate([y * machine.dual_coef_[:, 0], y * machine.flipped_coef_[:, 0]])
        np.testing.assert_allclose(coefficients, expected, rtol=1e-6, atol=1e-8 * np.abs(expected).max())


def test_the_flipped_kernel_is_asked_for_and_must_fit(one):
    machine = ntk.AsymmetricLeastSquaresSVM().fit(one.signed.train, one.labels.train)
    with pytest.raises(InputError, match="flipped="):
        machine.predict(one.signed.test)
    with pytest.raises(InputError, match="flipped must be of shape"):
        machine.predict(one.signed.test, flipped=one.signed.flipped[:, :, 1:])
    with pytest.raises(InputError, match="flipped has 11 examples, kernel 12"):
        machine.predict(one.signed.test, flipped=one.signed.flipped[1:])
    whole = ntk.AsymmetricLeastSquaresSVM(mixing=1.0).fit(one.signed.train, one.labels.train)
    assert whole.predict(one.signed.test).shape == (12,)
    for parameters in ({"gamma": 0}, {"mixing": 1.1}, {"mixing": None}):
        with pytest.raises(InputError, match=next(iter(parameters))):
            ntk.AsymmetricLeastSquaresSVM(**parameters).fit(one.signed.train, one.labels.train)


def test_kernels_of_a_model_go_in_as_they_come_out(rng):
    """Two classes by one logit, on whatever backend: the sign's sides are those that the solver takes them for."""
    labels = np.arange(20) % 2
    inputs = (rng.normal(size=(20, 4)) + 3 * np.eye(4)[labels]).astype("float32")
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(6, "tanh"), keras.layers.Dense(2)])
    options = {"single_logit": True, "show_progress": False}
    train, test = ntk.train_test_ntk(model, inputs[:12], inputs[12:], kind="asymmetric-signgd", **options)
    kind = "asymmetric-signgd-flipped"
    flipped = ntk.empirical_ntk(model, inputs[12:], inputs[:12], kind=kind, **options)
    own = ntk.empirical_ntk(model, inputs[:12], kind=kind, **options)
    np.testing.assert_allclose(own.total[:, 0, :, 0], train.total[:, 0, :, 0].T, rtol=1e-5, atol=1e-5)
    machine = ntk.AsymmetricLeastSquaresSVM(gamma=0.1).fit(train.total, labels[:12])
    assert machine.accuracy(test.total, labels[12:], flipped=flipped.total) >= 0.75
    # As least squares, both equations hold on the training examples: y f = 1 - error.
    y = 2.0 * labels[:12] - 1
    first, second = machine.dual_coef_[:, 0], machine.flipped_coef_[:, 0]
    np.testing.assert_allclose(train.total[:, 0, :, 0] @ first, y - second / 0.1, atol=1e-6)
    np.testing.assert_allclose(own.total[:, 0, :, 0] @ second, y - first / 0.1, atol=1e-3)
