"""Gradients of one variable for many examples and classes, in the form that makes their inner products cheapest."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

# Numbers in the buffer that gradients are formed in, before they are multiplied: 256 MB of float32.
_BUFFER = 1 << 26
# Columns of a product that is taken in float32 before it is added in float64.
_PIECE = 1 << 16


@dataclass(frozen=True)
class Rows:
    """Gradients as they are: `rows` has the shape [examples, classes, ...]."""

    rows: Any


@dataclass(frozen=True)
class Products:
    """Gradients sum_t inputs[t] deltas[t]^T of a product's kernel.

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


def gram(parts: Sequence[Block], columns: int, square: bool = True, bits: int | None = None) -> np.ndarray:
    """Return the inner products of all gradients of one variable with those of the first `columns` examples.

    Products are taken in float32, in pieces that are added in float64.

    Args:
        parts: Blocks of one variable, NumPy arrays; each holds some examples, in order, whose numbers of tokens may
            differ.
        columns: How many examples, from the first on, the others are multiplied with.
        square: Whether the products of those examples among themselves are wanted too.
        bits: Bits of mantissa that float32 factors are rounded to before they are multiplied, as matrix units do it: 10
            for TensorFloat-32, 7 for bfloat16; None keeps all.

    Returns:
        float64 array of shape [examples, classes, columns, classes]; without `square`, its first `columns` rows mean
        nothing.

    Costs:
        Products: n C T d e to form the gradients and n columns C^2 d e to multiply them, or n columns T^2 (d + C^2 e)
        without forming them where that is less, as for layers whose gradient comes back at one token only.
    """
    rows = [part.rows.reshape(*part.rows.shape[:2], -1) for part in parts if isinstance(part, Rows)]
    lookups = [part for part in parts if isinstance(part, Lookups)]
    products = [_active(part) for part in parts if isinstance(part, Products)]
    if rows:
        return _outer(np.concatenate(rows), columns, square, bits)
    return _lookups(lookups, columns, bits) if lookups else _products(products, columns, square, bits)


def _rounded(array: np.ndarray, bits: int | None) -> np.ndarray:
    """Return float32 numbers rounded to so many bits of mantissa, to nearest, ties to even."""
    if bits is None:
        return array
    drop = 23 - bits
    integers = np.ascontiguousarray(array).view(np.uint32)
    up = ((integers >> drop) & 1) + np.uint32((1 << (drop - 1)) - 1)
    return ((integers + up) & np.uint32((0xFFFFFFFF << drop) & 0xFFFFFFFF)).view(np.float32)


def _outer(rows: np.ndarray, columns: int, square: bool, bits: int | None) -> np.ndarray:
    """Return the inner products of rows [n, C, P] in pieces of some 10^5 columns, added in float64."""
    n, classes, width = rows.shape
    flat, edge = rows.reshape(n * classes, width), columns * classes
    kernel = np.zeros((n * classes, edge))
    for start in range(0, width, _PIECE):
        piece = _rounded(flat[:, start : start + _PIECE], bits)
        left = piece[:edge]
        if square:
            kernel[:edge] += left @ left.T  # NumPy sees the transpose and computes half
        if n > columns:
            kernel[edge:] += piece[edge:] @ left.T
    return kernel.reshape(n, classes, columns, classes)


def _active(part: Products) -> Products:
    """Leave out tokens at which no gradient comes back, which is all but one in the top layer of a classifier."""
    alive = np.flatnonzero((part.deltas != 0).any(axis=(0, 1, 3)))
    if len(alive) == part.deltas.shape[2]:
        return part
    alive = alive if len(alive) else np.array([0])
    return Products(np.ascontiguousarray(part.inputs[:, alive]), np.ascontiguousarray(part.deltas[:, :, alive]))


def _products(parts: Sequence[Products], columns: int, square: bool, bits: int | None) -> np.ndarray:
    n = sum(len(part.inputs) for part in parts)
    tokens = max(part.inputs.shape[1] for part in parts)
    d, (classes, e) = parts[0].inputs.shape[2], (parts[0].deltas.shape[1], parts[0].deltas.shape[3])
    formed = n * classes * tokens * d * e + n * columns * classes**2 * d * e / 2
    unformed = n * columns * tokens**2 * (d + classes**2 * e)
    if unformed < formed and n * columns * (tokens * classes) ** 2 <= _BUFFER:
        return _unformed(parts, columns, tokens, bits)
    kernel = np.zeros((n, classes, columns, classes))
    width = max(1, _BUFFER // (n * classes * d))
    buffer = np.empty((n, classes, d, min(width, e)), parts[0].deltas.dtype)
    # In the order of the products: NumPy is half as fast again as on a transposed view.
    turned = [_rounded(np.ascontiguousarray(part.inputs.swapaxes(1, 2)), bits)[:, None] for part in parts]
    for start in range(0, e, width):
        some = min(width, e - start)
        formed_rows = buffer[..., :some] if some == buffer.shape[-1] else np.empty((n, classes, d, some), buffer.dtype)
        first = 0
        for part, inputs in zip(parts, turned, strict=True):
            rows = formed_rows[first : first + len(inputs)]
            np.matmul(inputs, _rounded(part.deltas[..., start : start + some], bits), out=rows)
            first += len(inputs)
        kernel += _outer(formed_rows.reshape(n, classes, -1), columns, square, bits)
    return kernel


def _unformed(parts: Sequence[Products], columns: int, tokens: int, bits: int | None) -> np.ndarray:
    """Return the inner products by <sum_t a_t d_t^T, sum_s b_s g_s^T> = sum_ts <a_t, b_s> <d_t, g_s>."""
    inputs = _rounded(np.concatenate([_padded(part.inputs, 1, tokens) for part in parts]), bits)
    deltas = _rounded(np.concatenate([_padded(part.deltas, 2, tokens) for part in parts]), bits)
    n, classes, _, e = deltas.shape
    of_inputs = inputs.reshape(n * tokens, -1) @ inputs[:columns].reshape(columns * tokens, -1).T
    of_deltas = deltas.reshape(-1, e) @ deltas[:columns].reshape(-1, e).T
    of_inputs = of_inputs.reshape(n, 1, tokens, columns, 1, tokens)
    of_deltas = of_deltas.reshape(n, classes, tokens, columns, classes, tokens)
    return (of_deltas * of_inputs).sum(axis=(2, 5), dtype=np.float64)


def _padded(array: np.ndarray, axis: int, size: int) -> np.ndarray:
    widths = [(0, 0)] * array.ndim
    widths[axis] = (0, size - array.shape[axis])
    return np.pad(array, widths)


def _lookups(parts: Sequence[Lookups], columns: int, bits: int | None) -> np.ndarray:
    """Return the inner products of gradients of a table: only rows that two examples both use meet."""
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
    # One gradient for each pair of example and id, however often the id occurs in it.
    pairs, place = np.unique(np.stack([token, example]), axis=1, return_inverse=True)
    summed = np.zeros((pairs.shape[1], *delta.shape[1:]), delta.dtype)
    np.add.at(summed, place.reshape(-1), delta)
    classes = delta.shape[1]
    kernel = np.zeros((first, classes, columns, classes))
    starts = np.flatnonzero(np.diff(pairs[0], prepend=-1, append=-1))  # sorted by id: one stretch each
    for start, stop in itertools.pairwise(starts):
        users, rows = pairs[1, start:stop], summed[start:stop]  # users are sorted too
        split = np.searchsorted(users, columns)
        if split:
            flat = _rounded(rows.reshape(-1, rows.shape[-1]), bits)
            products = (flat @ flat[: split * classes].T).reshape(len(users), classes, split, classes)
            kernel[users[:, None], :, users[None, :split], :] += products.swapaxes(1, 2)
    return kernel
