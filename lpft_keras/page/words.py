"""Numbers and names as the page's sentences and cells show them."""

import re
from collections.abc import Sequence

import numpy as np
from markupsafe import Markup, escape

from lpft_keras.evaluation import METRIC_NAMES
from lpft_keras.report import mean_and_deviation, number_in_print
from lpft_keras.report.in_print import is_per_cent

_UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_COUNTS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")


def metric_name(metric: str) -> str:
    """Return a metric as the literature writes it."""
    return METRIC_NAMES.get(metric, metric)


def unit(metric: str) -> str:
    """Return what follows a metric's number: " %" with a space that does not break, or nothing."""
    return "\N{NO-BREAK SPACE}%" if is_per_cent(metric) else ""


def with_unit(value: float, metric: str) -> str:
    """Return a metric's number with its unit."""
    return number_in_print(value, metric) + unit(metric)


def spread(values: Sequence[float], metric: str = "") -> tuple[str, str]:
    """Return mean and standard deviation over seeds as shown, a dash and "" where there are none.

    Args:
        values: One number a seed; NaN where a seed has none.
        metric: Its metric; another name than those of fractions gives three digits.
    """
    mean, deviation = mean_and_deviation([value for value in values if value is not None and np.isfinite(value)])
    if np.isnan(mean):
        return "\N{EN DASH}", ""
    shown = number_in_print(mean, metric)
    if np.isnan(deviation):
        return shown, ""
    if "e" in shown or is_per_cent(metric):
        return shown, number_in_print(deviation, metric)
    return shown, f"{deviation:.{len(shown.partition('.')[2])}f}"  # no more digits than the mean has


def listed(names: Sequence[str]) -> str:
    """Return "a", "a and b" or "a, b and c"."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def counted(count: int, name: str, several: str | None = None) -> str:
    """Return "1 row" or "2,000 rows"."""
    return f"{count:,} {name if count == 1 else several or name + 's'}"


def sentence_case(text: str) -> str:
    """Return a text with its first letter great, and the others as they are."""
    return text[:1].upper() + text[1:]


def in_words(count: int) -> str:
    """Return a small number in words."""
    return _COUNTS[count] if count < len(_COUNTS) else str(count)


def share(part: int, whole: int) -> str:
    """Return a part as per cent, never rounded to all or nothing."""
    value = 100 * part / whole
    if 99.9 < value < 100:
        return ">99.9\N{NO-BREAK SPACE}%"
    if value > 99 and part != whole:
        return f"{value:.1f}\N{NO-BREAK SPACE}%"
    text = f"{value:.0f}" if value >= 1 or part == 0 else f"{value:.2g}"
    return f"{text}\N{NO-BREAK SPACE}%"


def visible(text: str) -> str:
    """Return a text whose control characters are named: a page would swallow them, or write on from right to left.

    Line ends and tabs stay.
    """
    return _UNSEEN.sub(lambda found: f"<U+{ord(found[0]):04X}>", text)


def prose(text: str) -> Markup:
    """Return a sentence as markup: escaped first, then commands and files as code, and no method cut at its dash."""
    code = r"lpft-keras [a-z]+(?: show)?|--[a-z][a-z-]+|\b\w+\.json\b"
    marked = re.sub(code, r"<code>\g<0></code>", str(escape(visible(text))))
    return Markup(re.sub(r"\bLP-(?:FT|LoRA)\b", r'<span class="nowrap">\g<0></span>', marked))
