"""Gradients of one variable for many examples and classes, in the form that makes their inner products cheapest."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from lpft_keras.ntk.on_gpu import host, namespace

# Numbers in the buffer that gradients are formed in, before they are multiplied: 256 MB of float32.
BUFFER = 1 << 26


@dataclass(frozen=True)
class Rows:
    """Gradients as they are.

    Attributes:
        rows: [examples, classes, ...].
        floor: What rounding may leave of a zero, broadcast to `rows`: a sum over tokens may cancel, as that of a key's
            bias always does, and the sign of what is left is noise.
    """

    rows: Any
    floor: Any = 0.0


@dataclass(frozen=True)
class Products:
    """Gradients sum_t inputs[t] deltas[t]^T of a product's kernel; tensors where they stay on a GPU.

    Attributes:
        inputs: [examples, tokens, d].
        deltas: [examples, classes, tokens, e].
    """

    inputs: Any
    deltas: Any


@dataclass(frozen=True)
class Lookups:
    """Gradients that add `deltas[t]` to row `ids[t]` of a table.

    Attributes:
        ids: Integers, [examples, tokens].
        deltas: [examples, classes, tokens, d].
    """

    ids: Any
    deltas: Any


Block = Rows | Products | Lookups


def sums(terms: Any) -> Rows:
    """Return gradients that are sums over tokens of `terms`, [examples, classes, tokens, ...], on their device."""
    least = 100 * float(np.finfo(keras.backend.standardize_dtype(terms.dtype)).eps)
    return Rows(host(terms.sum(2)), host(least * abs(terms).sum(2)))


def of_unknown_terms(rows: np.ndarray) -> Rows:
    """Return gradients of one variable, [examples, classes, ...], of which is not known what they are sums of."""
    greatest = np.abs(rows).max(axis=tuple(range(2, rows.ndim)), keepdims=True, initial=0)
    return Rows(rows, 10 * np.finfo(rows.dtype).eps * greatest)


def without_noise(part: Rows) -> Rows:
    """Return gradients whose zeros are zeros, so that they have no sign."""
    return Rows(np.where(np.abs(part.rows) > part.floor, part.rows, 0))


def formed(parts: Sequence[Rows] | Sequence[Products]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Form gradients in pieces that fit a buffer.

    Args:
        parts: Blocks of one variable; each holds some examples, in order.

    Yields:
        Some coordinates of all gradients, [examples, classes, coordinates], to be read before the next, and which
        coordinates they are.
    """
    rows = [part.rows.reshape(*part.rows.shape[:2], -1) for part in parts if isinstance(part, Rows)]
    if rows:
        whole = np.concatenate(rows)
        yield whole, np.arange(whole.shape[-1])
        return
    products = [part for part in parts if isinstance(part, Products)]
    n, d = sum(len(part.inputs) for part in products), products[0].inputs.shape[2]
    classes, e = products[0].deltas.shape[1], products[0].deltas.shape[3]
    width = max(1, BUFFER // (n * classes * d))
    buffer = np.empty((n, classes, d, min(width, e)), products[0].deltas.dtype)
    # In the order of the products: NumPy is half as fast again as on a transposed view.
    turned = [np.ascontiguousarray(part.inputs.swapaxes(1, 2))[:, None] for part in products]
    for start in range(0, e, width):
        stop = min(e, start + width)
        piece = buffer if stop - start == buffer.shape[-1] else np.empty((n, classes, d, stop - start), buffer.dtype)
        first = 0
        for part, inputs in zip(products, turned, strict=True):
            np.matmul(inputs, part.deltas[..., start:stop], out=piece[first : first + len(inputs)])
            first += len(inputs)
        coordinates = (np.arange(d)[:, None] * e + np.arange(start, stop)).reshape(-1)
        yield piece.reshape(n, classes, -1), coordinates


def summed(parts: Sequence[Lookups]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Add up the gradients of a table, row by row.

    Returns:
        For each pair of an example and an id that it uses, sorted by id, then example: the id, the example, and the
        gradient of the id's row, [pairs, classes, d].
    """
    examples, ids, deltas = [], [], []
    first = 0
    for part in parts:
        count, tokens = part.ids.shape
        examples.append(np.repeat(np.arange(first, first + count), tokens))
        ids.append(part.ids.reshape(-1))
        deltas.append(part.deltas.swapaxes(1, 2).reshape(count * tokens, *part.deltas.shape[1:2], -1))
        first += count
    example, token, delta = (np.concatenate(arrays) for arrays in (examples, ids, deltas))
    alive = (delta != 0).any(axis=(1, 2))
    example, token, delta = example[alive], token[alive], delta[alive]
    pairs, place = np.unique(np.stack([token, example]), axis=1, return_inverse=True)
    rows = np.zeros((pairs.shape[1], *delta.shape[1:]), delta.dtype)
    np.add.at(rows, place.reshape(-1), delta)
    return pairs[0], pairs[1], rows


def active(part: Products) -> Products:
    """Leave out tokens at which no gradient comes back, which is all but one in the top layer of a classifier."""
    of = namespace(part.deltas)
    alive = np.flatnonzero(host(of.any(part.deltas != 0, axis=(0, 1, 3))))
    if len(alive) == part.deltas.shape[2]:
        return part
    alive = alive if len(alive) else np.array([0])
    return Products(of.take(part.inputs, alive, axis=1), of.take(part.deltas, alive, axis=2))
