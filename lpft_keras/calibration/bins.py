"""Confidences sorted into bins (lower, upper], and what each bin holds."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from lpft_keras.arrays import whole_number
from lpft_keras.calibration.inputs import BLOCK, top_label
from lpft_keras.errors import unknown_name


@dataclass(frozen=True)
class Bins:
    """What bins hold. An empty bin has no confidence and no accuracy: both are NaN there.

    Attributes:
        edges: float64 [bins + 1], from 0 to 1.
        count: Rows, int64 [bins].
        confidence: Mean probability, float64 [bins].
        accuracy: Share of the rows that are right, float64 [bins].
    """

    edges: np.ndarray
    count: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray

    @property
    def filled(self) -> np.ndarray:
        """Which bins hold rows, bool [bins]."""
        return self.count > 0

    @property
    def shares(self) -> np.ndarray:
        """Share of all rows, of the filled bins."""
        return self.count[self.filled] / self.count.sum()

    @property
    def gaps(self) -> np.ndarray:
        """Accuracy less confidence, of the filled bins: below 0 where they are too sure."""
        return (self.accuracy - self.confidence)[self.filled]

    @property
    def expected_error(self) -> float:
        """Mean gap, each bin counting by its share of the rows: the ECE over these bins."""
        return float(self.shares @ np.abs(self.gaps))

    @property
    def maximum_error(self) -> float:
        """Greatest gap: the MCE over these bins."""
        return float(np.abs(self.gaps).max())


def bin_edges(bins: Any, strategy: str = "uniform", values: np.ndarray | None = None) -> np.ndarray:
    """Return the edges of bins, float64 [bins + 1].

    Args:
        bins: How many.
        strategy: "uniform" for equal width, "quantile" for equally many values, as far as equal values allow.
        values: What shall be sorted, in [0, 1]; needed for "quantile".

    Returns:
        Rising edges from 0 to 1.

    Raises:
        InputError: Bins or strategy are wrong.
    """
    edges = np.linspace(0, 1, whole_number(bins, "bins") + 1)
    if strategy == "quantile":
        assert values is not None, "quantiles are those of values"
        edges[1:-1] = np.quantile(values, edges[1:-1])
    elif strategy != "uniform":
        raise unknown_name("strategy", strategy, ("uniform", "quantile"))
    return edges


def fill(values: np.ndarray, hits: np.ndarray, edges: np.ndarray) -> Bins:
    """Sort values into bins.

    Args:
        values: Confidences in [0, 1], float array [rows].
        hits: Whether each came true, bool [rows].
        edges: float64 [bins + 1]. A value on an edge belongs below it; 0 belongs to the first bin.

    Returns:
        What the bins hold.
    """
    size = len(edges) - 1
    count, confidence, accuracy = np.zeros(size, np.int64), np.zeros(size), np.zeros(size)
    for start in range(0, len(values), BLOCK):
        part = slice(start, start + BLOCK)
        which = np.searchsorted(edges[1:-1], values[part], side="left")
        count += np.bincount(which, minlength=size)
        confidence += np.bincount(which, weights=values[part], minlength=size)
        accuracy += np.bincount(which[hits[part]], minlength=size)
    with np.errstate(invalid="ignore"):
        return Bins(edges, count, confidence / count, accuracy / count)


def reliability_bins(probabilities: Any, labels: Any, bins: int = 15, *, strategy: str = "uniform") -> Bins:
    """Return the bins of a reliability diagram: rows, mean confidence and accuracy of each.

    Args:
        probabilities: Float array of shape [rows, classes]; each row sums to 1.
        labels: Integer array of shape [rows].
        bins: Number of bins of the top label's probability.
        strategy: "uniform" for bins of equal width, "quantile" for bins of equally many rows (scikit-learn's names).

    Returns:
        The bins.

    Raises:
        InputError: An argument is wrong.

    Example:
        >>> reliability_bins(np.array([[0.9, 0.1], [0.2, 0.8]]), np.array([0, 0]), bins=2).accuracy
        array([nan, 0.5])
    """
    whole_number(bins, "bins")
    confidence, correct = top_label(probabilities, labels)
    return fill(confidence, correct, bin_edges(bins, strategy, confidence))
