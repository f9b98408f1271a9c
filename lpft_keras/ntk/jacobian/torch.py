"""Derivatives by PyTorch's autograd. Not `torch.func.vmap`: not all of Keras' layers have batching rules."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from keras import ops
from torch.nn.attention import SDPBackend, sdpa_kernel

from lpft_keras.ntk.jacobian import Pulled, one_by_one
from lpft_keras.ntk.segments import Segment
from lpft_keras.torch_products import OneDnnProducts


class TorchJacobian:
    """See `Jacobian`."""

    def __init__(self):
        self.keeps = ops.zeros(()).device.type == "cuda"

    @contextmanager
    def exact(self, dtype: str) -> Iterator[None]:
        """See `Jacobian.exact`."""
        of_products, of_convolutions = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
        torch.set_float32_matmul_precision("highest")
        torch.backends.cudnn.allow_tf32 = False
        try:
            yield
        finally:
            torch.set_float32_matmul_precision(of_products)
            torch.backends.cudnn.allow_tf32 = of_convolutions

    def forward(self, segment: Segment, below: Any, sides: list[Any], moved: list[Any] | None = None) -> Any:
        """See `Jacobian.forward`."""
        with torch.no_grad(), OneDnnProducts():
            direct, others = segment.values()
            return segment(direct if moved is None else moved, others, below, sides)[0]

    def pull_back(self, segment: Segment, below: Any, sides: list[Any], cotangents: np.ndarray) -> Pulled:
        """See `Jacobian.pull_back`."""
        direct, others = _detached(segment)
        direct = [value.requires_grad_() for value in direct]

        def pull(below, sides, cotangents):
            return _pull(segment, direct, others, below, sides, cotangents, self.keeps and not direct)

        if direct:
            return one_by_one(pull, segment, below, sides, cotangents)
        return pull(below, sides, cotangents)

    def gradient(self, segment: Segment, sides: list[Any], cotangents: np.ndarray) -> tuple[np.ndarray, list[Any]]:
        """See `Jacobian.gradient`."""
        direct, others = _detached(segment)
        direct = [value.requires_grad_() for value in direct]
        with torch.enable_grad(), OneDnnProducts():
            above = segment(direct, others, None, sides)[0]
        weights = torch.as_tensor(cotangents, device=above.device)
        found = torch.autograd.grad(above, direct, weights, allow_unused=True, materialize_grads=True)
        return _host(above), list(found)

    def push_forward(self, segment: Segment, sides: list[Any], tangents: list[Any]) -> tuple[Any, Any]:
        """See `Jacobian.push_forward`."""
        direct, others = _detached(segment)
        # The fused attention kernels have no forward derivative.
        with sdpa_kernel(SDPBackend.MATH):
            return torch.func.jvp(  # type: ignore[return-value]
                lambda *direct: segment(direct, others, None, sides)[0], tuple(direct), tuple(tangents)
            )


def _detached(segment: Segment) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    direct, others = ([value.detach() for value in part] for part in segment.values())
    return direct, others


def _pull(segment: Segment, direct, others, below, sides, cotangents: np.ndarray, keep: bool) -> Pulled:
    lower = [] if below is None else [below.detach().requires_grad_()]

    def listen(number, output):
        return output if output.requires_grad else output.detach().requires_grad_()

    with torch.enable_grad(), OneDnnProducts():
        above, records = segment(direct, others, lower[0] if lower else None, sides, listen)
    targets = [*direct, *(record.output for record in records), *lower]
    weights = torch.as_tensor(cotangents, device=above.device).to(above.dtype)
    by_class = [
        torch.autograd.grad(
            above, targets, weights[:, c].contiguous(), retain_graph=True, allow_unused=True, materialize_grads=True
        )
        for c in range(weights.shape[1])
    ]
    # A variable's gradient has no axis of examples: there is one.
    stacked = [
        torch.stack(parts)[None] if number < len(direct) else torch.stack(parts, 1)
        for number, parts in enumerate(zip(*by_class, strict=True))
    ]
    order = [segment.taps.index(record.tap) for record in records]
    own = torch.Tensor.detach if keep else _host
    end = len(direct) + len(records)
    return Pulled(
        [_host(tensor) for tensor in stacked[: len(direct)]],
        order,
        [own(record.seen) for record in records],
        [own(tensor) for tensor in stacked[len(direct) : end]],
        _host(stacked[end]) if lower else None,
    )


def _host(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().cpu().numpy()
