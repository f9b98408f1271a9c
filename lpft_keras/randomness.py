"""The user's own random states, and Keras' counters of names, stay as they are."""

import random
import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

_COUNTERS = "object_name_uids"


@contextmanager
def global_state_kept() -> Iterator[None]:
    """Put global random states back afterwards, and number unnamed layers and optimisers from one meanwhile.

    Keras draws a seed from Python's for every layer it builds, and dropout masks from PyTorch's own. TensorFlow keeps
    some 35 kB for every name that a variable ever had: names that count on from run to run would fill the memory.
    """
    # Keras' public way, `clear_session`, would also clear what is the user's.
    from keras.src.backend.common import global_state

    counters = global_state.get_global_attribute(_COUNTERS)
    global_state.set_global_attribute(_COUNTERS, defaultdict(int))
    state = random.getstate()
    torch = sys.modules.get("torch")
    torch_state = torch.get_rng_state() if torch else None
    cuda_states = torch.cuda.get_rng_state_all() if torch and torch.cuda.is_available() else None
    try:
        yield
    finally:
        global_state.set_global_attribute(_COUNTERS, counters)
        random.setstate(state)
        if torch:
            torch.set_rng_state(torch_state)
            if cuda_states is not None:
                torch.cuda.set_rng_state_all(cuda_states)
