import keras
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from lpft_keras import ntk
from lpft_keras.errors import InputError

SOLVERS = [
    ntk.KernelLeastSquares(regularization=0.01),
    ntk.KernelLeastSquares(regularization=0.01, f0_scaling=10.0),
    ntk.KernelRegression(max_iterations=200),
    ntk.KernelRegression(penalty="rkhs"),
    ntk.KernelSVC(),
    ntk.KernelSVR(f0_scaling=10.0),
    ntk.AsymmetricLeastSquaresSVM(f0_scaling=10.0),
    ntk.GradientFlow(time=100.0, f0_scaling=10.0),
]


@pytest.mark.parametrize("solver", SOLVERS, ids=str)
def test_every_solver_tells_classes_that_can_be_told(solver, problem):
    fitted = clone(solver).fit(problem.train, problem.labels.train, problem.logits.train)
    assert fitted.get_params() == solver.get_params()
    flipped = problem.test  # of a symmetric kernel both sides are one
    rest = (problem.test, problem.labels.test, problem.logits.test, flipped)
    decisions = fitted.decision_function(problem.test, problem.logits.test, flipped)
    assert decisions.shape == (12, max(problem.classes, 2))
    assert decisions.dtype == np.float64
    predictions = fitted.predict(problem.test, problem.logits.test, flipped)
    np.testing.assert_array_equal(predictions, decisions.argmax(axis=1))
    assert fitted.classes_.tolist() == list(range(max(problem.classes, 2)))
    assert fitted.score(*rest) == fitted.accuracy(*rest) == np.mean(predictions == problem.labels.test) >= 0.75
    if problem.classes == 1:
        np.testing.assert_array_equal(decisions[:, 0], -decisions[:, 1])
        assert fitted.logit_accuracy(*rest) == fitted.accuracy(*rest)
    else:
        middle = 0 if solver._signed else 0.5
        right = sum(
            (value > middle) == (k == label)
            for row, label in zip(decisions, problem.labels.test, strict=True)
            for k, value in enumerate(row)
        )
        assert fitted.logit_accuracy(*rest) == right / 36 > 2 / 3


def test_logits_at_the_start_are_taken_off_and_added_again(problem):
    """What the kernel adds to f0 / s is least squares of labels less f0 / s, by weights."""
    logits, rows = problem.logits, 24 * problem.classes
    solver = ntk.KernelLeastSquares(f0_scaling=3.0).fit(problem.train, problem.labels.train, logits.train)
    targets = 2.0 * problem.labels.train[:, None] - 1 if problem.classes == 1 else np.eye(3)[problem.labels.train]
    residual = (targets - logits.train / 3).reshape(-1)
    weights = np.linalg.lstsq(problem.gradients.train.reshape(rows, -1), residual)[0]
    expected = problem.gradients.test @ weights + logits.test / 3
    found = solver.decision_function(problem.test, logits.test)[:, -problem.classes :]
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)
    plain = ntk.KernelLeastSquares().fit(problem.train, problem.labels.train).decision_function(problem.test)
    assert np.abs(found - plain[:, -problem.classes :]).max() > 0.1


def test_scaling_logits_down_is_scaling_labels_up(three):
    """f0 / s beside labels y is f0 beside s y: decisions of the first are those of the second over s."""
    solver = ntk.KernelLeastSquares(0.1, f0_scaling=20.0).fit(three.train, three.labels.train, three.logits.train)
    matrix = three.train.reshape(72, 72)
    ridge = matrix + 0.1 * np.linalg.svd(matrix)[1][0] * np.eye(72)
    residual = 20 * np.eye(3)[three.labels.train] - three.logits.train
    expected = three.test.reshape(36, 72) @ np.linalg.solve(ridge, residual.reshape(-1)) + three.logits.test.reshape(-1)
    found = 20 * solver.decision_function(three.test, three.logits.test)
    np.testing.assert_allclose(found.reshape(-1), expected, rtol=1e-9, atol=1e-9)


def test_lists_and_tensors_will_do(three):
    solver = ntk.KernelLeastSquares(0.1).fit(three.train.tolist(), three.labels.train.tolist())
    tensor = keras.ops.convert_to_tensor(three.test.astype("float32"))
    expected = ntk.KernelLeastSquares(0.1).fit(three.train, three.labels.train).predict(three.test)
    np.testing.assert_array_equal(solver.predict(tensor), expected)


def test_what_is_wrong_is_said_in_a_line(three):
    train, test, labels = three.train, three.test, three.labels.train
    fit = ntk.KernelLeastSquares().fit
    broken = train.copy()
    broken[0, 0, 0, 0] = np.nan
    for arguments, message in (
        ((test, three.labels.test), r"\[N, C, N, C\]"),
        ((train[0], labels), r"\[N1, C, N2, C\]"),
        ((train[:0, :, :0], labels[:0]), "no examples"),
        ((broken, labels), "NaN"),
        ((train, labels[:-1]), "labels must be of shape"),
        ((train, labels.astype(float)), "integers"),
        ((train, labels + 1), r"0\.\.2, found 1\.\.3"),
        ((train[:, :1, :, :1], labels), r"0\.\.1, found 0\.\.2"),
    ):
        with pytest.raises(InputError, match=message) as caught:
            fit(*arguments)
        assert "\n" not in str(caught.value)
    for parameters, message in (
        ({"regularization": -1}, "regularization must be a number of 0 or more"),
        ({"regularization": np.inf}, "regularization"),
        ({"regularization": "much"}, "regularization"),
        ({"f0_scaling": 0}, "f0_scaling must be a number above 0"),
        ({"f0_scaling": np.nan}, "f0_scaling"),
        ({"f0_scaling": 1.0}, "wants the model's logits"),
        ({"tolerance": 2}, "tolerance must be a number from 0 to 1"),
    ):
        with pytest.raises(InputError, match=message):
            ntk.KernelLeastSquares(**parameters).fit(train, labels)
    with pytest.raises(InputError, match=r"kernel's shape \(24, 3\)"):
        ntk.KernelLeastSquares(f0_scaling=1.0).fit(train, labels, three.logits.test)
    with pytest.raises(InputError, match="logits hold NaN"):
        ntk.KernelLeastSquares(f0_scaling=1.0).fit(train, labels, np.full((24, 3), np.nan))


def test_prediction_wants_the_kernel_with_the_training_examples(three):
    solver = ntk.KernelLeastSquares(f0_scaling=1.0)
    with pytest.raises(NotFittedError):
        solver.predict(three.test)
    solver.fit(three.train, three.labels.train, three.logits.train)
    with pytest.raises(InputError, match=r"\[M, 3, 24, 3\], not \(12, 3, 23, 3\)"):
        solver.predict(three.test[:, :, 1:], three.logits.test)
    with pytest.raises(InputError, match=r"\[M, 3, 24, 3\]"):
        solver.predict(three.test[:, :1, :, :1], three.logits.test)
    with pytest.raises(InputError, match="wants the model's logits"):
        solver.predict(three.test)
    with pytest.raises(InputError, match="labels must be of shape"):
        solver.accuracy(three.test, three.labels.train, three.logits.test)


@pytest.mark.parametrize(
    "solver",
    [ntk.KernelSVC(), ntk.KernelSVR(), ntk.KernelRegression(penalty="rkhs"), ntk.GradientFlow(f0_scaling=np.inf)],
    ids=str,
)
def test_methods_for_symmetric_kernels_refuse_others(solver, three):
    with pytest.raises(InputError, match="not symmetric"):
        solver.fit(three.signed.train, three.labels.train)


@pytest.mark.parametrize("solver", [ntk.KernelRegression(penalty="rkhs"), ntk.GradientFlow(f0_scaling=np.inf)], ids=str)
def test_kernels_that_are_none_are_refused(solver, three):
    with pytest.raises(InputError, match="not positive semi-definite"):
        solver.fit(-three.train, three.labels.train)
    with pytest.raises(InputError, match="kernel is zero"):
        solver.fit(0 * three.train, three.labels.train)
