"""Measures of features and heads: plain arrays in, numbers out."""

import numpy as np


def head_norm(head: np.ndarray) -> float:
    r"""Return the norm of a classifier head, \(\|V\|_F\) ("Norm(C)" of Tomihari and Sato 2024, Tables 1 and 13).

    Args:
        head: The head's kernel, of shape [features, classes] or transposed.

    Returns:
        The Frobenius norm, in float64.

    Example:
        >>> head_norm(np.array([[3.0], [4.0]]))
        5.0
    """
    return float(np.linalg.norm(np.asarray(head, dtype=np.float64)))
