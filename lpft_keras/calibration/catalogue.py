"""The scalings by name, and reading them back."""

from pathlib import Path
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from lpft_keras.calibration.linear import LINEAR
from lpft_keras.calibration.one_vs_rest import ONE_VS_REST
from lpft_keras.calibration.scaling import FORMAT, Scaling
from lpft_keras.calibration.temperature import TemperatureScaling
from lpft_keras.errors import InputError, first_line, unknown_name
from lpft_keras.storage import read_json

SCALINGS: dict[str, type[Scaling]] = {"temperature": TemperatureScaling, **LINEAR, **ONE_VS_REST}
"""The scalings by the names that `lpft-keras calibrate --method` takes."""


def load_scaling(path: str | Path) -> Scaling:
    """Read a scaling that `save` wrote. No library but NumPy and SciPy is needed, whichever fitted it.

    Args:
        path: The file.

    Returns:
        The fitted scaling.

    Raises:
        InputError: The file is missing or damaged, or holds something else.

    Example:
        >>> TemperatureScaling().fit(logits, labels).save("temperature.json")
        >>> load_scaling("temperature.json").predict_proba(test_logits)
    """
    state = read_json(Path(path))
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise InputError(f"{path} holds no saved scaling (missing, damaged, or another kind of file)")
    kinds = {kind.__name__: kind for kind in SCALINGS.values()}
    if str(state.get("scaling")) not in kinds:
        raise unknown_name(f"scaling in {path}", state.get("scaling"), kinds)
    try:
        scaling = kinds[state["scaling"]](**{name: _revived(value) for name, value in state["params"].items()})
        for name, value in state["fitted"].items():
            setattr(scaling, name, _revived(value))
        check_is_fitted(scaling)
        scaling.predict_proba(np.zeros((1, scaling.n_features_in_)))  # shapes that don't fit show here
    except Exception as error:  # whatever a damaged file leads to
        raise InputError(f"{path} is damaged: {first_line(error)}; fit and save the scaling again") from error
    return scaling


def _revived(value: Any) -> Any:
    """Return lists of numbers as arrays, all the way down; lists of unlike lengths stay lists of arrays."""
    if not isinstance(value, list):
        return float(value) if value in ("inf", "-inf") else value
    items = [_revived(item) for item in value]
    return np.array(items) if len({np.shape(item) for item in items}) == 1 else items
