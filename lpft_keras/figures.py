"""Matplotlib figures: made, and written whole. Matplotlib is an extra: `pip install "lpft-keras[plots]"`."""

import importlib.util
from functools import partial
from pathlib import Path
from typing import Any

from lpft_keras.atomic import write_atomically
from lpft_keras.errors import InputError, unknown_name

_FORMATS = ("png", "svg", "pdf")

CLASS_COLOURS = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#bbbbbb")
"""Colours of classes, told apart by readers with any colour vision (Paul Tol's palettes)."""


def new_figure(width: float, height: float) -> Any:
    """Return an empty Matplotlib figure, sizes in inches; raises as `check_figures`."""
    check_figures()
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained", dpi=200)


def check_figures(path: str | Path | None = None) -> None:
    """Raise an `InputError`, before any work, where no figure can be made or a path names no format of figures.

    Args:
        path: Where a figure shall be written.
    """
    if importlib.util.find_spec("matplotlib") is None:
        raise InputError('figures need Matplotlib: pip install "lpft-keras[plots]" (in a checkout: -e ".[plots]")')
    if path is not None and Path(path).suffix.lstrip(".").lower() not in _FORMATS:
        raise unknown_name("format of figures", Path(path).suffix.lstrip(".") or str(path), _FORMATS)


def save_figure(figure: Any, path: str | Path) -> None:
    """Write a figure atomically, in the format that the file's ending names (PNG, SVG or PDF)."""
    path = Path(path)
    check_figures(path)
    write_atomically(path, partial(figure.savefig, format=path.suffix.lstrip(".").lower()))


def as_it_is(text: str) -> str:
    """Return text that Matplotlib shows as it is: names are the user's, and dollar signs would begin mathematics."""
    return text.replace("$", r"\$")
