"""The commands that read finished runs, and the head-norm experiment, as a user types them."""

import json

import numpy as np
import pytest

from lpft_keras.calibration import SCALINGS
from lpft_keras.cli import main
from lpft_keras.report import (
    as_csv,
    as_latex,
    as_markdown,
    difference_table,
    paired_differences,
    represent,
    result_tables,
    score_run,
)
from lpft_keras.results import RunResult
from tests.report.runs import answers, write_run


def test_help_names_the_scalings_there_are(capsys):
    with pytest.raises(SystemExit):
        main(["calibrate", "--help"])
    shown = capsys.readouterr().out.rpartition("--method M")[2].partition("--split")[0]
    named = shown.replace("(default)", "").replace(",", " ").split()
    assert len(named) > 5
    assert set(named) <= set(SCALINGS)


def test_calibrate_prints_the_papers_table(swept, capsys, tmp_path):
    _, results = swept
    lp = [str(result.directory) for result in results[:2]]
    assert main(["calibrate", *lp, "--plot", str(tmp_path / "figure.png")]) == 0
    table = capsys.readouterr().out
    scores = [score_run(result).measures() for result in results[:2]]
    means = [100 * np.mean([one[when]["ece"] for one in scores]) for when in ("before", "after")]
    row = next(line for line in table.splitlines() if "ECE" in line)
    assert f"{means[0]:.2f}±" in row
    assert f"{means[1]:.2f}±" in row
    assert f"{means[0] - means[1]:.2f}" in row
    assert (tmp_path / "figure.png").stat().st_size > 10_000


def test_a_folder_stands_for_the_runs_below_it(swept, capsys, tmp_path):
    output, results = swept
    again = str(results[0].directory)
    assert main(["calibrate", str(output / "demo"), again, "--json", "--split", "ood"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {line["source"] for line in lines} == {str(result.directory) for result in results}
    for line in lines:
        assert line == score_run(RunResult.load(line["source"]), split="ood").as_dict()
    assert main(["calibrate", str(output / "demo/ft"), "--plot", str(tmp_path / "figure.svg")]) == 0
    assert len(list(tmp_path.glob("figure-ft*.svg"))) == 2


def test_calibrate_takes_foreign_logits_and_other_scalings(foreign, capsys):
    assert main(["calibrate", str(foreign[0]), "--method", "platt"]) == 0
    table = capsys.readouterr().out
    assert "w/ platt" in table
    assert "acc. (%)" in table
    assert "may change predictions" in " ".join(table.split())
    assert "each fold of 5" in " ".join(table.split())
    assert main(["calibrate", str(foreign[0]), "--method", "isotonic", "--json"]) == 0
    line = json.loads(capsys.readouterr().out)
    assert (line["scaling"], line["temperature"], line["rows"]) == ("isotonic", None, 400)


def test_representation_prints_the_papers_table(swept, capsys):
    _, results = swept
    chosen = [results[0], results[2]]
    assert main(["representation", *(str(result.directory) for result in chosen)]) == 0
    table = capsys.readouterr().out
    found = represent(results[2])
    row = next(line for line in table.splitlines() if line.split()[:1] == ["ft"])
    assert row.split() == [
        "ft",
        f"{found.cosine_similarity:.3f}",
        f"{found.feature_change:.3g}",
        f"{found.fisher_discriminant_ratio:.3g}",
        f"{found.head_norm:.3g}",
        f"{found.linear_cka:.3f}",
        "1",
    ]
    first = next(line for line in table.splitlines() if "pre-trained" in line)
    assert f"{found.pretrained['cosine_similarity']:.3f}" in first
    assert f"{found.pretrained['head_norm']:.3g}" in first
    assert main(["representation", str(results[2].directory), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["feature_change"] == found.feature_change


@pytest.mark.slow
def test_head_norm_runs_what_is_missing_and_draws(swept, capsys, tmp_path):
    output, _ = swept
    arguments = ["head-norm", "demo", "--method", "ft", "--seed", "1", "--seed", "2", "--output-dir", str(output)]
    arguments += ["--backbone", "tiny", "--limit", "60", "--max-length", "48", "--epochs", "1", "--micro-batches", "2"]
    arguments += ["--learning-rate", "3e-3", "--head-scale", "1", "--head-scale", "10"]
    assert main(arguments) == 0
    printed = capsys.readouterr()
    assert printed.err.count("reused the finished run") == 4
    assert "head times" in printed.out
    assert (output / "demo" / "head_norm-tiny.png").stat().st_size > 10_000
    assert main([*arguments, "--json", "--plot", str(tmp_path / "figure.pdf")]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 4
    assert (tmp_path / "figure.pdf").exists()


def test_runs_of_several_tasks_are_refused(swept, capsys, tmp_path):
    _, results = swept
    other = json.loads((results[0].directory / "metrics.json").read_text()) | {"task": "rte"}
    (tmp_path / "metrics.json").write_text(json.dumps(other))
    assert main(["calibrate", str(results[0].directory), str(tmp_path)]) == 2
    assert "several tasks" in capsys.readouterr().err
    assert main(["calibrate", str(results[0].directory), "--validation", "x.npz"]) == 2
    assert "--validation is for files" in capsys.readouterr().err


@pytest.fixture
def tabulated(tmp_path):
    """A folder with runs of two tasks, and their results."""
    results = [
        write_run(tmp_path / "runs", task, method, seed, {"validation": answers(50), "test": answers(right + seed)})
        for task, method, right in (("cb", "ft", 70), ("cb", "lp-ft", 80), ("rte", "ft", 60), ("rte", "lp-ft", 65))
        for seed in (1, 2)
    ]
    return tmp_path / "runs", results


def test_table_prints_each_format(tabulated, capsys):
    folder, results = tabulated
    assert main(["table", str(folder), "--paper"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["cb", "71.50±0.71", "81.50±0.71"] in rows
    assert ["paper", "(RoBERTa-base)", "81.43±3.91", "84.64±2.40"] in rows
    tables = result_tables(results, "nll", paper=True)
    for form, render in (("csv", as_csv), ("markdown", as_markdown), ("latex", as_latex)):
        assert main(["table", str(folder), "--metric", "nll", "--paper", "--format", form]) == 0
        assert capsys.readouterr().out == render(tables)
    assert main(["table", str(folder), "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(line["task"], line["method"], line["runs"]) for line in lines] == [
        ("cb", "ft", 2),
        ("cb", "lp-ft", 2),
        ("rte", "ft", 2),
        ("rte", "lp-ft", 2),
    ]
    assert lines[3]["mean"] == pytest.approx(0.665)


def test_table_writes_a_file_in_the_format_of_its_ending(tabulated, capsys, tmp_path):
    folder, results = tabulated
    expected = {".csv": as_csv, ".md": as_markdown, ".TEX": as_latex}
    for ending, render in expected.items():
        path = tmp_path / f"table{ending}"
        assert main(["table", str(folder), "--output", str(path)]) == 0
        assert path.read_text() == render(result_tables(results))
        printed = capsys.readouterr()
        assert printed.out == ""
        assert f"wrote {path}" in printed.err
    assert main(["table", str(folder), "--output", str(tmp_path / "table.txt"), "--json"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 4
    assert "81.50±0.71" in (tmp_path / "table.txt").read_text()
    assert main(["table", str(folder), "--output", str(tmp_path / "table.txt"), "--format", "markdown"]) == 0
    assert (tmp_path / "table.txt").read_text() == as_markdown(result_tables(results))


def test_table_prints_differences(tabulated, capsys):
    folder, results = tabulated
    assert main(["table", str(folder), "--differences", "--versus", "lp-ft", "--format", "csv"]) == 0
    expected = difference_table(paired_differences(results, versus="lp-ft"))
    assert capsys.readouterr().out == as_csv([expected])
    assert main(["table", str(folder), "--differences"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["cb", "test", "LP-FT", "-", "FT", "+10.00"] in [row[:6] for row in rows]
    assert main(["table", str(folder), "--differences", "--metric", "ece", "--json"]) == 0
    line = json.loads(capsys.readouterr().out.splitlines()[0])
    assert line == paired_differences(results, "ece")[0].as_dict()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--metric", "acuracy"], "did you mean 'accuracy'"),
        (["--differences", "--versus", "lpft"], "did you mean 'lp-ft'"),
        (["--differences", "--metric", "head_norm"], "unknown metric"),
        (["--paper", "--differences"], "leave out --paper"),
        (["--json", "--format", "csv"], "leave out --format"),
    ],
)
def test_table_refuses_in_one_line(tabulated, capsys, arguments, words):
    assert main(["table", str(tabulated[0]), *arguments]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert len(error.splitlines()) == 1


def test_wide_tables_keep_their_numbers_whole(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    for scale in (1.0, 2.0, 5.0, 10.0, 50.0, 100.0):
        for seed in (1, 2):
            write_run(tmp_path, "cb", "ft", seed, {"test": answers(40 + seed)}, head_scale=scale)
    assert main(["table", str(tmp_path)]) == 0
    assert capsys.readouterr().out.count("41.50±0.71") == 6
    assert main(["table", str(tmp_path), "--paper", "--output", str(tmp_path / "table.txt")]) == 0
    lines = (tmp_path / "table.txt").read_text().splitlines()
    assert any(line.startswith(" paper (RoBERTa-base) ") for line in lines)


def test_runs_that_were_tried_out_are_passed_over(tabulated, capsys):
    folder, _ = tabulated
    for name in ("tuning", "cache"):
        write_run(folder / "cb" / name, "cb", "ft", 7, {"validation": answers(50), "test": answers(1)})
    assert main(["table", str(folder / "cb"), "--json"]) == 0
    assert [json.loads(line)["runs"] for line in capsys.readouterr().out.splitlines()] == [2, 2]
    assert main(["calibrate", str(folder / "cb" / "ft"), str(folder / "cb" / "tuning"), "--json"]) == 0
    seeds = [json.loads(line)["seed"] for line in capsys.readouterr().out.splitlines()]
    assert seeds == [1, 2, 7]
    assert main(["calibrate", str(folder / "cb"), "--json"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 4
