"""The same numbers on all three backends: each runs in a process of its own."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

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
import numpy as np
from lpft_keras import ntk
from lpft_keras.models.classifier import get_head
from lpft_keras.training.batches import model_inputs
from tests.helpers import small_classifier, small_tokens
common = dict(backbone="pocket", dropout=0.0, output_dir=sys.argv[1], limit=120, max_length=64)
lp = lpft_keras.run("demo", method="lp", **common)
ft = lpft_keras.run("demo", method="ft", epochs=2, **common)
kernel, bias = get_head(lp.model())
x = model_inputs(small_tokens(np.random.default_rng(0), 9), np.arange(9), 32)
tangent = ntk.empirical_ntk(small_classifier(), x)
np.savez(sys.argv[2], pretrain=tangent.pretrain, finetune=tangent.finetune)
print(json.dumps({"kernel": kernel.tolist(), "bias": bias.tolist(), "ft": ft.history, "lp": lp.metrics}))
"""


@pytest.fixture(scope="module")
def numbers(tmp_path_factory):
    results = {}
    for backend in ("tensorflow", "jax", "torch"):
        folder = tmp_path_factory.mktemp(backend)
        done = subprocess.run(
            [sys.executable, "-c", _CODE, str(folder), str(folder / "kernel.npz")],
            capture_output=True,
            text=True,
            cwd=Path(__file__).parents[1],
            env={**os.environ, "KERAS_BACKEND": backend},
        )
        assert done.returncode == 0, done.stderr
        results[backend] = json.loads(done.stdout.splitlines()[-1]) | dict(np.load(folder / "kernel.npz"))
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


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_kernels_agree(numbers, backend):
    for name in ("pretrain", "finetune"):
        found, expected = numbers[backend][name], numbers["tensorflow"][name]
        assert np.linalg.norm(found - expected) < 1e-6 * np.linalg.norm(expected)
