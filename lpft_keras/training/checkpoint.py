"""What a killed fine-tuning needs to go on from its last finished epoch, bit for bit."""

import json
import math
from pathlib import Path

import keras
import numpy as np
from keras import ops

from lpft_keras.models.classifier import seed_states
from lpft_keras.storage import read_arrays, write_arrays

_FILE = "checkpoint.npz"


class Checkpoint:
    """Saves trainable variables, optimiser state, dropout state, best weights and history after every epoch.

    Frozen variables are left out, since the backbone's checkpoint has them. The best weights live in a file of their
    own, written before the checkpoint that names it, so that a kill between the two leaves the older pair whole.

    Args:
        folder: Where the files live; None keeps the best weights in memory and nothing on disk.
        model: The model that is trained.
        optimizer: Its optimiser, built.
    """

    def __init__(self, folder: Path | None, model: keras.Model, optimizer: keras.optimizers.Optimizer):
        self._folder = folder
        self._model = model
        self._variables = [*model.trainable_variables, *seed_states(model), *optimizer.variables]
        self._best: list[np.ndarray] = []
        self.best_epoch = -1
        self.best_score = -math.inf

    def keep_best(self, epoch: int, score: float) -> None:
        """Take the present weights for the best ones."""
        self._best = [ops.convert_to_numpy(variable).copy() for variable in self._model.trainable_variables]
        self.best_epoch, self.best_score = epoch, score
        if self._folder is not None:
            write_arrays(self._best_path(epoch), _numbered(self._best))

    def save(self, epoch: int, history: list[dict]) -> None:
        """Write the state after an epoch; the files of the epoch before are removed after."""
        if self._folder is None:
            return
        state = {"epoch": epoch, "best_epoch": self.best_epoch, "best_score": self.best_score, "history": history}
        values = [ops.convert_to_numpy(variable) for variable in self._variables]
        write_arrays(self._folder / _FILE, {**_numbered(values), "state": np.array(json.dumps(state))})
        for path in self._folder.glob("best-*.npz"):
            if path != self._best_path(self.best_epoch):
                path.unlink()

    def restore(self) -> tuple[int, list[dict]]:
        """Bring the last saved state back.

        Returns:
            The next epoch and the history so far; (0, []) where there is no whole state.
        """
        arrays = read_arrays(self._folder / _FILE) if self._folder is not None else None
        if arrays is None or "state" not in arrays:
            return 0, []
        state = json.loads(str(arrays.pop("state")))
        best = read_arrays(self._best_path(state["best_epoch"]))
        if best is None or len(arrays) != len(self._variables):
            return 0, []
        for number, variable in enumerate(self._variables):
            variable.assign(arrays[str(number)])
        self._best = [best[str(number)] for number in range(len(best))]
        self.best_epoch, self.best_score = state["best_epoch"], state["best_score"]
        return state["epoch"] + 1, state["history"]

    def restore_best(self) -> None:
        """Put the best weights into the model."""
        for variable, value in zip(self._model.trainable_variables, self._best, strict=True):
            variable.assign(value)

    def _best_path(self, epoch: int) -> Path:
        assert self._folder is not None
        return self._folder / f"best-{epoch}.npz"


def _numbered(values: list[np.ndarray]) -> dict[str, np.ndarray]:
    return {str(number): value for number, value in enumerate(values)}
