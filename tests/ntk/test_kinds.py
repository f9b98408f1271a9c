"""Kernels of signs, of one logit of two, of subsets by name, and projected, against float64 Jacobians outside Keras."""

import re

import keras
import numpy as np
import pytest

from lpft_keras import ntk
from lpft_keras.errors import InputError
from lpft_keras.models.lora import enable_lora, lora_variables
from lpft_keras.ntk.computation import KINDS
from lpft_keras.ntk.passes import bytes_an_example
from lpft_keras.ntk.problem import pose
from lpft_keras.training.batches import model_inputs
from tests import reference
from tests.helpers import small_classifier, small_tokens
from tests.ntk import cases
from tests.ntk.cases import difference

pytestmark = pytest.mark.timeout(1500)  # JAX compiles each model's segments


@pytest.fixture(scope="module", params=cases.NAMES)
def case(request):
    return cases.make(request.param)


def sides_of(kind):
    return dict(zip(("of_rows", "of_columns"), KINDS[kind], strict=True))


@pytest.mark.parametrize("kind", list(KINDS))
def test_each_kind_equals_its_definition(case, kind):
    pretrain, finetune = case.kernel(**sides_of(kind))
    kernel = ntk.empirical_ntk(case.model, case.x, kind=kind)
    assert difference(kernel.pretrain, pretrain) < 1e-5
    assert difference(kernel.finetune, finetune) < 1e-5


def test_signs_of_an_asymmetric_kernel_are_those_of_the_training_rows(case):
    part = {k: v[:3] for k, v in case.x.items()} if isinstance(case.x, dict) else case.x[:3]
    pretrain, finetune = case.kernel(**sides_of("asymmetric-signgd"))
    inside, across = ntk.train_test_ntk(case.model, case.x, part, kind="asymmetric-signgd")
    assert difference(inside.finetune, finetune) < 1e-5
    assert difference(across.finetune, finetune[:3]) < 1e-5
    alone = ntk.empirical_ntk(case.model, part, case.x, kind="asymmetric-signgd")
    assert difference(alone.finetune, finetune[:3]) < 1e-5
    assert difference(alone.pretrain, pretrain[:3]) < 1e-5
    flipped = ntk.empirical_ntk(case.model, case.x, part, kind="asymmetric-signgd-flipped")
    assert difference(flipped.finetune.transpose(2, 3, 0, 1), finetune[:3]) < 1e-5


@pytest.fixture(scope="module")
def two_classes():
    return cases.make("roberta-two")


@pytest.mark.parametrize("kind", list(KINDS))
def test_one_logit_of_two(two_classes, kind):
    """The sign of a difference is no difference of signs, so the kernel of f_1 - f_0 is one of its own."""
    rows = {name: part[:, [1]] - part[:, [0]] for name, part in two_classes.rows.items()}
    expected = reference.tangent_kernel(two_classes.features, rows, **sides_of(kind), mixing=[[-1], [1]])
    kernel = ntk.empirical_ntk(two_classes.model, two_classes.x, kind=kind, single_logit=True)
    assert kernel.finetune.shape == (cases.ROWS, 1, cases.ROWS, 1)
    assert difference(kernel.pretrain, expected[0]) < 1e-5
    assert difference(kernel.finetune, expected[1]) < 1e-5
    if kind == "sgd":
        whole = ntk.empirical_ntk(two_classes.model, two_classes.x).total
        mixed = np.einsum("icjd,c,d->ij", whole, [-1, 1], [-1, 1])
        assert difference(kernel.total[:, 0, :, 0], mixed) < 1e-5
        vector = np.random.default_rng(0).normal(size=(cases.ROWS, 1))
        product = ntk.vector_product(two_classes.model, two_classes.x, vector, single_logit=True)
        assert difference(product[:, 0], kernel.total[:, 0, :, 0] @ vector[:, 0]) < 1e-5


def test_one_logit_of_three_is_refused(tokens):
    with pytest.raises(InputError, match="single_logit is f_1 - f_0, for two classes"):
        ntk.empirical_ntk(small_classifier(classes=3), tokens, single_logit=True)


SUBSETS = {
    "all": (lambda name: True, True, True),
    "no-embeddings": (lambda name: "embeddings" not in name, True, True),
    "no-head": (lambda name: True, False, False),
    "biases": (lambda name: name.endswith("bias"), False, True),
    "layer:transformer_layer_1": (lambda name: "encoder.layer.1." in name, False, False),
}


@pytest.mark.parametrize("name", list(SUBSETS))
def test_subsets_by_name(two_classes, name):
    belongs, kernel_belongs, bias_belongs = SUBSETS[name]
    _, finetune = two_classes.kernel(belongs)
    features = two_classes.features
    inner = kernel_belongs * (features @ features.T) + bias_belongs
    found = ntk.empirical_ntk(two_classes.model, two_classes.x, variables=name)
    assert difference(found.finetune, finetune) < 1e-5
    np.testing.assert_allclose(found.pretrain, np.einsum("nm,cd->ncmd", inner, np.eye(2)), rtol=1e-5, atol=1e-6)
    vector = np.random.default_rng(0).normal(size=(cases.ROWS, 2))
    product = ntk.vector_product(two_classes.model, two_classes.x, vector, variables=name)
    assert difference(product, np.einsum("icjd,jd->ic", found.total, vector)) < 1e-5


@pytest.mark.parametrize("style", ["paper", "keras"])
def test_adapters_of_either_style_are_a_subset(tokens, style):
    model = small_classifier()
    enable_lora(model, rank=2, style=style)
    rng = np.random.default_rng(0)
    for variable in lora_variables(model):
        variable.assign(rng.normal(0, 0.1, variable.shape))
    adapters = {id(variable) for variable in lora_variables(model)}
    expected = ntk.empirical_ntk(model, tokens, variables=lambda v: id(v) in adapters)
    found = ntk.empirical_ntk(model, tokens, variables="lora")
    np.testing.assert_allclose(found.total, expected.total, rtol=1e-6)
    assert np.linalg.norm(found.finetune) > 0


@pytest.fixture
def tokens(rng):
    return model_inputs(small_tokens(rng, 9), np.arange(9), 32)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kind": "signsgd"}, "unknown kind 'signsgd'; did you mean 'signgd'"),
        ({"variables": "bias"}, "unknown subset of variables 'bias'; did you mean 'biases'"),
        ({"variables": "lora"}, "subset 'lora' has no trainable variable"),
        ({"variables": "layer:transformer_layer_9"}, "unknown layer 'transformer_layer_9'; did you mean"),
    ],
)
def test_what_there_is_not_is_refused(tokens, arguments, message):
    with pytest.raises(InputError, match=message):
        ntk.empirical_ntk(small_classifier(), tokens, **arguments)


@pytest.mark.parametrize("kind", ["signgd", "asymmetric-signgd"])
def test_tiles_of_any_size_give_the_same_signs(tokens, kind):
    """An asymmetric kernel is not its own transpose, so tiles are computed on both sides of the diagonal."""
    model = small_classifier()
    part = {name: array[:4] for name, array in tokens.items()}
    whole = ntk.train_test_ntk(model, tokens, part, kind=kind)
    problem = pose(model, [tokens, part], None)
    tiled = ntk.train_test_ntk(model, tokens, part, kind=kind, max_memory=4 * bytes_an_example(problem))
    for ours, theirs in zip(tiled, whole, strict=True):
        assert difference(ours.finetune, theirs.finetune) < 1e-4
        assert difference(ours.pretrain, theirs.pretrain) < 1e-5
    assert (difference(whole[0].finetune, whole[0].finetune.transpose(2, 3, 0, 1)) > 0.1) == (kind != "signgd")


def test_pieces_of_another_kind_are_refused(tokens, tmp_path):
    model = small_classifier()
    first = ntk.empirical_ntk(model, tokens, kind="signgd", directory=tmp_path)
    again = ntk.empirical_ntk(model, tokens, kind="signgd", directory=tmp_path)
    np.testing.assert_array_equal(first.finetune, again.finetune)
    with pytest.raises(InputError, match=r"another kernel \(kind differ\)"):
        ntk.empirical_ntk(model, tokens, directory=tmp_path)


@pytest.mark.slow
def test_workers_know_kind_subset_and_logit(tokens):
    model = small_classifier(classes=2)
    arguments = {"kind": "asymmetric-signgd", "variables": "biases", "single_logit": True}
    alone = ntk.empirical_ntk(model, tokens, **arguments)
    shared = ntk.empirical_ntk(model, tokens, workers=2, **arguments)
    np.testing.assert_allclose(shared.pretrain, alone.pretrain)
    assert difference(shared.finetune, alone.finetune) < 1e-4


def test_a_kernel_larger_than_the_machine_is_refused_with_its_size():
    """Before any work, and with what would do."""
    case = cases.make("perceptron")
    many = np.zeros((300_000, 6), "float32")
    with pytest.raises(InputError, match=r"takes [\d,]+ bytes.*projected_ntk\(model, x, dimension=\d+\)") as caught:
        ntk.empirical_ntk(case.model, many)
    told = int(re.search(r"takes ([\d,]+) bytes", str(caught.value)).group(1).replace(",", ""))
    assert 1 <= told / (8 * (300_000 * cases.CLASSES) ** 2) <= 8


@keras.saving.register_keras_serializable(package="tests")
class TwoScales(keras.layers.Layer):
    """Adds 10^-7 `little` and `great` to what goes in."""

    def build(self, shape):
        self.little = self.add_weight(name="little", shape=shape[1:], initializer="ones")
        self.great = self.add_weight(name="great", shape=shape[1:], initializer="ones")

    def call(self, inputs):
        return inputs + 1e-7 * self.little + self.great


def test_a_small_gradient_beside_great_ones_keeps_its_sign(rng):
    """What can't be listened to is differentiated as it is, and each variable is measured by itself."""
    inputs = keras.Input((6,))
    model, _ = cases.with_head(inputs, TwoScales()(inputs))
    x = rng.normal(size=(4, 6)).astype("float32")
    whole = ntk.empirical_ntk(model, x, kind="signgd").finetune
    parts = [
        ntk.empirical_ntk(model, x, kind="signgd", variables=lambda v, name=name: v.name == name).finetune
        for name in ("little", "great")
    ]
    np.testing.assert_array_equal(whole, parts[0] + parts[1])
    assert np.einsum("icic->ic", whole).min() == 12
