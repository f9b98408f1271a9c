"""The settings of one run, frozen, checked when they are made, before any work."""

import logging
import math
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lpft_keras.errors import InputError, unknown_name
from lpft_keras.methods import FineTune, default_rates, get_method
from lpft_keras.models.lora import LoraSettings
from lpft_keras.pipeline import PipelineSettings
from lpft_keras.training.fine_tune import FineTuneSettings
from lpft_keras.training.linear_probe import ProbeSettings

log = logging.getLogger(__name__)

DTYPES = ("float32", "mixed_bfloat16", "mixed_float16")


@dataclass(frozen=True)
class RunSettings:
    """All that decides a run's numbers, as `config.json` holds it.

    The arguments of `lpft_keras.run` are described there; here batch size and learning rate are filled in.
    """

    task: str
    method: str
    backbone: str
    seed: int = 1001
    epochs: int = 10
    batch_size: int | None = None
    learning_rate: float | None = None
    max_length: int = 128
    limit: int | None = None
    pooling: str | None = None
    dropout: float | None = None
    dtype: str = "float32"
    lora_rank: int = 8
    lora_alpha: float = 8.0
    lora_style: str = "paper"
    probe_solver: str = "newton-cg"
    micro_batches: int | None = None

    def __post_init__(self):
        """Refuse what no run can use, and fill in what the user left open."""
        for name in ("epochs", "batch_size", "max_length", "limit", "lora_rank", "micro_batches"):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
                raise InputError(f"{name} must be a whole number of 1 or more, not {value!r}")
        if not isinstance(self.seed, int) or self.seed < 0:
            raise InputError(f"seed must be a whole number of 0 or more, not {self.seed!r}")
        if self.dropout is not None and not 0 <= self.dropout < 1:
            raise InputError(f"dropout must lie in [0, 1), not {self.dropout}")
        rate = self.learning_rate
        if rate is not None and not (math.isfinite(rate) and rate > 0):
            raise InputError(f"learning_rate must be a finite number above 0, not {rate}")
        if self.dtype not in DTYPES:
            raise unknown_name("dtype", self.dtype, DTYPES)
        defaults = default_rates(self.method, self.task, self.backbone)
        if defaults is None:
            # Linear probing has neither: one run, whatever was asked for, has one configuration.
            for name in ("batch_size", "learning_rate", "micro_batches"):
                object.__setattr__(self, name, None)
        else:
            if self.batch_size is None or self.learning_rate is None:
                object.__setattr__(self, "batch_size", self.batch_size or defaults.batch_size)
                object.__setattr__(self, "learning_rate", self.learning_rate or defaults.learning_rate)
                log.info("batch size %d, learning rate %g: %s", self.batch_size, self.learning_rate, defaults.origin)
        self.pipeline()

    def pipeline(self) -> PipelineSettings:
        """Return the part of the settings that concerns training."""
        fine_tune = None
        if any(isinstance(stage, FineTune) for stage in get_method(self.method)):
            assert self.learning_rate is not None
            assert self.batch_size is not None
            fine_tune = FineTuneSettings(self.learning_rate, self.batch_size, self.epochs, self.micro_batches)
        return PipelineSettings(
            method=self.method,
            fine_tune=fine_tune,
            probe=ProbeSettings(solver=self.probe_solver),
            lora=LoraSettings(rank=self.lora_rank, alpha=self.lora_alpha, style=self.lora_style),
            pooling=self.pooling,
            head_dropout=0.1 if self.dropout is None else self.dropout,
            seed=self.seed,
        )

    def directory(self, output_dir: str | Path) -> Path:
        """Return the run's directory below `output_dir`."""
        return Path(output_dir) / _slug(self.task) / self.method / _slug(self.backbone) / f"seed_{self.seed}"

    def as_dict(self) -> dict[str, Any]:
        """Return the settings as JSON holds them."""
        return asdict(self)


def _slug(name: str) -> str:
    """Return a name that is one folder, whatever the handle or path it came from."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.") or "unnamed"
