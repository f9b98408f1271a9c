"""A method at the start of its fine-tuning: the classifier as it is then, and the rows as tokens."""

from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from lpft_keras.encodings import encoded_splits
from lpft_keras.models.backbones import load_backbone
from lpft_keras.pipeline import before_fine_tuning
from lpft_keras.settings import RunSettings
from lpft_keras.tasks import TaskData
from lpft_keras.training.batches import Encoded, model_inputs


@dataclass(frozen=True)
class Start:
    """Where fine-tuning starts.

    Attributes:
        classifier: After linear probing, where the method has it; with fresh adapters, where it trains those.
        tokens: The rows of every split.
        source: Where the backbone's weights came from.
    """

    classifier: keras.Model
    tokens: dict[str, Encoded]
    source: dict[str, str]


def start_of(settings: RunSettings, data: TaskData, cache: Path, show_progress: bool | None = None) -> Start:
    """Bring a method to the start of its fine-tuning.

    Args:
        settings: Of the run.
        data: Its rows, few of them drawn already where it is to have few.
        cache: Where token arrays, features and probes are kept.
        show_progress: Whether to show progress bars; None decides by the terminal.

    Returns:
        The start.

    Raises:
        InputError: As `lpft_keras.run`.
    """
    pipeline = settings.pipeline().for_classes(data.labels)
    loaded = load_backbone(settings.backbone, dropout=settings.dropout, dtype=settings.dtype)
    tokens = encoded_splits(loaded, data, settings.max_length, cache, show_progress, pipeline.prompt)
    train, validation = tokens["train"], tokens["validation"]
    return Start(
        before_fine_tuning(loaded, len(data.labels), train, validation, pipeline, cache), tokens, loaded.source
    )


def drawn_rows(count: int, rows: int, seed: int) -> np.ndarray:
    """Return which rows are taken: all, or so many drawn by the seed, in file order."""
    if count <= rows:
        return np.arange(count)
    return np.sort(np.random.default_rng([seed, 3]).choice(count, rows, replace=False))


def inputs_of(part: Encoded) -> dict[str, np.ndarray]:
    """Return what the classifier takes of some rows, padded to one length."""
    return model_inputs(part.tokens, np.arange(len(part)), part.tokens.token_ids.shape[1])
