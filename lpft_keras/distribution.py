"""One model on several devices, the rows of each batch cut across them: Keras' `DataParallel`, on for a while.

Variables created meanwhile are on all devices, and JAX adds the devices' gradients up.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from lpft_keras.backend import chosen_backend
from lpft_keras.errors import InputError

log = logging.getLogger(__name__)

_LEAVE_OUT = "leave data_parallel (--data-parallel) out"


def usable_devices() -> int:
    """Return how many devices a batch can be cut across.

    Returns:
        The number of all devices that JAX sees, 2 or more.

    Raises:
        InputError: The backend is not JAX, or it sees one device only.
    """
    backend = chosen_backend()
    if backend != "jax":
        # There Keras' DataParallel can be made, but cuts nothing.
        raise InputError(f"data-parallel training needs JAX, not {backend}: set KERAS_BACKEND=jax, or {_LEAVE_OUT}")
    import keras

    devices = keras.distribution.list_devices()
    if len(devices) < 2:
        raise InputError(f"data-parallel training needs two devices or more, JAX sees {devices[0]} alone: {_LEAVE_OUT}")
    return len(devices)


@contextmanager
def on_all_devices(wanted: bool) -> Iterator[None]:
    """Share each batch between all devices that JAX sees; the distribution set before is set again afterwards.

    Args:
        wanted: False changes nothing.

    Raises:
        InputError: As `usable_devices`.

    Example:
        >>> with on_all_devices(True):
        ...     model = build_model()
        ...     model.fit(batches)
    """
    if not wanted:
        yield
        return
    log.info("data-parallel on %d devices", usable_devices())
    import keras

    with keras.distribution.DataParallel().scope():
        yield


def devices_in_use() -> int:
    """Return how many parts of equal size a batch is cut into at present: 1 where no distribution is set."""
    import keras

    distribution = keras.distribution.distribution()
    return 1 if distribution is None else distribution.num_model_replicas
