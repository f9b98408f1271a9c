"""What theory says of the head: gradients by angle and row norm, and the identity at the optimum of linear probing."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from lpft_keras.arrays import as_array, class_ids, real_number
from lpft_keras.errors import InputError
from lpft_keras.ntk.statistics import residuals


@dataclass(frozen=True)
class HeadGradients:
    """Gradients of the cross-entropy by the parts of <v_k, phi_i> = ||v_k|| ||phi_i|| cos tau_ki.

    Attributes:
        cosines: d l_i / d cos tau_ki, the loss of example i alone; float64 [N, C].
        norms: d L / d ||v_k||, L the mean over examples; float64 [C].
    """

    cosines: np.ndarray
    norms: np.ndarray


def head_gradients(features: Any, labels: Any, kernel: Any, bias: Any = None) -> HeadGradients:
    r"""Return the gradients of the loss by the angles between features and the head's rows, and by the rows' norms.

    Tomihari and Sato 2024, arXiv version 2, equations (7) and (8). With
    \(\delta_i = e_{y_i} - \mathrm{softmax}(f(x_i))\),

    \(\partial \ell_i / \partial \cos \tau_{ki} = -[\delta_i]_k \|v_k\| \|\phi_i\|\), and
    \(\partial L / \partial \|v_k\| = -\frac1N \sum_i [\delta_i]_k \|\phi_i\| \cos \tau_{ki}
    = \langle \partial L / \partial v_k, v_k / \|v_k\| \rangle\)

    (the paper leaves out 1/N, and writes sums where k is fixed). Each is taken with all other parts held.

    Args:
        features: phi, float [N, h].
        labels: Class ids, [N].
        kernel: The head's kernel as a Dense layer has it, float [h, C]; v_k is its column k.
        bias: float [C]; None is the paper's section, which has none. It enters the softmax only.

    Returns:
        Both gradients.

    Raises:
        InputError: Shapes don't fit, or a row of the head is zero: it has no direction.
    """
    features, labels, kernel, bias = _checked(features, labels, kernel, bias)
    lengths = np.linalg.norm(kernel, axis=0)
    if not lengths.all():
        raise InputError(f"the head's row of class {int(np.argmin(lengths))} is zero and has no direction")
    delta = residuals(features @ kernel + bias, labels)
    cosines = -delta * lengths * np.linalg.norm(features, axis=1)[:, None]
    return HeadGradients(cosines, -(delta * (features @ kernel / lengths)).mean(axis=0))


def lp_optimum_gap(features: Any, labels: Any, kernel: Any, bias: Any, inverse_strength: float) -> float:
    r"""Return how far a head is from the optimum of linear probing, by what the optimum says of the kernel P.

    At the optimum of logistic regression with a free intercept, the minimum of \(c \sum_i \ell_i + \frac12 \|V\|^2\),

    \(\sum_i P(x, x_i) \delta_i = V \phi(x) / c\) for every x,

    for C of three classes or more. Of two classes scikit-learn fits one row u, which as a head is V = [-u/2, u/2]: then
    the penalty on u is \(\frac12 \|u\|^2 = \|V\|^2\), and the right-hand side is \(2 V \phi(x) / c\).

    Args:
        features: phi of the rows that the head was fitted on, float [N, h].
        labels: Their class ids, [N].
        kernel: The head's kernel, float [h, C]; [-u/2, u/2] for two classes.
        bias: float [C].
        inverse_strength: c, scikit-learn's C.

    Returns:
        The Frobenius norm, over all N rows, of the difference of both sides, divided by that of the right-hand side; 0
        at the optimum. Time O(N h C).

    Raises:
        InputError: Shapes don't fit, c is not above 0, or the right-hand side is zero.
    """
    features, labels, kernel, bias = _checked(features, labels, kernel, bias)
    strength = real_number(inverse_strength, "inverse_strength", 0, np.inf)
    delta = residuals(features @ kernel + bias, labels)
    by_kernel = features @ (features.T @ delta) + delta.sum(axis=0)
    by_head = (2 if kernel.shape[1] == 2 else 1) / strength * features @ kernel
    size = np.linalg.norm(by_head)
    if not size:
        raise InputError("the head is zero on all rows, so that a relative gap is not defined")
    return float(np.linalg.norm(by_kernel - by_head) / size)


def _checked(features: Any, labels: Any, kernel: Any, bias: Any) -> tuple[np.ndarray, ...]:
    features, kernel = (
        as_array(value, name).astype("float64") for value, name in ((features, "features"), (kernel, "kernel"))
    )
    if features.ndim != 2 or kernel.ndim != 2 or features.shape[1] != kernel.shape[0] or not features.size:
        raise InputError(f"features [N, h] and kernel [h, C] don't fit: {features.shape} and {kernel.shape}")
    classes = kernel.shape[1]
    if classes < 2:
        raise InputError(f"kernel must have a column for each of two classes or more, not {classes}")
    bias = np.zeros(classes) if bias is None else as_array(bias, "bias").astype("float64")
    if bias.shape != (classes,):
        raise InputError(f"bias must be of shape ({classes},), not {bias.shape}")
    labels = class_ids(labels, len(features), "features")
    if labels.min() < 0 or labels.max() >= classes:
        raise InputError(f"labels must lie in 0..{classes - 1}, found {labels.min()}..{labels.max()}")
    for value, name in ((features, "features"), (kernel, "kernel"), (bias, "bias")):
        if not np.isfinite(value).all():
            raise InputError(f"{name} holds NaN or infinity")
    return features, labels, kernel, bias
