"""Kernels against float64 Jacobians outside Keras, and the properties that theory gives them."""

import keras
import numpy as np
import pytest
from keras import ops

from lpft_keras import ntk
from lpft_keras.errors import InputError
from lpft_keras.models.classifier import scale_head
from lpft_keras.models.packing import Tokens
from lpft_keras.training.batches import model_inputs
from tests.helpers import small_classifier, small_tokens
from tests.ntk import cases, odd
from tests.ntk.cases import difference

pytestmark = pytest.mark.timeout(1500)  # JAX compiles each model's segments


@pytest.fixture(scope="module", params=cases.NAMES)
def case(request):
    return cases.make(request.param)


def test_p_and_f_equal_the_float64_jacobian(case):
    kernel = ntk.empirical_ntk(case.model, case.x)
    assert kernel.pretrain.dtype == kernel.finetune.dtype == np.float64
    assert difference(kernel.pretrain, case.pretrain) < 1e-6
    assert difference(kernel.finetune, case.finetune) < 1e-6
    np.testing.assert_array_equal(kernel.total, kernel.pretrain + kernel.finetune)


def test_float64_agrees_to_its_last_digits_or_is_refused(case):
    if keras.backend.backend() != "tensorflow":
        with pytest.raises(InputError, match="needs TensorFlow"):
            ntk.empirical_ntk(case.model, case.x, dtype="float64")
        return
    kernel = ntk.empirical_ntk(case.model, case.x, dtype="float64")
    assert difference(kernel.pretrain, case.pretrain) < 1e-13
    assert difference(kernel.finetune, case.finetune) < 1e-13


def test_rounded_products_err_as_their_bits_say(case):
    """Eight bits fewer each: relative errors of some 2^-11 and 2^-8 a factor, which partly cancel in sums."""
    errors = [
        difference(ntk.empirical_ntk(case.model, case.x, dtype=dtype).finetune, case.finetune)
        for dtype in ("tensorfloat32", "bfloat16")
    ]
    assert 1e-5 < errors[0] < 2**-10
    assert 1e-4 < errors[1] < 2**-7


def test_two_sets_give_the_rows_of_the_whole(case):
    part = {k: v[:3] for k, v in case.x.items()} if isinstance(case.x, dict) else case.x[:3]
    kernel = ntk.empirical_ntk(case.model, part, case.x)
    assert difference(kernel.finetune, case.finetune[:3]) < 1e-6
    assert difference(kernel.pretrain, case.pretrain[:3]) < 1e-6
    inside, across = ntk.train_test_ntk(case.model, case.x, part)
    assert difference(inside.finetune, case.finetune) < 1e-6
    assert difference(across.finetune, case.finetune[:3]) < 1e-6


def test_the_product_with_a_vector_is_that_of_the_kernel(case, rng):
    kernel = case.pretrain + case.finetune
    vector = rng.normal(size=kernel.shape[:2])
    ours = ntk.vector_product(case.model, case.x, vector)
    assert difference(ours, np.einsum("icjd,jd->ic", kernel, vector)) < 1e-5
    part = {k: v[:3] for k, v in case.x.items()} if isinstance(case.x, dict) else case.x[:3]
    ours = ntk.vector_product(case.model, case.x, vector[:3], part)
    assert difference(ours, np.einsum("icjd,jd->ic", kernel[:, :, :3], vector[:3])) < 1e-5
    with pytest.raises(InputError, match="the vector must have the shape"):
        ntk.vector_product(case.model, case.x, vector[:3])


def test_it_is_symmetric_positive_and_the_sum_of_its_parts(case):
    kernel = ntk.empirical_ntk(case.model, case.x, parts=lambda path: path.rsplit("/", 1)[-1])
    size = kernel.finetune.shape[0] * kernel.finetune.shape[1]
    for part in (kernel.pretrain, kernel.finetune):
        flat = part.reshape(size, size)
        np.testing.assert_allclose(flat, flat.T, atol=1e-6 * np.abs(flat).max())
        assert np.linalg.eigvalsh((flat + flat.T) / 2).min() > -1e-5 * np.linalg.norm(flat, 2)
    assert len(kernel.parts) > 1
    np.testing.assert_allclose(sum(kernel.parts.values()), kernel.finetune, rtol=1e-12)
    classes = kernel.pretrain.shape[1]
    for c in range(classes):
        for d in range(classes):
            assert c == d or not kernel.pretrain[:, c, :, d].any()


@pytest.mark.parametrize(
    ("parts", "names"),
    [
        ("layer", {"embeddings", "transformer_layer_0", "transformer_layer_1"}),
        (
            "block",
            {"embeddings"} | {f"transformer_layer_{n}/{half}" for n in (0, 1) for half in ("attention", "feedforward")},
        ),
        ("kind", {"embeddings", "attention", "feedforward", "normalization", "biases"}),
    ],
)
def test_named_parts_add_up(tokens, parts, names):
    model, x = small_classifier(), model_inputs(tokens, np.arange(9), 32)
    kernel = ntk.empirical_ntk(model, x, parts=parts)
    assert set(kernel.parts) == names
    np.testing.assert_allclose(sum(kernel.parts.values()), kernel.finetune, rtol=1e-12)
    assert all(np.linalg.norm(part) > 0 for part in kernel.parts.values())
    if parts == "kind":
        biases = ntk.empirical_ntk(model, x, variables=lambda v: v.path.endswith("bias"))
        assert difference(kernel.parts["biases"], biases.finetune) < 1e-6


def test_the_policy_of_a_model_changes_nothing(tokens):
    """A model that computes in bfloat16 has the kernel of the function it approximates."""
    x = model_inputs(tokens, np.arange(9), 32)
    expected = ntk.empirical_ntk(small_classifier(), x)
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = small_classifier()
    finally:
        keras.config.set_dtype_policy("float32")
    kernel = ntk.empirical_ntk(model, x)
    assert difference(kernel.finetune, expected.finetune) < 1e-6
    assert difference(kernel.pretrain, expected.pretrain) < 1e-6
    layers = {layer.name: layer for layer in model._flatten_layers()}
    assert layers["transformer_layer_0"].compute_dtype == "bfloat16"  # as it was


@pytest.fixture
def tokens(rng):
    return small_tokens(rng, 9)


def test_padding_changes_nothing(tokens):
    """Neither how far rows are padded nor what their padding holds."""
    model = small_classifier()
    padded = ntk.empirical_ntk(model, model_inputs(tokens, np.arange(9), 32)).finetune
    longest = int(tokens.lengths.max())
    trimmed = ntk.empirical_ntk(model, model_inputs(tokens, np.arange(9), longest)).finetune
    clean = Tokens(
        np.where(np.arange(32) < tokens.lengths[:, None], tokens.token_ids, 1), tokens.lengths, tokens.truncated
    )
    cleaned = ntk.empirical_ntk(model, model_inputs(clean, np.arange(9), 32)).finetune
    for other in (trimmed, cleaned):
        assert difference(other, padded) < 1e-6


def test_f_grows_with_the_square_of_the_head_and_p_stays(tokens):
    model, x = small_classifier(), model_inputs(tokens, np.arange(9), 32)
    before = ntk.empirical_ntk(model, x)
    scale_head(model, 3.0)
    after = ntk.empirical_ntk(model, x)
    assert difference(after.finetune, 9 * before.finetune) < 1e-6
    np.testing.assert_array_equal(after.pretrain, before.pretrain)


def test_a_head_of_rank_one_less_bounds_the_rank_of_f(tokens):
    """After linear probing the head's columns add up to nothing (spec: rank F <= N (C - 1))."""
    model, x = small_classifier(classes=3), model_inputs(tokens, np.arange(9), 32)
    head = model.get_layer("head")
    kernel = ops.convert_to_numpy(head.kernel)
    head.kernel.assign(kernel - kernel.mean(axis=1, keepdims=True))
    flat = ntk.empirical_ntk(model, x).finetune.reshape(27, 27)
    values = np.linalg.svd(flat, compute_uv=False)
    assert (values > 1e-6 * values[0]).sum() <= 18


def test_variables_choose_what_f_is_over(tokens):
    model, x = small_classifier(), model_inputs(tokens, np.arange(9), 32)
    whole = ntk.empirical_ntk(model, x, parts=lambda path: "bias" if path.endswith("bias") else "rest")
    biases = ntk.empirical_ntk(model, x, variables=lambda variable: variable.path.endswith("bias"))
    assert difference(biases.finetune, whole.parts["bias"]) < 1e-6
    chosen = [v for v in model.trainable_variables if v.path.endswith("bias")]
    listed = ntk.empirical_ntk(model, x, variables=chosen)
    np.testing.assert_array_equal(listed.finetune, biases.finetune)


@pytest.mark.parametrize("name", ["albert", "deberta", "distilbert", "xlm_roberta", "keras", "paper", "recurrent"])
def test_any_family_has_the_kernel_of_its_gradients(name):
    model, x = odd.recurrent() if name == "recurrent" else odd.family(name)
    assert difference(ntk.empirical_ntk(model, x).finetune, odd.by_autodiff(model, x)) < 3e-6


@pytest.mark.parametrize("name", odd.ODD)
def test_no_layer_is_trusted_to_be_what_it_looks_like(name):
    model, x = odd.odd(name)
    taken = {key: x[key] for key in ("token_ids",)} if name == "a mask that is not taken" else x
    assert difference(ntk.empirical_ntk(model, x).finetune, odd.by_autodiff(model, taken)) < 3e-6


def test_choices_on_one_model_do_not_get_into_each_others_way(tokens):
    """What was compiled for one choice of variables serves no other of the same shapes."""
    model, x = small_classifier(), model_inputs(tokens, np.arange(9), 32)
    kernels = {}
    for name in ("query/kernel", "value/kernel", "query/bias", "layer_0"):
        kernels[name] = ntk.empirical_ntk(model, x, variables=lambda v, name=name: name in v.path).finetune
        parts = ntk.empirical_ntk(model, x, parts=lambda path, name=name: str(name in path)).parts
        assert difference(kernels[name], parts["True"]) < 1e-6
    first, second = "transformer_layer_0/self_attention_layer/query", "transformer_layer_1/self_attention_layer/value"
    mixed = ntk.empirical_ntk(model, x, variables=lambda v: v.path.startswith((first, second))).finetune
    parts = ntk.empirical_ntk(model, x, parts=lambda path: str(path.startswith((first, second)))).parts
    assert difference(mixed, parts["True"]) < 1e-6


def test_a_changed_layer_is_seen():
    """Between two calls, an attribute that is no variable."""
    model, x = odd.odd("closures")
    ntk.empirical_ntk(model, x)
    model.layers[1].activation = keras.activations.relu
    assert difference(ntk.empirical_ntk(model, x).finetune, odd.by_autodiff(model, x)) < 3e-6


def test_gradients_that_are_no_numbers_are_refused():
    inputs = keras.Input((6,))
    model, _ = cases.with_head(inputs, ops.sqrt(ops.square(keras.layers.Dense(4)(inputs))))
    model.layers[1].kernel.assign(np.zeros((6, 4)))
    with pytest.raises(InputError, match="gradients hold NaN"):
        ntk.empirical_ntk(model, np.ones((3, 6), "float32"))


def test_a_subclassed_model_has_the_kernel_of_its_functional_twin():
    case = cases.perceptron()

    class Own(keras.Model):
        def __init__(self, twin):
            super().__init__()
            self.body = keras.Sequential([layer for layer in twin.layers if layer.name in ("first",)])
            self.shared, self.head = twin.get_layer("shared"), twin.get_layer("head")

        def call(self, inputs):
            return self.head(self.shared(self.shared(self.body(inputs))))

    own = Own(case.model)
    own(case.x)
    kernel = ntk.empirical_ntk(own, case.x)
    assert difference(kernel.finetune, case.finetune) < 1e-6
    assert difference(kernel.pretrain, case.pretrain) < 1e-6
