"""Each measure against its definition in NumPy, on kernels of a linear model and on a small Transformer."""

import itertools

import keras
import numpy as np
import pytest
from keras import ops

from lpft_keras import ntk
from lpft_keras.evaluation import accuracy
from lpft_keras.hyperparameters import LoraSettings
from lpft_keras.kernel_views import measures
from lpft_keras.kernel_views.measures import Rows
from lpft_keras.models.lora import enable_lora, lora_variables
from lpft_keras.ntk import NTK
from lpft_keras.training.batches import model_inputs
from tests.helpers import small_classifier, small_tokens

pytestmark = pytest.mark.timeout(1500)


def split_of(rng, rows, classes=3, width=5, truth=None):
    """Rows whose label a linear model can tell in part; their logits are those of a poor start."""
    x = rng.normal(size=(rows, width))
    truth = np.random.default_rng(8).normal(size=(width, classes))
    labels = (x @ truth + rng.normal(size=(rows, classes))).argmax(axis=1)
    return Rows({"x": x}, labels, (x @ truth + 3 * rng.normal(size=(rows, classes))).astype("float32"))


def splits_of(rng, classes=3):
    return {name: split_of(rng, rows, classes) for name, rows in (("train", 15), ("validation", 40), ("test", 30))}


def linear_kernel(first, second, classes):
    return np.einsum("nm,cd->ncmd", first["x"] @ second["x"].T + 1, np.eye(classes))


def kernels_of(splits, classes):
    return {name: linear_kernel(part.inputs, splits["train"].inputs, classes) for name, part in splits.items()}


def test_head_takes_classes_in_turn(rng):
    labels = np.array([0, 0, 0, 0, 1, 0, 2, 1, 0])
    rows = Rows({"a": np.arange(9), "b": np.arange(18).reshape(9, 2)}, labels, rng.normal(size=(9, 3)))
    some = rows.head(5)
    assert some.inputs["a"].tolist() == [0, 1, 4, 6, 7]
    assert some.inputs["b"].tolist() == [[0, 1], [2, 3], [8, 9], [12, 13], [14, 15]]
    assert some.labels.tolist() == [0, 0, 1, 2, 1]
    np.testing.assert_array_equal(some.logits, rows.logits[[0, 1, 4, 6, 7]])
    assert len(rows.head(100)) == 9


def test_accuracy(rng):
    rows = split_of(rng, 30)
    right = sum(max(range(3), key=lambda c: row[c]) == label for row, label in zip(rows.logits, rows.labels))  # noqa: B905
    assert rows.accuracy == accuracy(rows.logits, rows.labels) == right / 30


def test_start_logits_of_two_classes_are_one(rng):
    rows = split_of(rng, 6, classes=2)
    np.testing.assert_array_equal(measures.start_logits(rows, False), rows.logits.astype("float64"))
    one = measures.start_logits(rows, True)
    assert one.shape == (6, 1)
    assert one.dtype == "float64"
    np.testing.assert_allclose(one[:, 0], [float(b) - float(a) for a, b in rows.logits])


def test_kernels_of_all_splits_have_the_training_rows_in_their_columns(rng):
    splits = splits_of(rng)

    def compute(train, test, kind):
        assert kind == "sgd"
        inside, across = linear_kernel(train, train, 3), linear_kernel(test, train, 3)
        return NTK(inside / 4, 3 * inside / 4), NTK(across / 4, 3 * across / 4)

    found, expected = measures.kernels_of(splits, "sgd", compute), kernels_of(splits, 3)
    assert list(found) == ["train", "validation", "test"]
    for name, kernel in expected.items():
        np.testing.assert_allclose(found[name], kernel, rtol=1e-12)


def ridge(kernels, splits, classes, regularization, scaling, evaluated):
    """Return the logits of regularised least squares by its formula."""
    single = classes == 2
    size = 1 if single else classes
    names = ("train", evaluated)
    flat = [kernels[name].reshape(len(splits[name]) * size, -1) for name in names]
    start = [
        (part.logits[:, [1]] - part.logits[:, [0]] if single else part.logits).astype("float64") / scaling
        for part in (splits[name] for name in names)
    ]
    labels = splits["train"].labels
    targets = np.where(labels[:, None] == 1, 1.0, -1.0) if single else np.eye(classes)[labels]
    matrix = flat[0] + regularization * np.linalg.svd(flat[0], compute_uv=False).max() * np.eye(len(flat[0]))
    alpha = np.linalg.pinv(matrix, rcond=len(matrix) * np.finfo(float).eps) @ (targets - start[0]).reshape(-1)
    logits = (flat[1] @ alpha).reshape(-1, size) + start[1]
    return np.concatenate([-logits, logits], axis=1) if single else logits


@pytest.mark.parametrize("classes", [2, 3])
def test_a_solver_is_chosen_on_validation_rows_and_scored_on_test_rows(rng, classes):
    splits = splits_of(rng, classes)
    kernels = kernels_of(splits, 1 if classes == 2 else classes)
    found = measures.kernel_accuracy(kernels, None, splits, "sgd")
    scores = {
        (strength, scaling): accuracy(
            ridge(kernels, splits, classes, strength, scaling, "validation"), splits["validation"].labels
        )
        for strength, scaling in itertools.product((0, 0.001, 0.01, 0.1, 1), (10, 100, 1000, 10000, np.inf))
    }
    assert len(set(scores.values())) > 1
    assert found["validation_accuracy"] == pytest.approx(max(scores.values()))
    best = next(key for key, score in scores.items() if score == max(scores.values()))
    expected = {"name": "KernelLeastSquares", "regularization": best[0]}
    expected |= {"f0_scaling": "inf" if best[1] == np.inf else best[1]}
    assert found["solver"] == expected
    logits, labels = ridge(kernels, splits, classes, *best, "test"), splits["test"].labels
    assert found["accuracy"] == pytest.approx(accuracy(logits, labels))
    one, each = (logits[:, 1] > 0) == (labels == 1), (logits > 0.5) == (labels[:, None] == np.arange(classes))
    told = one if classes == 2 else each
    assert found["logit_accuracy"] == pytest.approx(told.mean())


def test_logistic_regression_is_no_candidate_where_a_class_has_fewer_rows_than_folds(rng):
    """Two classes of three rows each, whose folds are five: the others are chosen among."""
    few, enough = (np.repeat([0, 1], rows) for rows in (3, 5))
    splits = splits_of(rng, 2)
    x = rng.normal(size=(6, 5))
    splits["train"] = Rows({"x": x}, few, rng.normal(size=(6, 2)).astype("float32"))
    found = measures.kernel_accuracy(kernels_of(splits, 1), None, splits, "sgd")
    assert found["solver"]["name"] == "KernelLeastSquares"
    names = [[type(solver).__name__ for solver in measures.candidates("sgd", labels)] for labels in (few, enough)]
    assert names == [["KernelLeastSquares"] * 25, ["KernelLeastSquares"] * 25 + ["KernelRegression"]]


def test_the_solver_of_an_asymmetric_kernel_is_told_both_sides(rng):
    splits = splits_of(rng)
    signed = {name: np.einsum("nm,cd->ncmd", part.inputs["x"] @ np.sign(splits["train"].inputs["x"]).T, np.eye(3))
              for name, part in splits.items()}  # fmt: skip
    flipped = {name: np.einsum("nm,cd->ncmd", np.sign(part.inputs["x"]) @ splits["train"].inputs["x"].T, np.eye(3))
               for name, part in splits.items()}  # fmt: skip
    found = measures.kernel_accuracy(signed, flipped, splits, "asymmetric-signgd")
    solver = dict(found["solver"])
    assert solver.pop("name") == "AsymmetricLeastSquaresSVM"
    solver["f0_scaling"] = float(solver["f0_scaling"])
    machine = ntk.AsymmetricLeastSquaresSVM(**solver)
    machine.fit(signed["train"], splits["train"].labels, splits["train"].logits)
    scored = {
        name: machine.accuracy(signed[name], splits[name].labels, splits[name].logits, flipped[name])
        for name in ("validation", "test")
    }
    assert found["validation_accuracy"] == scored["validation"]
    assert found["accuracy"] == scored["test"]


def test_gradient_flow_is_many_small_steps(rng):
    """Gradient descent with steps far below the stable rate, to each of the times."""
    splits = splits_of(rng)
    kernels = kernels_of(splits, 3)
    found = measures.gradient_flow(kernels, splits)
    flat = {name: kernel.reshape(3 * len(kernel), -1) for name, kernel in kernels.items()}
    greatest = np.linalg.eigvalsh(flat["train"] / len(splits["train"])).max()
    assert found["largest_learning_rate"] == pytest.approx(2 / greatest)
    targets = np.eye(3)[splits["train"].labels].reshape(-1)
    logits = {name: part.logits.astype("float64").reshape(-1) for name, part in splits.items()}
    accuracies, time, step = {}, 0.0, 0.01 / greatest
    for number in range(1, 100_001):
        error = logits["train"] - targets
        for name in logits:
            logits[name] = logits[name] - step / len(splits["train"]) * flat[name] @ error
        time += step
        if number in (100, 1000, 10_000, 100_000):
            accuracies[time] = {name: accuracy(logits[name].reshape(-1, 3), splits[name].labels) for name in logits}
    best = max(accuracies, key=lambda time: accuracies[time]["validation"])
    assert len({score["validation"] for score in accuracies.values()}) > 1
    assert found["gradient_flow"]["time"] == pytest.approx(best)
    assert found["gradient_flow"]["accuracy"] == pytest.approx(accuracies[best]["test"])


@pytest.fixture(scope="module")
def small():
    """A small classifier, its features, and rows; tests leave its weights as they are."""
    rng = np.random.default_rng(0)
    model = small_classifier(seed=2)
    head = model.get_layer("head")
    head.kernel.assign(rng.normal(0, 0.5, head.kernel.shape))
    head.bias.assign(rng.normal(0, 0.5, head.bias.shape))
    splits = {}
    for name, rows in (("train", 8), ("test", 6)):
        x = model_inputs(small_tokens(rng, rows), np.arange(rows), 32)
        splits[name] = Rows(x, rng.integers(0, 3, rows), model.predict(x, verbose=0))
    features = keras.Model(model.input, head.input).predict(splits["test"].inputs, verbose=0)
    return model, features, splits


def with_head(model, factor):
    """Return the weights of a model with another kernel of its head."""
    return [
        factor * weight if variable.path.startswith("head/kernel") else weight
        for variable, weight in zip(model.weights, model.get_weights(), strict=True)
    ]


def test_the_linear_model_is_exact_where_the_head_alone_moved(small):
    model, features, splits = small
    kernel, bias = (ops.convert_to_numpy(variable) for variable in model.get_layer("head").weights)
    moved = accuracy(-2 * features @ kernel + bias, splits["test"].labels)
    start = splits["test"].accuracy
    found = measures.linear_model(model, with_head(model, -2.0), splits, tuned=start + 0.25)
    assert found == {"accuracy": moved, "gain_recovered": pytest.approx((moved - start) / 0.25)}
    none = measures.linear_model(model, with_head(model, -2.0), splits, tuned=start)
    assert none == {"accuracy": moved, "gain_recovered": None}


def test_fixed_features_where_the_head_alone_moved(small):
    """Three times the head: P stays, F is nine times itself, and each gradient below the head three times itself."""
    model, _, splits = small
    before = model.get_weights()
    some, few = splits["train"], splits["test"]
    found = measures.fixed_features(model, with_head(model, 3.0), some, few, show_progress=False)
    kernel, own = (ntk.empirical_ntk(model, part.inputs) for part in (some, few))
    change = 8 * kernel.finetune
    assert found["kernel_frobenius"] == pytest.approx(np.linalg.norm(change) / np.linalg.norm(kernel.total), rel=1e-3)
    assert found["kernel_elementwise"] == pytest.approx(np.mean(np.abs(change / kernel.total)), rel=1e-2)
    below, whole = (np.einsum("icic->ic", array) for array in (own.finetune, own.total))
    assert found["gradient"] == pytest.approx(np.sqrt(4 * below / whole).mean(), rel=1e-3)
    for old, now in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, now)


def test_one_step_errs_by_the_second_order_and_its_shares_are_those_of_the_kernel(small):
    model, _, splits = small
    train, test = splits["train"], splits["test"]
    found = measures.first_step(model, train, test)
    large, little, _ = found["steps"]
    assert little["learning_rate"] == pytest.approx(large["learning_rate"] / 10)
    for name in ("logits", "features"):
        assert little[name] == pytest.approx(large[name] / 10, rel=0.5)
    _, across = ntk.train_test_ntk(model, train.inputs, test.inputs)
    delta = ntk.residuals(train.logits, train.labels)
    by_p, by_f = (np.einsum("icjd,jd->ic", part, delta) for part in (across.pretrain, across.finetune))
    for name, part in (("pretrain", by_p), ("finetune", by_f)):
        expected = np.mean(np.linalg.norm(part, axis=1) / np.linalg.norm(by_p + by_f, axis=1))
        assert found["shares"][name] == pytest.approx(expected, rel=1e-3)


@pytest.mark.slow
def test_low_rank(rng):
    """The factor that is expected, by the variance of what was drawn; and it is found, within its spread."""
    settings = LoraSettings(rank=4, alpha=6.0)
    model = small_classifier()
    enable_lora(model, rank=4, alpha=6.0)
    x = model_inputs(small_tokens(rng, 5), np.arange(5), 32)
    rows = Rows(x, np.zeros(5, int), np.zeros((5, 3), "float32"))
    found = measures.low_rank(model, rows, settings, draws=12, show_progress=False)
    drawn = np.concatenate(
        [ops.convert_to_numpy(v).reshape(-1) for v in lora_variables(model) if v.path.endswith("lora_a")]
    )
    assert found["expected"] == pytest.approx((6 / 4) ** 2 * 4 / (3 * 16))
    assert found["expected"] == pytest.approx((6 / 4) ** 2 * 4 * drawn.var(), rel=0.2)
    assert found["factor"] == pytest.approx(found["expected"], abs=4 * found["deviation"] / 12**0.5)
    assert 0 < found["deviation"] < found["expected"]
    assert 0 < found["distance"] < 1
