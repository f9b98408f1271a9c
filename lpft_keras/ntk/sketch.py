"""Gradients projected onto few random directions, whose inner products are the kernel's on average.

A count sketch: each coordinate goes, with a random sign, to one of k buckets, which are sums (Charikar et al. 2002;
Weinberger et al. 2009). It costs one addition a coordinate, and its variance is at most that of a dense Gaussian
projection. Its tail is not: two coordinates meet in a bucket with probability 1 / k, so where few coordinates make up a
gradient, great errors are rare but not exponentially so, and Chebyshev's inequality is what holds.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import keras
import numpy as np
from scipy.sparse import csr_array

from lpft_keras.ntk.blocks import Block, Lookups, Products, Rows, active, formed, summed
from lpft_keras.ntk.passes import Chain, Groups
from lpft_keras.ntk.tiles import Tile


@dataclass
class SketchChain(Chain):
    """Computes the projected gradients of a tile's examples, in place of their inner products.

    Attributes:
        dimension: Buckets.
        seed: Of the directions.
    """

    dimension: int = 4096
    seed: int = 0

    def _of_variable(self, variable: keras.Variable, parts: list[Block], tile: Tile) -> np.ndarray:
        """See the base class: projected gradients, float32 [examples, C, k]."""
        place = next(n for n, other in enumerate(self.problem.subset.below) if other is variable)
        rng = np.random.default_rng([self.seed, place])
        size = int(np.prod(variable.shape))
        buckets = rng.integers(0, self.dimension, size, dtype=np.int32)
        signs = rng.integers(0, 2, size, dtype=np.int8).astype("float32") * 2 - 1
        return _sketched(parts, buckets, signs, self.dimension)

    @property
    def _takes_tensors(self) -> bool:
        """See the base class: none are taken."""
        return False

    def _finished(self, groups: Groups, features: np.ndarray, order: np.ndarray, columns: int) -> Groups:
        """See the base class: features and projected gradients in the tile's order."""
        return {"features": features, **{name: part[order] for name, part in groups.items()}}


def _sketched(parts: Sequence[Block], buckets: np.ndarray, signs: np.ndarray, dimension: int) -> np.ndarray:
    lookups = [part for part in parts if isinstance(part, Lookups)]
    if lookups:
        return _of_lookups(lookups, buckets, signs, dimension)
    products = [active(part) for part in parts if isinstance(part, Products)]
    total: np.ndarray | None = None
    for rows, coordinates in formed(products or [part for part in parts if isinstance(part, Rows)]):
        n, classes, width = rows.shape
        projection = csr_array((signs[coordinates], (buckets[coordinates], np.arange(width))), shape=(dimension, width))
        share = (projection @ np.ascontiguousarray(rows.reshape(n * classes, width).T, "float32")).T
        total = share if total is None else total + share
    assert total is not None
    return np.ascontiguousarray(total).reshape(n, classes, dimension)


def _of_lookups(parts: Sequence[Lookups], buckets: np.ndarray, signs: np.ndarray, dimension: int) -> np.ndarray:
    token, example, rows = summed(parts)
    classes, width = rows.shape[1:]
    buckets, signs = buckets.reshape(-1, width), signs.reshape(-1, width)
    total = np.zeros((sum(len(part.ids) for part in parts), classes, dimension), "float32")
    for number in np.unique(example):
        own = example == number
        into = buckets[token[own]].reshape(-1)
        for c in range(classes):
            weights = (rows[own, c] * signs[token[own]]).reshape(-1)
            total[number, c] = np.bincount(into, weights, minlength=dimension)
    return total
