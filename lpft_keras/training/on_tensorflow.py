"""What makes training steps on TensorFlow, and the first one above all, faster, without changing the mathematics."""

import keras
import tensorflow as tf

from lpft_keras.training.optimizers import SummedSlices


class MicroBatched(keras.Model):
    """A functional model of `micro_batched` whose classifier is traced once, for tokens of any shape.

    Keras traces the classifier and its gradient anew for each micro-batch, which on a small model takes longer than to
    train it.
    """

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        (classifier,) = (layer for layer in self.layers if isinstance(layer, keras.Model))
        self._count = len(self.inputs) // len(classifier.inputs)
        signature = {name: tf.TensorSpec((None, None), "int32") for name in classifier.input}

        def traced(training: bool):
            return tf.function(
                lambda inputs: classifier(inputs, training=training),
                input_signature=[signature],
                autograph=False,
            )

        self._names = list(signature)
        self._traced = {training: traced(training) for training in (False, True)}

    def call(self, inputs, training=None, mask=None):
        """Run the model."""
        run = self._traced[bool(training)]
        logits = [run({name: inputs[f"{name}_{number}"] for name in self._names}) for number in range(self._count)]
        return tf.cast(tf.concat(logits, axis=0), "float32")


@keras.saving.register_keras_serializable(package="lpft_keras")
class FusedAdam(SummedSlices, keras.optimizers.Adam):
    """Keras's Adam by TensorFlow's fused kernel, which reads and writes each number once.

    Keras's own makes a temporary of a variable's size for each of its operations, and traces them for each variable.
    The state stays in Keras's optimiser variables. Epsilon is added after the bias correction, as PyTorch does and so
    the paper's code, not before it, as Keras does.
    """

    def _backend_update_step(self, grads, trainable_variables, learning_rate):
        step = tf.cast(self.iterations.value + 1, tf.float32)
        powers = [tf.pow(tf.constant(beta), step) for beta in (self.beta_1, self.beta_2)]
        # The kernel adds epsilon before the correction, by which it is multiplied here.
        epsilon = self.epsilon * tf.sqrt(1 - powers[1])
        for gradient, variable in zip(grads, trainable_variables, strict=True):
            index = self._get_variable_index(variable)
            numbers = (*powers, learning_rate, self.beta_1, self.beta_2, epsilon)
            beta1_power, beta2_power, rate, beta1, beta2, eps = (tf.cast(one, variable.dtype) for one in numbers)
            tf.raw_ops.ResourceApplyAdam(
                var=variable.value.handle,
                m=self._momentums[index].value.handle,
                v=self._velocities[index].value.handle,
                beta1_power=beta1_power,
                beta2_power=beta2_power,
                lr=rate,
                beta1=beta1,
                beta2=beta2,
                epsilon=eps,
                grad=gradient,
            )
