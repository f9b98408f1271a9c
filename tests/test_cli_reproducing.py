"""`lpft-keras reproduce` as a user types it."""

import csv
import json

import pytest

from lpft_keras.cli import main
from lpft_keras.exhibits import EXHIBITS

TINY = ["--backbone", "tiny", "--limit", "60", "--max-length", "48", "--epochs", "1", "--micro-batches", "2"]


def test_list_names_all(capsys):
    assert main(["reproduce", "--list", "--json"]) == 0
    listed = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [one["name"] for one in listed] == list(EXHIBITS)
    assert main(["reproduce", "--list"]) == 0
    out = capsys.readouterr().out
    assert all(f" {name} " in out for name in EXHIBITS)
    assert max(map(len, out.splitlines())) <= 80


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["table2", "--task", "demo", "--method", "lp"], "table2 is of ft, lora, lp-ft, lp-lora"),
        (["table8", "--learning-rate", "1"], "unknown argument '--learning-rate'"),
    ],
)
def test_wrong_arguments_end_with_one_line(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["reproduce", *arguments]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert message in lines[-1]
    assert not list(tmp_path.rglob("config.json"))


def test_a_table_is_printed_written_and_given_as_json(tmp_path, capsys):
    asked = ["reproduce", "table8", "--task", "demo", "--method", "lp", "--seed", "1", "--output-dir", str(tmp_path)]
    assert main([*asked, *TINY, "--dry-run"]) == 0
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "1 run to do, 0 there; about" in captured.err
    assert main([*asked, *TINY, "--dry-run", "--json"]) == 0
    cost = json.loads(capsys.readouterr().out)
    assert (cost["runs"], cost["runs_there"], cost["kernels"]) == (1, 0, 0)
    assert cost["seconds"] > cost["step_seconds"] > 0
    assert main([*asked, *TINY]) == 0
    captured = capsys.readouterr()
    assert captured.out.startswith("Table 8: test results")
    assert "tiny trained on demo:" in captured.out
    assert (tmp_path / "paper" / "tiny" / "table8-demo.tex").is_file()
    assert main([*asked, *TINY, "--json"]) == 0
    captured = capsys.readouterr()
    made = json.loads(captured.out)
    assert made["name"] == "table8"
    assert made["records"][0]["method"] == "lp"
    assert "0 runs to do, 1 there" in captured.err


@pytest.mark.slow
def test_names_of_the_users_are_no_markup(tmp_path, capsys):
    names = ("<script>alert(1)</script>", "$x_1$")
    rows = "".join(f"text {number},{names[number % 2]}\n" for number in range(60))
    (tmp_path / "rows.csv").write_text(f"text,label\n{rows}")
    own = ["--train", str(tmp_path / "rows.csv"), "--name", "own", "--test", str(tmp_path / "rows.csv")]
    where = ["--output-dir", str(tmp_path / "runs"), "--seed", "1", "--method", "ft"]
    assert main(["reproduce", "table13", "figure5", *own, *where, *TINY]) == 0
    assert "Figure 5: " in capsys.readouterr().out
    figure = (tmp_path / "runs" / "paper" / "tiny" / "figure5-own.svg").read_text()
    assert "<script" not in figure
    with open(tmp_path / "runs" / "paper" / "tiny" / "figure5-own.csv", newline="") as file:
        assert {row["class"] for row in csv.DictReader(file)} == {"0", "1"}
