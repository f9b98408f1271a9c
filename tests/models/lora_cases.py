"""Small backbones of many families with weights that hide nothing, for the tests of LoRA."""

import keras
import keras_hub
import numpy as np
from keras import ops

from lpft_keras.models.lora import lora_variables

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


def difference(ours, theirs):
    return np.abs(ours - theirs).max() / np.abs(theirs).max()
