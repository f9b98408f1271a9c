"""Scalings made for two classes: each class against the others, and the probabilities brought to sum 1."""

from abc import abstractmethod

import numpy as np
from scipy.special import expit, log_expit, log_softmax, logit, logsumexp
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from lpft_keras.arrays import whole_number
from lpft_keras.calibration.bins import bin_edges
from lpft_keras.calibration.scaling import Scaling, require_all_classes
from lpft_keras.errors import InputError

_SUREST = -np.log(np.finfo(np.float64).eps)
"""Log-odds beyond which netcal takes a probability for 0 or 1, and cuts it."""


class OneVsRest(Scaling):
    """Calibrates each class's log-odds against the rest; with two classes, class 1's alone."""

    def _fit(self, logits: np.ndarray, labels: np.ndarray) -> None:
        require_all_classes(labels, logits.shape[1], type(self).__name__)
        odds = _log_odds(logits)
        self.maps_ = [self._fit_one(odds[:, k], labels == k) for k in _fitted_classes(logits.shape[1])]

    def _scaled(self, logits: np.ndarray) -> np.ndarray:
        odds = _log_odds(logits)
        classes = _fitted_classes(logits.shape[1])
        found = np.stack([self._apply_one(self.maps_[i], odds[:, k]) for i, k in enumerate(classes)], axis=1)
        if found.shape[1] == 1:
            return np.concatenate([1 - found, found], axis=1)
        total = found.sum(axis=1, keepdims=True)
        # Where every class is given up, none is preferred (as in scikit-learn).
        return np.divide(found, total, out=np.full_like(found, 1 / found.shape[1]), where=total > 0)

    @abstractmethod
    def _fit_one(self, odds: np.ndarray, hits: np.ndarray) -> np.ndarray:
        """Return the numbers of one class's map."""

    @abstractmethod
    def _apply_one(self, numbers: np.ndarray, odds: np.ndarray) -> np.ndarray:
        """Return one class's probabilities, before they are brought to sum 1."""


def _fitted_classes(classes: int) -> range:
    return range(1, 2) if classes == 2 else range(classes)


def _log_odds(logits: np.ndarray) -> np.ndarray:
    """Return log p - log(1 - p) of every class, without cancellation where p is near 1."""
    logs = log_softmax(logits, axis=1)
    odds = logs - np.log1p(-np.exp(logs.clip(max=-1e-300)).clip(max=1 - 1e-16))
    rows, top = np.arange(len(logits)), logits.argmax(axis=1)
    others = logits.copy()
    others[rows, top] = -np.inf
    odds[rows, top] = logits[rows, top] - logsumexp(others, axis=1)
    return odds


class PlattScaling(OneVsRest):
    """A sigmoid of each class's log-odds (Platt 1999, with his smoothed targets), by scikit-learn; may change
    predictions.

    Attributes:
        maps_: For each class (with two, class 1 only) slope and intercept, float64 [2].

    Example:
        >>> PlattScaling().fit(validation_logits, validation_labels).predict_proba(test_logits)
    """

    def _fit_one(self, odds: np.ndarray, hits: np.ndarray) -> np.ndarray:
        target = np.where(hits, (hits.sum() + 1) / (hits.sum() + 2), 1 / ((~hits).sum() + 2))
        # A target between 0 and 1 is a row of each class, weighted.
        fitted = LogisticRegression(C=np.inf, solver="newton-cholesky", tol=1e-10, max_iter=1000).fit(
            np.concatenate([odds, odds])[:, None],
            np.repeat([1, 0], len(odds)),
            sample_weight=np.concatenate([target, 1 - target]),
        )
        return np.array([fitted.coef_[0, 0], fitted.intercept_[0]])

    def _apply_one(self, numbers: np.ndarray, odds: np.ndarray) -> np.ndarray:
        return expit(numbers[0] * odds + numbers[1])


class IsotonicCalibration(OneVsRest):
    """A rising step function of each class's log-odds (Zadrozny and Elkan 2002), by scikit-learn; may change
    predictions.

    Attributes:
        maps_: For each class (with two, class 1 only) log-odds and probabilities between which it is linear,
            float64 [2, thresholds].

    Example:
        >>> IsotonicCalibration().fit(validation_logits, validation_labels).predict_proba(test_logits)
    """

    def _fit_one(self, odds: np.ndarray, hits: np.ndarray) -> np.ndarray:
        fitted = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(odds, hits)
        return np.stack([fitted.X_thresholds_, fitted.y_thresholds_])

    def _apply_one(self, numbers: np.ndarray, odds: np.ndarray) -> np.ndarray:
        return np.interp(odds, *numbers)


class HistogramBinning(OneVsRest):
    """The share of hits in each bin of each class's probability (Zadrozny and Elkan 2001), by netcal.

    May change predictions, and makes many of them equal.

    Args:
        bins: Number of equal-width bins over [0, 1].

    Attributes:
        maps_: For each class (with two, class 1 only) the probability of each bin, float64 [bins].

    Example:
        >>> HistogramBinning(bins=10).fit(validation_logits, validation_labels).predict_proba(test_logits)
    """

    def __init__(self, bins: int = 15):
        self.bins = bins

    def _fit_one(self, odds: np.ndarray, hits: np.ndarray) -> np.ndarray:
        bins = whole_number(self.bins, "bins")
        fitted = _netcal("binning").HistogramBinning(bins)
        fitted.fit(expit(odds), hits.astype(int))
        return fitted.transform((np.arange(bins) + 0.5) / bins)

    def _apply_one(self, numbers: np.ndarray, odds: np.ndarray) -> np.ndarray:
        return numbers[np.searchsorted(bin_edges(len(numbers))[1:-1], expit(odds), side="left")]


class BetaCalibration(OneVsRest):
    r"""\(\sigma(a \ln p - b \ln(1 - p) + c)\) of each class's probability (Kull et al. 2017), by netcal.

    May change predictions with three classes or more.

    Attributes:
        maps_: For each class (with two, class 1 only) a, b and c, float64 [3].

    Example:
        >>> BetaCalibration().fit(validation_logits, validation_labels).predict_proba(test_logits)
    """

    def _fit_one(self, odds: np.ndarray, hits: np.ndarray) -> np.ndarray:
        fitted = _netcal("scaling").BetaCalibration()
        fitted.fit(expit(odds), hits.astype(int))
        # Three points give the three numbers, whatever netcal calls them inside.
        points = np.array([0.25, 0.5, 0.75])
        values = np.asarray(fitted.transform(points), np.float64).clip(1e-15, 1 - 1e-15)
        return np.linalg.solve(np.stack([np.log(points), -np.log1p(-points), np.ones(3)], axis=1), logit(values))

    def _apply_one(self, numbers: np.ndarray, odds: np.ndarray) -> np.ndarray:
        odds = odds.clip(-_SUREST, _SUREST)
        return expit(numbers[0] * log_expit(odds) - numbers[1] * log_expit(-odds) + numbers[2])


def _netcal(part: str):
    try:
        import netcal.binning
        import netcal.scaling
    except ImportError as error:
        raise InputError(
            'this scaling is fitted by netcal, which brings PyTorch: pip install "lpft-keras[netcal]" (in a checkout: '
            'pip install -e ".[netcal]")'
        ) from error
    return getattr(netcal, part)


ONE_VS_REST: dict[str, type[Scaling]] = {
    "platt": PlattScaling,
    "isotonic": IsotonicCalibration,
    "histogram": HistogramBinning,
    "beta": BetaCalibration,
}
