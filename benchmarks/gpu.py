"""What the scripts share to run on a GPU, and to keep off it."""

import subprocess

PRECISIONS = {"float32": "highest", "tensorfloat32": "high", "mixed_bfloat16": "highest"}
"""How float32 matrices are multiplied, by the names of `--dtype`, as PyTorch calls it."""


def environment(device: str) -> dict[str, str]:
    """Return what shows all frameworks the GPU, which several processes share, or hides it."""
    if device == "gpu":
        return {"XLA_PYTHON_CLIENT_PREALLOCATE": "false", "TF_FORCE_GPU_ALLOW_GROWTH": "true"}
    return {"CUDA_VISIBLE_DEVICES": "", "JAX_PLATFORMS": "cpu"}


def describe() -> str:
    """Return the GPU's name and memory."""
    command = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def set_precision(backend: str, dtype: str) -> None:
    """Let float32 products be what `--dtype` says: the backends' own defaults on a GPU differ."""
    if backend == "torch":
        import torch

        torch.set_float32_matmul_precision(PRECISIONS[dtype])
    elif backend == "jax":
        import jax

        jax.config.update("jax_default_matmul_precision", PRECISIONS[dtype])
    else:
        import tensorflow as tf

        tf.config.experimental.enable_tensor_float_32_execution(dtype == "tensorfloat32")


def peak_mb(backend: str) -> float:
    """Return the most memory of the GPU that a framework's tensors took in this process, in MB."""
    if backend == "torch":
        import torch

        peak = torch.cuda.max_memory_allocated()
    elif backend == "jax":
        import jax

        peak = jax.local_devices()[0].memory_stats()["peak_bytes_in_use"]
    else:
        import tensorflow as tf

        peak = tf.config.experimental.get_memory_info("GPU:0")["peak"]
    return peak / 2**20
