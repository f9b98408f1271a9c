"""From finished runs to the page: facts are gathered here, templates lay them out."""

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

import lpft_keras
from lpft_keras.atomic import write_atomically
from lpft_keras.errors import InputError
from lpft_keras.page import words
from lpft_keras.page.cautions import cautions
from lpft_keras.page.curves import curves
from lpft_keras.page.errors import sure_errors
from lpft_keras.page.reliability import reliability
from lpft_keras.page.section import Section, readable, sections
from lpft_keras.page.summary import summary
from lpft_keras.page.tables import (
    LESS_IS_BETTER,
    comparisons,
    confusions,
    difference_strips,
    differences,
    features,
    glance,
    kernels,
    metrics_of,
    settings,
)
from lpft_keras.report import Represented, mean_and_deviation
from lpft_keras.report.in_print import method_in_print
from lpft_keras.results import RunResult

_CLASSES_SHOWN = 30
"""Classes of the table of rows; there may be thousands."""


@dataclass(frozen=True)
class Page:
    """A written page.

    Attributes:
        path: The file.
        records: What each section comes to, as `--json` prints it: task, backbone, runs, metric, summary, cautions, and
            mean and standard deviation of every metric by method and split.
    """

    path: Path
    records: list[dict[str, Any]]


def write_page(results: Sequence[RunResult], path: str | Path = "report.html") -> Page:
    """Write finished runs as one HTML page that needs nothing beside it.

    Runs that differ by their seed only are one method: mean and standard deviation. Each task and backbone is a
    section.

    Args:
        results: Finished runs of any tasks, backbones and methods, each named once.
        path: Where the page goes; it is whole or not there.

    Returns:
        The page.

    Raises:
        InputError: There are no runs, two have the same settings and seed, or the file can't be written.

    Example:
        >>> lpft_keras.write_page(lpft_keras.sweep("demo", ["ft", "lp-ft"], seeds=[1, 2]).results, "demo.html")
    """
    path = Path(path).expanduser()
    if path.is_dir():
        raise InputError(f"can't write {path}: it is a folder; name a file")
    facts = [_facts(section) for section in sections(results)]
    content = _rendered(facts).encode()
    write_atomically(path, lambda file: file.write(content))
    return Page(path, [_record(one, path) for one in facts])


def render_page(results: Sequence[RunResult]) -> str:
    """Return the page that `write_page` writes, as text."""
    return _rendered([_facts(section) for section in sections(results)])


def _facts(section: Section) -> dict[str, Any]:
    """Gather all that a section shows."""
    found, why = differences(section)
    shared, differing = settings(section)
    measured, unmeasured = features(section)
    calibrated = [(name, reliability(section, name)) for name in section.splits]
    return {
        "section": section,
        "summary": summary(section, found),
        "cautions": cautions(section),
        "glance": glance(section),
        "differences": {name: difference_strips(found, name) for name in dict.fromkeys(one.split for one in found)},
        "difference": found[0] if found else None,
        "one_seed": any(len(one.seeds) == 1 for one in found),
        "no_differences": why,
        "best": method_in_print(found[0].versus) if found else "",
        "metrics": metrics_of(section),
        "less": LESS_IS_BETTER,
        "spread": any(len(group.runs) > 1 for group in section.groups),
        "comparisons": comparisons(section),
        "shared": shared,
        "differing": {title: values for title, values in differing.items() if values},
        "rows": next(iter(section.rows.values()), None),
        "classes_shown": _CLASSES_SHOWN,
        "curves": curves(section),
        "calibrated": {name: scored for name, scored in calibrated if scored},
        "confusions": {name: confusions(section, name) for name in section.splits},
        "features": measured,
        "lengths": _lengths(measured),
        "singular": any(one.singular for of in measured.values() for one in of),
        "no_features": unmeasured,
        "kernels": kernels(section),
        "errors": {name: sure_errors(section, name) for name in section.splits},
        "environments": _environments(section),
        "checksums": _checksums(section),
    }


def _lengths(measured: dict[str, list[Represented]]) -> dict[str, dict[str, float]]:
    """Return the lengths of bars, in per cent of the longest, of feature change and the head's norm by method."""
    names = ("feature_change", "head_norm")
    means = {
        title: {name: mean_and_deviation([getattr(one, name) for one in of])[0] for name in names}
        for title, of in measured.items()
    }
    longest = {name: max((of[name] for of in means.values()), default=1) or 1 for name in names}
    return {title: {name: round(100 * of[name] / longest[name], 1) for name in names} for title, of in means.items()}


def _environments(section: Section) -> list[tuple[dict[str, Any], int]]:
    """Return the distinct environments of a section's runs, and how many runs were made in each."""
    found: list[tuple[dict[str, Any], int]] = []
    for run in section.runs:
        known = {name: value for name, value in (readable(run, "environment") or {}).items() if name != "data"}
        place = next((place for place, (other, _) in enumerate(found) if other == known), None)
        if place is not None:
            found[place] = (known, found[place][1] + 1)
        elif known:
            found.append((known, 1))
    return found


def _checksums(section: Section) -> dict[str, dict[str, int]]:
    """Return the checksums of each split, and how many runs have each."""
    found: dict[str, dict[str, int]] = {}
    for run in section.runs:
        for split, checksum in run.config.get("data", {}).items():
            counts = found.setdefault(split, {})
            counts[checksum] = counts.get(checksum, 0) + 1
    return found


def _record(facts: dict[str, Any], path: str | Path) -> dict[str, Any]:
    section: Section = facts["section"]
    return {
        "task": section.task,
        "backbone": section.backbone,
        "runs": len(section.runs),
        "metric": section.metric,
        "summary": facts["summary"],
        "cautions": [caution._asdict() for caution in facts["cautions"]],
        "methods": [
            {
                "method": group.name,
                "seeds": [run.summary["seed"] for run in group.runs],
                "metrics": {
                    split: {
                        name: dict(zip(("mean", "std"), mean_and_deviation(group.values(split, name)), strict=True))
                        for name in dict.fromkeys(name for run in group.runs for name in run.metrics.get(split, {}))
                    }
                    for split in dict.fromkeys(split for run in group.runs for split in run.metrics)
                },
            }
            for group in section.groups
        ],
        "page": str(path),
    }


def _rendered(facts: list[dict[str, Any]]) -> str:
    environment = Environment(
        loader=PackageLoader("lpft_keras.page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "listed": words.listed,
        "metric": words.metric_name,
        "prose": words.prose,
        "sentence_case": words.sentence_case,
        "share": words.share,
        "unit": words.unit,
        "visible": words.visible,
    }
    environment.globals |= {"counted": words.counted, "spread": words.spread, "number": partial("{:.3g}".format)}
    style = environment.get_template("page.css").render()
    return environment.get_template("page.html.j2").render(
        sections=facts,
        style=style,
        version=lpft_keras.__version__,
        made=datetime.datetime.now().astimezone().strftime("%Y-%m-%d %H:%M"),
        runs=sum(len(one["section"].runs) for one in facts),
    )
