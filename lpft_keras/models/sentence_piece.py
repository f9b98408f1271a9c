"""SentencePiece tokenizers (XLM-RoBERTa, ALBERT) from Hugging Face files."""

import base64
import unicodedata
from pathlib import Path
from typing import Any

import keras
import keras_hub

from lpft_keras.errors import InputError

FILES = {"xlm-roberta": "sentencepiece.bpe.model", "albert": "spiece.model"}


@keras.saving.register_keras_serializable(package="lpft_keras")
class AlbertTokenizer(keras_hub.tokenizers.AlbertTokenizer):
    """KerasHub's ALBERT tokenizer that prepares a text as Hugging Face's does.

    ALBERT's SentencePiece model holds lower-case pieces only, but does not lower the case itself.

    Args:
        proto: The SentencePiece model, as bytes or the path of a file.
        lowercase: Whether to put a text in lower case.
        strip_accents: Whether to drop combining marks.
    """

    def __init__(self, proto, lowercase=True, strip_accents=True, **kwargs):
        self.lowercase = lowercase
        self.strip_accents = strip_accents
        super().__init__(proto=proto, **kwargs)

    def prepare(self, text: str) -> str:
        """Return the text as SentencePiece gets it."""
        text = " ".join(text.split()).replace("``", '"').replace("''", '"')
        if self.strip_accents:
            text = "".join(c for c in unicodedata.normalize("NFKD", text) if unicodedata.category(c)[0] != "M")
        return text.lower() if self.lowercase else text

    def tokenize(self, inputs):
        """Cut a text or a list of texts into token ids."""
        if isinstance(inputs, str):
            inputs = self.prepare(inputs)
        elif isinstance(inputs, list | tuple):
            inputs = [self.prepare(text) for text in inputs]
        return super().tokenize(inputs)

    def get_config(self):
        """Return the arguments that make this tokenizer again."""
        return super().get_config() | {"lowercase": self.lowercase, "strip_accents": self.strip_accents}


def load(directory: Path, model_type: str, settings: dict[str, Any], whole: dict[str, Any]):
    """Return the tokenizer of an XLM-RoBERTa or ALBERT checkpoint.

    Args:
        directory: The checkpoint's folder.
        model_type: `"xlm-roberta"` or `"albert"`.
        settings: What `tokenizer_config.json` holds, or nothing.
        whole: What `tokenizer.json` holds, or nothing; used where the SentencePiece model itself is missing.

    Returns:
        A KerasHub tokenizer.

    Raises:
        InputError: There is no vocabulary, or it is not one of SentencePiece's unigram kind.
    """
    path = directory / FILES[model_type]
    if path.is_file():
        proto = path.read_bytes()
    else:
        kind = (whole.get("model") or {}).get("type")
        if kind != "Unigram":
            found = f"tokenizer.json holds a {kind} model" if kind else "there is no tokenizer.json"
            raise InputError(f"{directory} has no {path.name} and {found}; copy {path.name} there")
        proto = _proto(whole, model_type)
    if model_type == "xlm-roberta":
        return keras_hub.tokenizers.XLMRobertaTokenizer(proto=proto)
    lowercase = settings.get("do_lower_case", True)
    return AlbertTokenizer(proto=proto, lowercase=lowercase, strip_accents=not settings.get("keep_accents", False))


def _proto(whole: dict[str, Any], model_type: str) -> bytes:
    """Write the unigram model of a tokenizer.json as the SentencePiece model it was made from."""
    from sentencepiece import sentencepiece_model_pb2

    pieces = [tuple(piece) for piece in whole["model"]["vocab"]]
    if model_type == "xlm-roberta":
        # Hugging Face counts <s> <pad> </s> <unk> pieces <mask>, the SentencePiece model <unk> <s> </s> pieces.
        ordinary = [piece for piece in pieces[4:] if piece[0] != "<mask>"]
        pieces = [("<unk>", 0.0), ("<s>", 0.0), ("</s>", 0.0), *ordinary]
    special = {"<s>", "</s>", "<pad>", "[CLS]", "[SEP]", "[MASK]"}
    model: Any = sentencepiece_model_pb2.ModelProto()  # type: ignore[attr-defined]
    for text, score in pieces:
        kind = model.SentencePiece.NORMAL
        if text in special:
            kind = model.SentencePiece.CONTROL
        elif text == "<unk>":
            kind = model.SentencePiece.UNKNOWN
        model.pieces.add(piece=text, score=score, type=kind)
    texts = [text for text, _ in pieces]
    model.trainer_spec.model_type = model.trainer_spec.UNIGRAM
    model.trainer_spec.unk_id = texts.index("<unk>")
    model.trainer_spec.bos_id = texts.index("<s>" if model_type == "xlm-roberta" else "[CLS]")
    model.trainer_spec.eos_id = texts.index("</s>" if model_type == "xlm-roberta" else "[SEP]")
    model.trainer_spec.pad_id = texts.index("<pad>") if "<pad>" in texts else -1
    model.normalizer_spec.precompiled_charsmap = _charsmap(whole.get("normalizer") or {})
    model.normalizer_spec.add_dummy_prefix = True
    model.normalizer_spec.remove_extra_whitespaces = True
    model.normalizer_spec.escape_whitespaces = True
    return model.SerializeToString()


def _charsmap(normalizer: dict[str, Any]) -> bytes:
    """Return the character table of the first "Precompiled" normalizer, or nothing."""
    for part in (normalizer, *normalizer.get("normalizers", ())):
        if part.get("type") == "Precompiled":
            return base64.b64decode(part["precompiled_charsmap"])
    return b""
