"""Keras layers for anybody's model."""

import math
from typing import Any

import keras

from lpft_keras.arrays import real_number


@keras.saving.register_keras_serializable(package="lpft_keras")
class Temperature(keras.layers.Layer):
    """Divide logits by a fitted temperature (Guo et al. 2017): predictions stay, probabilities become calibrated.

    For a model of ours `RunResult.model(calibrated=True)` and `TextClassifier.calibrate` fold the temperature into the
    head instead, so that no layer is added.

    Args:
        temperature: A number above 0, or a fitted `calibration.TemperatureScaling`.

    Raises:
        InputError: The temperature is not a finite number above 0.

    Example:
        >>> scaling = calibration.TemperatureScaling().fit(model.predict(x_validation), y_validation)
        >>> calibrated = keras.Sequential([model, Temperature(scaling), keras.layers.Softmax()])
    """

    def __init__(self, temperature: Any, **kwargs):
        # Logits stay in the dtype they come in: half formats would round what a head in float32 gives.
        kwargs.setdefault("autocast", False)
        super().__init__(**kwargs)
        value = getattr(temperature, "temperature_", temperature)
        self.temperature = real_number(value, "temperature", 0, math.inf)

    def call(self, logits):
        """Return the logits, of any shape, divided by the temperature."""
        return logits / self.temperature

    def compute_output_shape(self, input_shape):
        """Return the input's shape."""
        return input_shape

    def get_config(self):
        """Return the arguments that rebuild the layer."""
        return {**super().get_config(), "temperature": self.temperature}
