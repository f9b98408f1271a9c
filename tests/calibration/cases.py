"""Predictions that the tests share."""

import numpy as np

from tests import reference


def predictions(rng, rows=400, classes=3, scale=2.0):
    """Return logits, probabilities and labels that have nothing to do with each other."""
    logits = rng.normal(0, scale, (rows, classes))
    return logits, reference.softmax(logits), rng.integers(0, classes, rows)


def overconfident(rng, rows=500, classes=3, scale=4.0):
    """Return logits `scale` times as large as those that drew the labels."""
    true = rng.normal(0, 1, (rows, classes))
    labels = np.array([rng.choice(classes, p=p) for p in reference.softmax(true)])
    return true * scale, labels


def top_label_as_two(probabilities, labels):
    """Return what netcal takes for the top label: confidence, and whether it is right."""
    return probabilities.max(1), (probabilities.argmax(1) == labels).astype(int)
