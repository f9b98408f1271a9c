"""Encoders from a directory in Hugging Face layout: `config.json`, `model.safetensors` and a tokenizer.

Written apart from KerasHub's converters, because those drop RoBERTa's token-type row, want the weight names with
(RoBERTa) or without (BERT) the model's prefix, fail where the pooler was not saved, and do not follow
the activation, LayerNorm epsilon and dropout of the checkpoint.
"""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import keras_hub
import ml_dtypes  # noqa: F401  (teaches NumPy the name "bfloat16", which safetensors asks it for)
import numpy as np
import safetensors

from lpft_keras.errors import InputError, unknown_name
from lpft_keras.models import exact, masked_lm

WEIGHTS_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"


@dataclass(frozen=True)
class Family:
    """What one `model_type` is called on both sides; the names of `layer` are Hugging Face's, below one layer."""

    backbone: type
    preprocessor: type
    prefix: str
    layers: str
    query: str
    key: str
    value: str
    attention_output: str
    attention_norm: str
    intermediate: str
    output: str
    norm: str


_BERT_LAYER = {
    "layers": "encoder.layer.{}",
    "query": "attention.self.query",
    "key": "attention.self.key",
    "value": "attention.self.value",
    "attention_output": "attention.output.dense",
    "attention_norm": "attention.output.LayerNorm",
    "intermediate": "intermediate.dense",
    "output": "output.dense",
    "norm": "output.LayerNorm",
}
FAMILIES = {
    "bert": Family(exact.ExactBertBackbone, keras_hub.models.BertTextClassifierPreprocessor, "bert.", **_BERT_LAYER),
    "roberta": Family(
        exact.ExactRobertaBackbone, keras_hub.models.RobertaTextClassifierPreprocessor, "roberta.", **_BERT_LAYER
    ),
    "xlm-roberta": Family(
        exact.ExactXLMRobertaBackbone, keras_hub.models.XLMRobertaTextClassifierPreprocessor, "roberta.", **_BERT_LAYER
    ),
    "distilbert": Family(
        exact.ExactDistilBertBackbone,
        keras_hub.models.DistilBertTextClassifierPreprocessor,
        "distilbert.",
        layers="transformer.layer.{}",
        query="attention.q_lin",
        key="attention.k_lin",
        value="attention.v_lin",
        attention_output="attention.out_lin",
        attention_norm="sa_layer_norm",
        intermediate="ffn.lin1",
        output="ffn.lin2",
        norm="output_layer_norm",
    ),
    "albert": Family(
        exact.ExactAlbertBackbone,
        keras_hub.models.AlbertTextClassifierPreprocessor,
        "albert.",
        layers="encoder.albert_layer_groups.{}.albert_layers.{}",
        query="attention.query",
        key="attention.key",
        value="attention.value",
        attention_output="attention.dense",
        attention_norm="attention.LayerNorm",
        intermediate="ffn",
        output="ffn_output",
        norm="full_layer_layer_norm",
    ),
}


def check_config(directory: Path, config: dict[str, Any]) -> Family:
    """Return the family of a checkpoint, having checked what can be checked without its weights.

    Args:
        directory: The checkpoint's folder.
        config: What its `config.json` holds.

    Returns:
        The family that its `model_type` names.

    Raises:
        InputError: The model type is not one of those that load, or its weights are missing.
    """
    model_type = str(config["model_type"])
    if model_type not in FAMILIES:
        raise unknown_name(f"model_type in {directory / 'config.json'}", model_type, FAMILIES)
    position = config.get("position_embedding_type") or "absolute"
    if position != "absolute":
        raise InputError(f"{directory}: position_embedding_type {position!r} does not load; only 'absolute' does")
    activation = str(config.get("activation" if model_type == "distilbert" else "hidden_act", "gelu"))
    if activation not in exact.ACTIVATIONS:
        raise unknown_name(f"hidden_act in {directory / 'config.json'}", activation, exact.ACTIVATIONS)
    if not weight_files(directory):
        hint = "only pytorch_model.bin is there; save it again with safe_serialization=True"
        pickled = any(directory.glob("pytorch_model*.bin"))
        raise InputError(f"{directory} has no {WEIGHTS_FILE}" + (f"; {hint}" if pickled else ""))
    return FAMILIES[model_type]


def weight_files(directory: Path) -> list[Path]:
    """Return the safetensors files of a checkpoint, the shards in order; empty where there are none."""
    if (directory / WEIGHTS_FILE).is_file():
        return [directory / WEIGHTS_FILE]
    try:
        shards = json.loads((directory / INDEX_FILE).read_text("utf-8"))["weight_map"].values()
        names = sorted({Path(shard).name for shard in shards})
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return []
    # By their names alone: an index from elsewhere leads to no file outside of its folder.
    # `Path.is_file` raises where a name is too long.
    return [directory / name for name in names if os.path.isfile(directory / name)]


def build(directory: Path, config: dict[str, Any], dropout: float | None, dtype: str | None) -> keras.Model:
    """Return the encoder of a checkpoint with weights yet to load.

    Args:
        directory: The checkpoint's folder.
        config: What its `config.json` holds.
        dropout: The rate everywhere, or None for the rates of the checkpoint.
        dtype: A Keras dtype or policy, or None for Keras's own.

    Returns:
        A KerasHub backbone that follows the checkpoint's activation, LayerNorm epsilon and dropout.

    Raises:
        InputError: The config lacks an entry or the family is not one that loads.
    """
    family = check_config(directory, config)
    arguments: dict[str, Any] = {} if dtype is None else {"dtype": dtype}
    try:
        arguments |= _arguments(config)
        if dropout is not None:
            arguments |= {"dropout": dropout, "attention_dropout": dropout}
        return family.backbone(**arguments)
    except KeyError as error:
        raise InputError(f"{directory / 'config.json'} has no entry {error.args[0]!r}") from error
    except (TypeError, ValueError, ArithmeticError) as error:
        reason = str(error).strip().split("\n")[0]
        raise InputError(f"{directory / 'config.json'} describes no encoder that can be built: {reason}") from error


def _arguments(config: dict[str, Any]) -> dict[str, Any]:
    """Translate `config.json` into the arguments of the backbone's class."""
    if config["model_type"] == "distilbert":
        return {
            "vocabulary_size": config["vocab_size"],
            "num_layers": config["n_layers"],
            "num_heads": config["n_heads"],
            "hidden_dim": config["dim"],
            "intermediate_dim": config["hidden_dim"],
            "max_sequence_length": config["max_position_embeddings"],
            "activation": config.get("activation", "gelu"),
            "layer_norm_epsilon": 1e-12,  # fixed in Hugging Face's class
            "dropout": config.get("dropout", 0.1),
            "attention_dropout": config.get("attention_dropout", 0.1),
        }
    arguments = {
        "vocabulary_size": config["vocab_size"],
        "num_layers": config["num_hidden_layers"],
        "num_heads": config["num_attention_heads"],
        "hidden_dim": config["hidden_size"],
        "intermediate_dim": config["intermediate_size"],
        "max_sequence_length": config["max_position_embeddings"] - _reserved_positions(config),
        "activation": config.get("hidden_act", "gelu"),
        "layer_norm_epsilon": config.get("layer_norm_eps", 1e-12),
        "dropout": config.get("hidden_dropout_prob", 0.1),
        "attention_dropout": config.get("attention_probs_dropout_prob", 0.1),
    }
    if config["model_type"] in ("bert", "albert"):
        arguments["num_segments"] = config.get("type_vocab_size", 2)
    if config["model_type"] == "albert":
        arguments["embedding_dim"] = config["embedding_size"]
        arguments["num_groups"] = config.get("num_hidden_groups", 1)
        arguments["num_inner_repetitions"] = config.get("inner_group_num", 1)
    return arguments


def _reserved_positions(config: dict[str, Any]) -> int:
    """Return how many rows at the head of the position table no token ever gets: RoBERTa counts from padding + 1."""
    return config.get("pad_token_id", 1) + 1 if "roberta" in config["model_type"] else 0


def load_weights(model: keras.Model, directory: Path, config: dict[str, Any]) -> masked_lm.MaskedLM | None:
    """Assign a checkpoint's weights to the encoder that `build` gave.

    Args:
        model: The encoder.
        directory: The checkpoint's folder.
        config: What its `config.json` holds.

    Returns:
        The checkpoint's masked-LM head, None where it has none.

    Raises:
        InputError: A weight is missing, has another shape than the config says, or the file is damaged.
    """
    family = FAMILIES[config["model_type"]]
    tensors = _read(directory, family.prefix)
    for variable, name in _names(model, family):
        if name not in tensors:
            if name.startswith("pooler."):
                continue  # not every checkpoint has one, and the sequence output does not need it
            raise InputError(f"{directory} has no weight {name!r}; is it the checkpoint that config.json describes?")
        value = tensors[name].astype("float32")
        if "position_embeddings" in name:
            value = value[_reserved_positions(config) :]
            if "roberta" in config["model_type"] and "embeddings.token_type_embeddings.weight" in tensors:
                # Every token of RoBERTa has type 0 and KerasHub's class has no table for it.
                value = value + tensors["embeddings.token_type_embeddings.weight"][0].astype("float32")
        elif value.ndim == 2 and "embeddings." not in name:
            value = value.T
        if value.size != np.prod(variable.shape):
            found, wanted = list(tensors[name].shape), list(variable.shape)
            raise InputError(f"{directory}: weight {name!r} has shape {found}, config.json asks for {wanted}")
        variable.assign(value.reshape(variable.shape))
    return masked_lm.from_tensors(tensors, config, model)


def _read(directory: Path, prefix: str) -> dict[str, np.ndarray]:
    """Read all tensors, under names without the model's prefix and with today's names of LayerNorm's two weights."""
    tensors = {}
    for path in weight_files(directory):
        try:
            with safetensors.safe_open(path, framework="np") as file:
                for key in file.keys():  # noqa: SIM118  (the file is no mapping)
                    name = key.removeprefix(prefix)
                    name = name.replace("LayerNorm.gamma", "LayerNorm.weight")
                    tensors[name.replace("LayerNorm.beta", "LayerNorm.bias")] = file.get_tensor(key)
        except (OSError, safetensors.SafetensorError) as error:
            raise InputError(f"can't read {path}: {error}; fetch the file again") from error
    return tensors


def _names(model: keras.Model, family: Family) -> Iterator[tuple[keras.Variable, str]]:
    """Pair every variable of an encoder with its name in the checkpoint."""
    tables = getattr(model, "embeddings", model)
    yield model.token_embedding.embeddings, "embeddings.word_embeddings.weight"
    yield tables.position_embedding.position_embeddings, "embeddings.position_embeddings.weight"
    if hasattr(model, "segment_embedding"):
        yield model.segment_embedding.embeddings, "embeddings.token_type_embeddings.weight"
    yield from _norm(model.embeddings_layer_norm, "embeddings.LayerNorm")
    if hasattr(model, "embeddings_projection"):
        yield from _dense(model.embeddings_projection, "encoder.embedding_hidden_mapping_in")
    for i, group in enumerate(model.transformer_layers):
        for j, layer in enumerate(group if isinstance(group, list | tuple) else [group]):
            path = family.layers.format(i, j)
            attention = layer._self_attention_layer
            yield from _dense(attention.query_dense, f"{path}.{family.query}")
            yield from _dense(attention.key_dense, f"{path}.{family.key}")
            yield from _dense(attention.value_dense, f"{path}.{family.value}")
            yield from _dense(attention.output_dense, f"{path}.{family.attention_output}")
            yield from _norm(layer._self_attention_layer_norm, f"{path}.{family.attention_norm}")
            yield from _dense(layer._feedforward_intermediate_dense, f"{path}.{family.intermediate}")
            yield from _dense(layer._feedforward_output_dense, f"{path}.{family.output}")
            yield from _norm(layer._feedforward_layer_norm, f"{path}.{family.norm}")
    if hasattr(model, "pooled_dense"):
        # ALBERT's pooler is a bare linear layer, BERT's holds one called "dense".
        name = "pooler" if hasattr(model, "embeddings_projection") else "pooler.dense"
        yield from _dense(model.pooled_dense, name)


def _dense(layer, name: str) -> Iterator[tuple[keras.Variable, str]]:
    yield layer.kernel, f"{name}.weight"
    yield layer.bias, f"{name}.bias"


def _norm(layer, name: str) -> Iterator[tuple[keras.Variable, str]]:
    yield layer.gamma, f"{name}.weight"
    yield layer.beta, f"{name}.bias"
