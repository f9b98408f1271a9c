"""Files as users have them: each format, its odd cases, and what is refused, with file and line."""

import csv
import json
import sys

import numpy as np
import pyarrow
import pytest
from pyarrow import parquet

from lpft_keras.errors import InputError
from lpft_keras.tasks import load_task, own_task
from lpft_keras.tasks.readers import read_delimited, reader_of

ODD = [
    "",
    " ",
    "a, b",
    'she said "no"',
    '"',
    "two\nlines",
    "tab\there",
    "NA",
    "null",
    "emoji \U0001f600\U0001f1e9\U0001f1ea",
    "\u05e9\u05dc\u05d5\u05dd \u0645\u0631\u062d\u0628\u0627",
    "nul \x00 byte",
    "line\u2028separator",
    "x" * 200_000,
    "=1+1",
    "'",
    "\ufeff mark inside",
]


def written(path, texts):
    """Write texts in the format of the path's ending, by a library of that format."""
    if path.suffix in (".csv", ".tsv"):
        with open(path, "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, delimiter="," if path.suffix == ".csv" else "\t")
            writer.writerows([("text", "label"), *((text, f"c{i % 2}") for i, text in enumerate(texts))])
    elif path.suffix == ".jsonl":
        rows = ({"text": text, "label": f"c{i % 2}"} for i, text in enumerate(texts))
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    else:
        labels = [f"c{i % 2}" for i in range(len(texts))]
        parquet.write_table(pyarrow.table({"text": texts, "label": labels}), path, row_group_size=5)
    return path


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_every_text_comes_back_from_every_format(tmp_path, ending):
    path = written(tmp_path / f"rows{ending}", ODD)
    assert [row.fields["text"] for row in reader_of(path)] == ODD
    data = load_task(own_task(path))
    assert [text for split in (data.train, data.validation) for (text,) in split.texts] == ODD
    assert data.labels == ("c0", "c1")


def test_the_csv_module_s_own_limit_is_left_as_it_was(tmp_path):
    before = csv.field_size_limit()
    list(read_delimited(written(tmp_path / "rows.csv", ODD)))
    assert csv.field_size_limit() == before


def test_files_of_other_programs(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_bytes(b"\xef\xbb\xbftext,label\r\na,x\r\n\r\nb,y\r\n")  # a mark, Windows' line ends, an empty line
    rows = list(reader_of(path))
    assert [row.fields for row in rows] == [{"text": "a", "label": "x"}, {"text": "b", "label": "y"}]
    assert [row.place for row in rows] == [f"{path}, line 2", f"{path}, line 4"]
    path.write_text('text;label\na;x\n"b;c";y\n')
    assert [row.fields["text"] for row in reader_of(path, delimiter=";")] == ["a", "b;c"]
    path.write_text('text,label\n"a" b,x\n12" ,y\n')
    assert [row.fields["text"] for row in reader_of(path, quotes=False)] == ['"a" b', '12" ']


def test_lines_are_counted_past_rows_of_several_lines(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text('text,label\n"one\ntwo\nthree",x\nshort\n')
    with pytest.raises(InputError, match=r"line 5: 1 fields where the header has 2"):
        list(reader_of(path))


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.csv", b'text,label\na,x\n"b,y\nc,z\n', "line 3: unexpected end of data; close the quote"),
        ("a.csv", b'text,label\n"a" b,x\n', "line 2: .* expected after .*quotes = false"),
        ("a.csv", b"text,label\na,x,1\n", "line 2: 3 fields where the header has 2; is a comma or a quote"),
        ("a.csv", b"text,label\na,x\n\xff,y\n", r"line 3: not UTF-8 \(byte 1\); save the file as UTF-8"),
        ("a.csv", b"text,text\na,x\n", "several columns named 'text'"),
        ("a.csv", b"text;label\na;x\n", "one column 'text;label' when read by comma; name what parts"),
        ("a.tsv", b"text,label\na,x\n", "when read by tab"),
        ("a.csv", b"text,label\n", "is empty; it must hold the train rows"),
        ("a.csv", b"", "is empty"),
        ("a.csv", b"text,label\na,x\nb,\n", "line 3: no label"),
        ("a.csv", b"body,label\na,x\n", "line 2: no field 'text'; found body, label"),
        ("a.csv", b"text,stars\na,x\n", "line 2: no field 'label'; found text, stars"),
        ("a.csv", b"text,label\ra,x\rb,y\r", "line 1: new-line character seen .* a carriage return stands alone"),
        ("a.jsonl", b'[{"text": "a"}]', "line 1: a JSON object a line is wanted, no array"),
        ("a.parquet", b"PAR1 no", "can't be read as Parquet"),
        ("a.jsonl", b'{"text": 1, "label": "x"}', "line 1: field 'text' must be text, found 1"),
        ("a.xlsx", b"PK", r"unknown ending of .*a\.xlsx"),
    ],
)
def test_wrong_files_are_refused_in_one_line_with_the_place(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=words) as caught:
        load_task(own_task(tmp_path / name))
    assert str(tmp_path / name) in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_a_truncated_parquet_file_is_refused(tmp_path):
    path = written(tmp_path / "rows.parquet", ["some text"] * 300)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(InputError, match="can't be read as Parquet"):
        load_task(own_task(path))


def test_missing_values_of_parquet_are_named_by_row(tmp_path):
    table = pyarrow.table({"text": ["a", None, "c"], "label": np.array([1.0, 2.0, 1.0])})
    parquet.write_table(table, tmp_path / "rows.parquet")
    with pytest.raises(InputError, match=r"rows\.parquet, row 2: field 'text' is missing \(null\)"):
        load_task(own_task(tmp_path / "rows.parquet"))


def test_directories_of_hugging_face_datasets(tmp_path):
    datasets = pytest.importorskip("datasets")
    label = datasets.ClassLabel(names=["bad", "good"])
    features = datasets.Features({"text": datasets.Value("string"), "label": label})
    columns = {"text": [f"text {i}" for i in range(40)], "label": [i % 2 for i in range(40)]}
    whole = datasets.Dataset.from_dict(columns, features=features)
    splits = datasets.DatasetDict({"train": whole.shuffle(seed=0), "test": whole.select(range(8))})
    splits.save_to_disk(str(tmp_path / "saved"))
    data = load_task(own_task(tmp_path / "saved/train", name="mine", test=tmp_path / "saved/test"))
    assert data.labels == ("bad", "good")
    assert data.test.texts == [(text,) for text in columns["text"][:8]]
    assert data.test.labels.tolist() == columns["label"][:8]
    assert [row[0] for row in data.train.texts] == splits["train"]["text"][:36]
    with pytest.raises(InputError, match=r"holds several splits; name one of them: .*saved/test, .*saved/train"):
        load_task(own_task(tmp_path / "saved"))


def test_directories_that_are_no_datasets(tmp_path, monkeypatch):
    with pytest.raises(InputError, match=r"no state\.json"):
        load_task(own_task(tmp_path, name="mine"))
    (tmp_path / "state.json").write_text("{}")
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(InputError, match=r"pip install \"lpft-keras\[datasets\]\""):
        load_task(own_task(tmp_path, name="mine"))
