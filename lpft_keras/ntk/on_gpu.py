"""Gradients that stay where they were made, on a GPU: products of them by PyTorch or JAX, all else by NumPy."""

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import ops

# Numbers in the buffer that gradients are formed in: 1 GB of float32.
_BUFFER = 1 << 28
# Columns of a product that is taken in float32 before it is added to others: a GPU adds them one by one.
_PIECE = 1 << 13


def namespace(array: Any) -> Any:
    """Return NumPy for one of its arrays, and for a tensor Keras' functions of the same names."""
    return np if isinstance(array, np.ndarray) else ops


def host(array: Any) -> np.ndarray:
    """Return an array of NumPy as it is, and a tensor as one."""
    return array if isinstance(array, np.ndarray) else ops.convert_to_numpy(array)


def product_gram(inputs: Sequence[Any], deltas: Sequence[Any], columns: int) -> np.ndarray:
    """Return the inner products of gradients sum_t inputs[t] deltas[t]^T with those of the first `columns` examples.

    Products are taken in float32, in pieces that are added in float32, pair by pair, and in float64 between buffers.

    Args:
        inputs: Tensors [examples, tokens, d]; each holds some examples, in order, whose numbers of tokens may differ.
        deltas: Tensors [examples, classes, tokens, e].
        columns: How many examples, from the first on, all are multiplied with.

    Returns:
        float64 array of shape [examples, classes, columns, classes].
    """
    d, (_, classes, _, e) = inputs[0].shape[2], deltas[0].shape
    pairs = []
    for _, alike in itertools.groupby(zip(inputs, deltas, strict=True), lambda pair: pair[0].shape[1]):
        x, delta = (ops.concatenate(parts) for parts in zip(*alike, strict=True))
        # One matrix an example and class, so that nothing is copied for each of the products below.
        turned = ops.repeat(ops.swapaxes(x, 1, 2), classes, axis=0)
        pairs.append((turned, ops.reshape(delta, (-1, *delta.shape[2:]))))
    n = sum(len(turned) for turned, _ in pairs)
    kernel = np.zeros((n, columns * classes))
    width = max(1, _BUFFER // (n * d))
    for start in range(0, e, width):
        some = min(width, e - start)
        rows = [ops.matmul(x, ops.slice(y, (0, 0, start), (*y.shape[:2], some))) for x, y in pairs]
        left = ops.reshape(ops.concatenate(rows), (n, _pieces(d, some), -1))
        left = ops.swapaxes(left, 0, 1)
        products = ops.matmul(left, ops.swapaxes(left[:, : columns * classes], 1, 2))
        kernel += ops.convert_to_numpy(ops.sum(products, axis=0))
    return kernel.reshape(n // classes, classes, columns, classes)


def _pieces(d: int, some: int) -> int:
    """Return into how many equal parts d * some columns are cut, each of whole rows of the d."""
    return next(parts for parts in range(1, d + 1) if d % parts == 0 and d // parts * some <= max(_PIECE, some))
