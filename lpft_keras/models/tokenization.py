"""Tokenizers: KerasHub's own classes, filled from Hugging Face files, and run by the `tokenizers` library.

KerasHub's objects carry vocabulary and settings and know how to save themselves. What they do with a text
differs from what the checkpoints were trained with: the Python path of `BytePairTokenizer` splits with
Llama 3's pattern ("2005" becomes "200", "5"), `WordPieceTokenizer` case-folds and keeps control characters
apart. So word pieces and RoBERTa's byte pairs are cut by a `tokenizers.Tokenizer` with the same vocabulary.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from operator import attrgetter
from pathlib import Path
from typing import Any

import keras_hub
import tokenizers
from tokenizers import models, normalizers, pre_tokenizers

from lpft_keras.errors import InputError, first_line
from lpft_keras.models import sentence_piece


def rust_tokenizer(tokenizer: keras_hub.tokenizers.Tokenizer) -> tokenizers.Tokenizer | None:
    """Return the `tokenizers` twin of a KerasHub tokenizer, or None where there is none.

    Args:
        tokenizer: A KerasHub tokenizer with its vocabulary set.

    Returns:
        A tokenizer that adds no special tokens and truncates nothing; None for SentencePiece and other kinds.
    """
    if isinstance(tokenizer, keras_hub.tokenizers.WordPieceTokenizer):
        vocabulary = {token: index for index, token in enumerate(tokenizer.get_vocabulary())}
        twin = tokenizers.Tokenizer(
            models.WordPiece(
                vocabulary,
                unk_token=tokenizer.oov_token,
                continuing_subword_prefix=tokenizer.suffix_indicator,
                max_input_chars_per_word=100,
            )
        )
        twin.normalizer = normalizers.BertNormalizer(
            clean_text=True,
            handle_chinese_chars=tokenizer.split_on_cjk,
            strip_accents=tokenizer.strip_accents,
            lowercase=tokenizer.lowercase,
        )
        twin.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        if tokenizer.special_tokens_in_strings:
            twin.add_special_tokens([*tokenizer.special_tokens, tokenizer.oov_token])
        return twin
    if isinstance(tokenizer, keras_hub.tokenizers.RobertaTokenizer):
        merges = [tuple(line.split(" ")) for line in tokenizer.merges if line and not line.startswith("#version")]
        twin = tokenizers.Tokenizer(models.BPE(tokenizer.vocabulary, merges))
        twin.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=tokenizer.add_prefix_space)
        mask = tokenizers.AddedToken(tokenizer.mask_token, lstrip=True, normalized=False)
        others = [token for token in tokenizer.unsplittable_tokens or () if token != tokenizer.mask_token]
        twin.add_special_tokens([*others, mask])
        return twin
    return None


def cutter(tokenizer: keras_hub.tokenizers.Tokenizer) -> Callable[[Sequence[str]], Iterable[list[int]]]:
    """Return what cuts texts into token ids, without special tokens, the same on every backend.

    Args:
        tokenizer: A KerasHub tokenizer.

    Returns:
        A function from texts of valid Unicode to one list of ids each, to be looked at once; empty texts give none.
    """
    twin = rust_tokenizer(tokenizer)
    if twin is not None:
        # Ids become Python's when they are looked at, so that another thread may cut meanwhile.
        return lambda texts: map(attrgetter("ids"), twin.encode_batch_fast(texts, add_special_tokens=False))

    def cut(texts: Sequence[str]) -> list[list[int]]:
        rows = tokenizer(texts) if texts else []
        # A RaggedTensor on KerasHub's TensorFlow path, lists on its Python path.
        rows = rows.to_list() if hasattr(rows, "to_list") else rows
        return [[int(index) for index in row] for row in rows]

    return cut


def free_with_tokenizer(tokenizer: keras_hub.tokenizers.Tokenizer) -> None:
    """Put tables that TensorFlow frees with the tokenizer in the place of KerasHub's, which it would keep for good.

    Args:
        tokenizer: A KerasHub tokenizer with its vocabulary set; one without tables stays as it is.
    """
    import tensorflow as tf

    for name, table in list(vars(tokenizer).items()):
        if isinstance(table, tf.lookup.StaticHashTable) and not table._is_anonymous:
            keys, values = tf.raw_ops.LookupTableExportV2(
                table_handle=table.resource_handle, Tkeys=table.key_dtype, Tvalues=table.value_dtype
            )
            initializer = tf.lookup.KeyValueTensorInitializer(keys, values)
            twin = tf.lookup.StaticHashTable(initializer, table.default_value, experimental_is_anonymous=True)
            setattr(tokenizer, name, twin)
            tf.raw_ops.DestroyResourceOp(resource=table.resource_handle)


def load_tokenizer(directory: Path, model_type: str) -> keras_hub.tokenizers.Tokenizer:
    """Return the KerasHub tokenizer for a directory in Hugging Face layout, with that directory's settings.

    Args:
        directory: Holds `tokenizer.json`, or the older files (`vocab.txt`; `vocab.json` and `merges.txt`;
            `sentencepiece.bpe.model`; `spiece.model`), and perhaps `tokenizer_config.json`.
        model_type: The `model_type` of the checkpoint.

    Returns:
        The tokenizer.

    Raises:
        InputError: No file holds a vocabulary, or it is one of another kind.
    """
    settings = _json(directory / "tokenizer_config.json")
    whole = _json(directory / "tokenizer.json")
    try:
        match model_type:
            case "bert" | "distilbert":
                tokenizer = _word_pieces(directory, model_type, settings, whole)
            case "roberta":
                tokenizer = _byte_pairs(directory, settings, whole)
            case _:
                tokenizer = sentence_piece.load(directory, model_type, settings, whole)
        rust_tokenizer(tokenizer)  # merges that don't go with the vocabulary show here
        return tokenizer
    except InputError:
        raise
    except Exception as error:  # of damaged files, KerasHub, TensorFlow and tokenizers raise whatever they stumble over
        raise InputError(f"the tokenizer in {directory} does not load: {first_line(error)}") from error


def _json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        return json.loads(path.read_text("utf-8"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not JSON: {error}; fetch the file again") from error


def _model(directory: Path, whole: dict[str, Any], kind: str, older: str) -> dict[str, Any]:
    """Return the "model" part of tokenizer.json, which must be of the kind given."""
    model = whole.get("model") or {}
    if not model:
        raise InputError(f"{directory} has neither {older} nor tokenizer.json; copy one of them there")
    if model.get("type", kind) != kind:
        raise InputError(f"{directory / 'tokenizer.json'} holds a {model['type']} model where {kind} is needed")
    return model


def _word_pieces(directory: Path, model_type: str, settings: dict[str, Any], whole: dict[str, Any]):
    if (directory / "vocab.txt").is_file():
        lines = (directory / "vocab.txt").read_text("utf-8").split("\n")
        vocabulary = [line.removesuffix("\r") for line in (lines[:-1] if lines[-1] == "" else lines)]
    else:
        indices = _model(directory, whole, "WordPiece", "vocab.txt")["vocab"]
        vocabulary = sorted(indices, key=indices.__getitem__)
    normalizer = whole.get("normalizer") or {}
    lowercase = bool(settings.get("do_lower_case", normalizer.get("lowercase", True)))
    accents = settings.get("strip_accents", normalizer.get("strip_accents"))
    chinese = settings.get("tokenize_chinese_chars", normalizer.get("handle_chinese_chars", True))
    cls = keras_hub.tokenizers.BertTokenizer if model_type == "bert" else keras_hub.tokenizers.DistilBertTokenizer
    return cls(
        vocabulary,
        lowercase=lowercase,
        strip_accents=lowercase if accents is None else accents,
        split_on_cjk=chinese,
        oov_token=_content(settings.get("unk_token")) or "[UNK]",
        special_tokens_in_strings=True,
    )


def _byte_pairs(directory: Path, settings: dict[str, Any], whole: dict[str, Any]):
    if (directory / "vocab.json").is_file() and (directory / "merges.txt").is_file():
        vocabulary = json.loads((directory / "vocab.json").read_text("utf-8"))
        # Not splitlines(): a merge may hold a character that Python takes for the end of a line.
        merges = [line.rstrip("\r") for line in (directory / "merges.txt").read_text("utf-8").split("\n")]
        merges = [line for line in merges if line and not line.startswith("#version")]
    else:
        model = _model(directory, whole, "BPE", "vocab.json and merges.txt")
        vocabulary = model["vocab"]
        merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"]]
    # Special tokens that were added after training stand apart from the model's vocabulary.
    added = {token["content"]: token["id"] for token in whole.get("added_tokens") or ()}
    prefix = settings.get("add_prefix_space", (whole.get("pre_tokenizer") or {}).get("add_prefix_space", False))
    return keras_hub.tokenizers.RobertaTokenizer(vocabulary | added, merges, add_prefix_space=prefix)


def _content(token: Any) -> str | None:
    """Return the text of a special token, which tokenizer_config.json may hold as a string or as an object."""
    return token.get("content") if isinstance(token, dict) else token
