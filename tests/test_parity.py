"""The same numbers on all three backends: each runs in a process of its own."""

import importlib.util
import json
import os
import subprocess
import sys

import keras
import numpy as np
import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="starts the other backends itself, once"),
    *(
        pytest.mark.skipif(importlib.util.find_spec(name) is None, reason=f"{name} is not installed")
        for name in ("jax", "torch")
    ),
]

_CODE = """
import json, sys, lpft_keras
from lpft_keras.models.classifier import get_head
common = dict(backbone="pocket", dropout=0.0, output_dir=sys.argv[1], limit=120, max_length=64)
lp = lpft_keras.run("demo", method="lp", **common)
ft = lpft_keras.run("demo", method="ft", epochs=2, **common)
kernel, bias = get_head(lp.model())
print(json.dumps({"kernel": kernel.tolist(), "bias": bias.tolist(), "ft": ft.history, "lp": lp.metrics}))
"""


@pytest.fixture(scope="module")
def numbers(tmp_path_factory):
    results = {}
    for backend in ("tensorflow", "jax", "torch"):
        done = subprocess.run(
            [sys.executable, "-c", _CODE, str(tmp_path_factory.mktemp(backend))],
            capture_output=True,
            text=True,
            env={**os.environ, "KERAS_BACKEND": backend},
        )
        assert done.returncode == 0, done.stderr
        results[backend] = json.loads(done.stdout.splitlines()[-1])
    return results


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_probe_heads_agree(numbers, backend):
    for name in ("kernel", "bias"):
        np.testing.assert_allclose(numbers[backend][name], numbers["tensorflow"][name], atol=1e-4)


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_loss_curves_agree(numbers, backend):
    expected, found = ([row["loss"] for row in numbers[name]["ft"][1:]] for name in ("tensorflow", backend))
    assert len(expected) == 2
    np.testing.assert_allclose(found, expected, atol=1e-3)
    for name in ("validation_loss", "head_norm", "logit_norm"):
        np.testing.assert_allclose(
            [row[name] for row in numbers[backend]["ft"]], [row[name] for row in numbers["tensorflow"]["ft"]], atol=2e-3
        )
