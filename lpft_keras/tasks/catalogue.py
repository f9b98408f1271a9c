"""The tasks we know by name: the thirteen sets of the paper, the others of the kernel-view paper, and our own demo."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from lpft_keras.tasks import official
from lpft_keras.tasks.readers import read_jsonl
from lpft_keras.tasks.task import Reader, Row, Task

_NO_YES = ("False", "True")
_TWO = ("entailment", "not_entailment")
_SENTIMENT = ("negative", "positive")
_PAIR = ("{premise}", "{hypothesis}")


def _super_glue(name: str, template: tuple[str, ...], labels: tuple[str, ...], read: Reader = read_jsonl) -> Task:
    files = {"train": f"{name}/train.jsonl", "test": f"{name}/val.jsonl"}
    return Task(name=name, template=template, labels=labels, files=files, read=read, tfds=f"super_glue/{name}")


def _glue(name: str, template: tuple[str, ...], labels: tuple[str, ...], read: Reader, **more: Any) -> Task:
    files = {"train": f"{name}/train.tsv", "test": f"{name}/dev.tsv"}
    given = {"files": files, "tfds": f"glue/{name}", **more}
    return Task(name=name, template=template, labels=labels, read=read, **given)


def _few_shot(name: str, labels: tuple[str, ...]) -> Task:
    """Return a task of the few-shot collection, whose files may be sorted by class: no place for a last tenth."""
    files = {"train": f"{name}/train.csv", "test": f"{name}/test.csv"}
    read = official.read_labelled_csv
    return Task(name=name, template=("{text}",), labels=labels, files=files, read=read, stratified=True)


def _demo_rows(split: str) -> list[Row]:
    from lpft_keras.tasks.grammar import demo_rows

    return [
        Row({"premise": premise, "hypothesis": hypothesis, "label": label}, f"demo {split}", number, "row")
        for number, (premise, hypothesis, label) in enumerate(demo_rows(split), start=1)
    ]


_AMAZON = Task(
    name="amazon",
    template=("{text}",),
    labels=("negative", "positive", "neutral"),
    files={
        "train": "amazon/train.tsv",
        "test": "amazon/test.tsv",
        "dynasent": "dynasent/test.tsv",
        "semeval": "semeval/test.tsv",
        "sst5": "sst5/test.tsv",
    },
    read=official.read_boss,
    ood=("dynasent", "semeval", "sst5"),
)

# The sizes of arXiv v2's Table 7. How rows were chosen is not published; BOSS's files are shuffled: we take the first.
_SMALL: Mapping[str, int] = {"train": 3000, **dict.fromkeys(("validation", "test", *_AMAZON.ood), 1000)}

# Sets whose own validation and test rows have labels.
_OWN_SPLITS = {"train": "train", "validation": "dev", "test": "test"}

_PAPER = (
    _super_glue("cb", _PAIR, ("entailment", "contradiction", "neutral")),
    _super_glue("rte", _PAIR, _TWO),
    _super_glue("boolq", ("{question}", "{passage}"), _NO_YES),
    _super_glue("wic", ("{sentence1} {sentence2} Does {word} have the same meaning in both sentences?",), _NO_YES),
    _super_glue("wsc", ("{span2_text}: {text}", "{span1_text}"), _NO_YES, official.read_wsc),
    _glue("cola", ("{sentence}",), ("unacceptable", "acceptable"), official.read_cola, metric="matthews_correlation"),
    _glue("mrpc", ("{sentence1}", "{sentence2}"), ("not_equivalent", "equivalent"), official.read_mrpc),
    _glue("sst2", ("{sentence}",), _SENTIMENT, official.read_glue),
    _AMAZON,
    replace(_AMAZON, name="amazon-small", sizes=_SMALL),
    Task(
        name="pubmed",
        template=("{text}",),
        labels=("BACKGROUND", "CONCLUSIONS", "METHODS", "OBJECTIVE", "RESULTS"),
        files={split: f"pubmed/{name}.txt" for split, name in _OWN_SPLITS.items()},
        read=official.read_pubmed,
    ),
)

_KERNEL_VIEW = (
    Task(
        name="sst5",
        template=("{text}",),
        labels=("very negative", "negative", "neutral", "positive", "very positive"),
        files={split: (f"sst5/trees/{n}.txt", f"sst5/trees_{n}.txt") for split, n in _OWN_SPLITS.items()},
        read=official.read_trees,
    ),
    _few_shot("mr", _SENTIMENT),
    _few_shot("cr", _SENTIMENT),
    _few_shot("mpqa", _SENTIMENT),
    _few_shot("subj", ("subjective", "objective")),
    Task(
        name="trec",
        template=("{text}",),
        labels=("DESC", "ENTY", "ABBR", "HUM", "NUM", "LOC"),
        label="label-coarse",
        files={"train": "trec/train_5500.label", "test": "trec/TREC_10.label"},
        read=official.read_trec,
        tfds="trec",
        tfds_splits={"train": "train", "test": "test"},
        stratified=True,
    ),
    Task(
        name="ag_news",
        template=("{title} {description}",),
        labels=("World", "Sports", "Business", "Sci/Tech"),
        files={"train": "ag_news/train.csv", "test": "ag_news/test.csv"},
        read=official.read_ag_news,
        tfds="ag_news_subset",
        tfds_splits={"train": "train", "test": "test"},
        stratified=True,
    ),
    _glue(
        "mnli",
        _PAIR,
        ("entailment", "neutral", "contradiction"),
        official.read_mnli,
        files={"train": "mnli/train.tsv", "test": "mnli/dev_matched.tsv", "mismatched": "mnli/dev_mismatched.tsv"},
        tfds_splits={"train": "train", "test": "validation_matched", "mismatched": "validation_mismatched"},
        ood=("mismatched",),
    ),
    Task(
        name="snli",
        template=_PAIR,
        labels=("entailment", "neutral", "contradiction"),
        files={split: f"snli/snli_1.0_{name}.jsonl" for split, name in _OWN_SPLITS.items()},
        read=official.read_snli,
        tfds="snli",
        tfds_splits={"train": "train", "validation": "validation", "test": "test"},
    ),
    _glue("qnli", ("{question}", "{sentence}"), _TWO, official.read_glue),
    _glue("qqp", ("{question1}", "{question2}"), ("not_duplicate", "duplicate"), official.read_qqp),
)

_DEMO = Task(
    name="demo",
    template=_PAIR,
    labels=("entailment", "contradiction", "neutral"),
    generate=_demo_rows,
    ood=("ood",),
    backbone="pocket",
)

TASKS: dict[str, Task] = {task.name: task for task in (*_PAPER, *_KERNEL_VIEW, _DEMO)}
"""The tasks by name."""
