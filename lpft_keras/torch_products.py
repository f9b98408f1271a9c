"""Products of matrices by oneDNN, with their gradients, where PyTorch's own way is slower.

PyTorch multiplies float32 matrices by MKL, which uses half the width of an AMD processor with AVX-512; oneDNN, which
PyTorch has aboard too, uses all of it.
"""

import torch
from torch.overrides import TorchFunctionMode

# Elsewhere the two libraries are equals, or oneDNN is missing.
_ONE_DNN = torch.backends.cpu.get_cpu_capability() == "AVX512" and hasattr(torch.ops.mkldnn, "_linear_pointwise")


def _product(x, y):
    return torch.ops.mkldnn._linear_pointwise(x, y.T, None, "none", [], "")


class _MatMul(torch.autograd.Function):
    """The product of two matrices, and both its gradients, by oneDNN."""

    @staticmethod
    def forward(ctx, x, kernel):
        ctx.save_for_backward(x, kernel)
        return _product(x, kernel)

    @staticmethod
    def backward(ctx, gradient):
        x, kernel = ctx.saved_tensors
        return tuple(
            _product(*pair) if needed else None
            for needed, pair in zip(ctx.needs_input_grad, ((gradient, kernel.T), (x.T, gradient)), strict=True)
        )


def _contracted(equation: str, axes: int) -> int:
    """Return how many last axes of x meet the first of a kernel in x @ kernel written as an einsum; 0 if it is not."""
    inputs, output = equation.split("->")
    x, kernel = inputs.split(",")
    return next((n for n in range(1, axes) if x[-n:] == kernel[:n] and output == x[:-n] + kernel[n:]), 0)


class OneDnnProducts(TorchFunctionMode):
    """While it is entered, products of float32 tensors with kernels on a CPU are oneDNN's."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        plain = func is torch.matmul and len(args) == 2
        written = func is torch.einsum and len(args) == 3 and isinstance(args[0], str) and "->" in args[0]
        if _ONE_DNN and not kwargs and (plain or written):
            *equation, x, kernel = args
            axes = _contracted(equation[0], kernel.ndim) if equation else int(kernel.ndim == 2)
            if axes and x.device.type == "cpu" and x.dtype == kernel.dtype == torch.float32:
                inner = kernel.shape[:axes].numel()
                result = _MatMul.apply(x.reshape(-1, inner), kernel.reshape(inner, -1))
                return result.reshape(*x.shape[: x.ndim - axes], *kernel.shape[axes:])
        return func(*args, **kwargs)
