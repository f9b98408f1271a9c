"""How far a measured number may be off by chance: bootstrap confidence intervals for any metric."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lpft_keras.arrays import as_array, real_number, whole_number


@dataclass(frozen=True)
class Interval:
    """A metric with its confidence interval.

    Attributes:
        value: The metric of all rows.
        low: Lower end.
        high: Upper end.
        samples: The metric of each resample, float64 [resamples].
    """

    value: float
    low: float
    high: float
    samples: np.ndarray = field(repr=False)


def bootstrap_interval(
    metric: Callable[..., float],
    predictions: Any,
    labels: Any,
    *,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
    **options: Any,
) -> Interval:
    """Return a metric with its percentile bootstrap interval (Efron 1979).

    Rows are drawn with replacement. A resample repeats rows, which adds chance to each bin: calibration errors of
    resamples lie somewhat above that of the rows themselves, and so may the interval.

    Args:
        metric: Any function of (predictions, labels), such as `expected_calibration_error`.
        predictions: What the metric takes, probabilities or logits, of shape [rows, ...].
        labels: Integer array of shape [rows].
        resamples: How many times rows are drawn.
        level: Probability that the interval is meant to cover, in (0, 1).
        seed: Seed of the drawing.
        **options: Passed to the metric, for example `bins=10`.

    Returns:
        The metric and its interval. 1,000 resamples of 10,000 rows take a second or two.

    Raises:
        InputError: An argument is wrong, or the metric refuses the rows.

    Example:
        >>> p = np.array([[0.8, 0.2], [0.6, 0.4], [0.3, 0.7]])
        >>> found = bootstrap_interval(expected_calibration_error, p, np.array([0, 1, 1]))
        >>> round(found.value, 4), found.samples.shape
        (0.5, (1000,))
    """
    check_bootstrap(resamples, level, seed)
    predictions, labels = as_array(predictions, "predictions"), as_array(labels, "labels")
    value = float(metric(predictions, labels, **options))
    rng = np.random.default_rng(seed)
    samples = np.empty(resamples)
    for number in range(resamples):
        rows = rng.integers(0, len(labels), len(labels))
        samples[number] = metric(predictions[rows], labels[rows], **options)
    return percentile_interval(value, samples, level)


def check_bootstrap(resamples: int, level: float, seed: int) -> None:
    """Raise an `InputError` where a bootstrap can't be made so."""
    whole_number(resamples, "resamples")
    real_number(level, "level", 0, 1)
    whole_number(seed, "seed", 0)


def percentile_interval(value: float, samples: np.ndarray, level: float) -> Interval:
    """Return the interval that leaves equally many of the resampled values below it and above it.

    Args:
        value: The metric of all rows.
        samples: The metric of each resample, float64 [resamples].
        level: Share of the samples that the interval holds, in (0, 1).

    Returns:
        The interval.
    """
    low, high = np.quantile(samples, [(1 - level) / 2, (1 + level) / 2])
    return Interval(value, float(low), float(high), samples)
