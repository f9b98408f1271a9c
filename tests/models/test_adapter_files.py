"""Adapters and models with adapters on disk and back; damaged and foreign files."""

import json

import keras
import numpy as np
import pytest
import safetensors.numpy

from lpft_keras.errors import InputError
from lpft_keras.hyperparameters import LoraSettings
from lpft_keras.models.adapter_files import load_adapter, save_adapter
from lpft_keras.models.lora import enable_lora, lora_settings, lora_variables
from tests.models.lora_cases import ALPHA, RANK, batch, build, classifier, difference, numpy, stir


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

    other = build(family, name="another_backbone")
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
