"""`kernel-view` as a person types it."""

import json

import numpy as np
import pytest

import lpft_keras
from lpft_keras.cli import main
from lpft_keras.tasks.grammar import demo_rows
from tests.helpers import stamps

pytestmark = pytest.mark.timeout(1500)  # JAX compiles each method's segments

# What `conftest.VIEWED` says, typed.
DEMO = ["demo", "--backbone", "tiny", "--max-length", "48", "--shots", "4", "--epochs", "1", "--rows", "12"]
DEMO += ["--optimizer", "sgd", "--learning-rate", "sgd=0.05"]


def test_json_is_one_object_and_nothing_else(viewed, capsys):
    output, *_, view = viewed
    before = stamps(output)
    assert main(["kernel-view", *DEMO, "--json", "--output-dir", str(output)]) == 0
    shown = capsys.readouterr()
    assert [json.loads(line) for line in shown.out.splitlines()] == [view.report]
    assert "reused the kernel view" in shown.err
    assert stamps(output) == before


def test_tables_are_shown(viewed, capsys):
    output, *_, view = viewed
    assert main(["kernel-view", *DEMO, "--method", "lp-ft", "--seed", "13", "--output-dir", str(output)]) == 0
    shown = capsys.readouterr().out
    assert "Kernel view of lp-ft on demo, tiny, seed 13, 4 rows a class" in shown
    assert f"SGD: {view.report['verdict']['sgd']['words']}." in shown
    assert str(view.directory) in shown
    for number in (view.report["start"]["accuracy"], view.report["fine_tuning"]["sgd"]["accuracy"]):
        assert f"{100 * number:.2f}" in shown


def test_several_methods_go_past_what_is_there_and_end_where_one_is_refused(viewed, capsys):
    """A view that was asked for first is shown, though another seed's has other settings there."""
    output, *_, view = viewed
    other = output / "demo" / "lp-ft" / "tiny" / "seed_21-shots_4" / "kernel_view"
    other.mkdir(parents=True)
    held = json.loads((view.directory / "kernel_view.json").read_text())
    (other / "kernel_view.json").write_text(json.dumps(held))
    arguments = ["kernel-view", *DEMO, "--seed", "13", "--seed", "21", "--json", "--output-dir", str(output)]
    assert main(arguments) == 2
    shown = capsys.readouterr()
    assert [json.loads(line)["seed"] for line in shown.out.splitlines()] == [13]
    assert "seed: 13 there, 21 asked for" in shown.err.splitlines()[-1]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["demo", "--learning-rate", "sgd"], "--learning-rate takes OPTIMIZER=RATE, like sgd=0.1, not 'sgd'"),
        (["demo", "--learning-rate=abc"], "--learning-rate takes OPTIMIZER=RATE, like sgd=0.1, not 'abc'"),
        (["demo", "--learning-rate", "sgd=x"], "--learning-rate takes OPTIMIZER=RATE, like sgd=0.1, not 'sgd=x'"),
        (["demo", "--learning-rate", "sgd=-1"], "--learning-rate takes OPTIMIZER=RATE, like sgd=0.1, not 'sgd=-1'"),
        (["demo", "--learning-rate", "sgd=inf"], "learning_rate must be a number above 0"),
        (["demo", "--learning-rate", "sdg=1"], "unknown optimizer 'sdg'; did you mean 'sgd'"),
        (["demo", "--optimizer", "adam", "--learning-rate", "sgd=1"], "learning_rates names 'sgd'"),
        (["demo", "--method", "ft", "--method", "lp"], "method 'lp' has no fine-tuning stage"),
        (["demo", "--method", "lp-tf"], "unknown method 'lp-tf'; did you mean 'lp-ft'"),
        (["demo", "--max-memory", "0"], "max_memory must be a number above 0"),
        (["demo", "--optimiser", "sgd"], "did you mean '--optimizer'"),
    ],
)
def test_wrong_input_is_one_line_and_status_two(arguments, words, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["kernel-view", *arguments]) == 2
    shown = capsys.readouterr()
    (line,) = shown.err.splitlines()
    assert line.startswith("lpft-keras: ")
    assert words in line
    assert not shown.out
    assert not list(tmp_path.iterdir())


def test_the_directory_of_a_run_without_fine_tuning_is_refused(tmp_path, capsys):
    run = lpft_keras.run("demo", "lp", "tiny", max_length=48, limit=60, output_dir=tmp_path)
    assert main(["kernel-view", str(run.directory)]) == 2
    assert "method 'lp' has no fine-tuning stage" in capsys.readouterr().err.splitlines()[-1]


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A task of one's own, of two classes, without test rows, where the user stands."""
    lines = [f'"{a}","{b}",{label}\n' for a, b, label in demo_rows("train")[:90] if label != "neutral"]
    (tmp_path / "rows.csv").write_text("first,second,label\n" + "".join(lines))
    (tmp_path / "mine.toml").write_text('train = "rows.csv"\nsplit = "stratified"\ntext = ["first", "second"]\n')
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow
def test_a_run_of_a_task_of_one_s_own_without_test_rows(own, capsys):
    """Two classes, one logit; tested on the validation rows, and named so."""
    run = ["--backbone", "tiny", "--max-length", "48", "--epochs", "1", "--learning-rate", "1e-3"]
    assert main(["run", "mine.toml", "--method", "ft", *run, "--json"]) == 0
    directory = json.loads(capsys.readouterr().out)["directory"]
    assert main(["kernel-view", directory]) == 2
    assert "name it beside the run" in capsys.readouterr().err
    flags = ["--train", "rows.csv", "--split", "stratified", "--text", "first", "--text", "second", "--name", "mine"]
    assert main(["kernel-view", directory, *flags, "--rows", "12", "--json"]) == 0
    (report,) = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    count = len(lpft_keras.RunResult.load(directory).predictions["validation"]["labels"])
    assert report["rows"] == {"train": 12, "validation": min(count, 12)}
    assert report["classes"] == 2
    with np.load(own / directory / "kernel_view" / "kernel-sgd.npz") as kernels:
        np.testing.assert_allclose(kernels["test"], kernels["validation"], rtol=1e-6)
        assert kernels["test"].shape == (min(count, 12), 1, 12, 1)
    for found in report["kernels"].values():
        assert found["accuracy"] == found["validation_accuracy"] == found["logit_accuracy"]
    assert report["theory"]["lp_optimum_gap"] is None


@pytest.mark.slow
def test_all_methods_are_those_that_fine_tune(tmp_path, capsys):
    small = ["--backbone", "tiny", "--max-length", "32", "--shots", "2", "--epochs", "1", "--rows", "4"]
    small += ["--optimizer", "sgd", "--method", "all", "--seed", "13", "--json"]
    assert main(["kernel-view", "demo", *small, "--output-dir", str(tmp_path)]) == 0
    reports = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [report["method"] for report in reports] == ["ft", "lp-ft", "lora", "lp-lora"]


@pytest.mark.parametrize(
    "flags", [["--shots", "9"], ["--optimizer", "adam"], ["--method", "ft"], ["--prompt"], ["--learning-rate", "sgd=3"]]
)
def test_flags_of_a_task_are_refused_beside_a_run(tmp_path, capsys, flags):
    (tmp_path / "config.json").write_text("{}")
    assert main(["kernel-view", str(tmp_path), *flags]) == 2
    assert f"{flags[0]} is for a TASK" in capsys.readouterr().err
