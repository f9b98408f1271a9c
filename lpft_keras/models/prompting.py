"""A prompt on a backbone: its template as token ids around a row's texts, its label words as one token each."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from lpft_keras.errors import InputError
from lpft_keras.models.packing import Frame
from lpft_keras.models.tokenization import cutter
from lpft_keras.prompts.prompt import Prompt
from lpft_keras.prompts.template import Literal, Mask, Segment, Separator, parse_template

if TYPE_CHECKING:
    from lpft_keras.models.backbones import TextBackbone


def mask_id(backbone: "TextBackbone") -> int:
    """Return the id of a backbone's mask token; raises an `InputError` where it can't take prompts."""
    check_masked_lm(backbone)
    return int(backbone.preprocessor.tokenizer.mask_token_id)


def check_masked_lm(backbone: "TextBackbone") -> None:
    """Raise an `InputError` where a backbone came without the head that scores words at the mask."""
    if backbone.masked_lm is None:
        raise InputError(
            f"backbone {backbone.name!r} came without its masked-LM head, which a prompt needs; checkpoints in Hugging "
            "Face layout of masked language models have it (hf://FacebookAI/roberta-base), and pocket"
        )


def label_word_ids(backbone: "TextBackbone", prompt: Prompt) -> list[int]:
    """Return the token of each label word, as the checkpoint saw the word in the mask's place.

    A byte-pair vocabulary has a token for a word after a space and another, or none, for one without. The template
    decides: a space before `[M]` asks for the former.

    Args:
        backbone: The backbone.
        prompt: The prompt, its words in the order of the classes.

    Returns:
        One id a class.

    Raises:
        InputError: The backbone has no masked-LM head, a word is not one token, or two classes have the same.
    """
    check_masked_lm(backbone)
    assert not isinstance(prompt.words, Mapping), "words come in the order of the classes: Prompt.in_order"
    tokenizer, words = backbone.preprocessor.tokenizer, list(prompt.words)
    spaced = next(piece.spaced for piece in parse_template(prompt.template) if isinstance(piece, Mask))
    shown = [f" {word.strip()}" if spaced else word.strip() for word in words]
    ids: list[int] = []
    for word, cut in zip(words, cutter(tokenizer)(shown), strict=True):
        pieces = list(cut)
        if len(pieces) != 1:
            parts = " ".join(repr(str(tokenizer.id_to_token(piece))) for piece in pieces)
            place = "after a space" if spaced else "without a space before it, as none stands before [M]"
            raise InputError(
                f"label word {word!r} is {len(pieces)} tokens to {backbone.name!r} ({parts}) {place}; give a word that "
                "is one"
            )
        if pieces[0] == _unknown_id(tokenizer):
            raise InputError(f"label word {word!r} is unknown to {backbone.name!r}; give one of its vocabulary")
        if pieces[0] in ids:
            raise InputError(
                f"label words {words[ids.index(pieces[0])]!r} and {word!r} are one token; give unlike words"
            )
        ids += pieces
    return ids


def prompt_frame(backbone: "TextBackbone", template: str) -> Frame:
    """Return what stands around the texts of a row by a template.

    Literals are cut apart from texts, so that they are the same tokens in every row. The sign of the mask in a text
    becomes the unknown token.

    Args:
        backbone: The backbone.
        template: The template.

    Returns:
        The frame for `encode`.

    Raises:
        InputError: The backbone has no masked-LM head, or the template is wrong.
    """
    check_masked_lm(backbone)
    tokenizer, packer = backbone.preprocessor.tokenizer, backbone.preprocessor.packer
    pieces = parse_template(template)
    cut = cutter(tokenizer)
    parts: list[list[int]] = [list(packer.start_value)]
    segments: list[Segment] = []
    second = None
    for piece in pieces:
        if isinstance(piece, Segment):
            segments.append(piece)
            parts.append([])
        elif isinstance(piece, Literal):
            parts[-1] += [int(index) for index in next(iter(cut([piece.text])))]
        elif isinstance(piece, Separator):
            parts[-1] += packer.sep_value
            second = len(parts) - 1, len(parts[-1])
        else:
            parts[-1].append(mask_id(backbone))
    if len(parts) == 2:
        parts.insert(1, [])
        second = (2, second[1]) if second is not None and second[0] == 1 else second
    parts[-1] += packer.end_value

    def fill(row: tuple[str, ...]) -> tuple[str, ...]:
        if len(row) != len(segments):
            raise InputError(
                f"the prompt {template!r} has {len(segments)} of the texts <s1> and <s2>, the rows have {len(row)}; "
                "name each once"
            )
        return tuple(segment.fill(row) for segment in segments)

    replaced = mask_id(backbone), _unknown_id(tokenizer)
    return Frame(parts[0], parts[1], parts[2], second, fill, replaced)


def _unknown_id(tokenizer) -> int:
    return int(tokenizer.token_to_id(getattr(tokenizer, "oov_token", None) or "<unk>"))
