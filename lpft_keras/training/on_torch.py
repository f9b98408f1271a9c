"""What makes a training step on PyTorch faster on a CPU, without changing the mathematics.

On a small model, Keras's own Adam, clipping, and one dense embedding gradient a micro-batch move so much memory that
they took a third of the step. Products are by `torch_products`.
"""

from contextlib import nullcontext

import keras
import torch

from lpft_keras.torch_products import OneDnnProducts


@keras.saving.register_keras_serializable(package="lpft_keras")
class FusedAdam(keras.optimizers.Adam):
    """Keras's Adam by PyTorch's fused kernel, which reads and writes each number once and clips on the way.

    Keras's own makes a temporary of the model's size for each of its operations, and clipping one more. The state stays
    in Keras's optimiser variables. Epsilon is added after the bias correction, as PyTorch does and so the paper's code,
    not before it, as Keras does.
    """

    def _clip_gradients(self, grads):
        # The kernel clips by the global norm without a clipped copy.
        return grads if self.global_clipnorm else super()._clip_gradients(grads)

    @torch.no_grad()
    def _backend_update_step(self, grads, trainable_variables, learning_rate):
        indices = [self._get_variable_index(variable) for variable in trainable_variables]
        step = (self.iterations.value + 1).to(torch.float32)
        scale = None
        if self.global_clipnorm:
            # What the kernel divides by. A norm that is no number stays one, and shows in the next loss.
            scale = (torch.nn.utils.get_total_norm(grads) / self.global_clipnorm).clamp(min=1.0)
        torch._fused_adam_(
            [variable.value for variable in trainable_variables],
            grads,
            [self._momentums[index].value for index in indices],
            [self._velocities[index].value for index in indices],
            [],
            [step] * len(grads),
            lr=float(learning_rate),
            beta1=self.beta_1,
            beta2=self.beta_2,
            weight_decay=0.0,
            eps=self.epsilon,
            amsgrad=False,
            maximize=False,
            grad_scale=scale,
        )


class _Dense(torch.autograd.Function):
    """The identity, whose gradient comes back dense."""

    @staticmethod
    def forward(ctx, table):
        return table.view_as(table)

    @staticmethod
    def backward(ctx, gradient):
        return gradient.to_dense() if gradient.is_sparse else gradient


class _FastOnCpu(OneDnnProducts):
    """Sends a forward pass's products with kernels, and look-ups in tables, their faster ways.

    Look-ups give sparse gradients, whose sum is made dense once, not once a look-up.
    """

    def __init__(self):
        super().__init__()
        self._tables = {}

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func is torch.nn.functional.embedding and args[1].requires_grad and args[1].device.type == "cpu":
            indices, table = args
            if id(table) not in self._tables:
                self._tables[id(table)] = _Dense.apply(table)
            return func(indices, self._tables[id(table)], **{**kwargs, "sparse": True})
        return super().__torch_function__(func, types, args, kwargs)


class MicroBatched(keras.Model):
    """A functional model that takes the faster ways on a CPU."""

    def call(self, inputs, training=None, mask=None):
        """Run the model."""
        # Elsewhere they are none, and asking at every operation takes a fifth of a step.
        on_cpu = next(self.parameters()).device.type == "cpu"
        with _FastOnCpu() if on_cpu else nullcontext():
            return super().call(inputs, training=training, mask=mask)
