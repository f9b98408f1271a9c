"""The kernel of a classifier with a prompt, beside the float64 Jacobian of a masked LM of `transformers`."""

import keras
import numpy as np
import pytest

from lpft_keras import ntk
from lpft_keras.models.backbones import load_backbone
from lpft_keras.models.classifier import build_classifier, freeze_transform, get_head
from lpft_keras.models.encoding import encode
from lpft_keras.models.prompting import prompt_frame
from lpft_keras.prompts import Prompt
from lpft_keras.training.batches import model_inputs
from tests import reference
from tests.models import tiny_checkpoints as tiny
from tests.ntk.cases import difference

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

pytestmark = pytest.mark.timeout(1500)  # JAX compiles each model's segments

PROMPT = Prompt("<s1->? [M], <s2l>", ("the", "and", "in"))
ROWS = [
    ("A cat sat.", "It sat."),
    ("Paris", "b"),
    ("In 2005, the cat", "x y"),
    ("homes were", "the Mat and"),
    ("", "a"),
]


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    """The classifier, its inputs, and (P, F) with and without what lies between backbone and head."""
    directory = tmp_path_factory.mktemp("roberta")
    size = tiny.save_byte_pairs(directory, [text for row in tiny.awkward_rows(50) for text in row])
    config = tiny.config("roberta", size, attn_implementation="eager")
    theirs = tiny.save_model(transformers.RobertaForMaskedLM, config, directory).double()
    backbone = load_backbone(str(directory))
    model = build_classifier(backbone, 3, prompt=PROMPT)
    tokens = encode(backbone, ROWS, 20, prompt_frame(backbone, PROMPT.template))
    x = model_inputs(tokens, np.arange(len(ROWS)), 20)
    ids, mask = (torch.from_numpy(np.array(x[name])) for name in ("token_ids", "padding_mask"))
    places = (ids == backbone.preprocessor.tokenizer.mask_token_id).int().argmax(1)

    class Features(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.base, self.head = theirs.base_model, theirs.lm_head

        def forward(self):
            hidden = self.base(input_ids=ids, attention_mask=mask).last_hidden_state
            state = hidden[torch.arange(len(ids)), places]
            return self.head.layer_norm(torch.nn.functional.gelu(self.head.dense(state)))

    whole = Features().eval().double()
    # KerasHub has no row of token types, which is added to the positions; the decoder is the head.
    parameters = {
        name: parameter.detach()
        for name, parameter in whole.named_parameters()
        if "token_type" not in name and not name.startswith(("head.decoder", "head.bias"))
    }
    whole.requires_grad_(False)

    def kernel(some):
        rest = {name: value for name, value in parameters.items() if name not in some}

        def features(chosen):
            return torch.func.functional_call(whole, {**rest, **chosen}, ())

        return reference.tangent_kernel(*reference.tangents(features, some, get_head(model)[0]))

    encoder = {name: value for name, value in parameters.items() if name.startswith("base.")}
    assert len(parameters) == len(encoder) + 4
    return model, x, kernel(parameters), kernel(encoder)


def test_p_and_f_equal_the_float64_jacobian(case):
    model, x, (pretrain, finetune), (_, without) = case
    kernel = ntk.empirical_ntk(model, x)
    assert difference(kernel.pretrain, pretrain) < 1e-6
    assert difference(kernel.finetune, finetune) < 3e-6
    assert difference(finetune, without) > 0.01, "the transform has a part in it"


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="float64 needs TensorFlow")
def test_float64_agrees_to_its_last_digits(case):
    model, x, (pretrain, finetune), _ = case
    kernel = ntk.empirical_ntk(model, x, dtype="float64")
    # Weights and the rows' sum of positions and token types were rounded to float32.
    assert difference(kernel.pretrain, pretrain) < 1e-6
    assert difference(kernel.finetune, finetune) < 1e-6


def test_a_frozen_transform_has_no_part_in_it(case):
    model, x, _, (_, without) = case
    freeze_transform(model)
    try:
        assert difference(ntk.empirical_ntk(model, x).finetune, without) < 3e-6
    finally:
        for name in ("transform", "features"):
            model.get_layer(name).trainable = True
