"""Slow, obvious twins of the package's numeric routines, in float64: what the tests compare with."""

import itertools
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


def f1(predicted, labels):
    hits = sum(p == y == 1 for p, y in zip(predicted, labels, strict=True))
    return 2 * hits / (sum(predicted) + sum(labels))


def matthews_correlation(predicted, labels):
    """Return the correlation of the indicator of every class in predictions and labels, all classes together."""
    classes = sorted(set(labels) | set(predicted))
    guessed = np.array([[p == k for k in classes] for p in predicted], float)
    true = np.array([[y == k for k in classes] for y in labels], float)
    guessed, true = guessed - guessed.mean(0), true - true.mean(0)
    return (guessed * true).sum() / math.sqrt((guessed**2).sum() * (true**2).sum())


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


def descent_step(parameters, gradients, rate, clip=1.0, signs=False):
    """Return the parameters, a list of arrays, after a step of SGD, clipped by the norm of all, or on the signs."""
    if signs:
        return [w - rate * np.sign(g) for w, g in zip(parameters, gradients, strict=True)]
    factor = min(1.0, clip / np.sqrt(sum((g * g).sum() for g in gradients)))
    return [w - rate * factor * g for w, g in zip(parameters, gradients, strict=True)]


def tangents(features, parameters, head):
    """Return features [examples, h] and the whole float64 Jacobian of the logits `features(parameters) @ head + bias`.

    `features` is a function of a dict of float64 PyTorch tensors; it gives [examples, h]. `head` is [h, classes]. The
    Jacobian is [examples, classes, numbers] by the parameter's name.
    """
    import torch

    assert all(value.dtype == torch.float64 for value in parameters.values())
    head = torch.as_tensor(head, dtype=torch.float64)
    phi = features(parameters).detach()
    jacobians = torch.func.jacrev(features)(parameters)
    rows = {name: torch.einsum("hc,nhp->ncp", head, part.flatten(2)).numpy() for name, part in jacobians.items()}
    return phi.numpy(), rows


def tangent_kernel(features, rows, of_rows=None, of_columns=None, mixing=None):
    """Return P and F of what `tangents` gives, of gradients or of functions of their numbers, such as the sign.

    `mixing` [outputs, logits] makes other logits of the head's outputs; `rows` are those of the new logits then.
    """
    mixing = np.eye(next(iter(rows.values())).shape[1]) if mixing is None else np.asarray(mixing)
    gradients = np.concatenate(list(rows.values()), axis=2)
    # What is zero in theory is some 1e-17 here.
    zero = np.abs(gradients) < 1e-12 * np.abs(gradients).max(axis=2, keepdims=True)
    left, right = (gradients if of is None else np.where(zero, 0.0, of(gradients)) for of in (of_rows, of_columns))
    # The gradient of logit k by the head's numbers is (phi, 1) in each of its outputs, times its mixing.
    head = np.einsum("nh,ok->nkoh", np.pad(features, ((0, 0), (0, 1)), constant_values=1), mixing)
    head_left, head_right = (head if of is None else of(head) for of in (of_rows, of_columns))
    return (
        np.einsum("nkoh,mloh->nkml", head_left, head_right),
        np.einsum("ncp,mdp->ncmd", left, right, optimize=True),
    )


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


def top_label(probabilities, labels):
    """Return [(confidence, whether right)] of every row; of equal probabilities the first counts."""
    rows = [max(range(len(p)), key=lambda k: (p[k], -k)) for p in probabilities]
    return [(float(p[k]), k == y) for p, k, y in zip(probabilities, rows, labels, strict=True)]


def binned_gaps(pairs, edges):
    """Return [(rows, accuracy, confidence)] of the non-empty bins (lower, upper] of (confidence, hit) pairs."""
    found = []
    for number, (lower, upper) in enumerate(itertools.pairwise(edges)):
        inside = [(c, h) for c, h in pairs if lower < c <= upper or (number == 0 and c <= lower)]
        if inside:
            accuracy, confidence = (
                sum(values) / len(inside) for values in zip(*[(h, c) for c, h in inside], strict=True)
            )
            found.append((len(inside), accuracy, confidence))
    return found


def equal_edges(bins):
    return [b / bins for b in range(bins + 1)]


def equal_mass_calibration_error(probabilities, labels, bins=15):
    pairs = top_label(probabilities, labels)
    values = sorted(c for c, _ in pairs)
    inner = []
    for b in range(1, bins):
        place = b / bins * (len(values) - 1)
        low = int(place)
        high = min(low + 1, len(values) - 1)
        inner.append(values[low] + (place - low) * (values[high] - values[low]))
    gaps = binned_gaps(pairs, [0, *inner, 1])
    return sum(n * abs(a - c) for n, a, c in gaps) / len(pairs)


def average_calibration_error(probabilities, labels, bins=15):
    gaps = binned_gaps(top_label(probabilities, labels), equal_edges(bins))
    return sum(abs(a - c) for _, a, c in gaps) / len(gaps)


def root_mean_square_calibration_error(probabilities, labels, bins=15, debiased=False):
    total = 0.0
    for n, a, c in binned_gaps(top_label(probabilities, labels), equal_edges(bins)):
        if debiased and n == 1:
            continue
        total += n * ((a - c) ** 2 - (a * (1 - a) / (n - 1) if debiased else 0))
    return math.sqrt(max(total / len(labels), 0))


def overconfidence(probabilities, labels):
    pairs = top_label(probabilities, labels)
    return sum(c - h for c, h in pairs) / len(pairs)


def overconfidence_error(probabilities, labels, bins=15):
    gaps = binned_gaps(top_label(probabilities, labels), equal_edges(bins))
    return sum(n * c * max(c - a, 0) for n, a, c in gaps) / len(labels)


def class_wise_calibration_error(probabilities, labels, bins=15):
    total, classes = 0.0, len(probabilities[0])
    for k in range(classes):
        pairs = [(float(p[k]), y == k) for p, y in zip(probabilities, labels, strict=True)]
        total += sum(n * abs(a - c) for n, a, c in binned_gaps(pairs, equal_edges(bins))) / len(pairs)
    return total / classes


def thresholded_adaptive_calibration_error(probabilities, labels, bins=15, threshold=0.01):
    total, classes = 0.0, len(probabilities[0])
    for k in range(classes):
        pairs = sorted((float(p[k]), y == k) for p, y in zip(probabilities, labels, strict=True) if p[k] > threshold)
        size, extra = divmod(len(pairs), bins)
        start = 0
        for b in range(bins):
            part = pairs[start : start + size + (b < extra)]
            start += len(part)
            if part:
                total += abs(sum(h for _, h in part) - sum(c for c, _ in part)) / len(part)
    return total / (classes * bins)


def smooth_calibration_error(probabilities, labels, points=2000):
    """Return smECE by summing the reflected kernel of every row at every point, and bisecting the bandwidth."""
    pairs = top_label(probabilities, labels)
    confidence = np.array([c for c, _ in pairs])
    residual = np.array([h - c for c, h in pairs])
    at = (np.arange(points) + 0.5) / points
    images = [sign * confidence + 2 * shift for shift in range(-3, 4) for sign in (1, -1)]

    def error(sigma):
        kernel = sum(np.exp(-((at[:, None] - image) ** 2) / (2 * sigma**2)) for image in images)
        smoothed = kernel @ residual / (len(pairs) * sigma * math.sqrt(2 * math.pi))
        return float(np.abs(smoothed).sum() / points)

    low, high = 1e-3, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if error(middle) > middle else (low, middle)
    return low


def pooled(values, hits):
    """Return the isotonic fit of hits on values: neighbours that fall are pooled until none does."""
    groups = [
        [sum(h for v, h in zip(values, hits, strict=True) if v == value), sum(v == value for v in values), [value]]
        for value in sorted(set(values))
    ]
    number = 0
    while number + 1 < len(groups):
        (s, n, a), (t, m, b) = groups[number], groups[number + 1]
        if s / n < t / m:
            number += 1
        else:
            groups[number : number + 2] = [[s + t, n + m, a + b]]
            number = max(number - 1, 0)
    fitted = {value: s / n for s, n, members in groups for value in members}
    return [fitted[value] for value in values]


def brier_refinement(probabilities, labels):
    total = 0.0
    for k in range(len(probabilities[0])):
        hits = [float(y == k) for y in labels]
        total += sum(
            (f - h) ** 2 for f, h in zip(pooled([float(p[k]) for p in probabilities], hits), hits, strict=True)
        )
    return total / len(labels)


def cosine_similarity(features, with_self=False):
    cosines = [
        float(a @ b) / math.sqrt(float(a @ a) * float(b @ b))
        for i, a in enumerate(features)
        for j, b in enumerate(features)
        if with_self or i < j
    ]
    return sum(cosines) / len(cosines)


def feature_change(features, reference):
    rows = [
        math.sqrt(sum((a - b) ** 2 for a, b in zip(x, y, strict=True)))
        for x, y in zip(features, reference, strict=True)
    ]
    return sum(rows) / len(rows)


def fisher_discriminant_ratio(features, labels, ridge=None):
    classes = sorted(set(labels.tolist()))
    mean = features.mean(0)
    within = np.zeros((features.shape[1],) * 2)
    between = np.zeros_like(within)
    for k in classes:
        own = features[labels == k]
        for row in own:
            within += np.outer(row - own.mean(0), row - own.mean(0)) / len(features)
        between += len(own) / len(features) * np.outer(own.mean(0) - mean, own.mean(0) - mean)
    if ridge is None:
        return float(np.trace(np.linalg.pinv(within, rcond=1e-10) @ between))
    return float(
        np.trace(np.linalg.inv(within + ridge * np.trace(within) / len(within) * np.eye(len(within))) @ between)
    )


def linear_cka(x, y):
    """Return CKA by the Gram matrices of the centred rows."""
    centre = np.eye(len(x)) - 1 / len(x)
    k, m = centre @ x @ x.T @ centre, centre @ y @ y.T @ centre
    return float((k * m).sum() / math.sqrt((k * k).sum() * (m * m).sum()))


def paired_bootstrap(metric, method, reference, labels, resamples, seed):
    """Return the resampled mean differences of two methods, whose logits are given by seed, one resample at a time."""
    rows_drawn, seeds_drawn = np.random.default_rng([seed, 0]), np.random.default_rng([seed, 1])
    samples = []
    for _ in range(resamples):
        rows = rows_drawn.integers(0, len(labels), len(labels))
        seeds = seeds_drawn.integers(0, len(method), len(method))
        differences = [
            metric(method[s][rows], labels[rows]) - metric(reference[s][rows], labels[rows]) for s in seeds.tolist()
        ]
        samples.append(sum(differences) / len(differences))
    return samples
