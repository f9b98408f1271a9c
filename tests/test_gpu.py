"""The same numbers on a GPU as on the CPU."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

import lpft_keras

SETTINGS = {"backbone": "pocket", "dropout": 0.0, "limit": 120, "max_length": 64, "epochs": 2}

_ON_CPU = """
import json, sys, lpft_keras
result = lpft_keras.run("demo", method="ft", output_dir=sys.argv[1], **json.loads(sys.argv[2]))
print(json.dumps(result.history))
"""


@pytest.mark.gpu
def test_fine_tuning_on_a_gpu_gives_the_numbers_of_the_cpu(tmp_path):
    result = lpft_keras.run("demo", method="ft", output_dir=tmp_path / "gpu", **SETTINGS)
    devices = json.loads((result.directory / "environment.json").read_text())["devices"]
    assert any("gpu" in device.lower() for device in devices)
    done = subprocess.run(
        [sys.executable, "-c", _ON_CPU, str(tmp_path / "cpu"), json.dumps(SETTINGS)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": "", "JAX_PLATFORMS": "cpu"},
    )
    expected = json.loads(done.stdout.splitlines()[-1])
    for name in ("loss", "validation_loss", "head_norm"):
        np.testing.assert_allclose(
            [row[name] for row in result.history[1:]], [row[name] for row in expected[1:]], rtol=2e-3
        )
