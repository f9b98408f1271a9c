"""What the catalogue's official files become: sizes, labels, texts, and the errors of wrong files."""

import json
from dataclasses import replace

import numpy as np
import pytest

from lpft_keras.errors import InputError
from lpft_keras.tasks import TASKS, get_task, load_task
from tests.conftest import write_jsonl

ROW = {"premise": "It rains.", "hypothesis": "It is wet.", "label": "neutral"}

# Label counts of training, validation and test rows, off the official files.
OFFICIAL = {
    "cb": ([106, 103, 16], [9, 16, 0], [23, 28, 5]),
    "rte": ([1126, 1115], [123, 126], [146, 131]),
    "wic": ([2435, 2450], [279, 264], [319, 319]),
    "wsc": ([264, 234], [31, 25], [66, 38]),
    "cola": ([2288, 5407], [240, 616], [322, 721]),
    "mrpc": ([1081, 2220], [113, 254], [129, 279]),
    "sst2": ([26821, 33793], [2959, 3776], [428, 444]),
    "sst5": ([1092, 2218, 1624, 2322, 1288], [139, 289, 229, 279, 165], [279, 633, 389, 510, 399]),
}


@pytest.mark.real_data
@pytest.mark.parametrize("name", OFFICIAL)
def test_splits_of_the_official_files(real_data, name):
    data = load_task(get_task(name), real_data)
    for split, counts in zip((data.train, data.validation, data.test), OFFICIAL[name], strict=True):
        assert np.bincount(split.labels, minlength=len(counts)).tolist() == counts
        assert len(split.texts) == sum(counts)


@pytest.mark.real_data
def test_boolq_tests_on_the_official_validation_rows(real_data, tmp_path):
    """Of BoolQ's training file only a part is at hand, so it stands in under the official name."""
    (tmp_path / "boolq").mkdir()
    for source, name in (("train_partial.jsonl", "train.jsonl"), ("val.jsonl", "val.jsonl")):
        (tmp_path / "boolq" / name).write_bytes((real_data / "boolq" / source).read_bytes())
    data = load_task(get_task("boolq"), tmp_path)
    assert np.bincount(data.test.labels).tolist() == [1237, 2033]
    assert data.test.texts[0][0] == "does ethanol take more energy make that produces"
    assert data.test.texts[0][1].startswith("Ethanol fuel -- ")


@pytest.mark.real_data
def test_boss_s_shifted_sets_have_their_sizes(real_data, tmp_path):
    """BOSS's own Amazon files can't be had; the stand-in's rows are real reviews under the same rule of labels."""
    for folder in ("dynasent", "semeval", "sst5"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "test.tsv").write_bytes((real_data / folder / "test.tsv").read_bytes())
    (tmp_path / "amazon").mkdir()
    for name in ("train", "test"):
        (tmp_path / "amazon" / f"{name}.tsv").write_bytes((real_data / f"amazon/standin_{name}.tsv").read_bytes())
    for data_dir in (tmp_path, tmp_path / "amazon"):
        data = load_task(get_task("amazon"), data_dir)
        counts = {name: np.bincount(split.labels).tolist() for name, split in data.ood.items()}
        assert counts == {
            "dynasent": [1440, 1440, 1440],
            "semeval": [3230, 7059, 10333],
            "sst5": [279, 399, 389],
        }
    small = load_task(get_task("amazon-small"), tmp_path)
    assert [len(split) for split in small.every().values()] == [3000, 372, 1000, 1000, 1000, 1000]
    assert small.ood["semeval"].texts == data.ood["semeval"].texts[:1000]


@pytest.mark.real_data
def test_boss_s_files_are_read_as_pandas_reads_them(real_data):
    import pandas

    for name in ("amazon/standin_train.tsv", "semeval/test.tsv", "dynasent/test.tsv", "sst5/test.tsv"):
        frame = pandas.read_csv(real_data / name, sep="\t", header=0)
        rows = [row.fields for row in TASKS["amazon"].read(real_data / name)]
        assert [row["text"] for row in rows] == frame["Text"].tolist()
        assert [int(row["label"]) for row in rows] == frame["Label"].tolist()


@pytest.mark.real_data
def test_templates_join_the_columns_as_the_paper_s_code_does(real_data):
    wic, wsc = (load_task(get_task(name), real_data).train.texts[0] for name in ("wic", "wsc"))
    assert wic == (
        "Do you want to come over to my place later? A political system with no place for the less prominent groups. "
        "Does place have the same meaning in both sentences?",
    )
    assert wsc == (
        "He: Mark told Pete many lies about himself, which Pete included in his book. He should have been more "
        "skeptical.",
        "Mark",
    )


@pytest.mark.real_data
def test_texts_stay_as_they_are(real_data):
    sst2 = load_task(get_task("sst2"), real_data)
    assert all(text.endswith(" ") for (text,) in sst2.test.texts)
    mrpc = load_task(get_task("mrpc"), real_data).train
    assert mrpc.texts[0][0].startswith('Amrozi accused his brother, whom he called "the witness", of')
    cola = load_task(get_task("cola"), real_data).train
    assert cola.texts[0] == ("Our friends won't buy this analysis, let alone the next one we propose.",)


@pytest.mark.real_data
def test_rows_keep_their_order_and_their_text(real_data):
    data = load_task(get_task("cb"), real_data)
    rows = [json.loads(line) for line in (real_data / "cb/train.jsonl").read_text("utf-8").splitlines()]
    assert data.train.texts[0] == (rows[0]["premise"], rows[0]["hypothesis"])
    assert data.validation.texts[-1] == (rows[-1]["premise"], rows[-1]["hypothesis"])


def test_cola_is_chosen_by_matthews_correlation():
    assert {name for name, task in TASKS.items() if task.metric != "accuracy"} == {"cola"}


def test_demo_has_a_shifted_test_set_and_is_the_same_every_time():
    first, second = (load_task(get_task("demo")) for _ in range(2))
    assert set(first.evaluated()) == {"validation", "test", "ood"}
    assert len(first.train) == 225
    assert len(first.validation) == 25
    for name, split in first.evaluated().items():
        assert split.checksum == second.evaluated()[name].checksum


def test_limit_keeps_the_first_rows(official_files):
    whole, part = (load_task(get_task("cb"), official_files, limit) for limit in (None, 30))
    assert part.train.texts == whole.train.texts[:30]
    assert len(part.test) == 20


def test_a_folder_may_be_the_task_s_own(official_files):
    assert load_task(get_task("cb"), official_files / "cb").train.texts


@pytest.mark.parametrize("folder", ["CB", "c-b"])
def test_folders_may_be_written_otherwise(official_files, folder):
    (official_files / "cb").rename(official_files / folder)
    assert load_task(get_task("cb"), official_files).train.texts


def damaged(folder, content):
    path = folder / "cb" / "train.jsonl"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"\n\n", "is empty"),
        (json.dumps(ROW).encode() + b'\n{"premise": "cut of', "line 2: not valid JSON"),
        (json.dumps(ROW).encode() + b"\n[1]\n", "line 2: a JSON object a line"),
        (json.dumps(ROW).encode() + b'\n{"premise": "\xff"}\n', "line 2: not UTF-8"),
        (json.dumps({**ROW, "label": "maybe"}).encode(), "line 1: unknown label 'maybe'"),
        (json.dumps({**ROW, "label": 7}).encode(), "line 1: unknown label '7'"),
        (json.dumps({"premise": "a", "label": "neutral"}).encode(), "line 1: no field 'hypothesis'"),
        (json.dumps({**ROW, "premise": 3}).encode(), "line 1: field 'premise' must be text"),
        (json.dumps({"premise": "a", "hypothesis": "b"}).encode(), "line 1: no field 'label'"),
        (json.dumps({**ROW, "label": " "}).encode(), "line 1: no label"),
        (json.dumps({**ROW, "premise": None}).encode(), r"line 1: field 'premise' is missing \(null\)"),
        (json.dumps({**ROW, "premise": "\ud800"}).encode(), "line 1: the text is not valid Unicode"),
        (b'{"a":' * 100_000, "line 1: not valid JSON"),
    ],
)
def test_damaged_files_are_refused_with_file_and_line(official_files, content, words):
    path = damaged(official_files, content)
    with pytest.raises(InputError, match=words) as caught:
        load_task(get_task("cb"), official_files)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_class_absent_from_training_is_refused(official_files):
    write_jsonl(official_files / "cb/train.jsonl", [ROW] * 20)
    with pytest.raises(InputError, match="no training row of class 'entailment', 'contradiction'"):
        load_task(get_task("cb"), official_files)


def test_missing_files_and_folders_are_named(official_files, tmp_path):
    (official_files / "cb/val.jsonl").unlink()
    with pytest.raises(InputError, match=r"val\.jsonl"):
        load_task(get_task("cb"), official_files)
    with pytest.raises(InputError, match="nowhere does not exist"):
        load_task(get_task("cb"), tmp_path / "nowhere")


def test_unknown_tasks_get_the_nearest_name():
    with pytest.raises(InputError, match="did you mean 'rte'"):
        get_task("rt")
    with pytest.raises(InputError, match="limit must be 1 or more"):
        load_task(get_task("demo"), limit=0)


def test_a_split_may_be_limited_by_the_task(official_files):
    task = replace(get_task("cb"), sizes={"train": 30, "test": 4})
    whole, part = load_task(get_task("cb"), official_files), load_task(task, official_files)
    assert part.train.texts == whole.train.texts[:30]
    assert part.test.texts == whole.test.texts[:4]
    assert part.validation.texts == whole.validation.texts
