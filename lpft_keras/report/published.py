"""What the paper reports of RoBERTa-base: all numbers of its tables, in `published.csv` beside this file.

Tables 1 to 3 and 6 to 16 of Akiyoshi Tomihari and Issei Sato, "Understanding Linear Probing then Fine-tuning Language
Models from NTK Perspective", NeurIPS 2024 (camera-ready). Table 3 is a part of Table 14 and not listed again. Numbers
stand as they are printed, per cent where the paper has per cent; deviations are those over its five seeds.

Some are not what they seem. Cells of Table 8 with deviation 0.00 are of classifiers that give every row the same class
(WSC by every method, SST-2 and MRPC by LoRA): they say that training failed there. Table 7 counts PubMed's abstracts,
not the sentences that are classified, and has 57 test rows of CB where the accuracies are multiples of 1/56. Tables 1
and 12, 13 differ for the same quantities of CB and RTE; the paper does not say why.
"""

import csv
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from lpft_keras.report.in_print import is_per_cent

TASK_ORDER = ("cb", "rte", "sst2", "wic", "cola", "mrpc", "wsc", "boolq", "amazon", "pubmed")
"""The tasks in the order of Tables 8, 10 and 16."""


@dataclass(frozen=True)
class Published:
    """A number of the paper.

    Attributes:
        table: Number of the table.
        mean: The number; a fraction where the paper has per cent, like our own numbers.
        deviation: Standard deviation over five seeds, NaN where the paper gives none.
    """

    table: int
    mean: float
    deviation: float


def published(
    task: str, split: str, method: str, measure: str, tables: tuple[int, ...] | None = None
) -> Published | None:
    """Return what the paper reports.

    Args:
        task: Name of a task, such as "cb".
        split: "test" (for ranks, norms and ratios of kernels "train"), or the name of a shifted set.
        method: Name of a method, or "pretrained".
        measure: Name of a metric ("accuracy", "ece", ...), "ece/scaled" (temperature scaling), "ece/improvement",
            "head_norm", "feature_change", "cosine_similarity", "fisher_discriminant_ratio", "finetune/rank", ...
        tables: Numbers of the tables to look in, the first first; None takes all.

    Returns:
        The number; None where the paper has none.

    Example:
        >>> published("cb", "test", "lp-ft", "accuracy")
        Published(table=8, mean=0.8464, deviation=0.024)
    """
    found = _numbers().get((task, split, method, measure), {})
    return next((found[table] for table in (sorted(found) if tables is None else tables) if table in found), None)


@cache
def _numbers() -> dict[tuple[str, str, str, str], dict[int, Published]]:
    numbers: dict[tuple[str, str, str, str], dict[int, Published]] = {}
    text = (files("lpft_keras.report") / "published.csv").read_text(encoding="utf-8")
    for row in csv.DictReader(text.splitlines()):
        key = (row["task"], row["split"], row["method"], row["measure"])
        unit = 100 if is_per_cent(row["measure"]) else 1
        mean, deviation = (round(float(row[name] or "nan") / unit, 12) for name in ("mean", "deviation"))
        numbers.setdefault(key, {})[int(row["table"])] = Published(int(row["table"]), mean, deviation)
    return numbers
