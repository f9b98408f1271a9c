"""What a computed kernel leaves behind, and whether a directory holds the one that is asked for."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from lpft_keras.errors import InputError
from lpft_keras.ntk import NTK
from lpft_keras.run_directory import differences
from lpft_keras.settings import RunSettings, completed
from lpft_keras.storage import has_form, read_arrays, read_json
from lpft_keras.tasks import TaskData

KERNEL_DONE = "kernel.json"
"""Written last: its directory holds a whole kernel."""
_ARRAYS = ("pretrain", "finetune", "indices", "labels", "logits")  # of each split in kernel.npz


@dataclass(frozen=True)
class KernelResult:
    """A computed kernel.

    Attributes:
        directory: Where its files are.
        summary: What `kernel.json` holds and `--json` prints.
    """

    directory: Path
    summary: dict[str, Any]

    @property
    def kernels(self) -> dict[str, NTK]:
        """The kernels "train", [N, C, N, C], and "test", [M, C, N, C], both with the training rows."""
        arrays = self._arrays()
        return {split: NTK(arrays[f"{split}/pretrain"], arrays[f"{split}/finetune"]) for split in ("train", "test")}

    @property
    def rows(self) -> dict[str, dict[str, np.ndarray]]:
        """`indices` and `labels` (int64) and `logits` (float32 [rows, C]) of the rows of "train" and "test"."""
        arrays = self._arrays()
        return {
            split: {name: arrays[f"{split}/{name}"] for name in ("indices", "labels", "logits")}
            for split in ("train", "test")
        }

    def _arrays(self) -> dict[str, np.ndarray]:
        arrays = read_arrays(self.directory / "kernel.npz") or {}
        if any(f"{split}/{name}" not in arrays for split in ("train", "test") for name in _ARRAYS):
            raise InputError(f"{self.directory / 'kernel.npz'} is missing or damaged; compute it again (--overwrite)")
        return arrays


def kernel_config(settings: RunSettings, rows: int, data: TaskData) -> dict[str, Any]:
    """Return all that decides a kernel, as `kernel.json` holds it."""
    backend = keras.backend.backend()
    return {"settings": settings.as_dict(), "rows": rows, "backend": backend, "data": data.checksums()}


def finished_kernel(directory: Path, config: dict[str, Any]) -> KernelResult | None:
    """Return the kernel that a directory holds, None where it holds none.

    Args:
        directory: The directory.
        config: What `kernel_config` gives.

    Returns:
        The kernel.

    Raises:
        InputError: It is one of another configuration.
    """
    known = read_json(directory / KERNEL_DONE)
    if not has_form(known, {"config": {"settings": dict}, "summary": dict}):
        return None
    there = completed(known["config"])
    if there != config:
        what = differences(there, config)
        raise InputError(
            f"{directory} holds a kernel of other settings ({what}); overwrite it (--overwrite) or move it"
        )
    return KernelResult(directory, known["summary"])
