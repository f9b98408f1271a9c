"""What other processes are told of a kernel's computation: their devices, the model as bytes, variables by place."""

import pickle
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from lpft_keras.errors import InputError, first_line
from lpft_keras.ntk.problem import Problem
from lpft_keras.storage import fingerprint


def devices_of(workers: Any) -> Sequence[str | None]:
    """Return the device of each process; None is Keras' own choice."""
    if isinstance(workers, int) and workers > 0:
        return [None] * workers
    if isinstance(workers, list | tuple) and workers and all(isinstance(name, str) for name in workers):
        return workers
    raise InputError(f"workers must be 1 or more, or list the device of each, not {workers!r}")


def pickled(model: keras.Model, layers: Sequence[keras.layers.Layer]) -> bytes:
    """Return a model as bytes, or say that what comes out of them is another one, as where adapters were put in."""
    reason = "it is not the same after saving and loading, as where adapters were put into its layers"
    values, others, found = "", None, b""
    own = next((type(layer).__name__ for layer in layers if type(layer).__module__ == "__main__"), None)
    if own is not None:
        reason = f"its class {own!r} is in no module that they could import"
    else:
        try:
            found = pickle.dumps(model)
            values, others = (fingerprint(weights_of(each)) for each in (model, pickle.loads(found)))
        except Exception as error:  # whatever Keras or the model's own classes raise
            reason = first_line(error)
    if values != others:
        raise InputError(
            f"model {model.name!r} can't be sent to other processes: {reason}; give workers=1, or start processes of "
            "your own on one directory"
        )
    return found


def places_of(model: keras.Model, problem: Problem) -> list[int]:
    """Return where the chosen variables are among the model's: in another process they are others."""
    chosen = {id(variable) for variable in problem.subset.below}
    return [number for number, variable in enumerate(model.variables) if id(variable) in chosen]


def weights_of(model: keras.Model) -> list[np.ndarray]:
    """Return all values that a kernel may depend on."""
    return [ops.convert_to_numpy(v) for v in model.variables if v.name != "seed_generator_state"]
