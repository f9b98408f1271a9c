"""What users bring is taken, on every backend: tensors and variables of all frameworks, and NumPy's numbers."""

import keras
import numpy as np
import pytest

from lpft_keras import calibration, representation
from lpft_keras.arrays import as_array, class_ids, real_number, whole_number
from lpft_keras.errors import InputError
from tests.calibration.cases import predictions


def framework_arrays(values):
    """Return the values as every framework at hand holds them."""
    found = {"list": values.tolist(), "numpy": values, "keras": keras.ops.convert_to_tensor(values)}
    if values.dtype.kind == "f":
        found["keras variable"] = keras.Variable(values)
    torch = pytest.importorskip("torch")
    found["torch"] = torch.tensor(values, requires_grad=values.dtype.kind == "f")
    jax = pytest.importorskip("jax.numpy")
    found["jax"] = jax.asarray(values)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        found["tensorflow"] = tf.constant(values)
        if values.dtype.kind == "f":
            found["tensorflow variable"] = tf.Variable(values)
    return found


def test_tensors_of_every_framework_are_taken(rng):
    _, p, y = predictions(rng)
    p = p.astype("float32")
    expected = calibration.expected_calibration_error(p, y)
    for name, given in framework_arrays(p).items():
        assert calibration.expected_calibration_error(given, y) == pytest.approx(expected, abs=1e-6), name
    for name, given in framework_arrays(y).items():
        assert calibration.expected_calibration_error(p, given) == expected, name


def test_formats_of_sixteen_bits_are_taken(rng):
    import jax.numpy as jnp
    import torch

    _, p, y = predictions(rng)
    expected = calibration.brier_score(p, y)
    for given, rough in (
        (p.astype("float16"), 2e-3),
        (torch.tensor(p).bfloat16(), 1e-2),
        (jnp.asarray(p, jnp.bfloat16), 1e-2),
    ):
        assert calibration.brier_score(given, y) == pytest.approx(expected, abs=rough)


def test_features_and_heads_are_taken_likewise(rng):
    x = rng.normal(size=(20, 4)).astype("float32")
    y = rng.integers(0, 2, 20)
    expected = representation.fisher_discriminant_ratio(x, y)
    for name, given in framework_arrays(x).items():
        assert representation.fisher_discriminant_ratio(given, y) == pytest.approx(expected, rel=1e-4), name
        assert representation.feature_change(given, 0 * x) > 1, name
        assert representation.head_norm(given) == pytest.approx(np.linalg.norm(x), rel=1e-5), name


@pytest.mark.parametrize("value", [["a"], [[1], [1, 2]], [1j], object(), {"a": 1}])
def test_what_is_no_array_of_numbers_is_refused(value):
    with pytest.raises(InputError, match=r"^x "):
        as_array(value, "x")


def test_labels_are_one_integer_a_row():
    assert class_ids([0, 1], 2, "x").tolist() == [0, 1]
    for labels, words in (([0], "shape"), ([[0], [1]], "shape"), ([0.0, 1.0], "integers"), ([True, False], "integers")):
        with pytest.raises(InputError, match=words):
            class_ids(labels, 2, "x")


def test_numbers_of_numpy_are_numbers():
    assert whole_number(np.int32(3), "n") == 3
    assert real_number(np.float32(0.5), "t", 0, 1) == 0.5
    assert real_number(np.int64(2), "t", 0, 3) == 2
    for value in (True, "1", None, 0, 1, float("nan"), [0.5]):
        with pytest.raises(InputError, match="t must be a number above 0 and below 1"):
            real_number(value, "t", 0, 1)
    for value in (True, "1", None, 0, 1.0):
        with pytest.raises(InputError, match="n must be a whole number of 1 or more"):
            whole_number(value, "n")
