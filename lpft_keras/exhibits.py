"""The tables and figures of Tomihari and Sato (NeurIPS 2024), as data: what each shows, and of which runs.

The text of the paper does not always say which data set a figure is of, and its images are not at hand: figures 1, 4 to
6 and 8 to 11 are assigned as their descriptions have it. Name other tasks (`tasks=`) and any of them is made of those.
"""

import re
from dataclasses import dataclass
from typing import Any

from lpft_keras.errors import unknown_name
from lpft_keras.methods import EVALUATION_SEEDS, HEAD_SCALES, METHODS, fine_tuning

_TUNED = tuple(name for name in METHODS if fine_tuning(name))
_SUPERGLUE = ("cb", "rte", "boolq", "wic", "wsc")
_GLUE = ("cola", "sst2", "mrpc")
_SHIFTED = ("dynasent", "semeval", "sst5")


@dataclass(frozen=True)
class Exhibit:
    """A table or figure, of the paper or of one's own.

    Attributes:
        name: "table8", "figure3"; another name for one that is not in the paper.
        title: What it shows.
        layout: Which maker of `reproduction.making` puts it together.
        tasks: Its data sets.
        methods: Its methods; none where nothing is trained.
        seeds: The seeds of its runs. The paper does not say how many its kernels have: one is taken.
        head_scales: What heads are multiplied by before fine-tuning.
        kernels: Whether it is made of kernels at the start of fine-tuning, not of finished runs.
        splits: The rows it is of; empty for the test rows.
        tables: The paper's tables that ours are compared with, the first first.
        is_figure: Whether it is drawn.
    """

    name: str
    title: str
    layout: str
    tasks: tuple[str, ...]
    methods: tuple[str, ...] = tuple(METHODS)
    seeds: tuple[int, ...] = EVALUATION_SEEDS
    head_scales: tuple[float, ...] = (1.0,)
    kernels: bool = False
    splits: tuple[str, ...] = ()
    tables: tuple[int, ...] = ()
    is_figure: bool = False

    @property
    def in_paper(self) -> bool:
        """Whether it is one of the paper's."""
        return re.fullmatch(r"(table|figure)\d+", self.name) is not None

    @property
    def needs_rows(self) -> bool:
        """Whether the rows of its tasks are needed."""
        return self.layout != "rates"

    @property
    def title_in_full(self) -> str:
        """Return "Table 8: ...", or the title alone of what the paper does not have."""
        if not self.in_paper:
            return self.title[0].upper() + self.title[1:]
        kind, number = ("Figure", self.name[6:]) if self.is_figure else ("Table", self.name[5:])
        return f"{kind} {number}: {self.title}"


def _table(number: int, title: str, layout: str, tasks: tuple[str, ...], **options) -> Exhibit:
    return Exhibit(f"table{number}", title, layout, tasks, **options)


def _figure(number: int, title: str, layout: str, tasks: tuple[str, ...], **options) -> Exhibit:
    return Exhibit(f"figure{number}", title, layout, tasks, is_figure=True, **options)


_CALIBRATION: dict[str, Any] = {
    "layout": "calibration",
    "methods": _TUNED,
    "tables": (14, 15),
}
_KERNELS: dict[str, Any] = {
    "methods": tuple(dict.fromkeys(("ft", "lora", *_TUNED))),
    "seeds": EVALUATION_SEEDS[:1],
    "kernels": True,
}
_SCALES: dict[str, Any] = {"layout": "head_scale", "head_scales": HEAD_SCALES}
_ALL = (*_SUPERGLUE, "cola", "mrpc", "sst2", "amazon", "pubmed")

EXHIBITS: dict[str, Exhibit] = {
    exhibit.name: exhibit
    for exhibit in (
        _table(1, "features and head after training", "representation", ("cb", "rte"), tables=(1, 11, 12, 13)),
        _table(2, "kernel statistics", "kernels", ("cb",), tables=(2, 9), **_KERNELS),
        _table(3, "ECE and MCE without and with temperature scaling", tasks=("rte",), **_CALIBRATION),
        _table(6, "batch sizes and learning rates", "rates", _ALL, methods=(), tables=(6,)),
        _table(7, "data sets", "rows", _ALL, methods=(), tables=(7,)),
        _table(8, "test results, SuperGLUE and GLUE", "results", (*_SUPERGLUE, *_GLUE)),
        _table(9, "kernel statistics", "kernels", ("rte", "boolq", "wic"), tables=(9, 2), **_KERNELS),
        _table(10, "accuracy in and out of distribution", "results", ("amazon",)),
        _table(
            11, "features and head, in and out of distribution", "representation", ("amazon",), tables=(11, 1, 12, 13)
        ),
        _table(
            12,
            "feature change in the FT stage",
            "feature_change",
            (*_SUPERGLUE, *_GLUE, "amazon"),
            methods=_TUNED,
            tables=(12, 1, 11),
        ),
        _table(13, "norm of the head", "head_norm", (*_SUPERGLUE, *_GLUE, "amazon"), tables=(13, 1, 11)),
        _table(14, "ECE and MCE, SuperGLUE", tasks=_SUPERGLUE, **_CALIBRATION),
        _table(15, "ECE and MCE, GLUE", tasks=_GLUE, **_CALIBRATION),
        _table(16, "test accuracy, PubMed 20k RCT", "results", ("pubmed",)),
        _figure(1, "norm of the head along training", "norm_paths", ("cb",)),
        _figure(2, "singular values of kernels", "singular_values", ("cb",), **_KERNELS),
        _figure(
            3,
            "feature change against the head's scale, out of distribution",
            tasks=("amazon",),
            methods=("ft", "lp-ft"),
            seeds=EVALUATION_SEEDS[:3],
            splits=("sst5",),
            **_SCALES,
        ),
        _figure(4, "norm of the head along training", "norm_paths", ("rte",)),
        _figure(
            5,
            "features and head rows, t-SNE",
            "feature_map",
            ("cb",),
            methods=("ft", "lp-ft"),
            seeds=EVALUATION_SEEDS[:1],
        ),
        _figure(
            6,
            "features and head rows, t-SNE",
            "feature_map",
            ("rte",),
            methods=("ft", "lp-ft"),
            seeds=EVALUATION_SEEDS[:1],
        ),
        _figure(7, "singular values of kernels", "singular_values", ("rte", "boolq", "wic"), **_KERNELS),
        _figure(8, "trace norms of kernels by class", "trace_norms", ("cb",), **_KERNELS),
        _figure(9, "trace norms of kernels by class", "trace_norms", ("rte",), **_KERNELS),
        _figure(10, "feature change against the head's scale", tasks=("cb", "rte"), methods=_TUNED, **_SCALES),
        _figure(
            11,
            "feature change against the head's scale, in and out of distribution",
            tasks=("amazon",),
            methods=("ft", "lp-ft"),
            seeds=EVALUATION_SEEDS[:3],
            splits=("test", *_SHIFTED),
            **_SCALES,
        ),
    )
}


def get_exhibit(name: str) -> Exhibit:
    """Return a table or figure by its name; an `InputError` names the nearest ones where there is none."""
    if name not in EXHIBITS:
        raise unknown_name("table or figure", name, EXHIBITS)
    return EXHIBITS[name]
