"""Inner products of gradients: of all examples with those that have columns, as they are, rounded, or their signs."""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from lpft_keras.ntk.blocks import BUFFER, Block, Lookups, Products, Rows, active, formed, summed, without_noise
from lpft_keras.ntk.on_gpu import host, product_gram

Of = Callable[[np.ndarray], np.ndarray]

# Columns of a product that is taken in float32 before it is added in float64.
_PIECE = 1 << 16


@dataclass(frozen=True)
class Factors:
    """What gradients become before they are multiplied.

    Attributes:
        bits: Bits of mantissa that float32 numbers are rounded to, as matrix units do it: 10 for TensorFloat-32, 7 for
            bfloat16; None keeps all.
        of_rows: Odd function of each number of a gradient, such as its sign, that rows of the kernel have; None takes
            gradients as they are.
        of_columns: The same of its columns.
    """

    bits: int | None = None
    of_rows: Of | None = None
    of_columns: Of | None = None

    @property
    def symmetric(self) -> bool:
        """Whether rows and columns have the same."""
        return self.of_rows is self.of_columns

    @property
    def formed(self) -> bool:
        """Whether gradients must be formed, and zeros be zeros, for a function of their numbers."""
        return (self.of_rows or self.of_columns) is not None

    def rows(self, array: np.ndarray) -> np.ndarray:
        """Return gradients as the rows have them."""
        return _rounded(array, self.bits) if self.of_rows is None else self.of_rows(array)

    def columns(self, array: np.ndarray) -> np.ndarray:
        """Return gradients as the columns have them."""
        return _rounded(array, self.bits) if self.of_columns is None else self.of_columns(array)


PLAIN = Factors()


def gram(parts: Sequence[Block], columns: int, square: bool = True, factors: Factors = PLAIN) -> np.ndarray:
    """Return the inner products of all gradients of one variable with those of the first `columns` examples.

    Products are taken in float32, in pieces that are added in float64.

    Args:
        parts: Blocks of one variable; each holds some examples, in order, whose numbers of tokens may differ. Those of
            products may be tensors where factors are as they are.
        columns: How many examples, from the first on, the others are multiplied with.
        square: Whether the products of those examples among themselves are wanted too.
        factors: What gradients become before.

    Returns:
        float64 array of shape [examples, classes, columns, classes]; without `square`, its first `columns` rows mean
        nothing.

    Costs:
        Products: n C T d e to form the gradients and n columns C^2 d e to multiply them, or n columns T^2 (d + C^2 e)
        without forming them where that is less, as for layers whose gradient comes back at one token only; signs want
        them formed.
    """
    lookups = [part for part in parts if isinstance(part, Lookups)]
    products = [active(part) for part in parts if isinstance(part, Products)]
    if lookups:
        return _lookups(lookups, columns, factors)
    if products:
        if not factors.formed and _better_unformed(products, columns):
            return _unformed(products, columns, factors)
        if not isinstance(products[0].deltas, np.ndarray):
            return product_gram([part.inputs for part in products], [part.deltas for part in products], columns)
        if not factors.formed:
            products = [Products(*(_rounded(a, factors.bits) for a in (p.inputs, p.deltas))) for p in products]
        pieces = formed(products)
    else:
        rows = [part for part in parts if isinstance(part, Rows)]
        pieces = formed([without_noise(part) for part in rows] if factors.formed else rows)
    return sum((_outer(piece, columns, square, factors) for piece, _ in pieces), start=np.zeros(()))


def _rounded(array: np.ndarray, bits: int | None) -> np.ndarray:
    """Return float32 numbers rounded to so many bits of mantissa, to nearest, ties to even."""
    if bits is None:
        return array
    drop = 23 - bits
    integers = np.ascontiguousarray(array).view(np.uint32)
    up = ((integers >> drop) & 1) + np.uint32((1 << (drop - 1)) - 1)
    return ((integers + up) & np.uint32((0xFFFFFFFF << drop) & 0xFFFFFFFF)).view(np.float32)


def _outer(rows: np.ndarray, columns: int, square: bool, factors: Factors) -> np.ndarray:
    """Return the inner products of rows [n, C, P] in pieces of some 10^5 columns, added in float64."""
    n, classes, width = rows.shape
    flat, edge = rows.reshape(n * classes, width), columns * classes
    kernel = np.zeros((n * classes, edge))
    half = square and factors.symmetric
    first = 0 if square and not half else edge
    for start in range(0, width, _PIECE):
        piece = flat[:, start : start + _PIECE]
        right = factors.columns(piece[:edge])
        if half:
            kernel[:edge] += right @ right.T  # NumPy sees the transpose and computes half
        if len(flat) > first:
            kernel[first:] += factors.rows(piece[first:]) @ right.T
    return kernel.reshape(n, classes, columns, classes)


def _better_unformed(parts: Sequence[Products], columns: int) -> bool:
    """Whether gradients had better be multiplied without being formed."""
    n, tokens = sum(len(part.inputs) for part in parts), max(part.inputs.shape[1] for part in parts)
    d, (classes, e) = parts[0].inputs.shape[2], (parts[0].deltas.shape[1], parts[0].deltas.shape[3])
    by_forming = n * classes * tokens * d * e + n * columns * classes**2 * d * e / 2
    without = n * columns * tokens**2 * (d + classes**2 * e)
    return without < by_forming and n * columns * (tokens * classes) ** 2 <= BUFFER


def _unformed(parts: Sequence[Products], columns: int, factors: Factors) -> np.ndarray:
    """Return the inner products by <sum_t a_t d_t^T, sum_s b_s g_s^T> = sum_ts <a_t, b_s> <d_t, g_s>."""
    tokens = max(part.inputs.shape[1] for part in parts)
    inputs = _rounded(np.concatenate([_padded(host(part.inputs), 1, tokens) for part in parts]), factors.bits)
    deltas = _rounded(np.concatenate([_padded(host(part.deltas), 2, tokens) for part in parts]), factors.bits)
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


def _lookups(parts: Sequence[Lookups], columns: int, factors: Factors) -> np.ndarray:
    """Return the inner products of gradients of a table: only rows that two examples both use meet."""
    token, example, rows = summed(parts)
    classes, width = rows.shape[1:]
    kernel = np.zeros((sum(len(part.ids) for part in parts), classes, columns, classes))
    starts = np.flatnonzero(np.diff(token, prepend=-1, append=-1))  # sorted by id: one stretch each
    for start, stop in itertools.pairwise(starts):
        users, own = example[start:stop], rows[start:stop].reshape(-1, width)  # users are sorted too
        split = np.searchsorted(users, columns)
        if split:
            products = factors.rows(own) @ factors.columns(own[: split * classes]).T
            products = products.reshape(len(users), classes, split, classes)
            kernel[users[:, None], :, users[None, :split], :] += products.swapaxes(1, 2)
    return kernel
