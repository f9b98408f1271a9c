"""What a run keeps of its rows: how many, of which classes, cut, shared between splits, and its surest errors."""

import logging
from collections.abc import Mapping
from typing import Any

import numpy as np

from lpft_keras.calibration.inputs import top_label
from lpft_keras.overview import label_counts, leaks
from lpft_keras.tasks import Split, TaskData
from lpft_keras.training.batches import Encoded

log = logging.getLogger(__name__)

ERRORS_KEPT = 10
"""Errors kept of each set of rows."""

CHARACTERS_KEPT = 2000
"""Characters kept of each of their texts."""


def row_counts(data: TaskData, tokens: Mapping[str, Encoded]) -> dict[str, Any]:
    """Count the rows of a task, and warn of those that stand in two splits.

    Args:
        data: The splits.
        tokens: Their token arrays.

    Returns:
        `splits`: of each, rows, rows by class name ("labels") and rows that lost tokens ("truncated"). `leaks`: of each
        pair of splits with rows in common, the one that is measured on, the other, and rows and share of the first.
        Time and memory O(rows), texts apart.
    """
    splits = {
        name: {
            "rows": len(split),
            "labels": label_counts(split, data.labels),
            "truncated": int(tokens[name].tokens.truncated.sum()),
        }
        for name, split in data.every().items()
    }
    shared = [
        {"split": leak.split, "other": leak.other, "rows": leak.rows, "share": leak.share} for leak in leaks(data)
    ]
    if shared:
        pairs = ", ".join(f"{leak['rows']} of the {leak['split']} rows in {leak['other']}" for leak in shared)
        log.warning("leakage: %s; it flatters what is measured (lpft-keras tasks show names them)", pairs)
    return {"splits": splits, "leaks": shared}


def surest_errors(split: Split, probabilities: np.ndarray, labels: tuple[str, ...]) -> list[dict[str, Any]]:
    """Return the wrong predictions that a classifier was surest of, with their texts.

    Args:
        split: The rows.
        probabilities: Their predictions, float [rows, classes].
        labels: The class names.

    Returns:
        Of each of the first `ERRORS_KEPT`, surest first: the row's number from 1, its texts (`CHARACTERS_KEPT` of
        each), their lengths in characters, names of true and predicted class, and the probability of the latter.
    """
    confidence, correct = top_label(probabilities, split.labels)
    wrong = np.flatnonzero(~correct)
    # Stable, so that of equally sure ones the first stand first, on every machine.
    surest = wrong[np.argsort(-confidence[wrong], kind="stable")[:ERRORS_KEPT]]
    found = []
    for row in surest.tolist():
        texts = split.texts[row]
        found.append(
            {
                "row": row + 1,
                "texts": [text[:CHARACTERS_KEPT] for text in texts],
                "characters": [len(text) for text in texts],
                "label": labels[split.labels[row]],
                "predicted": labels[int(probabilities[row].argmax())],
                "probability": float(confidence[row]),
            }
        )
    return found
