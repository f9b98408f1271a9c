"""Files in the formats of their own that some benchmarks came in; each reader names its columns alike."""

import logging
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from lpft_keras.errors import InputError
from lpft_keras.tasks.readers import read_delimited, read_jsonl, read_text_lines
from lpft_keras.tasks.task import Row

log = logging.getLogger(__name__)

# What pandas takes for a missing value, quoted or not; the original code reads BOSS's files by pandas.
_PANDAS_MISSING = frozenset(
    "|#N/A|#N/A N/A|#NA|-1.#IND|-1.#QNAN|-NaN|-nan|1.#IND|1.#QNAN|<NA>|N/A|NA|NULL|NaN|None|n/a|nan|null".split("|")  # noqa: SIM905
)

# GLUE's files hold quotes as they are; QQP's has rows that break off.
read_glue = partial(read_delimited, delimiter="\t", quotes=False)
read_cola = partial(read_glue, columns=("source", "label", "mark", "sentence"))
read_mrpc = partial(read_glue, rename={"Quality": "label", "#1 String": "sentence1", "#2 String": "sentence2"})
read_qqp = partial(read_glue, rename={"is_duplicate": "label"}, short_rows="drop")
read_mnli = partial(read_glue, rename={"gold_label": "label", "sentence1": "premise", "sentence2": "hypothesis"})
# The files of Gao et al.'s few-shot collection (LM-BFF), which the kernel-view paper takes too.
read_labelled_csv = partial(read_delimited, columns=("label", "text"))


def read_wsc(path: Path) -> Iterator[Row]:
    """Read SuperGLUE's WSC, whose spans lie in an object of their own; TFDS has them flat."""
    for row in read_jsonl(path):
        target = row.fields.get("target")
        yield row._replace(fields={**row.fields, **target}) if isinstance(target, dict) else row


def read_boss(path: Path) -> Iterator[Row]:
    """Read a BOSS file: text and label by position; rows that pandas would find no text or no label in are dropped."""
    dropped = 0
    for row in read_delimited(path, delimiter="\t", strict=False):
        values = list(row.fields.values())
        if len(values) < 2:
            raise InputError(
                f"{path} needs two columns, text and label, parted by a tab; found {', '.join(row.fields)}"
            )
        text, label = values[:2]
        if text in _PANDAS_MISSING or not re.fullmatch(r"\s*[+-]?\d+(\.0*)?\s*", label):
            dropped += 1
            continue
        yield row._replace(fields={"text": text, "label": str(int(float(label)))})
    if dropped:
        log.info("%s: dropped %d rows without a text or a whole label, as the original code does", path, dropped)


def read_snli(path: Path) -> Iterator[Row]:
    """Read SNLI's JSON lines; pairs that the annotators did not agree on have no label and are dropped."""
    for row in read_jsonl(path):
        fields = row.fields
        if fields.get("gold_label") != "-":
            names = (("premise", "sentence1"), ("hypothesis", "sentence2"), ("label", "gold_label"))
            yield row._replace(fields={new: fields[old] for new, old in names if old in fields})


def read_ag_news(path: Path) -> Iterator[Row]:
    """Read AG News, whose class ids count from 1."""
    for row in read_delimited(path, columns=("label", "title", "description")):
        label = row.fields["label"]
        yield row._replace(fields={**row.fields, "label": str(int(label) - 1) if label.isdecimal() else label})


def read_trec(path: Path) -> Iterator[Row]:
    """Read TREC questions: `DESC:manner How did ...`; the coarse label counts. One byte is no ASCII, as TFDS has it."""
    for number, line in read_text_lines(path, "latin-1"):
        label, _, text = line.replace("\xf0", " ").strip().partition(" ")
        if label:
            yield Row({"label-coarse": label.partition(":")[0], "text": text}, str(path), number)


def read_pubmed(path: Path) -> Iterator[Row]:
    """Read PubMed RCT: one row a sentence, lower-cased, abstracts parted by `###<id>` and empty lines."""
    for number, line in read_text_lines(path):
        if not line.strip() or line.startswith("###"):
            continue
        label, tab, text = line.partition("\t")
        if not tab:
            raise InputError(f"{path}, line {number}: no tab between label and sentence, found {line[:40]!r}")
        yield Row({"label": label, "text": text.lower()}, str(path), number)


def read_trees(path: Path) -> Iterator[Row]:
    """Read sentiment trees `(3 (2 The) ...)`: the root's label, and the leaves joined by spaces."""
    for number, line in read_text_lines(path):
        if not line.strip():
            continue
        root = re.match(r"\((\d)\s", line)
        leaves = re.findall(r"\(\d ([^()]+)\)", line)
        if root is None or not leaves or line.count("(") != line.count(")"):
            raise InputError(f"{path}, line {number}: no whole tree, found {line[:40]!r}; is the file half-written?")
        yield Row({"label": root[1], "text": " ".join(leaves)}, str(path), number)
