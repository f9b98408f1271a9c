"""What all scalings share: logits and labels in, probabilities out, and a file that is no pickle."""

import math
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from lpft_keras.calibration.inputs import checked_labels, checked_logits, checked_probabilities
from lpft_keras.errors import InputError
from lpft_keras.storage import write_json

FORMAT = "lpft-keras scaling 1"


class Scaling(ABC, BaseEstimator):
    """A map from logits to calibrated probabilities, fitted on rows that did not train the classifier.

    A scikit-learn estimator: parameters in the constructor, results with a trailing underscore. It takes logits; where
    you have probabilities only, give `logits_of(probabilities)`.

    Attributes:
        keeps_predictions: Whether no row's most probable class can change. Where it is false, accuracy may.
    """

    keeps_predictions: ClassVar[bool] = False

    def fit(self, logits: Any, labels: Any) -> Self:
        """Fit the map.

        Args:
            logits: Float array of shape [rows, classes]; any framework's, or a list.
            labels: Integer array of shape [rows].

        Returns:
            This estimator.

        Raises:
            InputError: Shapes don't fit, a value is not finite, a label is no class id, there are no rows, or a class
                has no row where the map needs one of each.
        """
        logits = checked_logits(logits)
        self._fit(logits, checked_labels(labels, logits, "logits"))
        self.n_features_in_ = logits.shape[1]
        return self

    def predict_proba(self, logits: Any) -> np.ndarray:
        """Return the calibrated probabilities.

        Args:
            logits: Float array of shape [rows, classes].

        Returns:
            float64 array of shape [rows, classes]; each row sums to 1.

        Raises:
            InputError: The shape is not that of `fit`, or a value is not finite.
            NotFittedError: `fit` was not called.
        """
        check_is_fitted(self)
        logits = checked_logits(logits)
        if logits.shape[1] != self.n_features_in_:
            raise InputError(f"logits have {logits.shape[1]} columns; the scaling was fitted on {self.n_features_in_}")
        return self._scaled(logits)

    @abstractmethod
    def _fit(self, logits: np.ndarray, labels: np.ndarray) -> None:
        """Set the fitted attributes from checked arrays."""

    @abstractmethod
    def _scaled(self, logits: np.ndarray) -> np.ndarray:
        """Return the probabilities of checked logits."""

    def save(self, path: str | Path) -> None:
        """Write the fitted scaling into a JSON file.

        Args:
            path: The file.

        Raises:
            InputError: The file can't be written.
            NotFittedError: `fit` was not called.
        """
        check_is_fitted(self)
        fitted = {name: value for name, value in vars(self).items() if name.endswith("_") and not name.startswith("_")}
        write_json(
            Path(path),
            {
                "format": FORMAT,
                "scaling": type(self).__name__,
                "params": {name: _plain(value) for name, value in self.get_params().items()},
                "fitted": {name: _plain(value) for name, value in fitted.items()},
            },
        )


def _plain(value: Any) -> Any:
    """Return a number, an array, or a list of them as JSON holds it."""
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    return repr(value) if value in (math.inf, -math.inf) else value  # JSON has no infinity


def logits_of(probabilities: Any) -> np.ndarray:
    """Return logits that give these probabilities: their logarithms, zeros taken as the least positive number.

    Args:
        probabilities: Float array of shape [rows, classes]; each row sums to 1.

    Returns:
        float64 array of shape [rows, classes].

    Raises:
        InputError: The shape is wrong, or a row is no distribution.

    Example:
        >>> softmax(logits_of(np.array([[0.25, 0.75]])), axis=1)
        array([[0.25, 0.75]])
    """
    values = checked_probabilities(probabilities).astype(np.float64)
    return np.log(values.clip(min=np.finfo(np.float64).tiny))


def require_all_classes(labels: np.ndarray, classes: int, name: str) -> None:
    """Raise an `InputError` where a class has no row, for maps with numbers of their own for each class."""
    missing = np.flatnonzero(np.bincount(labels, minlength=classes) == 0)
    if len(missing):
        raise InputError(
            f"labels hold no row of class {missing[0]} of {classes}, and {name} has numbers for each; give rows of "
            "every class, or take TemperatureScaling, which needs none"
        )
