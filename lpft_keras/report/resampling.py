"""Metrics of many resamples of many runs' rows at once.

Each metric here is a function of sums over the rows, and a row adds to one of a few sums only: a hit, a cell of the
confusion matrix, a bin of confidences. So the metrics of all resamples are sparse products of what the rows add with
how often each was drawn. Calling `evaluation`'s functions for each resample gives the same numbers, as the tests have
it, in a hundred times the time or more.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array, vstack
from scipy.special import log_softmax, softmax

from lpft_keras.calibration.bins import bin_edges
from lpft_keras.calibration.inputs import top_label
from lpft_keras.errors import unknown_name
from lpft_keras.evaluation import check_metric

_BINS = 15
_COUNTS_HELD = 1 << 22
"""How many counts of drawn rows are held at a time: 32 MB."""


@dataclass(frozen=True)
class RowSums:
    """A metric as a function of sums over rows.

    Attributes:
        add: From logits [rows, classes] and labels [rows]: which sum each row adds to, how much, and how many sums
            there are.
        finish: From the sums, float64 [..., sums], and the number of rows: the metric, [...].
    """

    add: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray, int]]
    finish: Callable[[np.ndarray, int], np.ndarray]


def _one_sum(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    return np.zeros(len(values), np.int64), values.astype(np.float64), 1


def _hits(logits: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    return _one_sum(logits.argmax(axis=1) == labels)


def _losses(logits: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    return _one_sum(-log_softmax(logits, axis=1)[np.arange(len(labels)), labels])


def _square_errors(logits: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    return _one_sum(np.square(softmax(logits, axis=1) - np.eye(logits.shape[1])[labels]).sum(axis=1))


def _mean(sums: np.ndarray, rows: int) -> np.ndarray:
    return sums[..., 0] / rows


def _confidence_gaps(logits: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    confidence, correct = top_label(softmax(logits, axis=1), labels)
    return np.searchsorted(bin_edges(_BINS)[1:-1], confidence, side="left"), correct - confidence, _BINS


def _mean_gap(sums: np.ndarray, rows: int) -> np.ndarray:
    return np.abs(sums).sum(axis=-1) / rows


def _confusions(logits: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    classes = logits.shape[1]
    return logits.argmax(axis=1) * classes + labels, np.ones(len(labels)), classes**2


def _counts(sums: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return hits, predictions and labels of each class, [..., classes]."""
    classes = round(sums.shape[-1] ** 0.5)
    matrix = sums.reshape(*sums.shape[:-1], classes, classes)
    return np.diagonal(matrix, axis1=-2, axis2=-1), matrix.sum(axis=-1), matrix.sum(axis=-2)


def _f1_by_class(sums: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the F1 score of each class, 0 where it does not occur, and whether it does."""
    hits, predicted, actual = _counts(sums)
    occurring = predicted + actual
    return 2 * hits / np.maximum(occurring, 1), occurring > 0


def _macro_f1(sums: np.ndarray, rows: int) -> np.ndarray:
    scores, occurs = _f1_by_class(sums)
    return scores.sum(axis=-1) / occurs.sum(axis=-1)


def _f1(sums: np.ndarray, rows: int) -> np.ndarray:
    return _f1_by_class(sums)[0][..., 1]


def _matthews_correlation(sums: np.ndarray, rows: int) -> np.ndarray:
    hits, predicted, actual = _counts(sums)
    together = hits.sum(axis=-1) * rows - (predicted * actual).sum(axis=-1)
    apart = [rows**2 - np.square(counts).sum(axis=-1) for counts in (predicted, actual)]
    spread = np.sqrt(apart[0] * apart[1])
    return np.where(spread > 0, together / np.where(spread > 0, spread, 1), 0)


RESAMPLED: dict[str, RowSums] = {
    "accuracy": RowSums(_hits, _mean),
    "macro_f1": RowSums(_confusions, _macro_f1),
    "f1": RowSums(_confusions, _f1),
    "matthews_correlation": RowSums(_confusions, _matthews_correlation),
    "nll": RowSums(_losses, _mean),
    "brier": RowSums(_square_errors, _mean),
    "ece": RowSums(_confidence_gaps, _mean_gap),
}
"""The metrics of `evaluation.METRICS`, and those of probabilities that are sums over rows."""


def resampled(
    metric: str, logits: Sequence[np.ndarray], labels: np.ndarray, resamples: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return a metric of several runs, on the rows and on resamples of them that all runs share.

    Args:
        metric: A name of `RESAMPLED`.
        logits: Of each run, float array [rows, classes]: the same rows in the same order.
        labels: Class ids, integers [rows].
        resamples: How many times rows are drawn with replacement.
        seed: Seed of the drawing, which depends on nothing else but the number of rows.

    Returns:
        The metric of all rows, float64 [runs], and of each resample, float64 [runs, resamples].

    Raises:
        InputError: The metric is unknown, or not one of so many classes.
    """
    if metric not in RESAMPLED:
        raise unknown_name("metric of differences", metric, RESAMPLED)
    if metric == "f1":
        check_metric(metric, logits[0].shape[1])
    own, rows = RESAMPLED[metric], len(labels)
    parts = [own.add(of_run.astype(np.float64), labels) for of_run in logits]
    sums = parts[0][2]
    adding = vstack([csr_array((v, (which, np.arange(rows))), shape=(sums, rows)) for which, v, _ in parts])

    def finished(counts: np.ndarray) -> np.ndarray:
        found = (adding @ counts).reshape(len(logits), sums, counts.shape[1])
        return own.finish(np.moveaxis(found, 1, -1), rows)

    samples = np.concatenate([finished(counts) for counts in _drawn(rows, resamples, seed)], axis=1)
    return finished(np.ones((rows, 1)))[:, 0], samples


def _drawn(rows: int, resamples: int, seed: int) -> Iterator[np.ndarray]:
    """Yield how often each row was drawn, float64 [rows, some resamples]."""
    rng = np.random.default_rng([seed, 0])
    block = max(_COUNTS_HELD // rows, 1)
    for start in range(0, resamples, block):
        draws = [rng.integers(0, rows, rows) for _ in range(min(block, resamples - start))]
        yield np.stack([np.bincount(drawn, minlength=rows) for drawn in draws], axis=1).astype(np.float64)
