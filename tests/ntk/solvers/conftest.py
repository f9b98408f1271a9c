from types import SimpleNamespace

import numpy as np
import pytest


def _problem(rng, classes, examples=36, train=24):
    """f = V tanh(W x) + b + a part without weights, on classes that can be told: gradients, kernels, labels, logits."""
    labels = np.arange(examples) % max(classes, 2)
    inputs = rng.normal(size=(examples, 5)) + 3 * np.eye(5)[labels]
    hidden, head = rng.normal(size=(3, 5)) / 2, rng.normal(size=(max(classes, 2), 3))
    features = np.tanh(inputs @ hidden.T)
    of_hidden = np.einsum("ck,nk,nd->nckd", head, 1 - features**2, inputs)
    of_head = np.einsum("nk,cl->nckl", np.pad(features, ((0, 0), (0, 1)), constant_values=1), np.eye(len(head)))
    gradients = np.concatenate([part.reshape(*part.shape[:2], -1) for part in (of_hidden, of_head)], axis=2)
    logits = features @ head.T + np.sin(3 * inputs[:, : len(head)])
    if classes == 1:
        gradients, logits = gradients[:, 1:] - gradients[:, :1], logits[:, 1:] - logits[:, :1]

    def kernel(rows, left=lambda g: g, right=lambda g: g):
        return np.einsum("ncp,mdp->ncmd", left(gradients[rows]), right(gradients[:train]))

    inside, outside = slice(0, train), slice(train, None)
    return SimpleNamespace(
        classes=classes,
        train=kernel(inside),
        test=kernel(outside),
        signed=SimpleNamespace(
            train=kernel(inside, right=np.sign),
            test=kernel(outside, right=np.sign),
            flipped=kernel(outside, left=np.sign),
        ),
        gradients=SimpleNamespace(train=gradients[inside], test=gradients[outside]),
        labels=SimpleNamespace(train=labels[inside], test=labels[outside]),
        logits=SimpleNamespace(train=logits[inside], test=logits[outside]),
    )


@pytest.fixture(params=[1, 3])
def problem(request, rng):
    """A problem of one logit, and one of three."""
    return _problem(rng, request.param)


@pytest.fixture
def three(rng):
    return _problem(rng, 3)


@pytest.fixture
def one(rng):
    return _problem(rng, 1)
