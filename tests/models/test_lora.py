"""LoRA against `peft` on the same weights, against a float64 twin, and through saving, loading, merging and fit()."""

import json
import math

import keras
import keras_hub
import numpy as np
import pytest
import safetensors.numpy
from keras import ops

from lpft_keras.errors import InputError
from lpft_keras.hyperparameters import LoraSettings
from lpft_keras.models.lora import (
    enable_lora,
    load_adapter,
    lora_settings,
    lora_variables,
    merge_lora,
    save_adapter,
)
from lpft_keras.models.lora_layers import LoraDense, LoraEinsumDense

VOCABULARY, LENGTH, HIDDEN, LAYERS, RANK, ALPHA = 50, 7, 32, 2, 4, 12
SIZES = {"vocabulary_size": VOCABULARY, "num_layers": LAYERS, "num_heads": 2, "hidden_dim": HIDDEN}
SIZES |= {"intermediate_dim": 48, "max_sequence_length": 16}
ALBERT = SIZES | {"num_layers": 3, "embedding_dim": 8}
LLAMA = {"vocabulary_size": VOCABULARY, "num_layers": 1, "num_query_heads": 4, "num_key_value_heads": 2}
LLAMA |= {"hidden_dim": HIDDEN, "intermediate_dim": 48}
FAMILIES = {
    "BertBackbone": SIZES,
    "RobertaBackbone": SIZES,
    "DistilBertBackbone": SIZES,
    "XLMRobertaBackbone": SIZES,
    "AlbertBackbone": ALBERT,
    "DebertaV3Backbone": SIZES | {"bucket_size": 8},
    "GPT2Backbone": SIZES,
    "LlamaBackbone": LLAMA,
    "GemmaBackbone": LLAMA | {"head_dim": 8},  # kernels [heads, d, head_dim]: the contracted axis is not the first
}


@pytest.fixture(autouse=True)
def seeded():
    keras.utils.set_random_seed(7)


def numpy(value):
    return np.array(ops.convert_to_numpy(value))


def build(family="RobertaBackbone", **changes):
    backbone = getattr(keras_hub.models, family)(**FAMILIES[family] | changes)
    random = np.random.default_rng(3)
    for variable in backbone.weights:  # equal on every call, and no bias zero, which would pass for unused
        variable.assign(0.2 * random.normal(size=variable.shape) + variable.path.endswith("gamma"))
    return backbone


def batch(backbone, rows=5):
    random = np.random.default_rng(5)
    ids = random.integers(3, VOCABULARY, (rows, LENGTH))
    mask = (np.arange(LENGTH) < random.integers(3, LENGTH + 1, (rows, 1))).astype("int32")
    inputs = {"token_ids": ids, "padding_mask": mask, "segment_ids": np.zeros_like(ids)}
    return {name: inputs[name] for name in (tensor.name for tensor in backbone.inputs)}


def features(outputs):
    return outputs["sequence_output"] if isinstance(outputs, dict) else outputs


def stir(backbone, scale=0.2):
    """Give A and B values that are not zero, so that nothing passes by being zero."""
    random = np.random.default_rng(11)
    for variable in lora_variables(backbone):
        variable.assign(random.normal(0, scale, variable.shape))


def classifier(backbone, classes=3):
    head = keras.layers.Dense(classes, name="classifier", dtype="float32")
    return keras.Model(backbone.input, head(features(backbone.output)[:, 0])), head


def gradients(model, inputs, loss):
    """Return the gradients of loss(outputs) by the model's trainable variables, in NumPy."""
    match keras.backend.backend():
        case "tensorflow":
            import tensorflow as tf

            with tf.GradientTape() as tape:
                value = loss(model(inputs, training=False))
            found = tape.gradient(value, [variable.value for variable in model.trainable_variables])
        case "jax":
            import jax

            fixed = [variable.value for variable in model.non_trainable_variables]

            def function(trainable):
                return loss(model.stateless_call(trainable, fixed, inputs, training=False)[0])

            found = jax.grad(function)([variable.value for variable in model.trainable_variables])
        case "torch":
            import torch

            variables = [variable.value for variable in model.trainable_variables]
            found = torch.autograd.grad(loss(model(inputs, training=False)), variables)
    return [numpy(gradient) for gradient in found]


def difference(ours, theirs):
    return np.abs(ours - theirs).max() / np.abs(theirs).max()


def peft_model(kind, directory):
    """Save a small random `transformers` model and return it under `peft`."""
    transformers, peft, torch = (pytest.importorskip(name) for name in ("transformers", "peft", "torch"))
    sizes = {"vocab_size": VOCABULARY, "hidden_size": HIDDEN, "num_hidden_layers": LAYERS, "num_attention_heads": 2}
    sizes |= {"intermediate_size": 48, "max_position_embeddings": 18, "attn_implementation": "eager"}
    if kind == "roberta":
        whole = transformers.RobertaForMaskedLM(transformers.RobertaConfig(**sizes, layer_norm_eps=1e-5))
    else:  # KerasHub's BERT has the tanh form of GELU
        whole = transformers.BertForSequenceClassification(transformers.BertConfig(**sizes, hidden_act="gelu_new"))
    model = whole.base_model
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(len(name))))
        if kind == "roberta":  # KerasHub has no token-type row
            model.embeddings.token_type_embeddings.weight.zero_()
    whole.save_pretrained(directory)
    names = ["query", "value"]
    config = peft.LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules=names, lora_dropout=0, bias="none")
    return peft.get_peft_model(model, config).eval()


@pytest.mark.parametrize("kind", ["roberta", "bert"])
def test_equals_peft(kind, tmp_path, record_property):
    theirs = peft_model(kind, tmp_path)
    import torch

    backbone = keras_hub.models.Backbone.from_preset(str(tmp_path))
    enable_lora(backbone, rank=RANK, alpha=ALPHA)
    adapters = {name: parameter for name, parameter in theirs.named_parameters() if parameter.requires_grad}
    assert [variable.shape for variable in backbone.trainable_variables] == [tuple(p.shape) for p in adapters.values()]
    assert sum(math.prod(v.shape) for v in backbone.trainable_variables) == sum(p.numel() for p in adapters.values())

    stir(backbone)
    with torch.no_grad():
        for variable, parameter in zip(lora_variables(backbone), adapters.values(), strict=True):
            parameter.copy_(torch.from_numpy(numpy(variable)))
    inputs = batch(backbone)
    mask = torch.from_numpy(inputs["padding_mask"])
    outputs = theirs(input_ids=torch.from_numpy(inputs["token_ids"]), attention_mask=mask).last_hidden_state
    ours = numpy(features(backbone(inputs, training=False)))
    keep = inputs["padding_mask"].astype(bool)
    errors = {"outputs": difference(ours[keep], outputs.detach().numpy()[keep])}

    weights = np.random.default_rng(2).normal(size=ours.shape).astype("float32") * inputs["padding_mask"][..., None]
    (torch.tanh(outputs) * torch.from_numpy(weights)).sum().backward()
    found = gradients(backbone, inputs, lambda y: ops.sum(ops.multiply(ops.tanh(features(y)), weights)))
    for gradient, (name, parameter) in zip(found, adapters.items(), strict=True):
        errors[name] = difference(gradient, parameter.grad.numpy())
    record_property("largest", f"outputs {errors['outputs']:.1e}, gradients {max(list(errors.values())[1:]):.1e}")
    assert max(errors.values()) < 1e-5, errors


def test_first_draw_is_pefts_distribution_and_the_seeds(tmp_path):
    backbone, again, other = build(), build(), build()
    before = numpy(backbone(batch(backbone), training=False))
    enable_lora(backbone, rank=RANK, seed=3)
    enable_lora(again, rank=RANK, seed=3)
    enable_lora(other, rank=RANK, seed=4)
    a, b = (numpy(variable) for variable in lora_variables(backbone)[:2])
    bound = 1 / math.sqrt(HIDDEN)
    expected = np.random.default_rng(3).uniform(-bound, bound, (RANK, HIDDEN)).astype("float32")
    np.testing.assert_array_equal(a, expected)
    assert not b.any()
    np.testing.assert_array_equal(a, numpy(lora_variables(again)[0]))
    assert np.abs(a - numpy(lora_variables(other)[0])).max() > 0.01
    np.testing.assert_allclose(numpy(backbone(batch(backbone), training=False)), before, atol=1e-6)


def test_enabling_leaves_the_global_random_state_alone():
    import random

    backbones, state, legacy = (build(), build()), random.getstate(), np.random.get_state()[1].copy()  # noqa: NPY002
    for backbone, style in zip(backbones, ("paper", "keras"), strict=True):
        enable_lora(backbone, style=style)
    assert random.getstate() == state
    np.testing.assert_array_equal(np.random.get_state()[1], legacy)  # noqa: NPY002


LAYER_CASES = {
    # equation: input shape, output shape, bias axes, W x + s B A x the obvious way, x flat over what is contracted
    "abc,cde->abde": ((2, 3, 8), (None, 4, 5), "de"),
    "abc,dce->abde": ((2, 3, 8), (None, 4, 5), "de"),
    "abcd,cde->abe": ((2, 3, 4, 2), (None, 5), "e"),
    "...x,xy->...y": ((2, 3, 8), 6, "y"),
}


@pytest.mark.parametrize("equation", [*LAYER_CASES, "dense"])
def test_layer_equals_float64_twin(equation):
    shape, output, bias_axes = LAYER_CASES.get(equation, ((2, 3, 8), 6, "y"))
    if equation == "dense":
        layer = keras.layers.Dense(output, activation="tanh", name="query")
    else:
        layer = keras.layers.EinsumDense(equation, output, bias_axes=bias_axes, activation="tanh", name="query")
    inputs = keras.Input(shape[1:])
    model = keras.Model(inputs, layer(inputs))
    layer.bias.assign(np.random.default_rng(1).normal(size=layer.bias.shape))
    enable_lora(model, rank=3, alpha=5, targets="query")
    stir(model)
    assert isinstance(layer, LoraDense if equation == "dense" else LoraEinsumDense)

    x = np.random.default_rng(0).normal(size=shape)
    w, bias = numpy(layer._kernel).astype("float64"), numpy(layer.bias).astype("float64")
    a, b = (numpy(variable).astype("float64") for variable in lora_variables(model))
    einsum = "...x,xy->...y" if equation == "dense" else equation
    plain = np.einsum(einsum, x, w)
    flat = x.reshape(2, 3, 8)  # every case contracts 8 numbers
    expected = np.tanh(plain + 5 / 3 * (flat @ a.T @ b.T).reshape(plain.shape) + bias)
    np.testing.assert_allclose(numpy(model(x.astype("float32"))), expected, rtol=2e-5, atol=2e-6)
    # what others read as the layer's kernel is the merged one
    np.testing.assert_allclose(np.einsum(einsum, x, numpy(layer.kernel)) + bias, np.arctanh(expected), rtol=1e-3)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("style", ["paper", "keras"])
def test_families(family, style):
    backbone = build(family)
    weights = len(backbone.weights)
    enable_lora(backbone, rank=RANK, alpha=ALPHA, style=style)
    stir(backbone)
    layers = 1 if family in ("AlbertBackbone", "LlamaBackbone", "GemmaBackbone") else LAYERS  # ALBERT's are shared
    variables = lora_variables(backbone)
    assert len(variables) == 4 * layers
    assert [v.path for v in backbone.trainable_variables] == [v.path for v in variables]
    assert len({v.path for v in variables}) == len(variables)
    assert all(v.dtype == "float32" for v in variables)
    ends = ("lora_a", "lora_b") if style == "paper" else ("lora_kernel_a", "lora_kernel_b")
    assert {v.path.rsplit("/", 1)[1] for v in variables} == set(ends)
    if style == "paper":
        assert variables[0].shape == (RANK, HIDDEN)

    inputs = batch(backbone)
    before = numpy(features(backbone(inputs, training=False)))
    merge_lora(backbone)
    merged = numpy(features(backbone(inputs, training=False)))
    assert difference(merged, before) < 2e-6
    assert len(backbone.weights) == weights
    assert not lora_variables(backbone)
    assert not backbone.trainable_variables
    assert lora_settings(backbone) is None
    backbone.trainable = True
    enable_lora(backbone, style=style)  # and once more
    assert len(lora_variables(backbone)) == 4 * layers


@pytest.mark.parametrize("style", ["paper", "keras"])
@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_fit_changes_adapters_and_head_only(style, policy):
    backbone = build(dropout=0.1, dtype=policy)
    enable_lora(backbone, rank=RANK, style=style)
    model, head = classifier(backbone)
    assert [v.path for v in model.trainable_variables] == [v.path for v in [*lora_variables(backbone), *head.weights]]
    model.compile(keras.optimizers.Adam(1e-2), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    watched = [v for v in model.weights if "seed" not in v.path]
    before = {v.path: numpy(v) for v in watched}
    inputs = batch(backbone, 12)
    model.fit(inputs, np.arange(12) % 3, batch_size=4, epochs=3, verbose=0)
    changed = {v.path for v in watched if (numpy(v) != before[v.path]).any()}
    assert changed == {v.path for v in model.trainable_variables}
    assert all(np.isfinite(numpy(v).astype("float32")).all() for v in watched)


def test_enabled_after_a_first_stage_trains_the_same():
    """As in lp-lora: the outer model was built and fitted frozen, and the adapters appear later."""
    results = []
    for early in (True, False):
        keras.utils.set_random_seed(7)
        backbone = build(dropout=0.0)
        model, head = classifier(backbone)
        start = [numpy(variable) for variable in head.weights]
        backbone.trainable = False
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        inputs, labels = batch(backbone, 8), np.arange(8) % 3
        if early:
            enable_lora(backbone, rank=RANK)
        else:
            model.compile("sgd", loss)
            model.fit(inputs, labels, verbose=0)
            enable_lora(backbone, rank=RANK)
            for variable, value in zip(head.weights, start, strict=True):
                variable.assign(value)
        model.compile(keras.optimizers.SGD(0.05), loss)
        model.fit(inputs, labels, batch_size=4, epochs=2, shuffle=False, verbose=0)
        results.append([numpy(variable) for variable in model.trainable_variables])
    for one, other in zip(*results, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


def test_stateless_call_sees_the_adapters():
    backbone = build()
    enable_lora(backbone, rank=RANK)
    model, _ = classifier(backbone)
    inputs = batch(backbone)
    fixed = [v.value for v in model.non_trainable_variables]
    values = [v.value + 0.1 for v in model.trainable_variables]
    stateless = numpy(model.stateless_call(values, fixed, inputs, training=False)[0])
    assert difference(stateless, numpy(model(inputs, training=False))) > 1e-2
    for variable, value in zip(model.trainable_variables, values, strict=True):
        variable.assign(value)
    np.testing.assert_allclose(stateless, numpy(model(inputs, training=False)), rtol=1e-5, atol=1e-6)


def test_mixed_precision_matches_float32():
    exact, mixed = build(), build(dtype="mixed_bfloat16")
    for backbone in (exact, mixed):
        enable_lora(backbone, rank=RANK)
        stir(backbone)
    outputs = mixed(batch(mixed), training=False)
    assert keras.backend.standardize_dtype(outputs.dtype) == "bfloat16"
    expected = numpy(exact(batch(exact), training=False))
    assert np.abs(numpy(ops.cast(outputs, "float32")) - expected).mean() < 0.05 * np.abs(expected).mean()


@pytest.mark.parametrize("style", ["paper", "keras"])
@pytest.mark.parametrize("family", ["RobertaBackbone", "AlbertBackbone"])
def test_adapter_round_trip(style, family, tmp_path):
    backbone = build(family)
    enable_lora(backbone, RANK, ALPHA, style)
    stir(backbone)
    model, head = classifier(backbone)
    save_adapter(tmp_path / "adapter.safetensors", backbone, head, {"task": "cb", "epoch": 3})
    with safetensors.safe_open(tmp_path / "adapter.safetensors", framework="np") as file:
        assert {"head/kernel", "head/bias"} < set(file.keys())
        assert any(name.endswith("self_attention_layer/query/a") for name in file.keys())  # noqa: SIM118
        assert json.loads(file.metadata()["settings"])["alpha"] == ALPHA

    other = build(family, name="roberta_backbone_91")
    assert other.name != backbone.name
    new_model, new_head = classifier(other)
    assert load_adapter(tmp_path / "adapter.safetensors", other, new_head) == {"task": "cb", "epoch": 3}
    assert lora_settings(other) == LoraSettings(RANK, ALPHA, style, ("query", "value")) == lora_settings(backbone)
    for one, two in zip(lora_variables(backbone) + head.weights, lora_variables(other) + new_head.weights, strict=True):
        np.testing.assert_array_equal(numpy(one), numpy(two))
    inputs = batch(backbone)
    np.testing.assert_array_equal(numpy(model(inputs, training=False)), numpy(new_model(inputs, training=False)))
    stir(other, 0.5)
    load_adapter(tmp_path / "adapter.safetensors", other, new_head)  # settings agree: values only
    np.testing.assert_array_equal(numpy(lora_variables(other)[1]), numpy(lora_variables(backbone)[1]))


def test_saved_model_is_merged_and_plain(tmp_path):
    backbone = build()
    enable_lora(backbone, rank=RANK, alpha=ALPHA)
    stir(backbone)
    model, _ = classifier(backbone)
    inputs = batch(backbone)
    before = numpy(model(inputs, training=False))
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert not any("lora" in variable.path for variable in loaded.weights)
    assert difference(numpy(loaded(inputs, training=False)), before) < 2e-6

    model.save_weights(tmp_path / "model.weights.h5")
    plain, _ = classifier(build())
    plain.load_weights(tmp_path / "model.weights.h5")
    assert difference(numpy(plain(inputs, training=False)), before) < 2e-6
    model.load_weights(tmp_path / "model.weights.h5")  # into the adapted model: the update must not count twice
    assert difference(numpy(model(inputs, training=False)), before) < 2e-6
    a, b = (numpy(variable) for variable in lora_variables(backbone)[:2])
    assert a.any()
    assert not b.any()


def test_model_that_names_its_layers_saves_plain_ones(tmp_path):
    inputs = keras.Input((4,))
    model = keras.Model(inputs, keras.layers.Dense(3, name="query")(inputs))
    enable_lora(model, targets=["query"], rank=2)
    stir(model)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert type(loaded.get_layer("query")) is keras.layers.Dense
    x = np.ones((2, 4), "float32")
    np.testing.assert_allclose(numpy(loaded(x)), numpy(model(x)), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rank": 0}, "rank 0"),
        ({"rank": 2.5}, "rank 2.5"),
        ({"rank": True}, "rank True"),
        ({"alpha": 0}, "alpha 0"),
        ({"alpha": math.nan}, "alpha nan"),
        ({"alpha": math.inf}, "alpha inf"),
        ({"style": "papre"}, "did you mean 'paper'"),
        ({"targets": ()}, "at least one target"),
        ({"targets": ("query", "valeu")}, "did you mean 'value'"),
        ({"targets": ("token_embedding",)}, "token_embedding"),
    ],
)
def test_bad_settings_change_nothing(settings, message):
    backbone = build()
    trainable = len(backbone.trainable_variables)
    with pytest.raises(InputError, match=message):
        enable_lora(backbone, **settings)
    assert len(backbone.trainable_variables) == trainable
    assert not lora_variables(backbone)


def test_enabling_twice_and_saving_or_merging_nothing(tmp_path):
    backbone = build()
    _, head = classifier(backbone)
    with pytest.raises(InputError, match="no LoRA to save"):
        save_adapter(tmp_path / "a", backbone, head)
    with pytest.raises(InputError, match="no LoRA to merge"):
        merge_lora(backbone)
    enable_lora(backbone)
    with pytest.raises(InputError, match="already enabled"):
        enable_lora(backbone)
    with pytest.raises(InputError, match="already enabled"):
        backbone.enable_lora(4)
    hubs = build()
    hubs.enable_lora(4)
    with pytest.raises(InputError, match="already enabled"):
        enable_lora(hubs)


def damaged_files(path):
    """Yield damaged and foreign contents, by kind."""
    good = path.read_bytes()
    yield "cut", good[:-20]
    yield "empty", b""
    yield "text", b"not an adapter at all, only some words"
    yield "flipped", good[:-9] + bytes([good[-9] ^ 64]) + good[-8:]
    yield "settings", good.replace(b'\\"alpha\\": 12.0', b'\\"alpha\\": 13.0')
    yield "foreign", safetensors.numpy.save({"lora_A": np.zeros((2, 2), "float32")}, {"format": "pt"})


def test_files_that_do_not_fit(tmp_path):
    backbone = build()
    _, head = classifier(backbone)
    enable_lora(backbone, RANK, ALPHA)
    path = tmp_path / "adapter.safetensors"
    save_adapter(path, backbone, head)
    fresh = build()
    trainable = len(fresh.trainable_variables)
    _, wide = classifier(fresh, classes=5)
    with pytest.raises(InputError, match=r"head/bias.*\(3,\).*\(5,\)"):
        load_adapter(path, fresh, wide)
    deep = build(num_layers=3)
    with pytest.raises(InputError, match="transformer_layer_2"):
        load_adapter(path, deep, head)
    with pytest.raises(InputError, match="can't read"):
        load_adapter(tmp_path / "missing", fresh, head)
    kinds = list(damaged_files(path))
    for kind, content in kinds:
        assert content != path.read_bytes(), kind
        (tmp_path / kind).write_bytes(content)
        with pytest.raises(InputError, match=kind):
            load_adapter(tmp_path / kind, fresh, head)
    assert len(fresh.trainable_variables) == trainable
    assert not lora_variables(fresh)
    enable_lora(fresh, RANK, 2 * ALPHA)
    with pytest.raises(InputError, match=r"alpha=12.0.*alpha=24.0"):
        load_adapter(path, fresh, head)
