"""How names and numbers are written in tables and figures."""

from collections.abc import Iterable

from lpft_keras.evaluation import METRICS
from lpft_keras.methods import METHODS

PER_CENT = {*METRICS, "ece", "mce", "logit_accuracy"}
_COUNTS = {"rank", "rows", "classes", "batch_size"}


def method_in_print(name: str) -> str:
    """Return a group's name with its method as the paper writes it."""
    method, space, rest = name.partition(" ")
    title = METHODS[method].title if method in METHODS else {"pretrained": "Pre-trained"}.get(method, method)
    return title + space + rest


def method_colour(name: str) -> str | None:
    """Return the colour of a group's method; None, which is Matplotlib's choice, where it is set apart by more."""
    return METHODS[name].colour if name in METHODS else None


def task_in_print(task: str, metric: str, asked: str | None, split: str = "test") -> str:
    """Return a task with what else the reader of a row must know: a metric that nobody asked for, unusual rows."""
    said = [metric] * (metric not in ("accuracy", asked)) + [f"{split} rows"] * (split != "test")
    return f"{task} ({', '.join(said)})" if said else task


def title_in_print(of: str, measured: str) -> str:
    """Return a title, for runs that have nothing in common too."""
    return f"{of}: {measured}" if of else measured


def metrics_in_print(metrics: Iterable[str]) -> str:
    """Return a title for one metric, or for those of several tasks."""
    named = list(dict.fromkeys(metrics))
    if len(named) > 1:
        return "accuracy (%), or the metric (%) that a row names"
    return f"{named[0]} (%)" if named[0] in PER_CENT else named[0]


def is_per_cent(measure: str) -> bool:
    """Return whether a measure is a fraction that is shown in per cent: "ece", and "ece/scaled" alike."""
    return not PER_CENT.isdisjoint(measure.split("/"))


def number_in_print(value: float, measure: str, sign: str = "") -> str:
    """Return a number as tables show it: two decimals of per cent, a count, or three digits of what is neither."""
    if is_per_cent(measure):
        return f"{round(100 * value, 2) + 0.0:{sign}.2f}"  # adding 0 turns a rounded -0 into 0
    if not _COUNTS.isdisjoint(measure.split("/")):
        return f"{value:{sign}.0f}" if value == round(value) else f"{value:{sign}.1f}"
    return f"{value:{sign}.3g}"
