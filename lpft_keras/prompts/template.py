"""The language of prompt templates: literal text, one mask, and the one or two texts of a row.

| Piece | What it stands for |
|---|---|
| `<s1>`, `<s2>` | first and second text of a row |
| `<s1->` | without its last character, meant for its full stop |
| `<s1l>` | its first letter in lower case; `<s1-l>` both |
| `[M]` | the mask, exactly once |
| `<sep>` | the separator; what follows is the second segment, as of a packed pair |

All else is literal. A space belongs to what follows it, as in byte-pair vocabularies: in `[M], <s2>` the second text
starts with one. Before `[M]` it says that the hidden word has one before it; before `<sep>` and at the end it is
dropped.
"""

import re
from dataclasses import dataclass
from functools import cache

from lpft_keras.errors import InputError, unknown_name

_PIECE = re.compile(r"(<[^<>]*>|\[[^\[\]]*\])")
_TEXT = re.compile(r"<s([12])(-?)(l?)>")
_KNOWN = ("<s1>", "<s2>", "[M]", "<sep>", "<s1->", "<s2->", "<s1l>", "<s2l>", "<s1-l>", "<s2-l>")


@dataclass(frozen=True)
class Literal:
    """Text of the template itself, perhaps with a space before it."""

    text: str


@dataclass(frozen=True)
class Segment:
    """A text of the row.

    Attributes:
        number: 1 or 2.
        without_last: Whether its last character is left out.
        lowered: Whether its first letter becomes a small one.
        spaced: Whether a space stands before it.
    """

    number: int
    without_last: bool
    lowered: bool
    spaced: bool

    def fill(self, row: tuple[str, ...]) -> str:
        """Return the text of a row as it stands in the prompt; an empty one gets no space."""
        text = row[self.number - 1]
        text = text[:-1] if self.without_last else text
        text = text[:1].lower() + text[1:] if self.lowered else text
        return f" {text}" if self.spaced and text else text


@dataclass(frozen=True)
class Mask:
    """The place of the label word; `spaced` says whether that has a space before it."""

    spaced: bool


@dataclass(frozen=True)
class Separator:
    """Where the second segment starts."""


Piece = Literal | Segment | Mask | Separator


@cache
def parse_template(template: str) -> tuple[Piece, ...]:
    """Take a template apart.

    Args:
        template: For example `"<s1->? [M], <s2l>"`.

    Returns:
        Its pieces in order.

    Raises:
        InputError: A piece is unknown, missing or there twice.

    Example:
        >>> parse_template("[M]: <s1>")
        (Mask(spaced=False), Literal(text=':'), Segment(number=1, without_last=False, lowered=False, spaced=True))
    """
    pieces: list[Piece] = []
    spaced = False
    # Split by a group: literals and pieces take turns.
    for number, part in enumerate(_PIECE.split(template)):
        if number % 2 == 0:
            literal = part.rstrip(" ")
            spaced = literal != part
            pieces += [Literal(literal)] if literal else []
        elif part == "[M]":
            pieces.append(Mask(spaced))
        elif part == "<sep>":
            pieces.append(Separator())
        elif found := _TEXT.fullmatch(part):
            pieces.append(Segment(int(found[1]), bool(found[2]), bool(found[3]), spaced))
        elif part.strip("<>[]").lower() in ("m", "mask"):
            raise InputError(f"unknown piece {part!r} of the prompt {template!r}; the mask is '[M]'")
        else:
            raise unknown_name(f"piece of the prompt {template!r}", part, _KNOWN)
    _check(template, pieces)
    return tuple(pieces)


def _check(template: str, pieces: list[Piece]) -> None:
    masks = sum(isinstance(piece, Mask) for piece in pieces)
    if masks != 1:
        raise InputError(f"the prompt {template!r} has {masks} masks [M]; it needs one, where the label word stands")
    numbers = [piece.number for piece in pieces if isinstance(piece, Segment)]
    if 1 not in numbers:
        raise InputError(f"the prompt {template!r} has no <s1>, the first text of a row; say where it stands")
    if len(numbers) > len(set(numbers)) or sum(isinstance(piece, Separator) for piece in pieces) > 1:
        raise InputError(f"the prompt {template!r} has a text or <sep> twice; once is enough")
