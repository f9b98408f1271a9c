"""Temperature scaling: one number that pays calibration back and leaves every prediction as it was."""

import logging
import math
from typing import ClassVar

import numpy as np
from scipy.optimize import brentq
from scipy.special import log_softmax, softmax

from lpft_keras.calibration.scaling import Scaling
from lpft_keras.errors import unknown_name

log = logging.getLogger(__name__)

_SOLVERS = ("exact", "adam")
# Where the logits carry no information, or all predictions are right, the optimum is at infinity or zero: bounds, in
# units of the logits' spread, keep the answer finite.
_LOG_BOUNDS = (-7.0, 7.0)
# The paper's procedure (Tomihari and Sato 2024, Appendix A.3).
_RATE, _STEPS, _PATIENCE = 1e-3, 100_000, 10


class TemperatureScaling(Scaling):
    """Divide logits by the temperature that minimises the negative log-likelihood (Guo et al. 2017).

    Args:
        solver: "exact" finds the optimum: the likelihood is convex in 1/T, so that its slope crosses zero once, and a
            bounded scalar solve in log T finds where. "adam" is the procedure of Tomihari and Sato 2024: Adam on T from
            1, rate 1e-3, at most 1e5 steps, stopped where the likelihood has not improved for 10; it agrees with the
            optimum to 1e-3 as long as that lies within its reach.

    Attributes:
        temperature_: The fitted temperature. Above 1 the classifier is too sure of itself. Where the rows have no
            finite optimum (all predictions are right, say) it is exp(-7) or exp(7) times the logits' spread, which is
            logged; logits that are all equal have temperature 1.
        n_iter_: Steps taken.
        finite_: Whether the rows have a finite optimum; Adam does not tell.

    Example:
        >>> scaling = TemperatureScaling().fit(validation_logits, validation_labels)
        >>> probabilities = scaling.predict_proba(test_logits)
    """

    keeps_predictions: ClassVar[bool] = True
    temperature_: float
    n_iter_: int
    finite_: bool

    def __init__(self, solver: str = "exact"):
        self.solver = solver

    def _fit(self, logits: np.ndarray, labels: np.ndarray) -> None:
        if self.solver not in _SOLVERS:
            raise unknown_name("solver", self.solver, _SOLVERS)
        solve = _exact if self.solver == "exact" else _adam
        self.temperature_, self.n_iter_, self.finite_ = solve(logits, labels)

    def _scaled(self, logits: np.ndarray) -> np.ndarray:
        return softmax(logits / self.temperature_, axis=1)


def _slope(beta: float, logits: np.ndarray, own: np.ndarray) -> float:
    """Return the derivative of the mean negative log-likelihood by beta = 1/T: it rises with beta."""
    return float(((softmax(beta * logits, axis=1) * logits).sum(axis=1) - own).mean())


def _exact(logits: np.ndarray, labels: np.ndarray) -> tuple[float, int, bool]:
    centred = logits - logits.mean(axis=1, keepdims=True)
    spread = float(np.sqrt(np.square(centred).mean()))
    if spread == 0:
        return 1.0, 0, False
    centred /= spread
    own = centred[np.arange(len(labels)), labels]

    def slope(log_t: float) -> float:
        return _slope(math.exp(-log_t), centred, own)

    low, high = _LOG_BOUNDS
    if slope(low) <= 0:
        log.warning("no finite temperature: %d rows all want surer predictions, as where every one is right", len(own))
        return spread * math.exp(low), 1, False
    if slope(high) >= 0:
        log.warning("no finite temperature: the logits say nothing about the labels of these %d rows", len(own))
        return spread * math.exp(high), 2, False
    root, info = brentq(slope, low, high, xtol=1e-14, rtol=1e-14, full_output=True)
    return spread * math.exp(root), info.iterations, True


def _adam(logits: np.ndarray, labels: np.ndarray) -> tuple[float, int, bool]:
    rows = np.arange(len(labels))
    own = logits[rows, labels]
    temperature = best = 1.0
    least, since, first, second = math.inf, 0, 0.0, 0.0
    step = 0
    for step in range(1, _STEPS + 1):
        loss = float(-log_softmax(logits / temperature, axis=1)[rows, labels].mean())
        least, best, since = (loss, temperature, 0) if loss < least else (least, best, since + 1)
        if since == _PATIENCE:
            break
        gradient = -_slope(1 / temperature, logits, own) / temperature**2
        first = 0.9 * first + 0.1 * gradient
        second = 0.999 * second + 0.001 * gradient**2
        change = (first / (1 - 0.9**step)) / (math.sqrt(second / (1 - 0.999**step)) + 1e-8)
        temperature = max(temperature - _RATE * change, _RATE)
    return best, step, True
