r"""Why LoRA's kernel is near a number times that of full fine-tuning (Tomihari and Sato 2024, Proposition 4.4).

With A of shape [r, d], entries independent of mean 0 and variance sigma^2, LoRA's F has <A x, A x'> where that of full
fine-tuning has <x, x'>; all else is the same.
"""

import math
from typing import Any

import numpy as np

from lpft_keras.arrays import as_array, real_number, whole_number
from lpft_keras.errors import InputError, unknown_name

_BLOCK = 1 << 22
"""Entries of A drawn at a time: 32 MB."""


def low_rank_products(x: Any, y: Any, rank: int, sigma: float = 1.0, draws: int = 1000, seed: int = 0) -> np.ndarray:
    """Draw <A x, A y> for Gaussian A.

    Args:
        x: Float array of shape [d].
        y: Likewise.
        rank: r, rows of A.
        sigma: Standard deviation of A's entries.
        draws: How many A.
        seed: Seed of NumPy's generator.

    Returns:
        float64 array of shape [draws]. Time O(draws r d).

    Raises:
        InputError: Shapes don't fit, or a number is out of range.
    """
    x, y = _vectors(x, y)
    rank, draws = whole_number(rank, "rank"), whole_number(draws, "draws")
    sigma = real_number(sigma, "sigma", 0, math.inf)
    rng = np.random.default_rng(whole_number(seed, "seed", least=0))
    both, products = np.stack([x, y], axis=1), np.empty(draws)
    at_once = max(_BLOCK // (rank * len(x)), 1)
    for start in range(0, draws, at_once):
        count = min(at_once, draws - start)
        images = rng.normal(0, sigma, (count, rank, len(x))) @ both
        products[start : start + count] = (images[..., 0] * images[..., 1]).sum(axis=1)
    return products


def low_rank_moments(x: Any, y: Any, rank: int, sigma: float = 1.0) -> tuple[float, float]:
    r"""Return mean and variance of <A x, A y> for Gaussian A, exactly.

    \(\sigma^2 r \langle x, y \rangle\) and \(\sigma^4 r (\|x\|^2 \|y\|^2 + \langle x, y \rangle^2)\); arguments as of
    `low_rank_products`.
    """
    x, y = _vectors(x, y)
    rank, sigma = whole_number(rank, "rank"), real_number(sigma, "sigma", 0, math.inf)
    inner = float(x @ y)
    return sigma**2 * rank * inner, sigma**4 * rank * (float(x @ x) * float(y @ y) + inner**2)


def concentration_probability(rank: int, epsilon: float) -> float:
    r"""Return \(1 - 4 e^{-(\epsilon^2 - \epsilon^3) r / 4}\), at least with which `concentration_bound` holds.

    It says nothing where it is 0 or less: see `smallest_rank`.

    Args:
        rank: r, rows of A.
        epsilon: Above 0, below 1.

    Returns:
        A number below 1.
    """
    epsilon = real_number(epsilon, "epsilon", 0, 1)
    return 1 - 4 * math.exp(-(epsilon**2 - epsilon**3) * whole_number(rank, "rank") / 4)


def smallest_rank(epsilon: float = 2 / 3) -> int:
    """Return the smallest rank for which `concentration_probability` is positive.

    Args:
        epsilon: Above 0, below 1; 2/3 gives the smallest of all, 38. The paper's experiments have rank 8.
    """
    epsilon = real_number(epsilon, "epsilon", 0, 1)
    return math.floor(4 * math.log(4) / (epsilon**2 - epsilon**3)) + 1


def concentration_bound(rank: int, epsilon: float, radius: float, sigma: float = 1.0, form: str = "corrected") -> float:
    r"""Return what |<A x, A y> - sigma^2 r <x, y>| is said to stay within, for ||x||, ||y|| <= c.

    Times \(\|V_0 V_0^\top\|\) that is the bound on \(\|F^{LoRA} - \sigma^2 r F^{FT}\|\).

    Args:
        rank: r, rows of A.
        epsilon: Above 0, below 1.
        radius: c.
        sigma: Standard deviation of A's entries.
        form: "corrected" is \(\sigma^2 r c^2 \epsilon\), which holds for Gaussian A: by the lemma of Johnson and
            Lindenstrauss for x + y and x - y. "printed" is the proposition's \(c \epsilon\), and "proof" what its proof
            ends with, \(c \sigma^2 r \epsilon\); neither holds for every c, since inner products grow with its
            square.

    Returns:
        The bound.
    """
    epsilon, radius = real_number(epsilon, "epsilon", 0, 1), real_number(radius, "radius", 0, math.inf)
    spread = real_number(sigma, "sigma", 0, math.inf) ** 2 * whole_number(rank, "rank")
    forms = {"corrected": spread * radius**2 * epsilon, "printed": radius * epsilon, "proof": radius * spread * epsilon}
    if form not in forms:
        raise unknown_name("form", form, forms)
    return forms[form]


def _vectors(x: Any, y: Any) -> tuple[np.ndarray, np.ndarray]:
    x, y = as_array(x, "x").astype("float64"), as_array(y, "y").astype("float64")
    if x.ndim != 1 or x.shape != y.shape or not x.size:
        raise InputError(f"x and y must be of one shape [d], not {x.shape} and {y.shape}")
    return x, y
