"""LP-FT: linear probing then fine-tuning of pre-trained classifiers, on Keras 3.

Importing this package defines names only. What needs Keras is imported when it is first asked for.
"""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from lpft_keras.errors import InputError
    from lpft_keras.estimator import TextClassifier
    from lpft_keras.experiment import run
    from lpft_keras.kernel_results import KernelResult
    from lpft_keras.kernel_views import KernelView, kernel_view
    from lpft_keras.kernels import run_ntk
    from lpft_keras.page import write_page
    from lpft_keras.reproduction import Reproduction, reproduce
    from lpft_keras.results import RunResult
    from lpft_keras.sweeps import SweepResult, sweep
    from lpft_keras.tasks import Task, own_task
    from lpft_keras.tuning import TuningResult, tune

__all__ = [
    "InputError",
    "KernelResult",
    "KernelView",
    "Reproduction",
    "RunResult",
    "SweepResult",
    "Task",
    "TextClassifier",
    "TuningResult",
    "__version__",
    "kernel_view",
    "own_task",
    "reproduce",
    "run",
    "run_ntk",
    "sweep",
    "tune",
    "write_page",
]

_HOMES = {
    "InputError": "lpft_keras.errors",
    "KernelResult": "lpft_keras.kernel_results",
    "KernelView": "lpft_keras.kernel_views",
    "Reproduction": "lpft_keras.reproduction",
    "RunResult": "lpft_keras.results",
    "SweepResult": "lpft_keras.sweeps",
    "Task": "lpft_keras.tasks",
    "TextClassifier": "lpft_keras.estimator",
    "TuningResult": "lpft_keras.tuning",
    "kernel_view": "lpft_keras.kernel_views",
    "own_task": "lpft_keras.tasks",
    "reproduce": "lpft_keras.reproduction",
    "run": "lpft_keras.experiment",
    "run_ntk": "lpft_keras.kernels",
    "sweep": "lpft_keras.sweeps",
    "tune": "lpft_keras.tuning",
    "write_page": "lpft_keras.page",
}


_ROOMS = (
    "calibration",
    "callbacks",
    "layers",
    "methods",
    "metrics",
    "models",
    "ntk",
    "page",
    "prompts",
    "report",
    "representation",
    "reproduction",
    "tasks",
)
_NEED_KERAS = {
    f"lpft_keras.{room}"
    for room in (
        "callbacks",
        "estimator",
        "experiment",
        "kernel_views",
        "kernels",
        "layers",
        "metrics",
        "models",
        "ntk",
        "reproduction",
        "sweeps",
        "tuning",
    )
}


def __getattr__(name: str) -> Any:
    """Import a public name, or a room of the package, when it is first used."""
    if name in _HOMES:
        _check_backend(_HOMES[name])
        return getattr(importlib.import_module(_HOMES[name]), name)
    if name in _ROOMS:
        _check_backend(f"lpft_keras.{name}")
        return importlib.import_module(f"lpft_keras.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """Return all names, those not imported yet too."""
    return sorted([*globals(), *_HOMES, *_ROOMS])


def _check_backend(module: str) -> None:
    if module in _NEED_KERAS:
        from lpft_keras.backend import check_backend

        check_backend()
