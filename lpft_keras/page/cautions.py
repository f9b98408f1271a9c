"""What a reader must know before the numbers are believed."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from lpft_keras.evaluation import collapsed
from lpft_keras.page.section import Section, readable
from lpft_keras.page.words import counted, listed, share
from lpft_keras.results import RunResult

_FEW_ROWS = 300
"""Below, bins of a calibration error hold few rows: it is noisy and too large."""


class Caution(NamedTuple):
    """A caution.

    Attributes:
        kind: "leakage", "collapse", "mixed", "missing class", "no temperature", "validation rows", "truncation",
            "few rows" or "incomplete".
        text: What is the matter, and the way out where there is one.
    """

    kind: str
    text: str


def cautions(section: Section) -> list[Caution]:
    """Return all cautions of a section, the gravest first."""
    checks = (
        _leaks,
        _collapses,
        _mixed,
        _missing_classes,
        _no_temperature,
        _validation_only,
        _truncated,
        _few,
        _incomplete,
    )
    return [caution for check in checks for caution in dict.fromkeys(check(section))]


def _leaks(section: Section) -> Iterator[Caution]:
    for kept in section.rows.values():
        shared = [
            f"{leak['rows']:,} of the {leak['split']} rows in {leak['other']} "
            f"({share(leak['rows'], kept['splits'][leak['split']]['rows'])})"
            for leak in kept["leaks"]
        ]
        if shared:
            yield Caution(
                "leakage",
                f"Rows stand in two splits, {listed(shared)}, which flatters what is measured on them; "
                "lpft-keras tasks show names them.",
            )


def _collapses(section: Section) -> Iterator[Caution]:
    alike: dict[str, list[str]] = {}
    for group in section.groups:
        where = []
        for split in dict.fromkeys(["validation", *section.splits]):
            runs = [run for run in group.runs if split in section.predictions[str(run.directory)]]
            found = [run for run in runs if collapsed(**section.predictions[str(run.directory)][split])]
            if found:
                where.append(f"{split} rows{_of_runs(found, runs)}")
        if where:
            alike.setdefault(listed(where), []).append(group.title)
    for rows, titles in alike.items():
        yield Caution(
            "collapse",
            f"All {rows} are given the same class by {listed(titles)}: nothing of use was learnt for them; another "
            "learning rate, backbone or pooling may help.",
        )


def _mixed(section: Section) -> Iterator[Caution]:
    what: dict[str, Callable[[RunResult], Any]] = {
        "class names": lambda run: run.config.get("labels"),
        "metrics that chose the epoch": lambda run: run.config.get("metric"),
        "backends": lambda run: run.config.get("backend"),
        "devices": lambda run: tuple((readable(run, "environment") or {}).get("devices") or ()) or None,
    }
    for name in dict.fromkeys(name for run in section.runs for name in run.config.get("data", {})):
        what[f"{name} rows"] = lambda run, name=name: run.config.get("data", {}).get(name)  # type: ignore[misc]
    for package in ("lpft-keras", "keras", "keras-hub", "numpy", "scikit-learn"):
        what[f"versions of {package}"] = lambda run, package=package: (  # type: ignore[misc]
            (readable(run, "environment") or {}).get("versions", {}).get(package)
        )
    differing = []
    for name, read in what.items():
        known = {str(value) for value in map(read, section.runs) if value is not None}
        if len(known) > 1:
            shown = f" ({', '.join(sorted(known))})" if "rows" not in name and name != "class names" else ""
            differing.append(name + shown)
    if differing:
        yield Caution(
            "mixed",
            f"These runs do not have the same {listed(differing)}: their numbers may differ for that alone.",
        )


def _missing_classes(section: Section) -> Iterator[Caution]:
    for splits in section.predictions.values():
        for split, parts in splits.items():
            there = set(np.unique(parts["labels"]).tolist())
            absent = [name for number, name in enumerate(section.labels) if number not in there]
            if absent and len(absent) <= 5:
                yield Caution("missing class", f"The {split} rows have no example of {listed(absent)}.")
            elif absent:
                several = f"{len(absent)} of the {len(section.labels)} classes"
                yield Caution("missing class", f"The {split} rows have no example of {several}.")


def _no_temperature(section: Section) -> Iterator[Caution]:
    # Where the fit has no optimum, a run's own temperature stays exactly 1.
    known = [(group, [run for run in group.runs if run.summary.get("temperature") == 1]) for group in section.groups]
    found = [f"{group.title}{_of_runs(runs, group.runs)}" for group, runs in known if runs]
    if found:
        yield Caution(
            "no temperature",
            f"No finite temperature suits the validation rows of {listed(found)}: they are all right, or their logits "
            "say nothing; what is shown after temperature scaling says little.",
        )


def _validation_only(section: Section) -> Iterator[Caution]:
    if section.splits and section.splits[0] == "validation":
        yield Caution(
            "validation rows",
            "There are no test rows. What is reported are the validation rows, which chose the epoch and so flatter "
            "it; name test rows in the task.",
        )


def _truncated(section: Section) -> Iterator[Caution]:
    for directory, kept in section.rows.items():
        cut = [
            (name, split["truncated"], split["rows"]) for name, split in kept["splits"].items() if split["truncated"]
        ]
        if cut:
            length = next(r.config["settings"].get("max_length") for r in section.runs if str(r.directory) == directory)
            parts = listed([f"{part:,} of {whole:,} {name} rows ({share(part, whole)})" for name, part, whole in cut])
            yield Caution(
                "truncation",
                f"{parts} are cut to {length} tokens; a greater --max-length reads on, at a price in time.",
            )


def _few(section: Section) -> Iterator[Caution]:
    known = [(name, section.row_count(name)) for name in section.splits]
    few = [counted(rows, f"{name} row") for name, rows in known if rows is not None and rows < _FEW_ROWS]
    if few:
        yield Caution(
            "few rows", f"With {listed(few)}, one row more or less is seen in every number; ECE and MCE are too large."
        )


def _incomplete(section: Section) -> Iterator[Caution]:
    lacking = [run for run in section.runs if str(run.directory) not in section.rows]
    if lacking:
        yield Caution(
            "incomplete",
            f"{counted(len(lacking), 'run')} of {len(section.runs)} kept nothing of the rows (rows.json is missing, as "
            "of older versions, or damaged): truncation, leaks between splits and texts of errors are not known of "
            "them. The same run with --overwrite makes it.",
        )
    for name, part in (
        ("predictions.npz", "predictions"),
        ("history.csv", "history"),
        ("environment.json", "environment"),
    ):
        without = [run for run in section.runs if not readable(run, part)]
        if without:
            yield Caution(
                "incomplete",
                f"{name} is missing or damaged in {counted(len(without), 'run')} ({without[0].directory}); what is "
                "read from it is left out. The same run with --overwrite makes it.",
            )


def _of_runs(found: list[RunResult], runs: Any) -> str:
    return "" if len(runs) == len(found) else f" ({len(found)} of {len(runs)} runs)"
