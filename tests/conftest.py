"""What all tests share: a fixed seed, no progress bars, files in the official format, the real ones where named."""

import json
import logging
import os
import tempfile
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["CI"] = "true"
if "PYTEST_XDIST_WORKER" in os.environ:
    # Workers side by side take a core each, not all of them.
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
        os.environ[name] = "1"
    # On models this small, to compile well takes far longer than to run: without it, JAX's part takes half the time.
    # Should XLA end with "Unknown flag", the flag was removed: delete its line.
    os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
    os.environ.setdefault("XLA_FLAGS", "--xla_cpu_use_fusion_emitters=false")
# Tests build the same small models over and over: on JAX, compile each once a machine.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", os.path.join(tempfile.gettempdir(), "lpft-keras-tests-jax"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")

import numpy as np
import pytest

if "PYTEST_XDIST_WORKER" in os.environ and os.environ.get("KERAS_BACKEND", "tensorflow") == "tensorflow":
    import tensorflow as tf

    # On models this small, to optimise a graph takes longer than to run it. Commands that tests start still do it.
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})


def pytest_runtest_setup(item):
    if item.get_closest_marker("gpu"):
        import keras

        from lpft_keras.environment import devices

        if not any("gpu" in device.lower() for device in devices()):
            pytest.skip(f"no GPU that {keras.backend.backend()} sees")


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def real_data():
    """The folder of the official files, named by LPFT_TEST_DATA."""
    folder = os.environ.get("LPFT_TEST_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("LPFT_TEST_DATA names no folder with the official data files")
    return Path(folder)


@pytest.fixture
def official_files(tmp_path):
    """A data directory with small files of our own in the official format of CB."""
    from tests.official_files import write_official_files

    write_official_files(tmp_path / "data", "cb", train=60, test=20)
    return tmp_path / "data"


def write_jsonl(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


SWEPT = {"backbones": "tiny", "limit": 60, "max_length": 48, "epochs": 1, "learning_rate": 3e-3, "micro_batches": 2}


@pytest.fixture(scope="session")
def swept(tmp_path_factory):
    """An output directory with runs of the demo, and these: two seeds of LP, and of FT and LP-LoRA at two scales."""
    from lpft_keras import sweep

    output = tmp_path_factory.mktemp("swept")
    options = {"seeds": (1, 2), "head_scales": (1.0, 10.0), "output_dir": output, **SWEPT}
    return output, sweep("demo", ["lp", "ft", "lp-lora"], **options).results


VIEWED = {"backbone": "tiny", "seed": 13, "max_length": 48, "shots": 4, "epochs": 1, "rows": 12}
VIEWED |= {"optimizers": ("sgd",), "learning_rates": {"sgd": 0.05}}


class _Interrupting(logging.Handler):
    """Presses Ctrl-C when a line is logged."""

    def __init__(self, line):
        super().__init__(logging.INFO)
        self._line = line

    def emit(self, record):
        if record.getMessage() == self._line:
            raise KeyboardInterrupt


@pytest.fixture(scope="session")
def viewed(tmp_path_factory):
    """A kernel view of the demo that was interrupted and went on.

    The output directory; when each file was written, and the parts there were, at the interruption; and the view.
    """
    from lpft_keras.kernel_views import kernel_view
    from tests.helpers import stamps

    output = tmp_path_factory.mktemp("viewed")
    log = logging.getLogger("lpft_keras.kernel_views.view")
    handler, level = _Interrupting("kernel view: fixed features sgd"), log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        with pytest.raises(KeyboardInterrupt):
            kernel_view("demo", output_dir=output, **VIEWED)
    finally:
        log.removeHandler(handler)
        log.setLevel(level)
    files = stamps(output)
    parts = {path.stem: json.loads(path.read_text())["measured"] for path in output.rglob("parts-*/*.json")}
    return output, files, parts, kernel_view("demo", output_dir=output, **VIEWED)


@pytest.fixture
def foreign(rng, tmp_path):
    """Logits twelve times too large, as anybody might bring them: an .npz file, its logits and labels."""
    true = rng.normal(0, 1, (400, 3))
    labels = (true + rng.gumbel(size=true.shape)).argmax(axis=1)
    np.savez(tmp_path / "foreign.npz", logits=(12 * true).astype("float32"), labels=labels)
    return tmp_path / "foreign.npz", 12 * true, labels
