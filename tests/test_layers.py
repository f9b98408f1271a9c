import keras
import numpy as np
import pytest
from keras import ops

from lpft_keras.calibration import TemperatureScaling
from lpft_keras.errors import InputError
from lpft_keras.layers import Temperature


def test_a_fitted_temperature_is_applied_saved_and_loaded(rng, tmp_path):
    logits, labels = rng.normal(0, 3, (60, 3)).astype("float32"), rng.integers(0, 3, 60)
    scaling = TemperatureScaling().fit(logits, labels)
    model = keras.Sequential([keras.Input((3,)), Temperature(scaling), keras.layers.Softmax()])
    np.testing.assert_allclose(model.predict(logits, verbose=0), scaling.predict_proba(logits), atol=1e-6)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again.predict(logits, verbose=0), model.predict(logits, verbose=0))


def test_a_number_will_do_also_numpys_and_half_formats_round_nothing():
    assert Temperature(np.float32(2)).temperature == 2
    logits = np.array([[1.001, 2.0]], "float32")
    exact = ops.convert_to_numpy(Temperature(2, dtype="mixed_bfloat16")(logits))
    np.testing.assert_allclose(exact, logits / 2, rtol=1e-7)
    np.testing.assert_allclose(ops.convert_to_numpy(Temperature(2)(np.array([[4.0, 2.0]], "float32"))), [[2.0, 1.0]])


@pytest.mark.parametrize("value", [0, -1.0, float("nan"), float("inf"), "two", True, TemperatureScaling()])
def test_what_is_no_temperature_is_refused(value):
    with pytest.raises(InputError, match="temperature must be"):
        Temperature(value)
