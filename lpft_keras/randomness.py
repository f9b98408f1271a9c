"""The user's own random states stay as they are."""

import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def global_state_kept() -> Iterator[None]:
    """Put global random states back afterwards.

    Keras draws a seed from Python's for every layer it builds, and dropout masks from PyTorch's own.
    """
    state = random.getstate()
    torch = sys.modules.get("torch")
    torch_state = torch.get_rng_state() if torch else None
    cuda_states = torch.cuda.get_rng_state_all() if torch and torch.cuda.is_available() else None
    try:
        yield
    finally:
        random.setstate(state)
        if torch:
            torch.set_rng_state(torch_state)
            if cuda_states is not None:
                torch.cuda.set_rng_state_all(cuda_states)
