"""Kernels on a task's rows, from Python and from the command line."""

import json
import subprocess
import sys
import time

import keras
import numpy as np
import pytest

import lpft_keras
from lpft_keras import ntk
from lpft_keras.cli import main
from lpft_keras.errors import InputError
from lpft_keras.kernels import run_ntk_of

pytestmark = pytest.mark.timeout(1500)  # JAX compiles each method's segments

SMALL = {"backbone": "tiny", "max_length": 48, "rows": 20, "limit": 60}


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    output = tmp_path_factory.mktemp("runs")
    return {
        method: lpft_keras.run_ntk("demo", method, output_dir=output, **SMALL)
        for method in ("ft", "lp-ft", "lora", "lp-lora")
    }


def test_the_theory_holds_for_all_methods(results):
    """P is the same for all, F of LP-* has rank N (C - 1) at most, adapters have far less of it."""
    first = results["ft"].kernels
    for result in results.values():
        kernels = result.kernels
        assert kernels["train"].pretrain.shape == (20, 3, 20, 3)
        for split, kernel in kernels.items():
            np.testing.assert_allclose(kernel.pretrain, first[split].pretrain, rtol=1e-5)
    for method in ("lp-ft", "lp-lora"):
        values = ntk.singular_values(results[method].kernels["train"].finetune, normalized=True)
        assert (values[40:] < 1e-6).all()
    norms = {name: ntk.frobenius_norm(result.kernels["train"].finetune) for name, result in results.items()}
    assert norms["lora"] < 0.1 * norms["ft"]
    assert norms["lp-lora"] < 0.1 * norms["lp-ft"]


def test_the_summary_is_read_off_the_arrays(results):
    result = results["lp-ft"]
    kernels, rows = result.kernels, result.rows
    assert {name: len(part["indices"]) for name, part in rows.items()} == {"train": 20, "test": 20}
    assert len(set(rows["train"]["indices"])) == 20
    delta = ntk.residuals(rows["train"]["logits"], rows["train"]["labels"])
    table = ntk.statistics(kernels["train"], delta)
    summary = result.summary
    assert summary["ft_ratio"] == pytest.approx(table["ft_ratio"], rel=1e-9)
    regression = ntk.KernelRegression().fit(kernels["train"].total, rows["train"]["labels"])
    for name in ("pretrain", "finetune", "total"):
        assert summary["kernels"][name]["rank"] == table["rank"][name]
    accuracies = summary["kernels"]["total"]
    assert accuracies["accuracy"]["test"] == regression.accuracy(kernels["test"].total, rows["test"]["labels"])
    names = {path.name for path in result.directory.iterdir()}
    figures = {"singular_values.png", "trace_norms.png"}
    assert names == {"kernel.json", "kernel.npz", "environment.json", "checksums.txt", "locks", *figures}


def test_rows_of_the_kernel_are_those_of_the_run(results, tmp_path):
    """The logits beside the kernel are the run's own, at its start."""
    output = results["lp-ft"].directory.parents[4]
    run = lpft_keras.run("demo", "lp", output_dir=output, **{k: v for k, v in SMALL.items() if k != "rows"})
    rows = results["lp-ft"].rows["test"]
    np.testing.assert_allclose(rows["logits"], run.predictions["test"]["logits"][rows["indices"]], atol=1e-4)


def test_a_kernel_is_reused_and_other_settings_are_refused(results, capsys):
    result = results["ft"]
    output = result.directory.parents[4]
    stamp = (result.directory / "kernel.npz").stat().st_mtime_ns
    again = lpft_keras.run_ntk("demo", "ft", output_dir=output, **SMALL)
    assert again.summary == result.summary
    assert (result.directory / "kernel.npz").stat().st_mtime_ns == stamp
    with pytest.raises(InputError, match="other settings"):
        lpft_keras.run_ntk("demo", "ft", output_dir=output, **{**SMALL, "rows": 10})
    arguments = ["ntk", "--task", "demo", "--method", "ft", "--backbone", "tiny", "--max-length", "48", "--rows", "20"]
    assert main([*arguments, "--limit", "60", "--json", "--output-dir", str(output)]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(json.dumps(result.summary))


def test_the_kernel_of_a_run_directory(tmp_path, capsys):
    settings = {name: value for name, value in SMALL.items() if name != "rows"}
    run = lpft_keras.run("demo", "lora", output_dir=tmp_path, epochs=1, **settings)
    assert main(["ntk", str(run.directory), "--rows", "20"]) == 0
    table = capsys.readouterr().out
    for word in ("lora", "FT ratio", "rank", "NTK"):
        assert word in table
    assert (run.directory / "ntk/kernel.npz").is_file()


_KILLED = """
import sys, lpft_keras
lpft_keras.run_ntk("demo", "lora", backbone="tiny", max_length=48, rows=20, limit=60, output_dir=sys.argv[1])
"""


@pytest.mark.slow
@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="what is kept knows nothing of backends")
def test_a_killed_kernel_goes_on_and_other_settings_start_anew(results, tmp_path):
    process = subprocess.Popen([sys.executable, "-c", _KILLED, str(tmp_path)], stderr=subprocess.DEVNULL)
    while process.poll() is None and not list(tmp_path.rglob("tile-*.npz")):
        time.sleep(0.005)
    assert process.poll() is None, "it ended before it could be killed"
    process.kill()
    process.wait()
    other = lpft_keras.run_ntk("demo", "lora", output_dir=tmp_path, lora_alpha=16, **SMALL)
    own, four = (result.kernels["train"].finetune for result in (results["lora"], other))
    np.testing.assert_allclose(four, 4 * own, rtol=1e-4, atol=1e-6 * np.abs(four).max())
    assert not list(tmp_path.rglob("pieces-*"))  # nobody goes on with the first one's where another is finished
    again = lpft_keras.run_ntk("demo", "lora", output_dir=tmp_path, overwrite=True, **SMALL)
    np.testing.assert_allclose(again.kernels["train"].finetune, own, rtol=0, atol=1e-6 * np.abs(own).max())


def test_a_run_that_was_moved_is_refused(tmp_path):
    run = lpft_keras.run("demo", "lp", output_dir=tmp_path, **{k: v for k, v in SMALL.items() if k != "rows"})
    moved = run.directory.rename(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="is not where its run was made"):
        run_ntk_of(moved)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["ntk"], "a run directory or --task"),
        (["ntk", "--task", "demo", "--method", "lp"], "no fine-tuning stage"),
        (["ntk", "--task", "dmo"], "did you mean 'demo'"),
        (["ntk", "--task", "demo", "--rows", "1"], "rows must be a whole number of 2 or more"),
        (
            ["ntk", "--task", "demo", "--backbone", "tiny", "--limit", "30", "--max-memory", "1e4"],
            "max_memory is 10,000",
        ),
        (["ntk", "/nowhere"], "/nowhere is no directory"),
    ],
)
def test_wrong_input_is_one_line_and_status_two(arguments, words, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    assert words in capsys.readouterr().err.splitlines()[-1]
