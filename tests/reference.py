"""Slow, obvious twins of the package's numeric routines, in float64: what the tests compare with."""

import math

import numpy as np


def softmax(logits):
    return np.array(
        [[math.exp(v - max(row)) / sum(math.exp(u - max(row)) for u in row) for v in row] for row in logits]
    )


def calibration_gaps(probabilities, labels, bins=15):
    """Return [(share, gap)] of the non-empty bins (lower, upper], by looking at every row for every bin."""
    gaps = []
    for b in range(bins):
        lower, upper = b / bins, (b + 1) / bins
        inside = [
            (max(p), int(np.argmax(p)) == y)
            for p, y in zip(probabilities, labels, strict=True)
            if lower < max(p) <= upper
        ]
        if inside:
            confidence = sum(c for c, _ in inside) / len(inside)
            accuracy = sum(right for _, right in inside) / len(inside)
            gaps.append((len(inside) / len(labels), abs(accuracy - confidence)))
    return gaps


def expected_calibration_error(probabilities, labels, bins=15):
    return sum(share * gap for share, gap in calibration_gaps(probabilities, labels, bins))


def maximum_calibration_error(probabilities, labels, bins=15):
    return max(gap for _, gap in calibration_gaps(probabilities, labels, bins))


def brier_score(probabilities, labels):
    rows = [sum((p - (k == y)) ** 2 for k, p in enumerate(row)) for row, y in zip(probabilities, labels, strict=True)]
    return sum(rows) / len(rows)


def negative_log_likelihood(logits, labels):
    rows = [
        math.log(sum(math.exp(v - max(row)) for v in row)) + max(row) - row[y]
        for row, y in zip(logits, labels, strict=True)
    ]
    return sum(rows) / len(rows)


def temperature(logits, labels):
    """Return the optimal temperature by bisection of the derivative of the NLL in beta = 1/T, in which it is convex."""

    def slope(beta):
        p = softmax(beta * logits)
        return float(np.mean((p * logits).sum(1) - logits[np.arange(len(labels)), labels]))

    low, high = 1e-3, 1e3
    for _ in range(200):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if slope(middle) < 0 else (low, middle)
    return 1 / low


def macro_f1(predicted, labels):
    scores = []
    for k in sorted(set(labels) | set(predicted)):
        hits = sum(p == k and y == k for p, y in zip(predicted, labels, strict=True))
        scores.append(2 * hits / (sum(p == k for p in predicted) + sum(y == k for y in labels)))
    return sum(scores) / len(scores)


def logistic_gradient(features, labels, kernel, bias, strength):
    """Return the gradient of C * sum of the cross-entropies + ||V||^2 / 2 with respect to kernel and bias."""
    p = softmax(features @ kernel + bias)
    residual = p - np.eye(p.shape[1])[labels]
    return strength * features.T @ residual + kernel, strength * residual.sum(0)


def adam(start, gradients, rate, clip=1.0, epsilon=1e-8):
    """Return the parameters after Adam without decay, gradients clipped by norm, rate falling linearly to zero."""
    w, m, v = start.astype(float).copy(), np.zeros_like(start, float), np.zeros_like(start, float)
    for t, gradient in enumerate(gradients):
        g = gradient * min(1.0, clip / np.linalg.norm(gradient))
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        step = rate * (1 - t / len(gradients))
        w -= step * (m / (1 - 0.9 ** (t + 1))) / (np.sqrt(v / (1 - 0.999 ** (t + 1))) + epsilon)
    return w


def tangent_kernel(features, parameters, head):
    """Return P and F of logits `features(parameters) @ head + bias` from the whole float64 Jacobian.

    `features` is a function of a dict of float64 PyTorch tensors; it gives [examples, h]. `head` is [h, classes].
    """
    import torch

    assert all(value.dtype == torch.float64 for value in parameters.values())
    head = torch.as_tensor(head, dtype=torch.float64)
    phi = features(parameters).detach()
    jacobians = torch.func.jacrev(features)(parameters).values()
    rows = torch.cat([torch.einsum("hc,nhp->ncp", head, j.flatten(2)) for j in jacobians], dim=2)
    identity = torch.eye(head.shape[1], dtype=torch.float64)
    pretrain = torch.einsum("nm,cd->ncmd", phi @ phi.T + 1, identity)
    return pretrain.numpy(), torch.einsum("ncp,mdp->ncmd", rows, rows).numpy()


def ft_ratio(pretrain, finetune, delta):
    """Return the mean over x of ||sum_i F(x, x_i) delta_i|| / ||sum_i (P + F)(x, x_i) delta_i||, block by block."""
    ratios = []
    for p_row, f_row in zip(pretrain, finetune, strict=True):
        by_f = sum(f_row[:, i] @ delta[i] for i in range(len(delta)))
        by_both = sum((p_row[:, i] + f_row[:, i]) @ delta[i] for i in range(len(delta)))
        ratios.append(math.sqrt(by_f @ by_f) / math.sqrt(by_both @ by_both))
    return sum(ratios) / len(ratios)


def trace_norms(kernel):
    """Return the sum of singular values of each block K(x_i, x_j), by the eigenvalues of K^T K."""
    return [
        [sum(math.sqrt(max(v, 0)) for v in np.linalg.eigvalsh(row[:, j].T @ row[:, j])) for j in range(row.shape[1])]
        for row in kernel
    ]
