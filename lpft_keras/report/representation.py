"""How far features moved, how alike they are and how well they separate the classes (Tables 1, 11, 12 and 13)."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from lpft_keras.errors import unknown_name
from lpft_keras.methods import LinearProbe, get_method
from lpft_keras.representation import (
    by_class,
    cosine_similarity,
    feature_change,
    fisher_discriminant_ratio,
    fisher_discriminant_shares,
    linear_cka,
)
from lpft_keras.results import RunResult


@dataclass(frozen=True)
class Represented:
    """The measures of one run's features, and those of the pre-trained backbone on the same rows.

    Attributes:
        directory: The run directory.
        task: Name of the task.
        method: Name of the method.
        backbone: Name of the backbone.
        seed: The run's seed.
        split: Which rows.
        cosine_similarity: CS(F), mean over pairs of rows.
        feature_change: Diff(F), mean distance from the pre-trained features.
        fisher_discriminant_ratio: FDR(F).
        linear_cka: Alignment with the pre-trained features; 1 where they were only turned and scaled.
        head_norm: Norm(C) of the trained head.
        pretrained: `cosine_similarity` and `fisher_discriminant_ratio` of the pre-trained features, and `head_norm` of
            the head as it was drawn, NaN where LP came first or it was scaled.
        by_class: `cosine_similarity` and `feature_change` within each class, and its share of the ratio, by class id.
        singular: Whether the within-class scatter is singular, so that the ratio depends on how that is treated.
    """

    directory: str
    task: str
    method: str
    backbone: str
    seed: int
    split: str
    cosine_similarity: float
    feature_change: float
    fisher_discriminant_ratio: float
    linear_cka: float
    head_norm: float
    pretrained: dict[str, float]
    by_class: dict[str, dict[int, float]]
    singular: bool

    def as_dict(self) -> dict[str, Any]:
        """Return what `--json` prints."""
        return asdict(self)


def represent(result: RunResult, split: str = "test", *, ridge: float | None = None) -> Represented:
    """Return the representation measures of a run.

    Args:
        result: A finished run.
        split: The rows that are measured.
        ridge: How a singular within-class scatter is treated; see `representation.fisher_discriminant_ratio`.

    Returns:
        The measures.

    Raises:
        InputError: The split is unknown, or its rows hold one class only.
    """
    features = result.features
    if split not in features:
        raise unknown_name(f"split of {result.directory}", split, features)
    after, before = features[split], result.pretrained_features[split]
    labels = result.predictions[split]["labels"]
    shares = fisher_discriminant_shares(after, labels, ridge=ridge)
    settings = result.config["settings"]
    as_drawn = LinearProbe() not in get_method(settings["method"]) and settings["head_scale"] == 1
    return Represented(
        directory=str(result.directory),
        **{name: result.summary[name] for name in ("task", "method", "backbone", "seed")},
        split=split,
        cosine_similarity=cosine_similarity(after),
        feature_change=feature_change(after, before),
        fisher_discriminant_ratio=float(shares.sum()),
        linear_cka=linear_cka(after, before),
        head_norm=result.summary["head_norm"],
        pretrained={
            "cosine_similarity": cosine_similarity(before),
            "fisher_discriminant_ratio": fisher_discriminant_ratio(before, labels, ridge=ridge),
            "head_norm": result.start_head_norm if as_drawn else float("nan"),
        },
        by_class={
            "cosine_similarity": _several(cosine_similarity, labels, after),
            "feature_change": by_class(feature_change, labels, after, before),
            "fisher_discriminant_ratio": dict(zip(np.unique(labels).tolist(), shares.tolist(), strict=True)),
        },
        singular=len(labels) - len(np.unique(labels)) < after.shape[1],
    )


def _several(measure: Callable[..., float], labels: np.ndarray, *arrays: np.ndarray) -> dict[int, float]:
    """Return a measure of pairs by class, of the classes with two rows or more."""
    kept = np.bincount(labels)[labels] > 1
    return by_class(measure, labels[kept], *(array[kept] for array in arrays))
