"""Small models with their gradients, computed in float64 by PyTorch alone, outside Keras."""

import tempfile
from dataclasses import dataclass
from functools import cache
from typing import Any

import keras
import keras_hub
import numpy as np
from keras import ops

from lpft_keras.models.lora import enable_lora, lora_variables
from tests import reference

ROWS, LENGTH, CLASSES = 7, 11, 3


@dataclass
class Case:
    model: keras.Model
    x: Any
    features: np.ndarray
    rows: dict[str, np.ndarray]

    def kernel(self, belongs=lambda name: True, **how):
        """P and F of some parameters by their names in PyTorch, or in Keras where the model was made there."""
        rows = {name: part for name, part in self.rows.items() if belongs(name)}
        return reference.tangent_kernel(self.features, rows, **how)

    @property
    def pretrain(self):
        return self.kernel()[0]

    @property
    def finetune(self):
        return self.kernel()[1]


def difference(ours, theirs):
    """Return the relative distance of two arrays in the Frobenius norm."""
    return np.linalg.norm(ours - theirs) / np.linalg.norm(theirs)


def token_rows(vocabulary=50, rows=ROWS):
    rng = np.random.default_rng(5)
    lengths = np.array([LENGTH, 3, 5, 11, 8, 4, 6, 9, 7, 10][:rows])
    return {
        "token_ids": rng.integers(3, vocabulary, (rows, LENGTH)).astype("int32"),
        "padding_mask": (np.arange(LENGTH) < lengths[:, None]).astype("int32"),
    }


def with_head(inputs, features, classes=CLASSES):
    head = keras.layers.Dense(classes, name="head")
    model = keras.Model(inputs, head(features))
    rng = np.random.default_rng(9)
    for variable in head.variables:
        variable.assign(rng.normal(0, 0.5, variable.shape))
    return model, ops.convert_to_numpy(head.kernel)


def transformer(kind, directory, lora=False, classes=CLASSES):
    """A tiny `transformers` encoder and the same in KerasHub; with `lora`, under peft and under our adapters."""
    import torch
    import transformers

    torch.manual_seed(0)
    sizes = {"vocab_size": 50, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
    sizes |= {"intermediate_size": 48, "max_position_embeddings": 18, "attn_implementation": "eager"}
    if kind == "roberta":
        whole = transformers.RobertaForMaskedLM(transformers.RobertaConfig(**sizes, layer_norm_eps=1e-5))
    else:  # KerasHub's BERT has the tanh form of GELU
        whole = transformers.BertForSequenceClassification(transformers.BertConfig(**sizes, hidden_act="gelu_new"))
    theirs = whole.base_model
    with torch.no_grad():
        for name, parameter in theirs.named_parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(len(name))))
        if kind == "roberta":  # KerasHub has no token-type row
            theirs.embeddings.token_type_embeddings.weight.zero_()
    whole.save_pretrained(directory)
    backbone = keras_hub.models.Backbone.from_preset(str(directory))
    left_out = ("pooler", "token_type") if kind == "roberta" else ("pooler",)
    if lora:
        import peft

        config = peft.LoraConfig(r=4, lora_alpha=12, target_modules=["query", "value"], lora_dropout=0, bias="none")
        theirs = peft.get_peft_model(theirs, config)
        enable_lora(backbone, rank=4, alpha=12)
        rng = np.random.default_rng(11)
        adapters = [parameter for parameter in theirs.parameters() if parameter.requires_grad]
        for variable, parameter in zip(lora_variables(backbone), adapters, strict=True):
            variable.assign(rng.normal(0, 0.05, variable.shape))
            parameter.data = torch.from_numpy(np.array(ops.convert_to_numpy(variable)))
    theirs = theirs.eval().double()
    x = token_rows()
    inputs = dict(backbone.input)
    if "segment_ids" in inputs:
        x["segment_ids"] = (np.arange(LENGTH) > 4).astype("int32") * np.ones((ROWS, 1), "int32")
    if kind == "bert":
        backbone.pooled_dense.trainable = False
    hidden = backbone.output["sequence_output"] if isinstance(backbone.output, dict) else backbone.output
    model, head = with_head(inputs, hidden[:, 0], classes)
    parameters = {
        name: parameter.detach()
        for name, parameter in theirs.named_parameters()
        if parameter.requires_grad and not any(word in name for word in left_out)
    }
    theirs.requires_grad_(False)
    arguments = {"input_ids": torch.from_numpy(x["token_ids"]), "attention_mask": torch.from_numpy(x["padding_mask"])}
    if "segment_ids" in x:
        arguments["token_type_ids"] = torch.from_numpy(x["segment_ids"])

    def features(parameters):
        return torch.func.functional_call(theirs, parameters, kwargs=arguments).last_hidden_state[:, 0]

    return Case(model, x, *reference.tangents(features, parameters, head))


def _drawn(seed):
    """Return an initializer that gives the same weights on all backends."""

    def draw(shape, dtype=None):
        return np.random.default_rng(seed).normal(0, 1 / np.sqrt(np.prod(shape[:-1])), shape).astype("float32")

    return draw


def perceptron():
    """A sequential MLP, one of whose layers is used twice."""
    import torch

    rng = np.random.default_rng(1)
    shared = keras.layers.Dense(6, activation="tanh", name="shared", kernel_initializer=_drawn(4))
    inputs = keras.Input((6,))
    first = keras.layers.Dense(6, activation="silu", name="first", kernel_initializer=_drawn(3))
    hidden = keras.layers.Dropout(0.5)(first(inputs))
    model, head = with_head(inputs, keras.layers.Dropout(0.3)(shared(shared(hidden))))
    x = rng.normal(size=(ROWS, 6)).astype("float32")
    parameters = _parameters(model)
    data = torch.from_numpy(x).double()

    def features(p):
        hidden = torch.nn.functional.silu(data @ p["first/kernel"] + p["first/bias"])
        for _ in range(2):
            hidden = torch.tanh(hidden @ p["shared/kernel"] + p["shared/bias"])
        return hidden

    return Case(model, x, *reference.tangents(features, parameters, head))


def convolutional():
    """A CNN with batch normalisation in inference form, a residual connection and a softmax on the head."""
    import torch

    rng = np.random.default_rng(2)
    inputs = keras.Input((8, 8, 2))
    hidden = keras.layers.Conv2D(4, 3, padding="same", name="stem", kernel_initializer=_drawn(5))(inputs)
    normal = keras.layers.BatchNormalization(name="normal")
    second = keras.layers.Conv2D(4, 3, padding="same", name="inner", kernel_initializer=_drawn(6))
    inner = second(keras.layers.ReLU()(normal(hidden)))
    pooled = keras.layers.GlobalAveragePooling2D()(keras.layers.ReLU()(keras.layers.Add()([hidden, inner])))
    logits_model, head = with_head(inputs, pooled)
    for variable in normal.variables:
        variable.assign(rng.uniform(0.5, 1.5, variable.shape))
    model = keras.Model(inputs, keras.layers.Softmax()(logits_model.output))
    x = rng.normal(size=(ROWS, 8, 8, 2)).astype("float32")
    parameters = _parameters(model)
    data = torch.from_numpy(x).double().permute(0, 3, 1, 2)
    mean, variance = (
        torch.from_numpy(np.array(ops.convert_to_numpy(v))).double()[:, None, None]
        for v in (normal.moving_mean, normal.moving_variance)
    )

    def convolve(value, kernel, bias):
        return torch.nn.functional.conv2d(value, kernel.permute(3, 2, 0, 1), bias, padding=1)

    def features(p):
        hidden = convolve(data, p["stem/kernel"], p["stem/bias"])
        scaled = (hidden - mean) / (variance + normal.epsilon) ** 0.5
        scaled = scaled * p["normal/gamma"][:, None, None] + p["normal/beta"][:, None, None]
        inner = convolve(torch.relu(scaled), p["inner/kernel"], p["inner/bias"])
        return torch.relu(hidden + inner).mean(dim=(2, 3))

    return Case(model, x, *reference.tangents(features, parameters, head))


def _parameters(model):
    import torch

    return {
        variable.path: torch.from_numpy(np.array(ops.convert_to_numpy(variable))).double()
        for variable in model.trainable_variables
        if not variable.path.startswith("head")
    }


@cache
def make(name):
    """Return a case, one for all tests of a process, which share what was compiled for it: leave its weights alone."""
    match name:
        case "perceptron":
            return perceptron()
        case "convolutional":
            return convolutional()
    kind, *how = name.split("-")
    with tempfile.TemporaryDirectory() as directory:
        return transformer(kind, directory, lora="lora" in how, classes=2 if "two" in how else CLASSES)


NAMES = ("perceptron", "convolutional", "roberta", "bert", "roberta-lora")
