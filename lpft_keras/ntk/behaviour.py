"""Whether fine-tuning left gradients and kernel where they were: the fixed-features test (Malladi et al. 2023)."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
from keras import ops

from lpft_keras.ntk.directions import Direction, gradient
from lpft_keras.ntk.linear import checked_weights
from lpft_keras.ntk.problem import pose
from lpft_keras.ntk.segments import joined
from lpft_keras.ntk.statistics import same_shape
from lpft_keras.ntk.subsets import Choice
from lpft_keras.progress import progress_bar


def kernel_change(before: np.ndarray, after: np.ndarray) -> dict[str, float]:
    """Return how far a kernel moved in fine-tuning.

    Args:
        before: Kernel at the pre-trained weights, [N1, C, N2, C].
        after: Kernel at the fine-tuned weights, likewise.

    Returns:
        "frobenius": ||K_T - K_0|| / ||K_0||; of |K_T - K_0| / |K_0|, over the entries that are not zero, the
        "elementwise" mean, which the smallest entries rule, and the "elementwise_median".

    Raises:
        InputError: Their shapes differ.
    """
    before, after = (kernel.astype("float64") for kernel in same_shape(before, after))
    there = before != 0
    moved = np.abs(after - before)[there] / np.abs(before[there])
    return {
        "frobenius": float(np.linalg.norm(after - before) / np.linalg.norm(before)),
        "elementwise": float(np.mean(moved)),
        "elementwise_median": float(np.median(moved)),
    }


def gradient_change(
    model: keras.Model,
    weights: keras.Model | Sequence[np.ndarray],
    x: Any,
    *,
    variables: Choice | None = None,
    show_progress: bool | None = None,
) -> np.ndarray:
    """Return how far the gradient of each logit moved in fine-tuning (Malladi et al. 2023, Definition 3.2 (ii)).

    Args:
        model: A Keras classifier, as `empirical_ntk` takes it, at the pre-trained weights, which it keeps.
        weights: The fine-tuned weights: a model of the same variables, or arrays in the order of `model.get_weights()`.
        x: N examples.
        variables: What the gradients are taken by, as `empirical_ntk` takes it.
        show_progress: Whether to show a progress bar; None decides by the terminal.

    Returns:
        ||g_T - g_0|| / ||g_0|| of each example and logit, float64 [N, C]; NaN where g_0 is zero, as it is below a head
        of zeros.

    Raises:
        InputError: As `empirical_ntk`, or the weights are not those of such a model.

    Costs:
        2 N C gradients, and memory for 2 C of them.
    """
    problem, fine_tuned = pose(model, [x], variables), checked_weights(model, weights)
    whole = joined(problem.segments)
    count, classes = problem.counts[0], problem.classes
    result = np.empty((count, classes))

    def gradients(number: int) -> list[Direction]:
        return [gradient(problem, whole, np.array([number]), row[None]) for row in np.eye(classes)]

    with problem.computing(), progress_bar("gradients before and after", count, show_progress) as advance:
        for number in range(count):
            before = gradients(number)
            with weights_as(model, fine_tuned):
                after = gradients(number)
            for c, (old, new) in enumerate(zip(before, after, strict=True)):
                size = _distance(old, None)
                result[number, c] = _distance(new, old) / size if size else np.nan
            advance(number + 1)
    return result


def _distance(first: Direction, second: Direction | None) -> float:
    """Return the norm of a direction, or of the difference of two."""
    total = 0.0
    for name in ("kernel", "bias"):
        total += float(((getattr(first, name) - (getattr(second, name) if second else 0.0)) ** 2).sum())
    for number, part in enumerate(first.below):
        other = ops.convert_to_numpy(second.below[number]) if second else 0.0
        total += float(np.sum((ops.convert_to_numpy(part) - other) ** 2, dtype="float64"))
    return total**0.5


@contextmanager
def weights_as(model: keras.Model, weights: Sequence[np.ndarray]) -> Iterator[None]:
    """Give a model other weights for a while.

    Args:
        model: The model.
        weights: Arrays in the order of `model.get_weights()`.
    """
    own = model.get_weights()
    model.set_weights(list(weights))
    try:
        yield
    finally:
        model.set_weights(own)
