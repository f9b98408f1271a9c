"""One step of fine-tuning, predicted and taken (Proposition 1), and what theory says of it."""

import keras
import numpy as np
import pytest
from keras import ops

from lpft_keras import ntk
from lpft_keras.errors import InputError
from lpft_keras.models.classifier import scale_head
from lpft_keras.ntk.directions import changes, gradient
from lpft_keras.ntk.problem import pose
from lpft_keras.ntk.segments import joined
from lpft_keras.training.batches import model_inputs
from tests.helpers import small_classifier, small_tokens
from tests.ntk import cases
from tests.ntk.cases import difference

pytestmark = pytest.mark.timeout(1500)
DTYPES = [
    "float32",
    pytest.param(
        "float64",
        marks=pytest.mark.skipif(
            keras.backend.backend() != "tensorflow", reason="Keras keeps to float64 on TensorFlow only"
        ),
    ),
]


@pytest.fixture(scope="module", params=["perceptron", "convolutional", "roberta", "roberta-lora"])
def case(request):
    return cases.make(request.param)


@pytest.fixture
def labels(rng):
    return rng.integers(0, cases.CLASSES, cases.ROWS)


def logits_of(case):
    """Without the softmax that some case has behind its head."""
    return keras.Model(case.model.input, case.model.get_layer("head").output).predict(case.x, verbose=0)


def rows(x, some):
    return {name: array[some] for name, array in x.items()} if isinstance(x, dict) else x[some]


def test_the_prediction_is_the_kernel_times_delta_over_n(case, labels):
    """Equation (4) with the mean loss: each of its parts."""
    delta = ntk.residuals(logits_of(case), labels)
    predicted = ntk.predict_update(case.model, case.x, labels, learning_rate=0.1)
    for ours, kernel in (
        (predicted.by_pretrain, case.pretrain),
        (predicted.by_finetune, case.finetune),
        (predicted.logits, case.pretrain + case.finetune),
    ):
        expected = 0.1 / cases.ROWS * np.einsum("icjd,jd->ic", kernel, delta)
        assert difference(ours, expected) < 1e-4


def test_its_shares_are_the_papers_ft_ratio(case, labels):
    delta = ntk.residuals(logits_of(case), labels)
    shares = ntk.predict_update(case.model, case.x, labels, learning_rate=0.1).shares()
    assert shares["finetune"] == pytest.approx(ntk.ft_ratio(case.pretrain, case.finetune, delta), rel=1e-4)


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_error_falls_linearly_with_the_step(case, labels, dtype):
    """What Proposition 1 leaves out is of second order, so the relative error is of first."""

    def errors(rate):
        arguments = {"learning_rate": rate, "dtype": dtype}
        predicted = ntk.predict_update(case.model, rows(case.x, slice(4)), labels[:4], case.x, **arguments)
        return predicted.error(ntk.real_update(case.model, rows(case.x, slice(4)), labels[:4], case.x, **arguments))

    # In float32 a change is known to few digits once it is small.
    wanted = 0.1 if dtype == "float32" else 1e-3
    rate = next(rate for rate in 4.0 ** -np.arange(-2, 16) if max(errors(rate).values()) < wanted)
    first, second = errors(rate), errors(rate / 4)
    for name in ("features", "logits"):
        ratio = second[name] / first[name]
        if "stem/kernel" in case.rows:  # ReLUs, where a step may cross a kink
            assert ratio < 0.5
        else:
            assert ratio == pytest.approx(1 / 4, rel=0.3 if dtype == "float32" else 0.02)


def test_the_real_step_is_that_of_keras_sgd(labels):
    case = cases.perceptron()
    before = case.model.get_weights()
    real = ntk.real_update(case.model, case.x, labels, learning_rate=0.5)
    for old, now in zip(before, case.model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, now)
    logits = ops.convert_to_numpy(case.model(case.x, training=False))
    twin = _without_dropout(case.model)
    twin.compile(keras.optimizers.SGD(0.5), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    twin.train_on_batch(case.x, labels)
    after = ops.convert_to_numpy(twin(case.x, training=False))
    np.testing.assert_allclose(real.logits, after - logits, rtol=1e-3, atol=1e-5)


def _without_dropout(model):
    for layer in model.layers:
        if isinstance(layer, keras.layers.Dropout):
            layer.rate = 0.0
    return model


def test_one_example_by_signs_is_the_asymmetric_kernel():
    """Theorem 4.3 of Malladi et al. 2023: f moves by -eta sign(chi) K(x, x_t), one logit, one training example."""
    case = cases.make("roberta-two")
    arguments = {"kind": "asymmetric-signgd", "single_logit": True}
    for label in (0, 1):
        kernel = ntk.empirical_ntk(case.model, case.x, rows(case.x, slice(2, 3)), **arguments).total[:, 0, 0, 0]
        step = ntk.predict_update(
            case.model, rows(case.x, slice(2, 3)), [label], case.x, learning_rate=1e-6, rule="signgd"
        )
        moved = step.logits[:, 1] - step.logits[:, 0]
        np.testing.assert_allclose(moved, 1e-6 * (1 if label else -1) * kernel, rtol=1e-3, atol=1e-6 * 1e-2)
        real = ntk.real_update(
            case.model, rows(case.x, slice(2, 3)), [label], case.x, learning_rate=1e-6, rule="signgd"
        )
        assert step.error(real)["logits"] < 0.05


def test_features_move_linearly_with_the_head_and_f_with_its_square(rng):
    """At a fixed vector in place of delta, which scaling the head would change as well."""
    model, x = small_classifier(), model_inputs(small_tokens(rng, 9), np.arange(9), 32)
    vector = rng.normal(size=(9, 3))

    def moved():
        problem = pose(model, [x], "no-head")
        whole, every = joined(problem.segments), np.arange(9)
        with problem.computing():
            return changes(problem, whole, every, gradient(problem, whole, every, vector))

    before, kernel = moved(), ntk.empirical_ntk(model, x)
    scale_head(model, 3.0)
    after = moved()
    assert difference(after.features, 3 * before.features) < 1e-5
    assert difference(after.by_features, 9 * before.by_features) < 1e-5
    assert difference(ntk.empirical_ntk(model, x).finetune, 9 * kernel.finetune) < 1e-5


def test_with_more_head_features_move_less_for_the_same_change_of_logits(rng):
    """The paper's reading: features move with ||V||, logits with its square; as far as delta keeps its direction."""
    model, x = small_classifier(), model_inputs(small_tokens(rng, 9), np.arange(9), 32)
    labels, relative = rng.integers(0, 3, 9), []
    for _ in range(3):
        step = ntk.predict_update(model, x, labels, learning_rate=1.0)
        relative.append(np.linalg.norm(step.features) / np.linalg.norm(step.by_finetune))
        scale_head(model, 4.0)
    np.testing.assert_allclose([relative[0] / relative[1], relative[1] / relative[2]], 4.0, rtol=0.15)


def linear_network(rng, inputs=12, width=5):
    """f(x) = V B x + b (Definition 1)."""
    body = keras.Input((inputs,))
    features = keras.layers.Dense(width, use_bias=False, name="body")(body)
    return cases.with_head(body, features)[0]


def test_inputs_orthogonal_to_the_training_span_keep_their_features(rng):
    """Corollary 1, predicted and real, also after a large step; their logits move all the same, by P's bias."""
    model = linear_network(rng)
    basis = np.linalg.qr(rng.normal(size=(12, 12)))[0]
    train = (rng.normal(size=(6, 4)) @ basis[:4]).astype("float32")
    inside, outside = (rng.normal(size=(3, 4)) @ basis[:4]).astype("float32"), basis[4:7].astype("float32")
    x = np.concatenate([inside, outside])
    for step in (ntk.predict_update, ntk.real_update):
        moved = step(model, train, rng.integers(0, 3, 6), x, learning_rate=1.0)
        norms = np.linalg.norm(moved.features, axis=1)
        assert norms[:3].min() > 1e-2
        assert norms[3:].max() < 1e-6
        assert np.abs(moved.logits[3:]).max() > 1e-3


def test_the_linear_models_features_move_by_the_inner_products(rng):
    """Corollary 1: phi(x) moves by eta / N sum_i <x, x_i> V^T delta_i, exactly in one step."""
    model = linear_network(rng)
    train, x, labels = rng.normal(size=(6, 12)), rng.normal(size=(4, 12)), rng.integers(0, 3, 6)
    train, x = train.astype("float32"), x.astype("float32")
    delta = ntk.residuals(model.predict(train, verbose=0), labels)
    head = ops.convert_to_numpy(model.get_layer("head").kernel).astype("float64")
    expected = 0.7 / 6 * (x @ train.T) @ delta @ head.T
    for step in (ntk.predict_update, ntk.real_update):
        np.testing.assert_allclose(step(model, train, labels, x, learning_rate=0.7).features, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": [0, 1, 2]}, r"labels must be of shape \(9,\)"),
        ({"labels": [0, 1, 2, 0, 1, 2, 0, 1, 3]}, "label 3 is none of the model's 3 classes"),
        ({"labels": [0.5] * 9}, "labels must be integers"),
        ({"learning_rate": 0.0}, "learning_rate must be a number above 0"),
        ({"rule": "adam"}, "unknown rule 'adam'"),
    ],
)
def test_wrong_steps_are_refused(rng, change, message):
    model, x = small_classifier(), model_inputs(small_tokens(rng, 9), np.arange(9), 32)
    arguments = {"labels": [0, 1, 2] * 3, "learning_rate": 0.1} | change
    for step in (ntk.predict_update, ntk.real_update):
        with pytest.raises(InputError, match=message):
            step(model, x, **arguments)
