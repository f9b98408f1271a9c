"""The kernel's random-projection form: k numbers a logit in place of a gradient, and never the kernel itself."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from lpft_keras.arrays import whole_number
from lpft_keras.errors import InputError, unknown_name
from lpft_keras.ntk.computation import NTK, Options, project
from lpft_keras.ntk.processes import places_of, weights_of
from lpft_keras.ntk.subsets import Choice
from lpft_keras.ntk.vector import checked_vector
from lpft_keras.storage import fingerprint

_DTYPES = ("float32", "float64")


@dataclass(frozen=True)
class Projection:
    """Gradients of logits by the variables below the head, projected onto k random directions, and exact features.

    Attributes:
        gradients: float32 [N, C, k]; their inner products are F on average over seeds.
        features: float64 [N, h], which give P exactly.
        outputs: float64 [C, C], what P has beside the features' inner products.
        head: Whether the head's kernel, and whether its bias, belong to P.
        seed: Of the directions.
        weights: Fingerprint of the model's weights.
        variables: Fingerprint of what the kernel is taken over, and of whether it is that of f_1 - f_0.
    """

    gradients: np.ndarray
    features: np.ndarray
    outputs: np.ndarray
    head: tuple[bool, bool]
    seed: int
    weights: str
    variables: str

    @property
    def dimension(self) -> int:
        """Random directions, k."""
        return self.gradients.shape[-1]

    def kernel(self, other: "Projection | None" = None) -> NTK:
        """Return the kernel of these examples with others (or themselves), [N1, C, N2, C], F estimated.

        Args:
            other: Examples projected with the same seed and dimension, of the same model and variables.

        Raises:
            InputError: They were projected otherwise.
        """
        other = self._with(other)
        inner = float(self.head[0]) * (self.features @ other.features.T) + self.head[1]
        return NTK(np.einsum("ij,cd->icjd", inner, self.outputs), self._inner(other))

    def standard_error(self, other: "Projection | None" = None) -> np.ndarray:
        """Return the standard deviation of each entry of F over seeds, [N1, C, N2, C], or a little more.

        sqrt((F_ii F_jj + F_ij^2) / k) for entry ij, F estimated (the variance of a Gaussian projection; that of a count
        sketch is smaller by what single coordinates contribute). By Chebyshev's inequality an entry is off by more than
        epsilon sqrt(F_ii F_jj) with a probability of at most 2 / (k epsilon^2). The exponential tail of Johnson and
        Lindenstrauss's lemma, 4 exp(-(epsilon^2 - epsilon^3) k / 4) (Malladi et al. 2023, on random subspaces), is that
        of dense Gaussian projections.

        Raises:
            InputError: As `kernel`.
        """
        other = self._with(other)
        squares = [np.einsum("ick,ick->ic", part.gradients, part.gradients, dtype="float64") for part in (self, other)]
        product = squares[0][:, :, None, None] * squares[1]
        return np.sqrt((product + self._inner(other) ** 2) / self.gradients.shape[-1])

    def product(self, vector: np.ndarray, other: "Projection | None" = None) -> np.ndarray:
        """Return the kernel times a vector [N2, C], float64 [N1, C], in memory for features and gradients alone.

        Raises:
            InputError: As `kernel`, or the vector is of another shape or holds NaN or infinite values.
        """
        other = self._with(other)
        vector = checked_vector(vector, other.gradients.shape[:2])
        by_bias = float(self.head[1]) * vector.sum(axis=0)
        by_head = (float(self.head[0]) * self.features @ (other.features.T @ vector) + by_bias) @ self.outputs.T
        summed = np.einsum("jdk,jd->k", other.gradients, vector, optimize=True)
        return by_head + self.gradients.astype("float64") @ summed

    def _with(self, other: "Projection | None") -> "Projection":
        """Return the other projection, this one where there is none; directions that differ have no inner products."""
        other = self if other is None else other
        for name in ("seed", "dimension", "weights", "variables"):
            if getattr(self, name) != getattr(other, name):
                values = f" ({getattr(self, name)} and {getattr(other, name)})" if name in ("seed", "dimension") else ""
                raise InputError(
                    f"the projections are of unlike {name}{values}; project both sets with the same model, variables, "
                    "dimension and seed"
                )
        return other

    def _inner(self, other: "Projection") -> np.ndarray:
        flat = [part.gradients.reshape(-1, part.gradients.shape[-1]).astype("float64") for part in (self, other)]
        return (flat[0] @ flat[1].T).reshape(*self.gradients.shape[:2], *other.gradients.shape[:2])


def projected_ntk(
    model: keras.Model,
    x: Any,
    dimension: int = 4096,
    seed: int = 0,
    *,
    variables: Choice | None = None,
    single_logit: bool = False,
    dtype: str = "float32",
    max_memory: float = 8e9,
    directory: str | Path | None = None,
    workers: int | Sequence[str] = 1,
    show_progress: bool | None = None,
) -> Projection:
    """Project the gradients of all logits onto random directions (a count sketch).

    Where the kernel of N examples takes 8 (N C)^2 bytes, this takes 4 N C k. Each example is differentiated once.

    Args:
        model: As for `empirical_ntk`, like all arguments not described here.
        x: N examples.
        dimension: Random directions, k. The relative error of an entry falls with 1 / sqrt(k); see `standard_error`.
        seed: Of the directions. Sets whose kernel is wanted take the same.
        variables: What the kernel is taken over.
        single_logit: Whether to take that of f_1 - f_0.
        dtype: "float32" or "float64".
        max_memory: Bytes that may be held for the examples of a tile.
        directory: Where finished pieces are kept.
        workers: Processes that share the work, or their devices.
        show_progress: Whether to show a progress bar.

    Returns:
        The projected gradients, and features.

    Raises:
        InputError: As `empirical_ntk`; rounded dtypes are for kernels alone.

    Example:
        >>> train, test = (projected_ntk(model, x, dimension=8192) for x in (train_images, test_images))
        >>> estimate, error = test.kernel(train).finetune, test.standard_error(train)
    """
    if dtype not in _DTYPES:
        raise unknown_name("dtype", dtype, _DTYPES)
    options = Options(
        variables,
        single_logit=single_logit,
        dtype=dtype,
        max_memory=max_memory,
        directory=directory,
        workers=workers,
        show_progress=show_progress,
        dimension=whole_number(dimension, "dimension", 1),
        seed=whole_number(seed, "seed", 0),
    )
    problem, found = project(model, x, options)
    head = (problem.subset.kernel, problem.subset.bias)
    return Projection(
        found["finetune/"],
        found["features"],
        problem.mixing.T @ problem.mixing,
        head,
        options.seed,
        fingerprint(weights_of(model)),
        fingerprint([places_of(model, problem), head, single_logit]),
    )
