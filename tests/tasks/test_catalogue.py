import json

import numpy as np
import pytest

from lpft_keras.errors import InputError
from lpft_keras.tasks import Task, get_task, load_task
from lpft_keras.tasks.task import Row, hold_out
from tests.conftest import write_jsonl

ROW = {"premise": "It rains.", "hypothesis": "It is wet.", "label": "neutral"}


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("name", "train", "validation", "test"),
    [("cb", [106, 103, 16], [9, 16, 0], [23, 28, 5]), ("rte", [1126, 1115], [123, 126], [146, 131])],
)
def test_splits_of_the_official_files(real_data, name, train, validation, test):
    data = load_task(get_task(name), real_data)
    for split, counts in ((data.train, train), (data.validation, validation), (data.test, test)):
        assert np.bincount(split.labels, minlength=len(counts)).tolist() == counts
        assert len(split.texts) == sum(counts)


@pytest.mark.real_data
def test_rows_keep_their_order_and_their_text(real_data):
    data = load_task(get_task("cb"), real_data)
    rows = [json.loads(line) for line in (real_data / "cb/train.jsonl").read_text("utf-8").splitlines()]
    assert data.train.texts[0] == (rows[0]["premise"], rows[0]["hypothesis"])
    assert data.validation.texts[-1] == (rows[-1]["premise"], rows[-1]["hypothesis"])


@pytest.mark.parametrize(("rows", "held"), [(250, 25), (2490, 249), (554, 56), (8551, 856), (11, 2), (1, 1)])
def test_the_last_tenth_rounded_up_is_held_out(rows, held):
    train, validation = hold_out([Row({}, str(index)) for index in range(rows)])
    assert len(validation) == held
    assert [row.place for row in [*train, *validation]] == [str(index) for index in range(rows)]


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


@pytest.mark.parametrize("label", [True, "true", "True", 1])
def test_labels_in_all_their_spellings(label):
    task = Task(name="t", template=("{premise}",), labels=("False", "True"))
    assert task.split([Row({**ROW, "label": label}, "here")]).labels.tolist() == [1]


@pytest.mark.parametrize("label", [False, "false", "False", 0])
def test_the_string_false_is_false(label):
    task = Task(name="t", template=("{premise}",), labels=("False", "True"))
    assert task.split([Row({**ROW, "label": label}, "here")]).labels.tolist() == [0]


def test_templates_fill_in_plain_columns_only():
    task = Task(name="t", template=("{premise} Is {hypothesis}", "fixed"), labels=("neutral",))
    row = Row({"premise": "{label} A", "hypothesis": "B", "label": "neutral"}, "here")
    assert task.split([row]).texts == (("{label} A Is B", "fixed"),)
    with pytest.raises(InputError, match="no field"):
        Task(name="t", template=("{premise.__class__}",), labels=("neutral",)).split([row])


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
        (json.dumps(ROW).encode() + b"\n[1]\n", "line 2: a JSON object"),
        (json.dumps(ROW).encode() + b'\n{"premise": "\xff"}\n', "line 2: not UTF-8"),
        (json.dumps({**ROW, "label": "maybe"}).encode(), "line 1: unknown label 'maybe'"),
        (json.dumps({**ROW, "label": 7}).encode(), "line 1: unknown label 7"),
        (json.dumps({"premise": "a", "label": "neutral"}).encode(), "line 1: no field 'hypothesis'"),
        (json.dumps({**ROW, "premise": 3}).encode(), "line 1: field 'premise' must be text"),
        (json.dumps({"premise": "a", "hypothesis": "b"}).encode(), "line 1: no field 'label'"),
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
