"""Whether a kernel fits this machine's memory, asked before any work."""

import os
from collections.abc import Sequence

from lpft_keras.errors import InputError


def machine_memory() -> int:
    """Return the bytes of memory that this machine has; as good as infinite where it does not tell."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):  # Windows has no sysconf
        return 1 << 62


def check_memory(counts: Sequence[int], classes: int, groups: int, dimension: int | None) -> None:
    """Refuse a kernel that can't be held.

    Args:
        counts: Examples of each data set, that with columns first.
        classes: Logits, C.
        groups: Into how many groups of variables F is split.
        dimension: Random directions that gradients are projected on, in place of a kernel; None for a kernel.

    Raises:
        InputError: It does not fit.
    """
    total, columns, have = sum(counts), counts[0], machine_memory()
    if dimension is not None:
        need = 4 * total * classes * dimension * 2
        if need > have:
            raise InputError(
                f"projected gradients of {total:,} examples, {classes} logits and {dimension:,} directions take "
                f"{need:,} bytes, and this machine has {have:,}; take fewer directions or examples"
            )
        return
    # P, F in its groups, and one more while they are added.
    need = 8 * total * columns * classes**2 * (groups + 2)
    if need > have:
        fits = max(1, min(4096, have // (4 * 8 * total * classes)))
        raise InputError(
            f"the kernel of {total:,} by {columns:,} examples and {classes} logits takes {need:,} bytes, and this "
            f"machine has {have:,}; take fewer examples, or its projected form, which never holds it: "
            f"projected_ntk(model, x, dimension={fits})"
        )
