"""Rows that classifiers were sure of and wrong about, with what every method says of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import softmax

from lpft_keras.page.section import Group, Section

_SHOWN = 10


@dataclass(frozen=True)
class Verdict:
    """What one method says of a row: its surest wrong guess over the seeds, or its surest right one.

    Attributes:
        title: The method.
        predicted: Name of the predicted class.
        probability: Of that class.
        wrong: Seeds that are wrong.
        seeds: Seeds there are.
    """

    title: str
    predicted: str
    probability: float
    wrong: int
    seeds: int


@dataclass(frozen=True)
class SureError:
    """A row, as `rows.json` keeps it, and what the methods say of it.

    Attributes:
        row: Its number from 1.
        label: Its true class.
        texts: Its texts, with their lengths in characters, which may be greater.
        verdicts: What the methods say.
    """

    row: int
    label: str
    texts: list[tuple[str, int]]
    verdicts: list[Verdict]


def sure_errors(section: Section, split: str) -> list[SureError]:
    """Return the rows that most runs list among their surest errors, the surest first where equally many do."""
    data = next((_checksum(run.config, split) for run in section.runs if str(run.directory) in section.rows), None)
    runs = [run for run in section.runs if _checksum(run.config, split) == data]
    kept: dict[int, list[Mapping[str, Any]]] = {}
    for run in runs:
        for error in section.rows.get(str(run.directory), {}).get("errors", {}).get(split, ()):
            kept.setdefault(error["row"], []).append(error)
    order = sorted(kept, key=lambda row: (-len(kept[row]), -max(error["probability"] for error in kept[row]), row))
    places = {str(run.directory) for run in runs}
    found = []
    for row in order[:_SHOWN]:
        first = kept[row][0]
        verdicts = [_verdict(section, group, split, row - 1, places) for group in section.groups]
        texts = list(zip(first["texts"], first["characters"], strict=True))
        found.append(SureError(row, first["label"], texts, [one for one in verdicts if one is not None]))
    return found


def _checksum(config: Mapping[str, Any], split: str) -> str | None:
    return config.get("data", {}).get(split)


def _verdict(section: Section, group: Group, split: str, row: int, places: set[str]) -> Verdict | None:
    known = [section.predictions[str(run.directory)].get(split) for run in group.runs if str(run.directory) in places]
    parts = [part for part in known if part and row < len(part["labels"])]
    if not parts:
        return None
    probabilities = np.stack([softmax(part["logits"][row].astype(np.float64)) for part in parts])
    guesses = probabilities.argmax(axis=1)
    wrong = np.array([guess != part["labels"][row] for guess, part in zip(guesses, parts, strict=True)])
    sure = np.where(wrong == wrong.any(), probabilities.max(axis=1), -1)
    surest = int(sure.argmax())
    return Verdict(group.title, section.labels[int(guesses[surest])], float(sure[surest]), int(wrong.sum()), len(parts))
