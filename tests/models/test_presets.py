from dataclasses import replace

import keras_hub
import numpy as np
import pytest

from lpft_keras.models.backbones import load_backbone
from lpft_keras.models.encoding import encode
from lpft_keras.models.presets import ABOUT, PROBES, plain_backbone, read_about, save_preset
from lpft_keras.storage import write_json
from tests.models.test_huggingface import hidden_states, rates, save_tokenizer, tiny, transformers


def saved(tmp_path, model_type, **changes):
    """Return a checkpoint of Hugging Face's as a backbone, and the directory of its preset."""
    source, preset = tmp_path / "source", tmp_path / "preset"
    source.mkdir()
    config = tiny.config(model_type, save_tokenizer(source, model_type), **changes)
    tiny.save_model(getattr(transformers, type(config).__name__.replace("Config", "Model")), config, source)
    backbone = load_backbone(str(source))
    about = save_preset(preset, backbone, "mean", 40)
    write_json(preset / ABOUT, about)
    return backbone, preset, about


@pytest.mark.parametrize("model_type", ["bert", "roberta", "xlm-roberta", "distilbert", "albert"])
def test_a_preset_loads_here_as_it_was_and_in_kerashub_as_its_card_says(tmp_path, model_type):
    backbone, preset, about = saved(tmp_path, model_type, attention_probs_dropout_prob=0.3, attention_dropout=0.3)
    ours, tokens, _ = hidden_states(backbone)
    loaded = load_backbone(str(preset))
    again, tokens_again, _ = hidden_states(loaded)
    np.testing.assert_array_equal(tokens_again.token_ids, tokens.token_ids)
    np.testing.assert_allclose(again, ours, atol=1e-6)
    assert loaded.pooling == "mean"
    assert rates(loaded.model) == rates(backbone.model)
    assert rates(load_backbone(str(preset), dropout=0.2).model) == ({0.2}, {0.2})

    alone = keras_hub.models.Backbone.from_preset(str(preset))
    assert type(alone).__module__.startswith("keras_hub.")
    rows = [(text,) for text in PROBES.values()]
    mine, _, real = hidden_states(backbone, rows)
    theirs, _, _ = hidden_states(replace(backbone, model=alone), rows)
    assert np.abs(mine - theirs)[real].max() == pytest.approx(
        about["kerashub_alone"]["hidden_states"], rel=1e-3, abs=1e-6
    )
    # These checkpoints have another epsilon than KerasHub's classes, but DistilBERT's, which is fixed there as well.
    assert (about["kerashub_alone"]["hidden_states"] > 1e-5) == (model_type != "distilbert")


def test_kerashubs_own_classes_are_copied_as_they_are(tmp_path):
    backbone = load_backbone("pocket", dtype="mixed_bfloat16")
    about = save_preset(tmp_path / "preset", backbone, "first", 64)
    assert about["kerashub_alone"]["hidden_states"] == 0
    assert about["exact"] == {}
    copy = plain_backbone(backbone.model)
    assert copy.dtype_policy.name == "float32"
    for new, old in zip(copy.weights, backbone.model.weights, strict=True):
        np.testing.assert_array_equal(new.numpy() if hasattr(new, "numpy") else new, old.numpy())
    assert read_about(tmp_path / "preset") is None, "no file of ours yet"


def test_splitting_of_chinese_signs_survives(tmp_path):
    backbone, preset, about = saved(tmp_path, "bert")
    backbone.preprocessor.tokenizer.split_on_cjk = False
    write_json(preset / ABOUT, save_preset(preset, backbone, "first", 40))
    texts = [("日本 the cat",), ("a 漢字 mat",)]
    want = encode(backbone, texts, 40).token_ids
    np.testing.assert_array_equal(encode(load_backbone(str(preset)), texts, 40).token_ids, want)
    # KerasHub's own config does not say so.
    write_json(preset / ABOUT, about)
    assert load_backbone(str(preset)).preprocessor.tokenizer.split_on_cjk


@pytest.mark.parametrize("model_type", ["bert", "roberta"])
def test_what_kerashubs_tokenizer_cuts_otherwise_is_known(tmp_path, model_type):
    backbone, preset, about = saved(tmp_path, model_type)
    kinds = set(about["kerashub_alone"]["texts"])
    assert not kinds & {"plain words", "accents", "emoji", "Chinese and Japanese signs", "tokens' own names"}
    assert model_type == "roberta" or "control characters" in kinds
    tokenizer = keras_hub.models.Tokenizer.from_preset(str(preset))
    for kind, text in PROBES.items():
        tokens = encode(backbone, [(text,)], 128)
        ends = len(backbone.preprocessor.packer.start_value), len(backbone.preprocessor.packer.end_value)
        own = tokens.token_ids[0, ends[0] : tokens.lengths[0] - ends[1]].tolist()
        assert (np.asarray(tokenizer(text)).tolist() != own) == (kind in kinds), kind
