"""The masked-language-modelling head that an encoder was pre-trained with: what gives a score to each word at a mask.

score(v) = <E_v, LayerNorm(activation(W h + b))> + c_v,  h the hidden state at the mask, E the word embedding
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from lpft_keras.errors import InputError
from lpft_keras.storage import read_arrays, write_arrays

FILE = "masked_lm.npz"
"""Beside a KerasHub preset, which has no place for this head."""


@dataclass(frozen=True, eq=False)
class MaskedLM:
    """The head.

    Attributes:
        kernel: W, float32 [hidden, e]; e is the width of the word embedding.
        bias: b, float32 [e].
        gamma: Scale of the LayerNorm, float32 [e].
        beta: Shift of the LayerNorm, float32 [e].
        epsilon: Epsilon of the LayerNorm.
        activation: Its name in `exact.ACTIVATIONS`.
        output_bias: c, float32 [vocabulary].
        decoder: The rows, float32 [vocabulary, e], where they are not those of the word embedding.
    """

    kernel: np.ndarray
    bias: np.ndarray
    gamma: np.ndarray
    beta: np.ndarray
    epsilon: float
    activation: str
    output_bias: np.ndarray
    decoder: np.ndarray | None = None

    def rows(self, model: keras.Model, words: list[int]) -> tuple[np.ndarray, np.ndarray]:
        """Return what gives some words their scores.

        Args:
            model: The encoder.
            words: Token ids.

        Returns:
            A kernel, float32 [e, words], and a bias, float32 [words].
        """
        table = ops.convert_to_numpy(word_embedding(model)) if self.decoder is None else self.decoder
        return table[words].T.astype("float32"), self.output_bias[words]


def word_embedding(model: keras.Model) -> keras.Variable:
    """Return the word embedding of a KerasHub backbone, [vocabulary, e]."""
    return model.token_embedding.embeddings


@dataclass(frozen=True)
class _Names:
    """Where a family keeps the head in Hugging Face layout; what `bias` names is kept under one of two names."""

    dense: str
    norm: str
    bias: tuple[str, str]
    decoder: str


_BERT = _Names(
    "cls.predictions.transform.dense",
    "cls.predictions.transform.LayerNorm",
    ("cls.predictions.decoder.bias", "cls.predictions.bias"),
    "cls.predictions.decoder.weight",
)
_ROBERTA = _Names(
    "lm_head.dense", "lm_head.layer_norm", ("lm_head.decoder.bias", "lm_head.bias"), "lm_head.decoder.weight"
)
_DISTILBERT = _Names("vocab_transform", "vocab_layer_norm", ("vocab_projector.bias",) * 2, "vocab_projector.weight")
_ALBERT = _Names(
    "predictions.dense",
    "predictions.LayerNorm",
    ("predictions.decoder.bias", "predictions.bias"),
    "predictions.decoder.weight",
)
_FAMILIES = {"bert": _BERT, "roberta": _ROBERTA, "xlm-roberta": _ROBERTA, "distilbert": _DISTILBERT, "albert": _ALBERT}


def from_tensors(tensors: Mapping[str, np.ndarray], config: Mapping[str, Any], model: keras.Model) -> MaskedLM | None:
    """Return the head in a checkpoint of Hugging Face layout.

    Args:
        tensors: Its weights, under names without the encoder's prefix.
        config: What its `config.json` holds.
        model: The encoder, its weights loaded.

    Returns:
        The head; None where the checkpoint has none, or none that fits the encoder.
    """
    kind = config["model_type"]
    names = _FAMILIES[kind]
    # That of the decoder is the one that counts; most checkpoints keep it under the other name alone.
    bias = next((name for name in names.bias if name in tensors), names.bias[0])
    wanted = [f"{part}.{weight}" for part in (names.dense, names.norm) for weight in ("weight", "bias")] + [bias]
    if any(name not in tensors for name in wanted):
        return None
    kernel, dense_bias, gamma, beta, output_bias = (tensors[name].astype("float32") for name in wanted)
    embedding = ops.convert_to_numpy(word_embedding(model))
    decoder = tensors[names.decoder].astype("float32") if names.decoder in tensors else embedding
    if kernel.shape[0] != embedding.shape[1] or len(output_bias) != len(embedding) or decoder.shape != embedding.shape:
        return None
    # RoBERTa's head has GELU whatever its layers have, DistilBERT's LayerNorm an epsilon of its own.
    activation = (
        "gelu" if "roberta" in kind else config.get("activation" if kind == "distilbert" else "hidden_act", "gelu")
    )
    epsilon = 1e-12 if kind == "distilbert" else config.get("layer_norm_eps", 1e-12)
    own = None if np.array_equal(decoder, embedding.astype("float32")) else decoder
    return MaskedLM(kernel.T, dense_bias, gamma, beta, epsilon, activation, output_bias, own)


def random_head(model: keras.Model) -> MaskedLM | None:
    """Return a head with random weights, the same on every backend; None where an encoder has no word embedding.

    Args:
        model: The encoder.

    Returns:
        The head, drawn as `random_weights.randomize` draws an encoder.
    """
    if not hasattr(model, "token_embedding"):
        return None
    vocabulary, width = word_embedding(model).shape
    scale = 0.02 * (768 / model.hidden_dim) ** 0.5
    kernel = np.random.default_rng([0, 1]).normal(0, scale, (model.hidden_dim, width)).astype("float32")
    zeros = np.zeros(width, "float32")
    return MaskedLM(kernel, zeros, zeros + 1, zeros, 1e-5, "gelu", np.zeros(vocabulary, "float32"))


def read_head(directory: Path) -> MaskedLM | None:
    """Return the head beside a preset, None where there is none.

    Args:
        directory: The preset.

    Returns:
        The head.

    Raises:
        InputError: The file is damaged.
    """
    path = directory / FILE
    if not path.is_file():
        return None
    arrays = read_arrays(path)
    if (
        arrays is None
        or not {"kernel", "bias", "gamma", "beta", "epsilon", "activation", "output_bias"} <= arrays.keys()
    ):
        raise InputError(f"{path} is damaged; write the preset again")
    plain = {name: value.astype("float32") for name, value in arrays.items() if name not in ("epsilon", "activation")}
    return MaskedLM(**plain, epsilon=float(arrays["epsilon"]), activation=str(arrays["activation"]))


def write_head(directory: Path, head: MaskedLM, dtype: str = "float32") -> None:
    """Write a head beside a preset.

    Args:
        directory: The preset.
        head: The head.
        dtype: How its weights are kept.
    """
    values = {name: value for name, value in vars(head).items() if value is not None}
    arrays = {name: value.astype(dtype) for name, value in values.items() if isinstance(value, np.ndarray)}
    about = {"epsilon": np.array(head.epsilon), "activation": np.array(head.activation)}
    write_arrays(directory / FILE, {**arrays, **about})
