"""What a user's mistake is answered with. Knows nothing of the rest of the package."""

import difflib
import re
import textwrap
from collections.abc import Iterable

_LONGEST = 2000


class InputError(ValueError):
    """The user's input was wrong.

    The message is one line: what was wrong, where, and how to mend it. The command line prints it without
    a traceback and ends with status 2; from Python it is an ordinary `ValueError`.
    """

    def __init__(self, message: str):
        # What is quoted of files may hold anything, line breaks and whole books.
        line = "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in message)
        super().__init__(line if len(line) <= _LONGEST else f"{line[: _LONGEST // 2]} ... {line[-_LONGEST // 2 :]}")


def unknown_name(kind: str, name: object, known: Iterable[str]) -> InputError:
    """Return the error for a name that is not among the known ones, with the nearest of them.

    Args:
        kind: What the name was meant to be, for example `"task"`.
        name: What the user gave.
        known: The names that would have been right.

    Returns:
        An `InputError` to raise.
    """
    # Dashes are no likeness, since every flag has them, and capitals no difference.
    known = {other.lstrip("-").lower(): other for other in known}
    asked = str(name).lstrip("-").lower()
    near = [known[other] for other in difflib.get_close_matches(asked, known, n=3, cutoff=0.5)]
    hint = f"did you mean {' or '.join(map(repr, near))}?" if near else f"known: {', '.join(known.values())}"
    return InputError(f"unknown {kind} {name!r}; {hint}")


def first_line(error: BaseException, width: int = 160) -> str:
    """Return the first line of an exception's message, cut at a word; its type's name where it has none.

    Args:
        error: Anybody's exception.
        width: Greatest number of characters.

    Returns:
        One line.
    """
    # Keras puts what a layer raised, in bold, below a line of its own.
    text = re.sub(r"^Exception encountered when calling .*\s+|\x1b\[\dm", "", str(error).strip())
    lines = text.splitlines() or [type(error).__name__]
    return textwrap.shorten(lines[0], width, placeholder=" ...")
