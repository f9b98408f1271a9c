"""Inner products of gradients in each form, against the gradients written out."""

import ml_dtypes
import numpy as np
import pytest

from lpft_keras.ntk.blocks import Lookups, Products, Rows
from lpft_keras.ntk.gram import _rounded, gram


def written_out(block, words):
    """Return the gradients of one variable as float64 rows [examples, classes, numbers]."""
    if isinstance(block, Rows):
        return block.rows.astype("float64").reshape(*block.rows.shape[:2], -1)
    deltas = block.deltas.astype("float64")
    if isinstance(block, Products):
        rows = np.einsum("ntd,ncte->ncde", block.inputs.astype("float64"), deltas)
    else:
        rows = np.zeros((*deltas.shape[:2], words, deltas.shape[-1]))
        for i in range(len(block.ids)):
            for t, word in enumerate(block.ids[i]):
                rows[i, :, word] += deltas[i, :, t]
    return rows.reshape(*rows.shape[:2], -1)


@pytest.mark.parametrize("form", ["rows", "products", "lookups"])
@pytest.mark.parametrize(("tokens", "width"), [(5, 4), (3, 40)])
def test_gram_is_that_of_the_gradients(rng, form, tokens, width):
    """Few tokens and wide layers take the way without forming gradients, the others form them."""
    blocks = []
    for n, some in ((4, tokens), (3, tokens - 1)):  # two groups of unlike lengths
        deltas = rng.normal(size=(n, 2, some, width)).astype("float32")
        if form == "rows":
            blocks.append(Rows(rng.normal(size=(n, 2, 3, width)).astype("float32")))
        elif form == "products":
            blocks.append(Products(rng.normal(size=(n, some, 3 * width)).astype("float32"), deltas))
        else:
            blocks.append(Lookups(rng.integers(0, 6, (n, some)), deltas))
    rows = np.concatenate([written_out(block, 6) for block in blocks])
    expected = np.einsum("icp,jdp->icjd", rows, rows)
    scale = np.abs(expected).max()
    np.testing.assert_allclose(gram(blocks, 7), expected, atol=1e-6 * scale)
    part = gram(blocks, 3, square=False)
    np.testing.assert_allclose(part[3:], expected[3:, :, :3], atol=1e-6 * scale)


def test_rounding_is_that_of_bfloat16(rng):
    numbers = np.concatenate(
        [rng.normal(size=1000), rng.normal(size=1000) * 1e-20, [0, -0.0, 1, 1 + 2**-8, 1 + 3 * 2**-8]]
    )
    numbers = numbers.astype("float32")
    np.testing.assert_array_equal(_rounded(numbers, 7), numbers.astype(ml_dtypes.bfloat16).astype("float32"))
    ten = _rounded(numbers, 10)
    assert not (ten.view(np.uint32) & 0x1FFF).any()
    assert (np.abs(ten - numbers) <= 2.0**-11 * np.abs(numbers)).all()
