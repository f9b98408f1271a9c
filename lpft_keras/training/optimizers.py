"""The optimisers of fine-tuning: the paper's Adam, and the two of the kernel view, SGD and the descent by signs."""

import keras
from keras import ops

from lpft_keras.training.paper_adam import PaperAdam, SummedSlices


@keras.saving.register_keras_serializable(package="lpft_keras")
class SGD(SummedSlices, keras.optimizers.SGD):
    """Keras' SGD, to be used without momentum, the same on all backends."""


@keras.saving.register_keras_serializable(package="lpft_keras")
class SignGD(SGD):
    """SGD on the signs of the gradient: every number moves by the learning rate.

    It is the limit of Adam at its start, by which Malladi et al. 2023 ("A Kernel-Based View of Language Model
    Fine-Tuning") explain Adam's. The sign of 0 is 0, so that what has no gradient, such as the embedding of a token
    that no row holds, stays.
    """

    def update_step(self, gradient, variable, learning_rate):
        """Update one variable."""
        super().update_step(ops.sign(gradient), variable, learning_rate)


def make_optimizer(name: str, learning_rate: float, steps: int, clip_norm: float) -> keras.optimizers.Optimizer:
    """Return an optimiser whose rate falls linearly to zero.

    Args:
        name: "adam": the paper's, without weight decay, epsilon 1e-8. "sgd": without momentum. "signgd": SGD on the
            signs of the gradient.
        learning_rate: The rate at the first step.
        steps: Optimiser steps in all.
        clip_norm: Greatest global norm of the gradient; "signgd" takes none, since a positive factor changes no sign.

    Returns:
        An optimiser that is not built yet.
    """
    rate = keras.optimizers.schedules.PolynomialDecay(learning_rate, steps, end_learning_rate=0.0)
    if name == "signgd":
        return SignGD(rate)
    if name == "sgd":
        return SGD(rate, global_clipnorm=clip_norm)
    make: type[keras.optimizers.Adam] = PaperAdam
    if keras.backend.backend() == "torch":
        from lpft_keras.training.on_torch import FusedAdam

        make = FusedAdam
    return make(rate, epsilon=1e-8, global_clipnorm=clip_norm)
