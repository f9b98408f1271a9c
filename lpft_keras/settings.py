"""The settings of one run, frozen, checked when they are made, before any work."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import Any

from lpft_keras.arrays import real_number, whole_number
from lpft_keras.distribution import usable_devices
from lpft_keras.errors import InputError, unknown_name
from lpft_keras.hyperparameters import (
    OPTIMIZERS,
    POOLINGS,
    FineTuneSettings,
    LoraSettings,
    PipelineSettings,
    ProbeSettings,
)
from lpft_keras.methods import Defaults, default_rates, fine_tuning, get_method, unused_settings
from lpft_keras.prompts import PROMPTS, Prompt, asked_prompt
from lpft_keras.storage import fingerprint, slug

DTYPES = ("float32", "mixed_bfloat16")
OF_TRAINING = ("epochs", "batch_size", "learning_rate", "optimizer", "micro_batches", "data_parallel")
"""Settings of fine-tuning, which change nothing at its start."""


@dataclass(frozen=True)
class RunSettings:
    """All that decides a run's numbers, as `config.json` holds it.

    The arguments of `lpft_keras.run` are described there.
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
    head_scale: float = 1.0
    data_parallel: bool = False
    optimizer: str = "adam"
    prompt: bool | str | None = None
    label_words: Mapping[str, str] | Sequence[str] | None = None
    shots: int | None = None

    def __post_init__(self):
        """Refuse what no run can use."""
        get_method(self.method)
        for name in ("epochs", "batch_size", "max_length", "limit", "lora_rank", "micro_batches", "seed", "shots"):
            value, smallest = getattr(self, name), 0 if name == "seed" else 1
            if value is None:
                continue
            object.__setattr__(self, name, whole_number(value, name, smallest))  # NumPy's integers are no JSON
        for name, least, most in (
            ("dropout", 0.0, 1.0),
            ("learning_rate", 0.0, math.inf),
            ("lora_alpha", 0.0, math.inf),
            ("head_scale", 0.0, math.inf),
        ):
            value = getattr(self, name)
            if (value is None and name in ("dropout", "learning_rate")) or (name == "dropout" and value == 0):
                continue
            object.__setattr__(self, name, real_number(value, name, least, most))
        if self.dtype not in DTYPES:
            raise unknown_name("dtype", self.dtype, DTYPES)
        if self.pooling is not None and self.pooling not in POOLINGS:
            raise unknown_name("pooling", self.pooling, POOLINGS)
        if self.optimizer not in OPTIMIZERS:
            raise unknown_name("optimizer", self.optimizer, OPTIMIZERS)
        self._resolve_prompt()
        if not isinstance(self.data_parallel, bool):
            raise InputError(f"data_parallel must be True or False, not {self.data_parallel!r}")
        self.pipeline()
        # What a method does not use is no part of what it is: one run, whatever was asked for beside it.
        unused = unused_settings(self.method)
        for field in fields(self):
            if field.name in unused:
                object.__setattr__(self, field.name, field.default)

    def _resolve_prompt(self) -> None:
        """Put the template and its words in the place of what was asked for, as JSON holds them."""
        asked = asked_prompt(self.task, self.prompt, self.label_words)
        if asked is not None and self.pooling is not None:
            raise InputError("a prompt's features are those at its mask; leave pooling out, or the prompt")
        words = None if asked is None else dict(asked.words) if isinstance(asked.words, Mapping) else list(asked.words)
        object.__setattr__(self, "prompt", None if asked is None else asked.template)
        object.__setattr__(self, "label_words", words)

    def _prompt(self) -> Prompt | None:
        return asked_prompt(self.task, self.prompt, self.label_words)

    def _default_rates(self) -> Defaults:
        defaults = default_rates(self.method, self.task, self.backbone, self.optimizer)
        assert defaults is not None, "only methods with a fine-tuning stage have rates"
        return defaults

    def rates(self) -> tuple[int, float]:
        """Return batch size and learning rate of the fine-tuning stage."""
        defaults = self._default_rates()
        return self.batch_size or defaults.batch_size, self.learning_rate or defaults.learning_rate

    def rates_in_words(self) -> str:
        """Return batch size and learning rate of the fine-tuning stage, each with whose it is."""
        origin = self._default_rates().origin
        of_batches = default_rates(self.method, self.task, self.backbone)  # those of Adam, whatever the optimiser
        assert of_batches is not None
        batch_size, learning_rate = self.rates()
        return (
            f"batch size {batch_size} ({'as given' if self.batch_size else of_batches.origin}), "
            f"learning rate {learning_rate:g} ({'as given' if self.learning_rate else origin})"
        )

    def pipeline(self) -> PipelineSettings:
        """Return the part of the settings that concerns training."""
        fine_tune = None
        if fine_tuning(self.method):
            batch_size, learning_rate = self.rates()
            fine_tune = FineTuneSettings(
                learning_rate, batch_size, self.epochs, self.micro_batches, optimizer=self.optimizer
            )
        return PipelineSettings(
            method=self.method,
            fine_tune=fine_tune,
            probe=ProbeSettings(solver=self.probe_solver),
            lora=LoraSettings(rank=self.lora_rank, alpha=self.lora_alpha, style=self.lora_style),
            pooling=self.pooling,
            head_dropout=0.1 if self.dropout is None else self.dropout,
            seed=self.seed,
            head_scale=self.head_scale,
            prompt=self._prompt(),
        )

    def check_devices(self) -> None:
        """Refuse settings that the devices of this machine can't train by.

        Not part of making settings: runs are read on other machines, too.

        Raises:
            InputError: Batches shall be shared between devices and there is one only, the backend is not JAX, or the
                rows can't be shared evenly.
        """
        if not self.data_parallel:
            return
        devices, fine_tune = usable_devices(), self.pipeline().fine_tune
        if fine_tune is not None:
            from lpft_keras.training.batches import check_cut

            check_cut(fine_tune.batch_size, fine_tune.micro_batches, devices)

    def directory(self, output_dir: str | Path) -> Path:
        """Return the run's directory below `output_dir`."""
        name = f"seed_{self.seed}" + ("" if self.head_scale == 1 else f"-head_scale_{self.head_scale:g}")
        name += "" if self.optimizer == "adam" else f"-optimizer_{self.optimizer}"
        if prompt := self._prompt():
            own = prompt == PROMPTS.get(self.task)
            words = json.dumps(self.label_words)
            name += "-prompt" + ("" if own else f"_{fingerprint([prompt.template, words])[:8]}")
        name += "" if self.shots is None else f"-shots_{self.shots}"
        return Path(output_dir) / slug(self.task) / self.method / slug(self.backbone) / name

    def as_dict(self) -> dict[str, Any]:
        """Return the settings as JSON holds them."""
        values = asdict(self)
        if self.pipeline().fine_tune is not None:
            values["batch_size"], values["learning_rate"] = self.rates()
        return values


def completed(config: dict[str, Any]) -> dict[str, Any]:
    """Return the configuration of a run or kernel with the settings that an older version did not know.

    Args:
        config: What `config.json` holds, or "config" in `kernel.json`.

    Returns:
        The same, settings that are missing at their defaults, by which those runs were made.
    """
    known = {field.name: field.default for field in fields(RunSettings) if field.default is not MISSING}
    settings = config.get("settings", {})
    return {**config, "settings": {**settings, **{name: known[name] for name in known.keys() - settings.keys()}}}
