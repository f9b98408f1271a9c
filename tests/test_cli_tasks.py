"""Commands on tasks of one's own, first looks, sweeps and tuning, as a person types them."""

import json

import pytest

from lpft_keras import RunResult
from lpft_keras.cli import main
from lpft_keras.tasks.grammar import demo_rows

TINY = ["--backbone", "tiny", "--max-length", "48", "--epochs", "1", "--learning-rate", "3e-3"]
OWN = ["--text", "first", "--text", "second"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with a user's own files, where the user stands."""
    for name, split, count in (("rows", "train", 80), ("held", "test", 20), ("shifted", "ood", 20)):
        rows = [f'"{a}","{b}",{label}\n' for a, b, label in demo_rows(split)[:count]]
        (tmp_path / f"{name}.csv").write_text("first,second,label\n" + "".join(rows))
    (tmp_path / "mine.toml").write_text(
        'train = "rows.csv"\ntest = "held.csv"\ntext = ["first", "second"]\n[ood]\nshop = "shifted.csv"\n'
    )
    monkeypatch.chdir(tmp_path)
    return tmp_path


def objects(capsys):
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_a_task_of_one_s_own_by_flags_and_by_file_is_the_same_run(folder, capsys):
    flags = ["--train", "rows.csv", "--test", "held.csv", "--ood", "shop=shifted.csv", *OWN, "--name", "mine"]
    assert main(["run", *flags, "--method", "lp", *TINY, "--json"]) == 0
    (by_flags,) = objects(capsys)
    assert set(by_flags["metrics"]) == {"validation", "test", "shop"}
    assert main(["run", "mine.toml", "--method", "lp", *TINY, "--json"]) == 0
    assert objects(capsys) == [by_flags], "the finished run is reused"
    assert RunResult.load(by_flags["directory"]).config["labels"] == ["contradiction", "entailment", "neutral"]


def test_without_test_rows_the_validation_rows_are_reported_as_such(folder, capsys):
    assert main(["run", "--train", "rows.csv", *OWN, "--split", "stratified", "--method", "lp", *TINY]) == 0
    shown = capsys.readouterr()
    assert "validation" in shown.out
    assert "test" not in shown.out
    assert "has no test rows" in shown.err
    assert main(["calibrate", "runs"]) == 2
    assert "has no test rows to measure on; name some in its task" in capsys.readouterr().err
    assert main(["representation", "runs"]) == 0
    assert "validation rows" in capsys.readouterr().out


def test_a_first_look(folder, capsys):
    text = (folder / "held.csv").read_text().splitlines()
    (folder / "held.csv").write_text("\n".join([*text, (folder / "rows.csv").read_text().splitlines()[3]]) + "\n")
    assert main(["tasks", "show", "mine.toml", "--backbone", "tiny", "--max-length", "20"]) == 0
    shown = capsys.readouterr().out
    for word in ("train", "72", "21", "entailment", "17-32", "median", "over 20", "leak", "row 21", "of the test rows"):
        assert word in shown
    assert main(["tasks", "show", "mine.toml", "--backbone", "tiny", "--json"]) == 0
    (found,) = objects(capsys)
    assert found["splits"]["train"]["rows"] == 72
    assert found["leaks"][0]["rows"] == 1
    assert main(["tasks", "show", "mine.toml"]) == 0  # roberta_base_en, which no test downloads
    assert "roberta_base_en" in capsys.readouterr().err


def test_markup_and_formulas_in_texts_stay_texts(folder, capsys):
    rows = "".join(f"[bold]{n}[/bold] \x1b[31mred,=cmd()|{n % 2},[link]{n % 2}\n" for n in range(30))
    (folder / "odd.csv").write_text("text,other,label\n" + rows)
    assert main(["tasks", "show", "--train", "odd.csv", "--test", "odd.csv", "--backbone", "tiny"]) == 0
    shown = capsys.readouterr().out
    assert "[bold]0[/bold]" in shown
    assert "\x1b[31m" not in shown
    assert "[link]0" in shown


def test_a_sweep_prints_the_table_and_flags_go_before_the_file(folder, capsys):
    (folder / "sweep.toml").write_text(
        'task = ["mine.toml", "demo"]\nmethod = ["lp", "ft"]\nbackbone = "tiny"\nseed = [1, 2]\nlimit = 60\n'
        "max_length = 48\nepochs = 1\nlearning_rate = 3e-3\noutput_dir = 'swept'\n"
    )
    assert main(["sweep", "sweep.toml", "--method", "lp"]) == 0
    shown = capsys.readouterr()
    assert "4 of 4 runs" in shown.err
    for word in ("LP", "mine", "demo", "shop", "±"):
        assert word in shown.out
    assert "FT" not in shown.out
    assert len(list((folder / "swept").rglob("metrics.json"))) == 4
    assert main(["sweep", "--task", "demo", "--train", "rows.csv", *OWN, "--method", "lp", *TINY, "--json"]) == 0
    assert [row["task"] for row in objects(capsys)] == ["demo", "rows"]


def test_what_failed_is_said_at_the_end_with_its_status(folder, capsys):
    arguments = ["sweep", "--task", "demo", "--method", "ft", "--method", "lp", *TINY[:-1], "1e38", "--limit", "60"]
    assert main([*arguments, "--json"]) == 2
    shown = capsys.readouterr()
    rows = [json.loads(line) for line in shown.out.splitlines()]
    assert [("error" in row, row["method"]) for row in rows] == [(True, "ft"), (False, "lp")]
    assert "smaller learning rate" in shown.err.splitlines()[-1]
    assert "Traceback" not in shown.err


def test_tuning_prints_what_was_chosen_and_the_table(folder, capsys):
    arguments = [
        "--learning-rate",
        "1e-5",
        "--learning-rate",
        "3e-3",
        "--tuning-seed",
        "5",
        "--seed",
        "1",
        "--seed",
        "2",
    ]
    arguments += ["--backbone", "tiny", "--max-length", "48", "--epochs", "1", "--limit", "60", "--method", "ft"]
    assert main(["tune", "demo", *arguments]) == 0
    shown = capsys.readouterr().out
    for word in ("1e-05", "0.003", "chosen", "FT", "±"):
        assert word in shown
    assert main(["table", "runs", "--json"]) == 0
    assert all(row["runs"] == 2 for row in objects(capsys)), "trials are no results"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "demo", "--train", "rows.csv"], "give either the task 'demo' or --train"),
        (["run", "--text", "first"], "--text is for a task of your own; name its --train file"),
        (["run", "--train", "rows.csv", "--ood", "shop"], "--ood takes NAME=FILE, not 'shop'"),
        (
            ["run", "--train", "rows.csv", "--text", "thrid", "--backbone", "tiny"],
            "no field 'thrid'; found first, second",
        ),
        (["run", "--train", "rows.xls"], "no train file"),
        (["run", "mine.tml"], "unknown task 'mine.tml'"),
        (["run", "--train", "rows.csv", "--metric", "acuracy"], "did you mean 'accuracy'"),
        (["run", "--train", "rows.csv", *OWN, "--metric", "f1", "--backbone", "tiny"], "'f1' is that of the positive"),
        (["run", "--train", "rows.csv", *OWN, "--labels", "a,b", "--backbone", "tiny"], "line 2: unknown label"),
        (["sweep", "mine.toml"], "unknown key in mine.toml"),
        (["tasks", "show", "mr", "--data-dir", "."], "no file mr/train.csv; task 'mr' needs mr/train.csv, mr/test.csv"),
        (["tasks", "show", "mr"], "task 'mr' is not in TensorFlow Datasets"),
        (["tasks", "show", "mine.toml", "--backbone", "tinny"], "did you mean 'tiny'"),
        (["run", "amazon", "--data-dir", "."], "no file amazon/train.tsv"),
    ],
)
def test_wrong_input_is_one_line_and_status_two(folder, arguments, words, capsys):
    assert main(arguments) == 2
    error = capsys.readouterr().err.splitlines()
    assert words in error[-1]
    assert not any("Traceback" in line for line in error)
    assert not (folder / "runs").exists()
