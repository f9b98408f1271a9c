"""The linearised model, and how far gradients and kernels moved."""

import keras
import numpy as np
import pytest
from keras import ops

from lpft_keras import ntk
from lpft_keras.errors import InputError
from lpft_keras.models.classifier import scale_head
from lpft_keras.models.lora import enable_lora
from lpft_keras.ntk.behaviour import weights_as
from lpft_keras.training.batches import model_inputs
from tests.helpers import small_classifier, small_tokens
from tests.ntk import cases

pytestmark = pytest.mark.timeout(1500)


@pytest.fixture(scope="module", params=["perceptron", "convolutional", "roberta", "bert"])
def case(request):
    return cases.make(request.param)


def moved(model, size, seed=0):
    rng = np.random.default_rng(seed)
    trainable = {id(variable) for variable in model.trainable_variables}
    return [
        weight + size * rng.normal(size=weight.shape).astype("float32") if id(variable) in trainable else weight
        for variable, weight in zip(model.weights, model.get_weights(), strict=True)
    ]


def logits_of(case, weights):
    """Without the softmax that some case has behind its head."""
    head = case.model.get_layer("head").output
    inner = keras.Model(case.model.input, head)
    with weights_as(case.model, weights):
        return inner.predict(case.x, verbose=0).astype("float64")


def test_it_errs_by_the_second_order(case):
    """A quarter of the way: a quarter of the relative error; and at the weights themselves none."""
    before, direction = case.model.get_weights(), moved(case.model, 1.0)
    home = logits_of(case, before)

    def error(size):
        after = [a + size * (b - a) if a.dtype.kind == "f" else a for a, b in zip(before, direction, strict=True)]
        linear, real = ntk.linearize(case.model, after, case.x).predict(case.x, verbose=0), logits_of(case, after)
        return np.linalg.norm(linear - real) / np.linalg.norm(real - home)

    sizes = 0.25 ** np.arange(1, 9)
    size, first = next((size, found) for size in sizes if (found := error(size)) < 0.2)
    if "stem/kernel" in case.rows:  # ReLUs, where a way may cross a kink
        assert error(size / 4) < first
    else:
        assert error(size / 4) / first == pytest.approx(1 / 4, rel=0.4)
    at_home = ntk.linearize(case.model, before, case.x).predict(case.x, verbose=0)
    np.testing.assert_allclose(at_home, home, rtol=1e-4, atol=1e-4)


def test_its_change_is_the_jacobian_times_the_way(case):
    """Against the whole float64 Jacobian: along the gradient of some logits, the change is their kernel."""
    rng = np.random.default_rng(3)
    vector = rng.normal(size=(cases.ROWS, cases.CLASSES))
    names = [variable.path for variable in case.model.trainable_variables]
    if not set(case.rows) <= set(names):
        pytest.skip("its gradients go by PyTorch's names")
    way = {name: np.einsum("ncp,nc->p", part, vector) for name, part in case.rows.items()}
    after = [
        weight + 1e-2 * way[variable.path].reshape(weight.shape).astype("float32") if variable.path in way else weight
        for variable, weight in zip(case.model.weights, case.model.get_weights(), strict=True)
    ]
    change = ntk.linearize(case.model, after, case.x).predict(case.x, verbose=0) - logits_of(
        case, case.model.get_weights()
    )
    expected = 1e-2 * np.einsum("icjd,jd->ic", case.finetune, vector)
    np.testing.assert_allclose(change, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())


def test_it_is_a_keras_model(rng):
    """Any batch size, evaluate with metrics, dicts of inputs, and the same through its call."""
    model, x = small_classifier(), model_inputs(small_tokens(rng, 9), np.arange(9), 32)
    after, labels = moved(model, 1e-2), rng.integers(0, 3, 9)
    linear = ntk.linearize(model, after, x)
    whole = linear.predict(x, verbose=0)
    np.testing.assert_allclose(linear.predict(x, batch_size=4, verbose=0), whole, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(ops.convert_to_numpy(linear(x)), whole, rtol=1e-4, atol=1e-5)
    linear.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    loss, accuracy = linear.evaluate(x, labels, verbose=0)
    assert accuracy == pytest.approx(np.mean(whole.argmax(axis=1) == labels))
    shifted = np.exp(whole - whole.max(axis=1, keepdims=True))
    probabilities = shifted / shifted.sum(axis=1, keepdims=True)
    assert loss == pytest.approx(-np.log(probabilities[np.arange(9), labels]).mean(), rel=1e-3)
    assert not linear.trainable_variables


def test_a_model_after_training_may_be_given_as_it_is(rng):
    """Adapters too: their variables are variables."""
    x = model_inputs(small_tokens(rng, 9), np.arange(9), 32)
    models = []
    for _ in range(2):
        model = small_classifier()
        enable_lora(model, rank=2)
        models.append(model)
    models[1].set_weights(moved(models[0], 1e-3))
    by_model = ntk.linearize(models[0], models[1], x).predict(x, verbose=0)
    by_arrays = ntk.linearize(models[0], models[1].get_weights(), x).predict(x, verbose=0)
    np.testing.assert_array_equal(by_model, by_arrays)
    assert np.abs(by_model - models[1].predict(x, verbose=0)).max() < 1e-2


def test_other_weights_are_refused(rng):
    model, x = small_classifier(), model_inputs(small_tokens(rng, 9), np.arange(9), 32)
    with pytest.raises(InputError, match="weights hold 1 arrays that are not of the shapes"):
        ntk.linearize(model, model.get_weights()[:1], x)
    broken = model.get_weights()
    broken[0] = broken[0] * np.nan
    with pytest.raises(InputError, match="NaN or infinite"):
        ntk.linearize(model, broken, x)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda weights: weights[:1], "weights hold 1 arrays that are not of the shapes"),
        (lambda weights: [weights[0] * np.nan, *weights[1:]], "NaN or infinite"),
        (lambda weights: ["a", *weights[1:]], r"weights\[0\] must be real numbers"),
        (lambda weights: 5, "weights must be a model or a list of arrays, not int"),
    ],
)
def test_other_weights_have_no_change_of_gradients(rng, change, message):
    model, x = small_classifier(), model_inputs(small_tokens(rng, 2), np.arange(2), 32)
    for use in (ntk.gradient_change, ntk.linearize):
        with pytest.raises(InputError, match=message):
            use(model, change(model.get_weights()), x)


def test_a_model_that_left_its_weights_is_refused(rng):
    """The linear model would take the derivative at other weights, silently."""
    model, x = small_classifier(), model_inputs(small_tokens(rng, 3), np.arange(3), 32)
    home, after = model.get_weights(), moved(model, 1e-2)
    linear = ntk.linearize(model, after, x)
    linear.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    expected = linear.predict(x, verbose=0)
    model.set_weights(after)
    for use in (lambda: linear.predict(x, verbose=0), lambda: linear.evaluate(x, np.array([0, 1, 2]), verbose=0)):
        with pytest.raises(InputError, match="have changed since it was linearized"):
            use()
    model.set_weights(home)
    np.testing.assert_array_equal(linear.predict(x, verbose=0), expected)


def test_inputs_of_wrong_shapes_are_refused_in_one_line(rng):
    a, b = keras.Input((3,), name="a"), keras.Input((2,), name="b")
    hidden = keras.layers.Dense(4, activation="relu")(keras.layers.concatenate([a, b]))
    model = keras.Model({"a": a, "b": b}, keras.layers.Dense(2)(hidden))
    x = {"a": rng.normal(size=(4, 3)).astype("float32"), "b": rng.normal(size=(4, 2)).astype("float32")}
    linear = ntk.linearize(model, moved(model, 1e-2), x)
    linear.compile(loss="mse")
    expected = linear.predict(x, verbose=0)
    for wrong, message in (
        ({**x, "a": x["b"]}, r"^input 'a' has the shape \(1, 2\), but \(None, 3\) is wanted$"),
        ({**x, "a": x["a"][0]}, r"^input 'a' has the shape \(1,\)"),
        ({"a": x["a"]}, r"^x lacks the input 'b'"),
        (x["a"], r"^x holds 1 arrays, but model '\w+' takes 2 inputs$"),
    ):
        tensors = keras.tree.map_structure(ops.convert_to_tensor, wrong)
        for use in (linear, linear.predict, linear.evaluate):
            with pytest.raises(InputError, match=message):
                use(tensors if use is linear else wrong)
    np.testing.assert_array_equal(linear.predict(x, verbose=0), expected)


def test_no_gradient_has_no_relative_change(rng):
    """Below a head of zeros nothing moves the logits."""
    model, x = small_classifier(), model_inputs(small_tokens(rng, 3), np.arange(3), 32)
    after = model.get_weights()
    scale_head(model, 0.0)
    assert np.isnan(ntk.gradient_change(model, after, x, variables="no-head")).all()
    assert np.isfinite(ntk.gradient_change(model, after, x)).all()


def test_gain_recovered():
    assert ntk.gain_recovered(0.5, 0.9, 0.7) == pytest.approx(0.5)
    assert ntk.gain_recovered(0.5, 0.9, 0.3) == pytest.approx(-0.5)
    for after in (0.5, 0.4):  # no gain that a share could be of
        assert np.isnan(ntk.gain_recovered(0.5, after, 0.7))


def test_gradients_move_as_their_kernels_say(rng):
    """||g_T - g_0||^2 = K_TT - 2 <g_T, g_0> + K_00; scaling the head alone gives all but the cross term by hand."""
    model, x = small_classifier(), model_inputs(small_tokens(rng, 6), np.arange(6), 32)
    before = model.get_weights()
    places = [number for number, v in enumerate(model.weights) if v.path.startswith("head/kernel")]
    after = list(before)
    after[places[0]] = 3.0 * before[places[0]]
    kernel = ntk.empirical_ntk(model, x)
    diagonal = {name: np.einsum("icic->ic", getattr(kernel, name)) for name in ("finetune", "total")}
    # Below the head each gradient is three times its own, and the head's own are as they were.
    expected = np.sqrt(4 * diagonal["finetune"] / diagonal["total"])
    found = ntk.gradient_change(model, after, x)
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    np.testing.assert_allclose(ntk.gradient_change(model, after, x, variables="no-head"), 2.0, rtol=1e-4)
    for old, now in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, now)
    assert ntk.gradient_change(model, before, x).max() == 0


def test_kernel_change():
    before = np.ones((2, 1, 2, 1))
    after = before * np.array([[1.0, 2.0], [2.0, 1.0]])[:, None, :, None]
    assert ntk.kernel_change(before, after) == {
        "frobenius": pytest.approx(2**0.5 / 2),
        "elementwise": 0.5,
        "elementwise_median": 0.5,
    }
    with pytest.raises(InputError, match="unlike shapes"):
        ntk.kernel_change(before, after[:1])
