"""Calibrate logits of any origin: measure, scale, save, draw. Nothing of LP-FT or Keras is needed.

Printed:

    temperature 3.10
    as they are  ECE 0.207 [0.180, 0.236], smooth 0.207
    temperature  ECE 0.032 [0.028, 0.068], smooth 0.032
    vector       ECE 0.043 [0.033, 0.077], smooth 0.030
"""

import numpy as np

from lpft_keras import calibration

# Logits three times as large as those that drew the labels, as an overconfident classifier gives them.
rng = np.random.default_rng(0)
true = rng.normal(0, 1, (2000, 3))
labels = (true + rng.gumbel(size=true.shape)).argmax(axis=1)
logits = 3 * true
seen, held = slice(0, 1000), slice(1000, None)

scaling = calibration.TemperatureScaling().fit(logits[seen], labels[seen])
scaling.save("temperature.json")
vector = calibration.VectorScaling().fit(logits[seen], labels[seen])
print(f"temperature {scaling.temperature_:.2f}")

panels = {
    "as they are": np.exp(logits[held]) / np.exp(logits[held]).sum(axis=1, keepdims=True),
    "temperature": calibration.load_scaling("temperature.json").predict_proba(logits[held]),
    "vector": vector.predict_proba(logits[held]),
}
for name, probabilities in panels.items():
    ece = calibration.bootstrap_interval(calibration.expected_calibration_error, probabilities, labels[held])
    smooth = calibration.smooth_calibration_error(probabilities, labels[held])
    print(f"{name:12} ECE {ece.value:.3f} [{ece.low:.3f}, {ece.high:.3f}], smooth {smooth:.3f}")
calibration.ReliabilityDisplay.compare(panels, labels[held]).savefig("reliability.png")
