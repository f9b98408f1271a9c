"""A kernel, or projected gradients, put together tile by tile, so that tiles are not held beside it."""

from collections.abc import Sequence

import numpy as np

from lpft_keras.errors import InputError
from lpft_keras.ntk.passes import Groups
from lpft_keras.ntk.tiles import Tile


class Assembly:
    """What tiles come to, put in place as they are finished.

    Args:
        tiles: All of them.
        columns: How many examples, from the first on, have columns.
        total: How many examples there are.
        projected: Whether tiles hold rows of examples, in place of products of examples with examples.

    Attributes:
        groups: By name, [total, C, columns, C], or [total, ...] where projected.
    """

    def __init__(self, tiles: Sequence[Tile], columns: int, total: int, projected: bool):
        self._tiles, self._columns, self._total, self._projected = tiles, columns, total, projected
        self._computed = {(int(tile.columns[0]), int(tile.rows[0])) for tile in tiles if len(tile.rows)}
        self.groups: Groups = {}

    def take(self, number: int, found: Groups) -> None:
        """Put a tile in its place.

        Args:
            number: The tile's number.
            found: What it came to.

        Raises:
            InputError: It holds NaN or infinite values.
        """
        tile = self._tiles[number]
        first = 0 if tile.square else len(tile.columns)
        if not all(np.isfinite(part[first:]).all() for part in found.values()):
            raise InputError("the model's gradients hold NaN or infinite values for these examples")
        if len(self._tiles) == 1:  # all examples in their order: it is the whole
            self.groups = found
            return
        for name, part in found.items():
            if name not in self.groups:
                classes = part.shape[1]
                shape = part.shape[1:] if self._projected else (classes, self._columns, classes)
                self.groups[name] = np.zeros((self._total, *shape), part.dtype)
            self._put(self.groups[name], part, tile)

    def _put(self, whole: np.ndarray, part: np.ndarray, tile: Tile) -> None:
        """Put one group in place; what lies on the other side of the diagonal may be the same, transposed."""
        if self._projected:
            whole[tile.columns] = part
            return
        every = np.arange(whole.shape[1])
        if tile.square:
            whole[np.ix_(tile.columns, every, tile.columns)] = part[: len(tile.columns)]
        if len(tile.rows):
            across = part[len(tile.columns) :]
            whole[np.ix_(tile.rows, every, tile.columns)] = across
            mirrored = (int(tile.rows[0]), int(tile.columns[0])) not in self._computed
            if tile.rows[0] < self._columns and mirrored:
                whole[np.ix_(tile.columns, every, tile.rows)] = across.transpose(2, 3, 0, 1)
