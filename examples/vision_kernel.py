"""The neural tangent kernel of an image classifier, before and after its head is scaled: F grows by the square.

Printed on TensorFlow:

    head x 1: |P| = 26.83, |F| = 27.74, rank F = 60 of 60
    head x 3: |P| = 26.83, |F| = 249.7, rank F = 60 of 60
"""

import keras
import numpy as np

from lpft_keras import ntk

keras.utils.set_random_seed(0)
images = np.random.default_rng(0).random((12, 32, 32, 3), dtype="float32")
backbone = keras.applications.MobileNetV2(input_shape=(32, 32, 3), include_top=False, weights=None, pooling="avg")
head = keras.layers.Dense(5)
model = keras.Model(backbone.input, head(backbone.output))

for factor in (1, 3):
    head.kernel.assign(head.kernel * factor)
    # The last block alone; leave `variables` out for all of them.
    kernel = ntk.empirical_ntk(model, images, variables=lambda variable: "block_16" in variable.path)
    norms = ntk.frobenius_norm(kernel.pretrain), ntk.frobenius_norm(kernel.finetune)
    print(
        f"head x {factor}: |P| = {norms[0]:.4g}, |F| = {norms[1]:.4g}, rank F = {ntk.rank(kernel.finetune)} of {12 * 5}"
    )
