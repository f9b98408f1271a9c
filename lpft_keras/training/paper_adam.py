"""Adam as the paper's code has it, on TensorFlow and JAX; `on_torch` has PyTorch's own."""

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
class PaperAdam(SummedSlices, keras.optimizers.Adam):
    """Keras' Adam with epsilon added after the bias correction, as PyTorch does and so the paper's code.

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
