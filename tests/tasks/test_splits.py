import numpy as np
import pytest

from lpft_keras.errors import InputError
from lpft_keras.tasks import Task
from lpft_keras.tasks.splits import Split, hold_out, make_split
from lpft_keras.tasks.task import Row
from lpft_keras.tasks.texts import TextsWriter


def row(number=1, **fields):
    return Row(fields, "here", number)


def labels_of(values, names=()):
    task = Task(name="t", template=("{text}",), labels=tuple(names))
    split, found = make_split(task, [row(text="a", label=value) for value in values], names)
    return split.labels.tolist(), found


def texts(*rows):
    writer = TextsWriter(len(rows[0]))
    for one in rows:
        writer.add(one)
    return writer.finish()


@pytest.mark.parametrize("label", [True, "true", "True", "TRUE", 1, "1", 1.0])
def test_labels_in_all_their_spellings(label):
    assert labels_of([label], ("False", "True"))[0] == [1]


@pytest.mark.parametrize("label", [False, "false", "False", 0, "0"])
def test_the_string_false_is_false(label):
    assert labels_of([label], ("False", "True"))[0] == [0]


def test_integers_that_were_written_as_floats_are_the_same_classes():
    """As pandas writes a column with gaps, in one file of two."""
    assert labels_of(["1.0", "2.0", "3.0"]) == ([0, 1, 2], ("1", "2", "3"))
    assert labels_of(["1", "2"], ("1", "2", "3"))[0] == [0, 1]
    assert labels_of(["1.0", 2.0], ("1", "2", "3"))[0] == [0, 1]
    assert labels_of(["1.0"], ("1.0", "2.0"))[0] == [0]
    with pytest.raises(InputError, match="unknown label '1'"):
        labels_of(["1"], ("1.0", "2.0"))


@pytest.mark.parametrize("label", [b"x", [0], {"a": 1}])
def test_what_is_no_label_is_refused(label):
    with pytest.raises(InputError, match="a label is text, a number or a truth value"):
        labels_of([label])


def test_rows_are_put_in_the_order_of_their_numbers():
    task = Task(name="t", template=("{text}",), labels=())
    split, _ = make_split(task, [row(3, text="c", label="x"), row(1, text="a", label="y"), row(2, text="b", label="x")])
    assert split.texts == [("a",), ("b",), ("c",)]
    assert split.labels.tolist() == [1, 0, 0]


def test_a_file_sorted_by_class_is_warned_of(caplog):
    task = Task(name="t", template=("{text}",), labels=())
    hold_out(Split(numbered(60).texts, np.repeat([0, 1], 30)), task)
    assert "is the file sorted by class? split = 'stratified'" in caplog.text
    caplog.clear()
    hold_out(numbered(60), task)
    assert not caplog.text


def test_class_names_are_found_in_their_natural_order():
    assert labels_of(["10", "9", "10", "-1"]) == ([2, 1, 2, 0], ("-1", "9", "10"))
    assert labels_of(["b", "a", "c", "b"]) == ([1, 0, 2, 1], ("a", "b", "c"))
    assert labels_of([3.0, 1.0, 2.5]) == ([2, 0, 1], ("1", "2.5", "3"))
    assert labels_of([True, False, True]) == ([1, 0, 1], ("False", "True"))


def test_numbers_are_names_where_classes_are_named_by_numbers():
    assert labels_of([1, 2, "1"], ("1", "2"))[0] == [0, 1, 0]
    with pytest.raises(InputError, match="unknown label '0'; task 't' has the labels 1, 2"):
        labels_of([0], ("1", "2"))


@pytest.mark.parametrize("label", ["", "  ", float("nan"), None])
def test_rows_without_a_label_are_refused_by_their_place(label):
    with pytest.raises(InputError, match=r"here, line 1: (no label|field 'label' is missing)"):
        labels_of([label])


def test_templates_fill_in_plain_columns_only():
    task = Task(name="t", template=("{premise} Is {hypothesis}", "fixed"), labels=("neutral",))
    rows = [row(premise="{label} A", hypothesis="B", label="neutral")]
    assert make_split(task, rows, task.labels)[0].texts == (("{label} A Is B", "fixed"),)
    for template in ("{premise.__class__}", "{premise[0]}"):
        with pytest.raises(InputError, match="no field"):
            make_split(Task(name="t", template=(template,), labels=("neutral",)), rows, ("neutral",))


def test_texts_come_back_whatever_they_hold():
    rows = [("", "a"), ("e\u0301\U0001f600", "\x00"), ("\u05e9\u05dc", "x" * 100_000), ("", "")]
    kept = texts(*rows)
    assert list(kept) == rows
    assert [kept[index] for index in (0, 1, 2, -1)] == [rows[index] for index in (0, 1, 2, -1)]
    assert kept[1:3] == rows[1:3]
    assert kept.take(np.array([3, 0])) == [rows[3], rows[0]]
    assert kept != rows[:3]
    with pytest.raises(IndexError):
        kept[4]
    assert list(texts(("",), ("",))) == [("",), ("",)]


def test_checksums_tell_texts_segments_and_labels_apart():
    labels = np.array([0, 1])
    sums = {
        Split(texts(*rows), ids).checksum
        for rows, ids in (
            ((("a",), ("b",)), labels),
            ((("ab",), ("",)), labels),
            ((("a", ""), ("b", "")), labels),
            ((("a",), ("b",)), labels[::-1]),
            ((("b",), ("a",)), labels),
        )
    }
    assert len(sums) == 5
    assert Split(texts(("x",), ("a",), ("b",)), np.array([0, 0, 1])).take(np.array([1, 2])).checksum in sums


def numbered(count, classes=2):
    return Split(texts(*((str(index),) for index in range(count))), np.arange(count) % classes)


@pytest.mark.parametrize(("rows", "held"), [(250, 25), (2490, 249), (554, 56), (8551, 856), (11, 2), (10, 1), (2, 1)])
def test_the_last_tenth_rounded_up_is_held_out(rows, held):
    train, validation = hold_out(numbered(rows), Task(name="t", template=("{text}",), labels=()))
    assert len(validation) == held
    assert [int(text) for part in (train, validation) for (text,) in part.texts] == list(range(rows))


def test_a_stratified_draw_keeps_the_shares_and_is_the_same_every_time():
    task = Task(name="t", template=("{text}",), labels=(), stratified=True, validation_fraction=0.25)
    data = Split(numbered(120).texts, np.repeat([0, 1, 2], [84, 24, 12]))
    train, validation = hold_out(data, task)
    assert np.bincount(validation.labels).tolist() == [21, 6, 3]
    assert sorted([*train.texts, *validation.texts], key=lambda row: int(row[0])) == list(data.texts)
    assert hold_out(data, task)[1].checksum == validation.checksum
    with pytest.raises(InputError, match="no stratified split"):
        hold_out(Split(data.texts, np.r_[np.zeros(119, int), 1]), task)


def test_one_row_can_t_be_held_out():
    with pytest.raises(InputError, match="1 training rows, too few"):
        hold_out(numbered(1), Task(name="t", template=("{text}",), labels=()))
