"""The user's own random states stay as they are."""

import random
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def global_state_kept() -> Iterator[None]:
    """Put Python's global random state back afterwards: Keras draws a seed from it for every layer it builds."""
    state = random.getstate()
    try:
        yield
    finally:
        random.setstate(state)
