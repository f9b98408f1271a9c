"""Measures of features and heads: how alike features are, how far they moved, how well they separate the classes.

Arrays in, numbers out: nothing here knows of Keras, tasks or text. All sums are in float64.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from lpft_keras.arrays import as_array, class_ids, is_float, real_number
from lpft_keras.errors import InputError

_BLOCK = 4096
"""Rows turned into float64 at a time."""


def head_norm(head: Any) -> float:
    r"""Return the norm of a classifier head, \(\|V\|_F\) ("Norm(C)" of Tomihari and Sato 2024, Tables 1 and 13).

    Args:
        head: The head's kernel, of shape [features, classes] or transposed.

    Returns:
        The Frobenius norm, in float64.

    Example:
        >>> head_norm(np.array([[3.0], [4.0]]))
        5.0
    """
    return float(np.linalg.norm(as_array(head, "head").astype(np.float64)))


def cosine_similarity(features: Any, *, with_self: bool = False) -> float:
    r"""Return the mean cosine similarity among the rows ("CS(F)" of Tomihari and Sato 2024, Tables 1 and 11).

    \(\frac{2}{n(n-1)} \sum_{i<j} \cos(\phi_i, \phi_j)\), exactly: with unit rows \(u_i\) the sum over all pairs is
    \(\|\sum_i u_i\|^2\), so that no [rows, rows] array is made. Time O(rows d), memory O(d) beside the input.

    Args:
        features: Float array of shape [rows, d], two rows or more, none of them zero.
        with_self: Count each row's similarity with itself, 1, as well (the paper does not say).

    Returns:
        A number in [-1, 1].

    Raises:
        InputError: There are fewer than two rows, a value is not finite, or a row is zero.

    Example:
        >>> cosine_similarity(np.array([[1.0, 0.0], [0.0, 2.0]]))
        0.0
    """
    features = _checked(features, "features")
    count = len(features)
    if count < 2:
        raise InputError("features hold one row; a similarity needs two or more")
    total, own = np.zeros(features.shape[1]), 0.0
    for start in range(0, count, _BLOCK):
        block = features[start : start + _BLOCK].astype(np.float64)
        norms = np.linalg.norm(block, axis=1, keepdims=True)
        if not norms.all():
            raise InputError(f"row {start + int(np.argmin(norms))} of features is zero; its cosine is not defined")
        block /= norms
        total += block.sum(axis=0)
        own += float(np.square(block).sum())
    pairs = float(total @ total)
    return pairs / count**2 if with_self else (pairs - own) / (count * (count - 1))


def feature_change(features: Any, reference: Any) -> float:
    r"""Return how far features moved ("Diff(F)" of Tomihari and Sato 2024, Tables 1, 11 and 12).

    \(\frac{1}{n} \sum_i \|\phi(x_i) - \phi_0(x_i)\|_2\).

    Args:
        features: Float array of shape [rows, d].
        reference: Features of the same rows before, of the same shape.

    Returns:
        The mean Euclidean distance.

    Raises:
        InputError: Shapes differ, a value is not finite, or there are no rows.

    Example:
        >>> feature_change(np.array([[3.0, 4.0], [0.0, 0.0]]), np.zeros((2, 2)))
        2.5
    """
    features, reference = _checked(features, "features"), _checked(reference, "reference")
    if features.shape != reference.shape:
        raise InputError(f"reference must be of the shape of features, {features.shape}, not {reference.shape}")
    total = 0.0
    for start in range(0, len(features), _BLOCK):
        part = slice(start, start + _BLOCK)
        change = features[part].astype(np.float64) - reference[part].astype(np.float64)
        total += float(np.linalg.norm(change, axis=1).sum())
    return total / len(features)


def fisher_discriminant_ratio(features: Any, labels: Any, *, ridge: float | None = None) -> float:
    r"""Return Fisher's discriminant ratio ("FDR(F)" of Tomihari and Sato 2024, Tables 1 and 11).

    \(\mathrm{tr}(S_W^{-1} S_B)\) with \(S_W = \frac1n \sum_i (\phi_i - \mu_{y_i})(\phi_i - \mu_{y_i})^T\) and
    \(S_B = \sum_c \frac{n_c}{n} (\mu_c - \mu)(\mu_c - \mu)^T\). The greater, the better a linear classifier separates
    the classes.

    With rows - classes < d the within-class scatter \(S_W\) is singular, and the number says more of how that is
    treated than of the features: the paper's 8e4 to 7e8 on CB are of this kind. So compare such values only among each
    other, with the same treatment.

    Args:
        features: Float array of shape [rows, d].
        labels: Integer array of shape [rows], two classes or more.
        ridge: None takes the pseudo-inverse of \(S_W\): directions in which no class varies are left out, eigenvalues
            below 1e-10 of the greatest count as zero. A number above 0 takes \((S_W + r \bar\lambda I)^{-1}\), where
            \(\bar\lambda\) is the mean eigenvalue of \(S_W\); those directions then count most.

    Returns:
        A number of 0 or more. Time O(rows d^2 + d^3), memory O(d^2).

    Raises:
        InputError: Shapes don't fit, a value is not finite, there is one class only, or no class varies at all.

    Example:
        >>> fisher_discriminant_ratio(np.array([[-2.0], [0.0], [9.0], [11.0]]), np.array([0, 0, 1, 1]))
        30.25
    """
    return float(fisher_discriminant_shares(features, labels, ridge=ridge).sum())


def fisher_discriminant_shares(features: Any, labels: Any, *, ridge: float | None = None) -> np.ndarray:
    r"""Return each class's share of Fisher's discriminant ratio: how far its mean lies from the common one.

    \(\frac{n_c}{n} (\mu_c - \mu)^T S_W^{-1} (\mu_c - \mu)\); the shares add up to the ratio.

    Args:
        features: As for `fisher_discriminant_ratio`, like the other arguments.
        labels: Integer array of shape [rows].
        ridge: How a singular \(S_W\) is treated.

    Returns:
        float64 array, one number a class that occurs, in the order of their ids.

    Raises:
        InputError: As `fisher_discriminant_ratio`.

    Example:
        >>> fisher_discriminant_shares(np.array([[-2.0], [0.0], [9.0], [11.0]]), np.array([0, 0, 1, 1]))
        array([15.125, 15.125])
    """
    features = _checked(features, "features")
    labels = class_ids(labels, len(features), "features")
    ridge = None if ridge is None else real_number(ridge, "ridge", 0, np.inf)
    classes, ids = np.unique(labels, return_inverse=True)
    if len(classes) < 2:
        raise InputError(f"labels hold one class only ({classes[0]}); a discriminant ratio needs two or more")
    counts = np.bincount(ids)
    means = np.stack([features[ids == k].mean(axis=0, dtype=np.float64) for k in range(len(classes))])
    within = np.zeros((features.shape[1],) * 2)
    for start in range(0, len(features), _BLOCK):
        part = slice(start, start + _BLOCK)
        centred = features[part].astype(np.float64) - means[ids[part]]
        within += centred.T @ centred
    values, vectors = np.linalg.eigh(within / len(features))
    if not _varies(values[-1], features):
        raise InputError("features do not vary within any class; a discriminant ratio is not defined")
    offsets = np.square((means - counts @ means / len(features)) @ vectors)
    if ridge is None:
        kept = values > 1e-10 * values[-1]
        distances = offsets[:, kept] @ (1 / values[kept])
    else:
        distances = offsets @ (1 / (values.clip(min=0) + ridge * values.mean()))
    return counts / len(features) * distances


def linear_cka(features: Any, other: Any) -> float:
    r"""Return the linear centred kernel alignment (CKA) of two sets of features (Kornblith et al. 2019).

    \(\|Y^T X\|_F^2 / (\|X^T X\|_F \|Y^T Y\|_F)\) of the centred features: 1 where one is the other turned and scaled,
    whatever their widths. A witness beside `feature_change`, which turning and scaling do change.

    Args:
        features: Float array of shape [rows, d].
        other: Float array of shape [rows, e]: the same rows, by another model or before.

    Returns:
        A number in [0, 1]. Time O(rows (d + e)^2), memory O((d + e)^2).

    Raises:
        InputError: The numbers of rows differ, a value is not finite, or all rows of one set are equal.

    Example:
        >>> round(linear_cka(np.eye(3), -2 * np.eye(3)), 6)
        1.0
    """
    features, other = _checked(features, "features"), _checked(other, "other")
    if len(features) != len(other):
        raise InputError(f"other must have as many rows as features, {len(features)}, not {len(other)}")
    means = features.mean(axis=0, dtype=np.float64), other.mean(axis=0, dtype=np.float64)
    products: dict[str, Any] = {"xx": 0.0, "xy": 0.0, "yy": 0.0}
    for start in range(0, len(features), _BLOCK):
        part = slice(start, start + _BLOCK)
        x = features[part].astype(np.float64) - means[0]
        y = other[part].astype(np.float64) - means[1]
        products = {"xx": products["xx"] + x.T @ x, "xy": products["xy"] + x.T @ y, "yy": products["yy"] + y.T @ y}
    norms = {name: float(np.linalg.norm(product)) for name, product in products.items()}
    for name, one, rows in (("features", "xx", features), ("other", "yy", other)):
        if not _varies(norms[one] / len(rows), rows):
            raise InputError(f"all rows of {name} are equal; an alignment is not defined")
    return norms["xy"] ** 2 / (norms["xx"] * norms["yy"])


def by_class(measure: Callable[..., float], labels: Any, *arrays: Any) -> dict[int, float]:
    """Return a measure of the rows of each class alone.

    Args:
        measure: A function of arrays of rows, such as `cosine_similarity` or `feature_change`.
        labels: Integer array of shape [rows].
        *arrays: What the measure takes, each of shape [rows, ...].

    Returns:
        The measure by class id, of the classes that occur.

    Raises:
        InputError: Shapes don't fit, or the measure refuses the rows of a class.

    Example:
        >>> by_class(feature_change, np.array([0, 1]), np.array([[3.0], [4.0]]), np.zeros((2, 1)))
        {0: 3.0, 1: 4.0}
    """
    given = [as_array(array, "arrays") for array in arrays]
    if not given or any(array.shape[:1] != given[0].shape[:1] for array in given):
        raise InputError("arrays must be one or more, of equally many rows")
    labels = class_ids(labels, len(given[0]), "arrays")
    return {int(k): measure(*(array[labels == k] for array in given)) for k in np.unique(labels)}


def _checked(features: Any, name: str) -> np.ndarray:
    features = as_array(features, name)
    if features.ndim != 2 or not len(features):
        raise InputError(f"{name} must be of shape [rows, d] with a row or more, not {features.shape}")
    if not is_float(features):
        features = features.astype(np.float64)
    for start in range(0, len(features), _BLOCK):
        finite = np.isfinite(features[start : start + _BLOCK]).all(axis=1)
        if not finite.all():
            raise InputError(f"{name} hold NaN or infinity, first in row {start + int(np.argmin(finite))}")
    return features


def _varies(scatter: float, features: np.ndarray) -> bool:
    """Return whether a scatter (a sum of squares a row) is more than what rounding makes of equal rows."""
    return scatter > (1e-12 * float(np.abs(features).max())) ** 2
