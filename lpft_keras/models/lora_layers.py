"""Dense and EinsumDense with the LoRA of Hu et al. 2022: A and B on the flattened projection, as `peft` has them."""

import math
import re
import string
from typing import NamedTuple

import keras
import numpy as np
from keras import ops

from lpft_keras.errors import InputError


class Plan(NamedTuple):
    """The einsum of a projection: its letters, and the kernel's contracted (inner) and new (outer) axes."""

    inputs: str
    kernel: str
    output: str
    inner: str
    outer: str
    inner_sizes: tuple[int, ...]
    outer_sizes: tuple[int, ...]

    d = property(lambda self: math.prod(self.inner_sizes))
    d_out = property(lambda self: math.prod(self.outer_sizes))


def plan_of(layer: keras.layers.Layer) -> Plan:
    """Return the plan of a built Dense or EinsumDense."""
    inputs, kernel, output = re.split(",|->", getattr(layer, "equation", "...x,xy->...y").replace(" ", ""))
    size = dict(zip(kernel, layer._kernel.shape, strict=True))
    inner = "".join(letter for letter in kernel if letter not in output)
    outer = "".join(letter for letter in kernel if letter not in inputs)
    sizes = (tuple(size[letter] for letter in letters) for letters in (inner, outer))
    return Plan(inputs, kernel, output, inner, outer, *sizes)


class LowRank:
    """Mixin for Dense and EinsumDense: adds (alpha/rank) B A x to W x, the adapters never multiplied out.

    Going through the rank costs O(tokens r (d + d_out)) and keeps backpropagation, and per-example Jacobians above
    all, from forming d x d_out gradients of a merged kernel; in bfloat16 a small update is not rounded off the kernel.
    """

    lora_a: keras.Variable
    lora_b: keras.Variable

    def start_lora(self, rank: int, alpha: float) -> None:
        """Add A [rank, d] and B [d_out, rank], zeros, to the built layer."""
        self._low_rank = (rank, alpha / rank)
        plan = plan_of(self)
        self._tracker.unlock()  # a built layer takes no more variables otherwise
        for name, shape in {"lora_a": (rank, plan.d), "lora_b": (plan.d_out, rank)}.items():
            setattr(self, name, self.add_weight(name=name, shape=shape, initializer="zeros", dtype="float32"))
        self._tracker.lock()

    def call(self, inputs, training=None):
        """Return activation(W x + (alpha/rank) B A x + bias) in the compute dtype."""
        plan, (rank, scale) = plan_of(self), self._low_rank
        z = next(letter for letter in string.ascii_letters if letter not in plan.inputs + plan.kernel)
        low = "".join(letter for letter in plan.inputs if letter not in plan.inner) + z
        a = ops.reshape(ops.cast(self.lora_a, self.compute_dtype), (rank, *plan.inner_sizes))
        b = ops.reshape(ops.cast(self.lora_b, self.compute_dtype), (*plan.outer_sizes, rank))
        x = ops.einsum(f"{plan.inputs},{plan.kernel}->{plan.output}", inputs, self._kernel)
        down = ops.einsum(f"{plan.inputs},{z}{plan.inner}->{low}", inputs, a)
        x = ops.add(x, ops.multiply(ops.einsum(f"{low},{plan.outer}{z}->{plan.output}", down, b), scale))
        x = x if self.bias is None else ops.add(x, self.bias)
        return x if self.activation is None else self.activation(x)

    def _merged(self, xp, kernel, a, b):
        """Return W + (alpha/rank) B A in the kernel's shape; `xp` is NumPy or `keras.ops`."""
        plan = plan_of(self)
        update = xp.reshape(xp.matmul(b, a), plan.outer_sizes + plan.inner_sizes)
        order = [(plan.outer + plan.inner).index(letter) for letter in plan.kernel]
        return kernel + self._low_rank[1] * xp.transpose(update, order)

    @property
    def kernel(self):
        """The kernel with the update in it; what code that reads a layer's weight should see."""
        arrays = (ops.cast(variable, "float32") for variable in (self._kernel, self.lora_a, self.lora_b))
        return ops.cast(self._merged(ops, *arrays), self._kernel.dtype)

    def merged_kernel(self) -> np.ndarray:
        """Return the merged kernel, float64: exact on every backend, whatever its matmul precision."""
        return self._merged(np, *(float64(variable) for variable in (self._kernel, self.lora_a, self.lora_b)))

    def enable_lora(self, *args, **kwargs):
        """Refuse Keras' own LoRA on top."""
        raise InputError(f"LoRA is already enabled on layer {self.name!r}; call merge_lora(backbone) first")

    def save_own_variables(self, store):
        """Store the merged kernel and the bias."""
        # Merged, as Keras' own LoRA does it: the plain layer reads the file. Adapters are `adapter_files`' business.
        store["0"] = self.merged_kernel().astype("float64" if self._kernel.dtype == "float64" else "float32")
        if self.bias is not None:
            store["1"] = self.bias

    def load_own_variables(self, store):
        """Load a plain layer's kernel and bias, and set B to zero."""
        self._kernel.assign(store["0"])
        if self.bias is not None:
            self.bias.assign(store["1"])
        self.lora_b.assign(np.zeros(self.lora_b.shape))  # the file's kernel is merged; A stays, so B can learn again

    @classmethod
    def from_config(cls, config):
        """Return the plain layer: a saved model has its updates merged."""
        return PLAIN[cls].from_config(config)


@keras.saving.register_keras_serializable(package="lpft_keras", name="LoraDense")
class LoraDense(LowRank, keras.layers.Dense):
    """`Dense` with the paper's LoRA; made by `enable_lora`, undone by `merge_lora`."""


@keras.saving.register_keras_serializable(package="lpft_keras", name="LoraEinsumDense")
class LoraEinsumDense(LowRank, keras.layers.EinsumDense):
    """`EinsumDense` with the paper's LoRA; made by `enable_lora`, undone by `merge_lora`."""


PLAIN = {LoraDense: keras.layers.Dense, LoraEinsumDense: keras.layers.EinsumDense}
for _adapted, _plain in PLAIN.items():
    _adapted.__name__ = _plain.__name__  # Keras names a list's layers in weight files after their classes
ADAPTED = {plain: adapted for adapted, plain in PLAIN.items()}


def float64(variable: keras.Variable) -> np.ndarray:
    """Return a variable's value, float64."""
    return np.asarray(ops.convert_to_numpy(variable), "float64")
