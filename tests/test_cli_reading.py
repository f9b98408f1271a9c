"""The commands that read finished runs, and the head-norm experiment, as a user types them."""

import json

import numpy as np
import pytest

from lpft_keras.calibration import SCALINGS
from lpft_keras.cli import main, reading
from lpft_keras.report import represent, score_run
from lpft_keras.results import RunResult


def test_help_names_the_scalings_there_are():
    assert tuple(SCALINGS) == reading._SCALINGS


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
    assert main(["calibrate", __file__, "--split", "ood"]) == 2
    assert "--split is for runs" in capsys.readouterr().err
