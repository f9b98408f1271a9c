"""Text of a user's in Markdown and in one line, shown as it is."""

import html
import re


def escaped_markdown(text: str) -> str:
    """Return text that Markdown shows as it is; HTML's own signs as entities, which any renderer leaves alone."""
    return re.sub(r"([\\`*_{}\[\]#|~$])", r"\\\1", html.escape(one_line(text), quote=False))


def one_line(text: str) -> str:
    """Return text without line breaks and other signs that nobody sees, which would end a row."""
    return "".join(sign if sign.isprintable() else " " for sign in text)
