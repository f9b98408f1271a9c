"""Whether fine-tuning behaves like a kernel, for one task and model: the tests of Malladi et al. 2023 as one report."""

from lpft_keras.kernel_views.front import kernel_view, kernel_view_of
from lpft_keras.kernel_views.view import KernelView

__all__ = ["KernelView", "kernel_view", "kernel_view_of"]
