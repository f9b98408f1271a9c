"""The optimisers of fine-tuning: the paper's Adam, and the two of the kernel view, SGD and the descent by signs."""

from typing import Any

import keras
from keras import ops


class SummedSlices(keras.optimizers.Optimizer):
    """Mixin: gradients of tables as they are on all other backends.

    TensorFlow gives the gradient of a table as one slice a look-up. Its norm, and its signs, are those of the sum of
    the slices that belong to one row.
    """

    def apply(self, grads, trainable_variables=None):
        """Update all variables."""
        return super().apply([_summed(gradient) for gradient in grads], trainable_variables)

    def _all_reduce_sum_gradients(self, grads_and_vars):
        # Keras' own goes through `tf.custom_gradient` even for one replica, whose gradient function TensorFlow keeps
        # for good, and with it the training graph of every `fit`.
        import tensorflow as tf

        if tf.distribute.get_strategy().num_replicas_in_sync == 1:
            return grads_and_vars
        return super()._all_reduce_sum_gradients(grads_and_vars)


def _summed(gradient: Any) -> Any:
    if keras.backend.backend() != "tensorflow":
        return gradient
    import tensorflow as tf

    return tf.convert_to_tensor(gradient)


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


@keras.saving.register_keras_serializable(package="lpft_keras")
class PaperAdam(keras.optimizers.Adam):
    """Keras' Adam, for JAX, with epsilon added after the bias correction, as PyTorch does and so the paper's code.

    Keras adds it before, which makes it up to 31 times as large in the first steps: enough to damp the many weights of
    a pre-trained model whose gradients are that small.
    """

    def update_step(self, gradient, variable, learning_rate):
        """Update one variable."""
        step = ops.cast(self.iterations + 1, variable.dtype)
        given: float = self.epsilon  # type: ignore[has-type]
        self.epsilon = given * ops.sqrt(1 - ops.power(ops.cast(self.beta_2, variable.dtype), step))
        try:
            super().update_step(gradient, variable, learning_rate)
        finally:
            self.epsilon = given


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
        from lpft_keras.training import on_torch

        make = on_torch.FusedAdam
    elif keras.backend.backend() == "tensorflow":
        from lpft_keras.training import on_tensorflow

        make = on_tensorflow.FusedAdam
    return make(rate, epsilon=1e-8, global_clipnorm=clip_norm)
