import csv
import io

import numpy as np
import pytest

from lpft_keras.errors import InputError
from lpft_keras.report import Published, as_csv, as_latex, as_markdown, published, result_tables
from lpft_keras.results import RunResult
from lpft_keras.storage import read_json, write_json
from tests.report.runs import answers, write_run


@pytest.fixture
def write(tmp_path):
    """Write a run of which so many of 100 test rows are right."""

    def written(task, method, seed, right, shifted=(), **options):
        splits = {"validation": answers(50), "test": answers(right), **{name: answers(r) for name, r in shifted}}
        return write_run(tmp_path, task, method, seed, splits, **options)

    return written


def cells(table):
    """Return a table's numbers by row and heading."""
    return {row[: table.names]: dict(zip(table.columns, row, strict=True)) for row in table.rows}


def test_tasks_are_rows_and_methods_columns_in_the_papers_order(write):
    runs = [write("rte", "lp-ft", seed, right) for seed, right in ((1, 70), (2, 73), (3, 79))]
    runs += [write("rte", "ft", seed, right) for seed, right in ((1, 60), (2, 64), (3, 62))]
    runs += [write("other", "lp", seed, 40) for seed in (1, 2, 3)]
    runs += [write("cb", "ft", seed, 90 + seed) for seed in (1, 2, 3)]
    (table,) = result_tables(runs)
    assert table.title == "minilm: accuracy (%)"
    assert table.columns == ("task", "LP", "FT", "LP-FT")
    # (70 + 73 + 79) / 3 = 74, deviations -4, -1, 5: sqrt(42 / 2) = 4.58
    assert table.rows == (
        ("cb", "", "92.00±1.00", ""),
        ("rte", "", "62.00±2.00", "74.00±4.58"),
        ("other", "40.00±0.00", "", ""),
    )
    assert table.notes == ("mean ± standard deviation over 3 seeds",)
    record = next(r for r in table.records if r["method"] == "lp-ft")
    assert record == {
        "task": "rte",
        "backbone": "minilm",
        "split": "test",
        "method": "lp-ft",
        "metric": "accuracy",
        "mean": pytest.approx(0.74),
        "std": pytest.approx(np.sqrt(21) / 100),
        "runs": 3,
    }
    assert len(table.records) == 4


def test_runs_that_differ_by_more_than_the_seed_are_apart(write):
    runs = [write("rte", "ft", seed, 60 + 10 * seed) for seed in (1, 2)]
    runs += [write("rte", "ft", seed, 90, head_scale=10.0) for seed in (1, 2)]
    (table,) = result_tables(runs)
    assert table.columns == ("task", "FT", "FT x10")
    assert table.rows == (("rte", "75.00±7.07", "90.00±0.00"),)
    runs.append(runs[0])
    with pytest.raises(InputError, match="are the same run of 'ft'"):
        result_tables(runs)


def test_a_task_with_shifted_sets_has_its_own_table(write):
    shifted = (("dynasent", 40), ("sst5", 70))
    runs = [write("amazon", method, 1, 80, shifted) for method in ("lora", "lp")] + [write("cb", "ft", 1, 90)]
    tasks, table = result_tables(runs, paper=True)
    assert tasks.rows[0] == ("cb", "90.00")
    assert table.title == "minilm trained on amazon: accuracy (%)"
    assert table.columns == ("method", "amazon (ID)", "dynasent", "sst5")
    assert table.rows == (
        ("LP", "80.00", "40.00", "70.00"),
        ("paper (RoBERTa-base)", "83.04±0.01", "42.69±0.05", "56.81±0.11"),
        ("difference (s.d.)", "-304.0", "-53.8", "+119.9"),
        ("LoRA", "80.00", "40.00", "70.00"),
        ("paper (RoBERTa-base)", "86.05±2.16", "46.70±1.68", "72.88±1.84"),
        ("difference (s.d.)", "-2.8", "-4.0", "-1.6"),
    )
    assert table.notes[0] == "one seed each, so no standard deviation"
    assert table.notes[1].endswith("RoBERTa-base, 5 seeds: another backbone than minilm")
    assert np.isnan(table.records[0]["std"])


def test_several_backbones_are_named_in_front(write):
    runs = [write("cb", "ft", 1, right, backbone=name) for name, right in (("minilm", 80), ("roberta_base_en", 85))]
    (table,) = result_tables(runs, paper=True)
    assert (table.title, table.columns, table.names) == ("accuracy (%)", ("backbone", "task", "FT"), 2)
    assert table.rows == (
        ("minilm", "cb", "80.00"),
        ("", "paper (RoBERTa-base)", "81.43±3.91"),
        ("", "difference (s.d.)", "-0.4"),
        ("roberta_base_en", "cb", "85.00"),
        ("", "paper (RoBERTa-base)", "81.43±3.91"),
        ("", "difference (s.d.)", "+0.9"),
    )
    assert table.notes[1].endswith(": another backbone than minilm")
    (own,) = result_tables(runs[1:], paper=True)
    assert own.notes[1].endswith("RoBERTa-base, 5 seeds")
    shifted = [write("demo", "ft", 1, 80, (("ood", 60),), backbone=name) for name in ("pocket", "tiny")]
    (table,) = result_tables(shifted)
    assert table.title == "trained on demo: accuracy (%)"
    assert table.rows == (("pocket", "FT", "80.00", "60.00"), ("tiny", "FT", "80.00", "60.00"))


def test_seeds_are_counted_where_cells_differ(write):
    runs = [write("cb", "ft", seed, 80) for seed in (1, 2, 3)] + [write("cb", "lora", seed, 80) for seed in (1, 2)]
    runs += [write("rte", "ft", seed, 80) for seed in (1, 2)]
    (table,) = result_tables(runs, paper=True)
    assert table.columns == ("task", "FT", "LoRA", "seeds")
    assert [row[-1] for row in table.rows] == ["3/2", "", "", "2", "", ""]
    assert table.notes[0] == "mean ± standard deviation over the seeds"
    # The paper's value of a method that was not run stands alone.
    lone = next(r for r in table.records if (r["task"], r["method"]) == ("rte", "lora"))
    assert (lone["runs"], lone["paper"], np.isnan(lone["mean"])) == (0, 0.7285, True)
    assert as_csv([table]).splitlines()[4] == "rte,minilm,test,lora,accuracy,,,0,0.7285,0.0141,8,"


def test_each_tasks_own_metric_is_named(write):
    runs = [write("cola", "ft", 1, 80, metric="matthews_correlation"), write("cb", "ft", 1, 70)]
    (table,) = result_tables(runs, paper=True)
    assert table.title == "minilm: accuracy (%), or the metric (%) that a row names"
    assert table.rows[0] == ("cb", "70.00")
    # 40 of 50 right in each class: (40 * 40 - 10 * 10) / 50**2
    own, theirs = table.rows[3:5]
    assert (own, theirs) == (("cola (matthews_correlation)", "60.00"), ("paper (RoBERTa-base)", "58.75±1.70"))
    (asked,) = result_tables(runs, "accuracy", paper=True)
    assert [row for row in asked.rows if "difference" not in row[0]] == [
        ("cb", "70.00"),
        ("paper (RoBERTa-base)", "81.43±3.91"),
        ("cola", "80.00"),
    ]


def test_the_difference_is_in_standard_deviations_of_both(write):
    # CB, FT: the paper has 81.43±3.91. Ours: 80 and 84, mean 82, deviation sqrt(8).
    (table,) = result_tables([write("cb", "ft", seed, right) for seed, right in ((1, 80), (2, 84))], paper=True)
    expected = 0.57 / np.sqrt(8 + 3.91**2)
    assert table.records[0]["difference_in_std"] == pytest.approx(expected)
    assert table.rows[-1] == ("difference (s.d.)", f"{expected:+.1f}")
    assert table.records[0]["paper_table"] == 8
    (table,) = result_tables([write("wsc", "ft", seed, right) for seed, right in ((1, 80), (2, 80))], paper=True)
    assert [row[0] for row in table.rows] == ["wsc", "paper (RoBERTa-base)"], "both deviations are 0"
    # A collapsed classifier and one seed: no deviation at all to divide by.
    (table,) = result_tables([write("wsc", "ft", 1, 80)], paper=True)
    assert np.isnan(table.records[0]["difference_in_std"])
    assert [row[0] for row in table.rows] == ["wsc", "paper (RoBERTa-base)"]


def test_a_task_is_selected_by_one_metric(write):
    runs = [write("cola", "ft", 1, 80, metric="matthews_correlation"), write("cb", "ft", 1, 70)]
    other = write("cb", "ft", 2, 70, metric="macro_f1")
    with pytest.raises(InputError, match=r"was selected by accuracy, .*seed_2 by macro_f1; name the metric"):
        result_tables([*runs, other])


def test_any_metric_can_be_asked_for(write):
    runs = [write("cb", "ft", seed, 80, changes={"fisher_discriminant_ratio": 1e4 * seed}) for seed in (1, 2)]
    runs += [write("cb", "lp", seed, 80, changes={"fisher_discriminant_ratio": None, "x": None}) for seed in (1, 2)]
    (table,) = result_tables(runs, "fisher_discriminant_ratio")
    assert table.title == "minilm: fisher_discriminant_ratio"
    assert table.rows == (("cb", "", "1.5e+04±7.07e+03"),)
    assert r"$1.5 \cdot 10^{4} \pm 7.07 \cdot 10^{3}$" in as_latex([table])
    (table,) = result_tables(runs, "ece")
    assert table.rows[0][1] == f"{100 * runs[0].metrics['test']['ece']:.2f}±0.00"
    with pytest.raises(InputError, match="unknown metric 'acuracy'; did you mean 'accuracy'"):
        result_tables(runs, "acuracy")
    with pytest.raises(InputError, match="no run has a value of x"):
        result_tables(runs, "x")
    with pytest.raises(InputError, match="no runs to read"):
        result_tables([])


def test_validation_rows_stand_in_for_test_rows(tmp_path):
    run = write_run(tmp_path, "cb", "ft", 1, {"validation": answers(55)})
    (table,) = result_tables([run], paper=True)
    assert table.rows == (("cb (validation rows)", "55.00"),)
    assert table.notes[1] == "the paper has no values of these"
    assert as_csv([table]).splitlines()[1].startswith("cb,minilm,validation,ft,accuracy,0.55,,1,,")
    run = write_run(tmp_path, "demo", "ft", 1, {"validation": answers(55), "ood": answers(40)})
    assert result_tables([run])[0].columns == ("method", "demo (ID, validation)", "ood")


def test_real_runs_are_averaged(swept):
    _, results = swept
    (table,) = result_tables(results, "ece")
    assert [row[0] for row in table.rows] == ["LP", "FT", "FT x10", "LP-LoRA", "LP-LoRA x10"]
    own = [r.metrics["ood"]["ece"] for r in results if r.summary["method"] == "lp"]
    assert cells(table)["LP",]["ood"] == f"{100 * np.mean(own):.2f}±{100 * np.std(own, ddof=1):.2f}"


NAMES = ["<script>", "a & b_c", "x|y", "=cmd", "[1]", "two\nlines", "50 % $\\"]


@pytest.fixture
def odd(write):
    """Runs of tasks with odd names, and of a method that somebody wrote into the files."""
    runs = [write("task", "ft", seed, 80, backbone=f"b{seed}") for seed in range(len(NAMES))]
    for run, name in zip(runs, NAMES, strict=True):
        write_json(run.directory / "metrics.json", read_json(run.directory / "metrics.json") | {"task": name})
        config = read_json(run.directory / "config.json")
        config["settings"] |= {"method": "-<m>"}
        write_json(run.directory / "config.json", config)
    return [RunResult.load(run.directory) for run in runs]


def test_names_are_no_formulas_in_csv(odd):
    rows = list(csv.DictReader(io.StringIO(as_csv(result_tables(odd)))))
    assert [row["task"] for row in rows] == [name.replace("=cmd", "'=cmd") for name in NAMES]
    assert {row["method"] for row in rows} == {"'-<m>"}
    worse = odd[0].summary["metrics"]["test"] | {"accuracy": -0.5}
    odd[0].summary["metrics"]["test"] = worse
    assert ",-0.5," in as_csv(result_tables(odd))


def test_names_are_no_markup_in_markdown(odd):
    lines = as_markdown(result_tables(odd)).splitlines()
    names = [line.split(" | ")[1] for line in lines if line.startswith("| b") and "backbone" not in line]
    assert names == ["&lt;script&gt;", r"a &amp; b\_c", r"x\|y", "=cmd", r"\[1\]", "two lines", r"50 % \$\\"]
    assert "| -&lt;m&gt; |" in lines[2]


def test_names_are_no_commands_in_latex(odd):
    text = as_latex(result_tables(odd))
    rows = [line.split(" & ", 1)[1] for line in text.splitlines() if line.startswith("b")]
    names = [row.rsplit(" & ", 1)[0] for row in rows[1:]]
    expected = [r"\textless{}script\textgreater{}", r"a \& b\_c", r"x\textbar{}y", "=cmd", "{[}1]", "two lines"]
    assert names == [*expected, r"50 \% \$\textbackslash{}"]
    assert rows[0] == r"task & -\textless{}m\textgreater{} \\"
    assert all(row.endswith(r"& $80.00$ \\") for row in rows[1:])


def test_latex_and_markdown_hold_the_same_numbers(write):
    (table,) = result_tables([write("cb", "lp-ft", seed, 80 + seed) for seed in (1, 2)], paper=True)
    assert r"cb & $81.50 \pm 0.71$ \\" in as_latex([table])
    assert r"paper (RoBERTa-base) & $84.64 \pm 2.40$ \\" in as_latex([table])
    assert r"mean $\pm$ standard deviation over 2 seeds" in as_latex([table])
    assert "| cb | 81.50±0.71 |\n| paper (RoBERTa-base) | 84.64±2.40 |" in as_markdown([table])


def test_published_numbers_are_the_papers():
    assert published("cb", "test", "lp-ft", "accuracy") == Published(8, 0.8464, 0.024)
    assert published("amazon", "sst5", "lp-ft", "accuracy") == Published(10, 0.7378, 0.0105)
    assert published("pubmed", "test", "lora", "accuracy") == Published(16, 0.8713, 0.0009)
    assert published("cola", "test", "ft", "matthews_correlation") == Published(8, 0.5875, 0.017)
    for other in (("cola", "test", "ft", "accuracy"), ("cb", "validation", "ft", "accuracy")):
        assert published(*other) is None
    assert published("demo", "test", "ft", "accuracy") is published("cb", "test", "ft x10", "accuracy") is None
