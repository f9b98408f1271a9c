"""Formats of which no official file is at hand, in small files of our own; and the odd rows of all of them."""

import json
import logging

import numpy as np
import pytest

from lpft_keras.errors import InputError
from lpft_keras.tasks import TASKS, load_task
from tests.official_files import write_official_files


def prepared(folder, task, **files):
    """Write a task's files, and return its rows as loaded."""
    for split, content in files.items():
        name = TASKS[task].files[split]
        path = folder / (name if isinstance(name, str) else name[0])
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return load_task(TASKS[task], folder)


def shown(split):
    return [(*texts, int(label)) for texts, label in zip(split.texts, split.labels, strict=True)]


def test_boss_drops_what_pandas_finds_no_text_or_label_in(tmp_path, caplog):
    shifted = dict.fromkeys(("dynasent", "semeval", "sst5"), "Text\tLabel\nx\t2\n")
    rows = '"odd" quote\t1\n"quoted ""text"""\t0\nNA\t1\n"null"\t1\nNA me\t1\n\t0\n'
    rows += "no label\t\nhalf\t0.5\nwhole\t2.0\nlast\t0\n"
    with caplog.at_level(logging.INFO, "lpft_keras"):
        data = prepared(tmp_path, "amazon", train="Text\tLabel\n" + rows, test="a\tb\nt\t1\n", **shifted)
    assert shown(data.train) == [("odd quote", 1), ('quoted "text"', 0), ("NA me", 1), ("whole", 2)]
    assert shown(data.validation) == [("last", 0)]
    assert "dropped 5 rows" in caplog.text


def test_pubmed_has_a_row_a_sentence_lower_cased_and_its_own_splits(tmp_path):
    text = "###123\nBACKGROUND\tOf @ Mice\nMETHODS\tWe did .\n\n###9\nRESULTS\tSo\nCONCLUSIONS\tX\nOBJECTIVE\tWhy"
    data = prepared(tmp_path, "pubmed", train=text, validation="###1\nMETHODS\tA\n\n", test="RESULTS\tB\n")
    assert shown(data.train) == [("of @ mice", 0), ("we did .", 2), ("so", 4), ("x", 1), ("why", 3)]
    assert shown(data.validation) == [("a", 2)]
    assert shown(data.test) == [("b", 4)]
    with pytest.raises(InputError, match=r"train\.txt, line 2: no tab between label and sentence"):
        prepared(tmp_path, "pubmed", train="###1\nBACKGROUND of\n")


def test_trees_give_their_root_and_their_leaves(tmp_path):
    tree = "(3 (2 (2 A) (2 -LRB-nice-RRB-)) (4 film))\n"
    train = "".join(f"({k} (2 no) (1 .))\n" for k in range(5))
    data = prepared(tmp_path, "sst5", train=train, validation=tree, test=tree)
    assert shown(data.train) == [("no .", k) for k in range(5)]
    assert shown(data.test) == [("A -LRB-nice-RRB- film", 3)]
    with pytest.raises(InputError, match=r"line 1: no whole tree"):
        prepared(tmp_path, "sst5", train="(3 (2 A) (2 film)\n")


def test_trec_ag_news_snli_and_the_few_shot_collection(tmp_path):
    kinds = ("DESC", "ENTY", "ABBR", "HUM", "NUM", "LOC")
    questions = "".join(f"{kind}:fine Who is {n} ?\n" for n in range(10) for kind in kinds)
    data = prepared(tmp_path, "trec", train=questions, test=b"NUM:date When is sister\xf0city ?\n")
    assert shown(data.test) == [("When is sister city ?", 4)]
    assert np.bincount(data.validation.labels).tolist() == [1] * 6
    news = "".join(f'"{k}","Title {n}","All, ""news"""\n' for n in range(10) for k in (1, 2, 3, 4))
    data = prepared(tmp_path, "ag_news", train=news, test="4,T,D\n")
    assert shown(data.test) == [("T D", 3)]
    assert shown(data.train)[0][0].endswith(' All, "news"')
    pairs = "".join(
        f'{{"gold_label": "{label}", "sentence1": "A", "sentence2": "B"}}\n'
        for label in ("neutral", "-", "entailment", "contradiction")
    )
    data = prepared(tmp_path, "snli", train=pairs, validation=pairs, test=pairs)
    assert shown(data.train) == [("A", "B", 1), ("A", "B", 0), ("A", "B", 2)]
    reviews = "".join(f'{k},"good, or bad {n}"\n' for k in (0, 1) for n in range(20))
    for name in ("mr", "cr", "mpqa", "subj"):
        data = prepared(tmp_path, name, train=reviews, test="1,fine\n")
        assert shown(data.test) == [("fine", 1)]
        assert np.bincount(data.validation.labels).tolist() == [2, 2]


def test_glue_s_other_tasks(tmp_path):
    head = "index\tsentence1\tsentence2\tlabel1\tgold_label\n"
    labels = ("neutral", "entailment", "contradiction")
    pairs = "".join(f'{n}\tA "quote\tB\tx\t{label}\n' for n, label in enumerate(labels))
    data = prepared(tmp_path, "mnli", train=head + pairs * 2, test=head + pairs, mismatched=head + pairs)
    assert shown(data.test)[0] == ('A "quote', "B", 1)
    assert list(data.evaluated()) == ["validation", "test", "mismatched"]
    head = "index\tquestion\tsentence\tlabel\n"
    rows = "0\tQ\tS\tentailment\n1\tQ\tT\tnot_entailment\n"
    data = prepared(tmp_path, "qnli", train=head + rows * 2, test=head + rows)
    assert shown(data.test) == [("Q", "S", 0), ("Q", "T", 1)]
    head = "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n"
    rows = "1\t2\t3\tA\tB\t1\n2\t3\t4\tC\tD\t0\n"
    data = prepared(tmp_path, "qqp", train=head + rows * 2 + "3\t4\t5\tbroken off\n", test=head + rows)
    assert len(data.train) + len(data.validation) == 4
    assert shown(data.test) == [("A", "B", 1), ("C", "D", 0)]


@pytest.mark.parametrize("task", ["cb", "rte", "boolq", "wic", "wsc", "cola", "mrpc", "sst2", "amazon", "pubmed"])
def test_the_files_that_the_examples_are_tested_on_hold_every_class_in_each_split(tmp_path, task):
    write_official_files(tmp_path, task)
    data = load_task(TASKS[task], tmp_path)
    counts = {name: np.bincount(split.labels, minlength=len(data.labels)) for name, split in data.every().items()}
    assert all(count.min() > 0 for count in counts.values()), counts
    assert len(data.test) == 40


@pytest.mark.parametrize("task", ["cb", "rte", "boolq", "wic", "wsc", "cola", "mrpc", "sst2", "amazon"])
def test_they_have_the_form_of_the_official_ones(tmp_path, real_data, task):
    write_official_files(tmp_path, task)
    compared = [path for path in TASKS[task].files.values() if (real_data / path).is_file()]
    assert compared
    for path in compared:
        assert form(tmp_path / path) == form(real_data / path)


def form(path):
    """Return the types of a file's first row by column, or the header (of CoLA, which has none, how many columns)."""
    line = path.read_text("utf-8").splitlines()[0]
    if path.suffix != ".jsonl":
        return line.count("\t") if path.parent.name == "cola" else line
    row = json.loads(line)
    return {name: type(value) for name, value in {**row, **row.get("target", {})}.items()}
