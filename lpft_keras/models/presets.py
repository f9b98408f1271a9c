"""A trained backbone as a preset that KerasHub loads without us, and a file beside it with what KerasHub can't say.

KerasHub's classes fix activation and LayerNorm epsilon, its presets know no pooling, and its word pieces forget whether
Chinese signs are split. So `lpft_keras.json` holds these, and a backbone loads here as it was trained.
"""

import json
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import keras_hub
import numpy as np
from keras import ops

from lpft_keras.checksums import file_sha256
from lpft_keras.models.encoding import encode
from lpft_keras.models.exact import EXACT, exact_settings, plain_class
from lpft_keras.models.tokenization import cutter
from lpft_keras.storage import read_json

if TYPE_CHECKING:
    from lpft_keras.models.backbones import TextBackbone

ABOUT = "lpft_keras.json"
FORMAT = "lpft-keras preset 1"

PROBES = {
    "plain words": "The quick brown fox didn't jump, it's only walked over the lazy dog.",
    "accents": "São Paulo, naïve Ångström, déjà vu",
    "emoji": "A fine day \U0001f600 \U0001f44d\U0001f3fd indeed",
    "numbers of four digits or more": "In 2005 there were 123456 rows",
    "Chinese and Japanese signs": "日本語 and 漢字",
    "tokens' own names": "<mask> </s> [SEP] [MASK]",
    "tabs, line breaks and double spaces": "  two  spaces\tand\nlines ",
    "invisible signs": "zero\u200bwidth\u00a0and\u00adhyphen",
    "ligatures and ß": "ΑΒΓ Straße ﬁn",
    "fractions and raised digits": "half ½ and m²",
    "control characters": "a\x01b\x07c",
}
"""Texts of a kind each, that tokenizers are known to cut unlike each other."""


def read_about(directory: Path) -> dict[str, Any] | None:
    """Return what our file beside a preset says, or None where there is none of this version."""
    about = read_json(directory / ABOUT)
    return about if isinstance(about, dict) and about.get("format") == FORMAT else None


def plain_backbone(model: keras.Model) -> keras.Model:
    """Return a copy of a backbone, in float32 and of KerasHub's own class: what is in a preset.

    Args:
        model: A KerasHub backbone without adapters, or one of `exact`.

    Returns:
        The copy. Where KerasHub's class fixes what a checkpoint has otherwise, its function differs a little.
    """
    cls = plain_class(model)
    config = {name: value for name, value in model.get_config().items() if name not in exact_settings(model)}
    return _copy(model, cls, config)


def with_exact(model: keras.Model, about: dict[str, Any], dropout: float | None) -> keras.Model:
    """Return a backbone that was loaded from a preset with the settings that only our file holds.

    Args:
        model: The backbone, of KerasHub's class.
        about: What `read_about` found.
        dropout: The rate everywhere, or None for those of the preset.

    Returns:
        The backbone itself where there are none.
    """
    settings = dict(about["exact"])
    if not settings:
        return model
    if dropout is not None:
        settings["attention_dropout"] = dropout
    config = {**model.get_config(), **settings}
    return _copy(model, EXACT[type(model)], config, dtype=model.dtype_policy)


def _copy(model: keras.Model, cls: Any, config: dict[str, Any], dtype: Any = "float32") -> keras.Model:
    for name in ("name", "trainable", "dtype"):
        config.pop(name, None)
    copy = cls(**config, dtype=dtype)
    for new, old in zip(copy.weights, model.weights, strict=True):
        new.assign(old.value)
    return copy


def read_tokenizer(directory: Path, about: dict[str, Any] | None) -> Any:
    """Return the tokenizer in a preset: the same one for the same files, since making its tables takes time and memory.

    Args:
        directory: The preset.
        about: What `read_about` returns.

    Returns:
        A KerasHub tokenizer, shared by all that load it.
    """
    files = [directory / "tokenizer.json", *(path for path in directory.glob("assets/**/*") if path.is_file())]
    return _tokenizer(directory, None if about is None else about["split_on_cjk"], *map(file_sha256, files))


@lru_cache(maxsize=2)
def _tokenizer(directory: Path, split_on_cjk: bool | None, *sums: str) -> Any:
    # As `Preprocessor.from_preset` does it, which refuses the classes of `exact.py`.
    tokenizer: Any = keras.saving.deserialize_keras_object(
        json.loads((directory / "tokenizer.json").read_text("utf-8"))
    )
    tokenizer.load_preset_assets(str(directory))
    if split_on_cjk is not None and isinstance(tokenizer, keras_hub.tokenizers.WordPieceTokenizer):
        tokenizer.split_on_cjk = split_on_cjk  # which KerasHub does not write
    return tokenizer


def save_preset(directory: Path, backbone: "TextBackbone", pooling: str, max_length: int) -> dict[str, Any]:
    """Write backbone, tokenizer and preprocessor as KerasHub does.

    Args:
        directory: An empty directory.
        backbone: The backbone, without adapters.
        pooling: "first" or "mean".
        max_length: Tokens a row, which the preprocessor pads and cuts to.

    Returns:
        What the file `ABOUT` must hold of it, and how KerasHub alone differs, as measured on `PROBES`:
        `hidden_states`, the greatest absolute difference, and `texts`, the kinds that it cuts into other tokens.
    """
    plain = plain_backbone(backbone.model)
    plain.save_to_preset(str(directory))
    tokenizer = backbone.preprocessor.tokenizer
    type(backbone.preprocessor)(tokenizer, sequence_length=max_length).save_to_preset(str(directory))
    return {
        "format": FORMAT,
        "pooling": pooling,
        "exact": exact_settings(backbone.model),
        "split_on_cjk": getattr(tokenizer, "split_on_cjk", True),
        "kerashub_alone": {
            "hidden_states": _difference(backbone, plain, max_length),
            "texts": _cut_otherwise(directory, tokenizer),
        },
    }


def _difference(backbone: "TextBackbone", plain: keras.Model, max_length: int) -> float:
    from lpft_keras.models.backbones import sequence_output

    ours = backbone.model
    if type(ours) is type(plain):
        return 0.0
    if ours.dtype_policy.name != "float32":
        ours = _copy(ours, type(ours), ours.get_config())
    tokens = encode(backbone, [(text,) for text in PROBES.values()], max_length)
    real = np.arange(tokens.token_ids.shape[1]) < tokens.lengths[:, None]
    inputs = {"token_ids": tokens.token_ids, "padding_mask": real.astype("int32"), "segment_ids": tokens.segment_ids}
    hidden = [
        ops.convert_to_numpy(sequence_output(model({name: inputs[name] for name in model.input}, training=False)))
        for model in (ours, plain)
    ]
    return float(np.abs(hidden[0] - hidden[1])[real].max())


def _cut_otherwise(directory: Path, tokenizer: keras_hub.tokenizers.Tokenizer) -> list[str]:
    """Return the kinds of texts that KerasHub's tokenizer, loaded from a preset, cuts unlike ours."""
    ours = dict(zip(PROBES, cutter(tokenizer)(list(PROBES.values())), strict=True))
    alone = keras_hub.models.Tokenizer.from_preset(str(directory))
    return [
        kind
        for kind, text in PROBES.items()
        if [int(index) for index in np.asarray(ops.convert_to_numpy(alone(text))).reshape(-1)] != list(ours[kind])
    ]
