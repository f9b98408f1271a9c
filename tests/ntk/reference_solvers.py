"""Slow, obvious twins of the kernel solvers, in float64: weights instead of kernels wherever there are any."""

import math

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

from tests.reference import softmax


def descent_on_weights(gradients, targets, examples, rate, steps):
    """Return w after gradient descent on the mean over examples of the squared loss of f = gradients @ w, halved.

    `gradients` is [rows, p], all rows of an example side by side; `targets` is [rows].
    """
    w = np.zeros(gradients.shape[1])
    for _ in range(steps):
        w = w - rate * gradients.T @ (gradients @ w - targets) / examples
    return w


def asymmetric_machine(train, evaluated, signs, gamma, mixing):
    """Return the predictions of the original code's formulas, in its layout: training rows, evaluated columns.

    `train` and `evaluated` are gradients [rows, p]; `signs` are -1 and 1. Without f0.
    """
    n = len(train)
    own = np.sign(train) @ train.T
    h = np.array([[signs[i] * own[i, j] * signs[j] for j in range(n)] for i in range(n)])
    system = np.zeros((2 * n, 2 * n))
    system[:n, :n] = system[n:, n:] = np.eye(n) / gamma
    system[:n, n:], system[n:, :n] = h, h.T
    solution = np.linalg.solve(system, np.ones(2 * n))
    kernel, flipped = np.sign(train) @ evaluated.T, train @ np.sign(evaluated).T
    return mixing * kernel.T @ (solution[:n] * signs) + (1 - mixing) * flipped.T @ (solution[n:] * signs)


def logistic_in_kernel_norm(kernel, targets, strength):
    """Return alpha and b that minimise strength * sum log(1 + exp(-t f)) + m alpha^T K alpha / 2.

    m is the mean diagonal of K.
    """
    n, mean = len(kernel), np.trace(kernel) / len(kernel)

    def objective(z):
        f = kernel @ z[:n] + z[n]
        slope = -targets * expit(-targets * f)
        value = strength * np.logaddexp(0, -targets * f).sum() + mean * z[:n] @ kernel @ z[:n] / 2
        gradient = kernel @ (strength * slope + mean * z[:n])
        return value, np.append(gradient, strength * slope.sum())

    z = minimize(objective, np.zeros(n + 1), jac=True, method="BFGS", options={"gtol": 1e-9, "maxiter": 20_000}).x
    return z[:n], z[n]


def loss_by_angle_and_norm(cosines, norms, lengths, labels, bias):
    """Return the losses of examples whose logits are ||v_k|| ||phi_i|| cos tau_ki + b_k."""
    p = softmax(cosines * norms * lengths[:, None] + bias)
    return np.array([-math.log(row[y]) for row, y in zip(p, labels, strict=True)])
