"""Whether fine-tuning behaves like a kernel, for one task and model: the tests of Malladi et al. 2023 as one report."""

from lpft_keras.kernel_views.front import KernelView, kernel_view, kernel_view_of

__all__ = ["KernelView", "kernel_view", "kernel_view_of"]
