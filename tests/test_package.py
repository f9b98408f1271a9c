"""What the package does, and does not do, when it is imported."""

import subprocess
import sys

import pytest

import lpft_keras


@pytest.mark.parametrize(
    "module", ["numpy", "tensorflow", "keras", "tensorflow_datasets", "matplotlib", "sklearn", "jax", "torch"]
)
def test_importing_the_package_imports_nothing_heavy(module):
    code = f"import sys, lpft_keras, lpft_keras.cli; sys.exit({module!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_every_public_name_is_there():
    for name in lpft_keras.__all__:
        assert getattr(lpft_keras, name) is not None
        assert name in dir(lpft_keras)
    with pytest.raises(AttributeError):
        lpft_keras.nothing  # noqa: B018


def test_calibration_needs_no_keras():
    code = "import sys, lpft_keras.calibration, lpft_keras.representation; sys.exit('keras' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
