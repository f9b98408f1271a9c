"""Whether a kernel fits this machine's memory, asked before any work."""

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from lpft_keras.errors import InputError
from lpft_keras.ntk.tiles import Tile

# Where Linux tells the limit of a container, in its second version of control groups and in its first.
_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
# With fewer random directions an entry errs by more than a sixteenth, which is no estimate to advise.
_FEWEST = 256
# Arrays of a tile's size that are held while projected gradients are added up.
_ADDED = 5


def machine_memory(limits: Sequence[Path] = _LIMITS) -> int:
    """Return the bytes of memory that this process may have; as good as infinite where nothing tells.

    Args:
        limits: Files in which a container's limit may stand.

    Returns:
        The least of the machine's memory and the container's limits.
    """
    known = [1 << 62]
    with suppress(AttributeError, OSError, ValueError):  # Windows has no sysconf
        known.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    for path in limits:
        with suppress(OSError, ValueError):  # no such file, or "max"
            known.append(int(path.read_text()))
    return min(known)


def kernel_bytes(counts: Sequence[int], classes: int, groups: int, tiles: Sequence[Tile]) -> int:
    """Return how many bytes a kernel's computation holds at most in arrays of the kernel's or a tile's size.

    Args:
        counts: Examples of each data set, that with columns first.
        classes: Logits, C.
        groups: Into how many groups of variables F is split.
        tiles: The tiles; a single one is the whole kernel.
    """
    whole = 8 * sum(counts) * counts[0] * classes**2
    tile = 8 * classes**2 * max(len(tile.examples) * len(tile.columns) for tile in tiles)
    # In a tile: its groups, a segment's share of each, and products, their sum and what they are formed of. P and F's
    # groups stay, and F is one more where it is their sum.
    kept = (groups + 1) * whole if len(tiles) > 1 else 0
    return max(kept + (2 * groups + 4) * tile, (groups + 1 + (groups > 1)) * whole + tile)


def projection_bytes(total: int, classes: int, dimension: int, tiles: Sequence[Tile]) -> int:
    """Return how many bytes projected gradients take at most while they are computed.

    Args:
        total: Examples.
        classes: Logits, C.
        dimension: Random directions.
        tiles: The tiles; a single one is the whole.
    """
    each = 4 * classes * dimension
    return each * ((total if len(tiles) > 1 else 0) + _ADDED * max(len(tile.examples) for tile in tiles))


def check_memory(
    counts: Sequence[int], classes: int, groups: int, dimension: int | None, tiles: Sequence[Tile]
) -> None:
    """Refuse a kernel that can't be held.

    Args:
        counts: Examples of each data set, that with columns first.
        classes: Logits, C.
        groups: Into how many groups of variables F is split.
        dimension: Random directions that gradients are projected on, in place of a kernel; None for a kernel.
        tiles: How it is cut.

    Raises:
        InputError: It does not fit.
    """
    total, columns, have = sum(counts), counts[0], machine_memory()
    if dimension is not None:
        need = projection_bytes(total, classes, dimension, tiles)
        if need > have:
            raise InputError(
                f"projected gradients of {total:,} examples, {classes} logits and {dimension:,} directions take "
                f"{need:,} bytes, and this machine has {have:,}; take fewer directions or examples"
            )
        return
    need = kernel_bytes(counts, classes, groups, tiles)
    if need > have:
        fits = min(4096, have // (4 * total * classes * (_ADDED + 1)))
        projected = (
            f", or its projected form, which never holds it: projected_ntk(model, x, dimension={fits})"
            if fits >= _FEWEST
            else ""
        )
        raise InputError(
            f"the kernel of {total:,} by {columns:,} examples and {classes} logits takes {need:,} bytes, and this "
            f"machine has {have:,}; take fewer examples{projected}"
        )
