"""A sweep as a TOML file."""

import os
from pathlib import Path
from typing import Any

from lpft_keras.errors import unknown_name
from lpft_keras.storage import read_toml
from lpft_keras.sweeps import CROSSED, SETTINGS, as_list


def read_sweep(path: str | Path) -> dict[str, Any]:
    """Read the arguments of a sweep from a TOML file.

    Args:
        path: The file: the flags of `lpft-keras sweep` as keys (task, method, backbone, seed, head_scale: one or a
            list; epochs, data_dir, workers, engine, ...). Paths count from the file.

    Returns:
        The arguments of `sweep`, and the engine.

    Raises:
        InputError: The file is missing or no TOML, or a key is unknown.
    """
    path = Path(path).expanduser()
    given = read_toml(path)
    known = {*CROSSED, *SETTINGS, "data_dir", "output_dir", "overwrite", "tensorboard", "workers", "engine"}
    found: dict[str, Any] = {}
    for flag, value in given.items():
        key = flag.replace("-", "_")
        if key not in known:
            raise unknown_name(f"key in {path}", flag, known)
        found[CROSSED.get(key, key)] = value
    for key in ("data_dir", "output_dir"):
        if key in found:
            found[key] = path.parent / str(found[key])
    if "tasks" in found:
        named = as_list(found["tasks"], "task")
        found["tasks"] = [path.parent / name if str(name).endswith(".toml") else name for name in named]
    if "backbones" in found:
        named = as_list(found["backbones"], "backbone")
        found["backbones"] = [
            str(path.parent / name) if isinstance(name, str) and os.path.isdir(path.parent / name) else name
            for name in named
        ]
    return found
