"""Linear probing: the head fitted to frozen features, by scikit-learn's cross-validated logistic regression."""

import logging
import warnings
from dataclasses import dataclass

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV
from sklearn.model_selection import StratifiedKFold
from threadpoolctl import threadpool_limits

from lpft_keras.errors import InputError
from lpft_keras.hyperparameters import PROBE_SOLVERS, ProbeSettings

log = logging.getLogger(__name__)

# Iterations at which the path of the head is written down, so that a slow solver's path costs a few short fits.
_PATH = (1, 2, 3, 4, 5, 6, 8, 10, 13, 16, 20, 25, 32, 40, 50, 63, 80, 100, 160, 250, 400, 630, 1000, 1600, 2500, 4000)


@dataclass(frozen=True)
class Probe:
    """A fitted head.

    Attributes:
        kernel: float64 array of shape [features, classes].
        bias: float64 array of shape [classes].
        inverse_strength: The chosen C.
        path: `(iteration, kernel, bias)` along the solver's iterations at that C.
    """

    kernel: np.ndarray
    bias: np.ndarray
    inverse_strength: float
    path: list[tuple[int, np.ndarray, np.ndarray]]


def usable_folds(labels: np.ndarray, classes: int, folds: int) -> int:
    """Return how many folds the rarest class allows.

    Args:
        labels: Integer array of shape [rows].
        classes: Number of classes.
        folds: Folds wished for.

    Returns:
        `folds`, or fewer (logged).

    Raises:
        InputError: A class has fewer than two rows.
    """
    rarest = int(np.bincount(labels, minlength=classes).min())
    if rarest < 2:
        raise InputError(
            f"linear probing chooses its regularisation by cross-validation, which needs 2 training rows of every "
            f"class; class {int(np.bincount(labels, minlength=classes).argmin())} has {rarest}: give more rows"
        )
    if rarest < folds:
        log.warning("linear probe: %d folds instead of %d, since a class has only %d rows", rarest, folds, rarest)
    return min(folds, rarest)


def linear_probe(features: np.ndarray, labels: np.ndarray, classes: int, settings: ProbeSettings, seed: int) -> Probe:
    """Fit a head to frozen features: L2-regularised multinomial logistic regression, C chosen by cross-validation.

    Args:
        features: Float array of shape [rows, features].
        labels: Integer array of shape [rows].
        classes: Number of classes.
        settings: Solver and folds.
        seed: Shuffles rows into folds, as the original code's shuffled loader does.

    Returns:
        The head, written so that the softmax of `features @ kernel + bias` equals scikit-learn's probabilities.

    Raises:
        InputError: A class has fewer than two rows.
    """
    features = np.asarray(features, dtype=np.float64)
    # The solvers call BLAS with small arrays thousands of times: threads would wait for each other.
    with threadpool_limits(1):
        return _fit(features, labels, classes, settings, seed)


def _fit(features: np.ndarray, labels: np.ndarray, classes: int, settings: ProbeSettings, seed: int) -> Probe:
    folds = StratifiedKFold(usable_folds(labels, classes, settings.folds), shuffle=True, random_state=seed)
    common = {"solver": settings.solver, "tol": settings.tolerance or PROBE_SOLVERS[settings.solver]}
    search = LogisticRegressionCV(
        Cs=settings.grid,
        cv=folds,
        scoring="accuracy",
        l1_ratios=(0.0,),
        use_legacy_attributes=False,
        max_iter=settings.max_iterations,
        **common,
    ).fit(features, labels)
    strength = float(search.C_)
    path: list[tuple[int, np.ndarray, np.ndarray]] = []
    for limit in [*(step for step in _PATH if step < settings.max_iterations), settings.max_iterations]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # stopping early is the point
            part = LogisticRegression(C=strength, max_iter=limit, **common).fit(features, labels)
        done = int(np.max(part.n_iter_))
        if path and done == path[-1][0]:
            break
        path.append((done, *_softmax_head(part.coef_, part.intercept_)))
    return Probe(*_softmax_head(search.coef_, search.intercept_), strength, path)


def _softmax_head(coefficients: np.ndarray, intercepts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Turn scikit-learn's coefficients into a head of one column a class.

    Two classes give one row w, with probability sigmoid(w x + b): the softmax of (-(w x + b)/2, (w x + b)/2).
    """
    if len(coefficients) == 1:
        coefficients = np.concatenate([-coefficients, coefficients]) / 2
        intercepts = np.concatenate([-intercepts, intercepts]) / 2
    return coefficients.T.copy(), np.array(intercepts)
