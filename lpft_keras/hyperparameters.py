"""What decides a training: frozen dataclasses, checked when they are made, before Keras is imported."""

import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from lpft_keras.errors import InputError, unknown_name
from lpft_keras.prompts import Prompt

POOLINGS = ("first", "mean")
OPTIMIZERS = ("adam", "sgd", "signgd")
LORA_STYLES = ("paper", "keras")
# Solvers of the linear probe and their stopping tolerances. lbfgs has the paper's; a smaller one it does not reach in
# thousands of iterations.
PROBE_SOLVERS = {"newton-cg": 1e-6, "newton-cholesky": 1e-6, "lbfgs": 1e-4}


@dataclass(frozen=True)
class LoraSettings:
    """What a backbone's LoRA was enabled with; the same names as `enable_lora`."""

    rank: int = 8
    alpha: float = 8.0
    style: str = "paper"
    targets: tuple[str, ...] = ("query", "value")

    def __post_init__(self):
        if isinstance(self.rank, bool) or not hasattr(self.rank, "__index__") or operator.index(self.rank) < 1:
            raise InputError(f"LoRA rank {self.rank!r} is not a positive integer; the paper uses 8")
        if isinstance(self.alpha, bool | str) or not (math.isfinite(self.alpha) and self.alpha > 0):
            raise InputError(f"LoRA alpha {self.alpha!r} is not a finite number above zero; the paper uses 8")
        if self.style not in LORA_STYLES:
            raise unknown_name("LoRA style", self.style, LORA_STYLES)
        if not self.targets:
            raise InputError('LoRA needs at least one target layer, for example targets=("query", "value")')
        for name, value in {
            "rank": operator.index(self.rank),
            "alpha": float(self.alpha),
            "targets": tuple(self.targets),
        }.items():
            object.__setattr__(self, name, value)


@dataclass(frozen=True)
class ProbeSettings:
    """How the linear probe is fitted.

    Attributes:
        solver: "newton-cg" reaches the optimum; "lbfgs" is the paper's, which stops short of it, so that head
            norm and the choice of C can differ; "newton-cholesky" suits few features and many rows.
        folds: Folds of the stratified cross-validation that chooses C.
        grid: Number of values of C, evenly spaced in the logarithm from 1e-4 to 1e4.
        tolerance: The solver's stopping tolerance; None takes 1e-6, for lbfgs the paper's 1e-4.
        max_iterations: The solver's limit.
    """

    solver: str = "newton-cg"
    folds: int = 5
    grid: int = 10
    tolerance: float | None = None
    max_iterations: int = 5000

    def __post_init__(self):
        """Refuse settings that no fit can use."""
        if self.solver not in PROBE_SOLVERS:
            raise unknown_name("probe solver", self.solver, PROBE_SOLVERS)
        if (
            self.folds < 2
            or self.grid < 1
            or self.max_iterations < 1
            or (self.tolerance is not None and not self.tolerance > 0)
        ):
            raise InputError("a linear probe needs 2 or more folds, 1 or more values of C, and a tolerance above 0")


@dataclass(frozen=True)
class FineTuneSettings:
    """How a model is fine-tuned.

    Attributes:
        learning_rate: The greatest rate, at the first step; it falls linearly to zero over all steps.
        batch_size: Rows an optimiser step.
        epochs: Passes over the training rows.
        micro_batches: Equal parts of like length a batch is cut into; None decides by the batch size. It changes how
            much padding is computed, not the gradient (but the dropout masks).
        clip_norm: Greatest global norm of the gradient; not used by "signgd", whose signs it would not change.
        optimizer: One of `OPTIMIZERS`.
    """

    learning_rate: float
    batch_size: int
    epochs: int = 10
    micro_batches: int | None = None
    clip_norm: float = 1.0
    optimizer: str = "adam"

    def __post_init__(self):
        """Refuse settings that no training can use."""
        for name in ("batch_size", "epochs", "micro_batches"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"{name} must be 1 or more, not {value}")
        for name in ("learning_rate", "clip_norm"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise InputError(f"{name} must be a finite number above 0, not {value}")
        if self.batch_size % (self.micro_batches or 1):
            raise InputError(f"micro_batches ({self.micro_batches}) must divide batch_size ({self.batch_size})")
        if self.optimizer not in OPTIMIZERS:
            raise unknown_name("optimizer", self.optimizer, OPTIMIZERS)


@dataclass(frozen=True)
class PipelineSettings:
    """All that decides how token arrays become a classifier.

    Attributes:
        method: Name of the method.
        fine_tune: Settings of the fine-tuning stage; None for a method without one.
        probe: Settings of the linear probe.
        lora: Settings of the adapters.
        pooling: "first", "mean", or None for the backbone's own default.
        head_dropout: Dropout rate before the head.
        seed: Seed of head, adapters, batches, dropout, and of the probe's folds.
        head_scale: What the head is multiplied by before fine-tuning: after LP, or as it was drawn.
        prompt: The prompt that the rows were encoded by, its words in the order of the classes; None for none.
    """

    method: str
    fine_tune: FineTuneSettings | None
    probe: ProbeSettings = field(default_factory=ProbeSettings)
    lora: LoraSettings = field(default_factory=LoraSettings)
    pooling: str | None = None
    head_dropout: float = 0.1
    seed: int = 1001
    head_scale: float = 1.0
    prompt: Prompt | None = None

    def for_classes(self, labels: Sequence[str]) -> "PipelineSettings":
        """Return the settings with the prompt's words in the order of the classes; raises as `Prompt.in_order`."""
        return self if self.prompt is None else replace(self, prompt=self.prompt.in_order(labels))
