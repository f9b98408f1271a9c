import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from lpft_keras.cli import main
from lpft_keras.storage import read_arrays

TINY = ["--backbone", "tiny", "--limit", "60", "--max-length", "48", "--epochs", "2", "--micro-batches", "2"]


def command(*arguments, **environment):
    return subprocess.run(
        [sys.executable, "-m", "lpft_keras", *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        timeout=300,
    )


def test_json_is_one_object_a_run_and_nothing_else(tmp_path):
    done = command(
        "run",
        "demo",
        "--method",
        "lp",
        "--method",
        "lora",
        "--seed",
        "1",
        "--seed",
        "2",
        *TINY,
        "--json",
        "--output-dir",
        tmp_path,
    )
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(row["method"], row["seed"]) for row in rows] == [("lp", 1), ("lp", 2), ("lora", 1), ("lora", 2)]
    for row in rows:
        assert set(row["metrics"]) == {"validation", "test", "ood"}
        assert set(row["metrics"]["test"]) == {
            "accuracy",
            "macro_f1",
            "matthews_correlation",
            "nll",
            "brier",
            "ece",
            "mce",
            "feature_change",
            "cosine_similarity",
            "fisher_discriminant_ratio",
        }
        assert row == json.loads((tmp_path / f"demo/{row['method']}/tiny/seed_{row['seed']}/metrics.json").read_text())
    assert "Traceback" not in done.stderr


def test_the_table_names_every_method_and_split(tmp_path, capsys):
    assert main(["run", "demo", "--method", "lp", "--method", "ft", *TINY, "--output-dir", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    for word in ("lp", "ft", "validation", "test", "ood", "ECE"):
        assert word in out


def test_tasks_are_listed(capsys):
    assert main(["tasks"]) == 0
    table = capsys.readouterr().out
    assert main(["tasks", "--json"]) == 0
    listed = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {"cb", "rte", "demo"} <= {task["task"] for task in listed}
    assert all(task["task"] in table for task in listed)


def test_a_fold_less_class_is_refused_before_any_work(official_files, tmp_path, capsys):
    path = official_files / "cb/train.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    rare = [row for row in rows if row["label"] == "neutral"]
    kept = [rare[0], *[row for row in rows if row["label"] != "neutral"]]
    path.write_text("".join(json.dumps(row) + "\n" for row in kept))
    arguments = ["run", "cb", "--method", "lp", "--backbone", "tiny", "--data-dir", str(official_files)]
    assert main([*arguments, "--output-dir", str(tmp_path / "out")]) == 2
    assert "2 training rows of every class" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("backend", "words"), [("tensorfow", "did you mean 'tensorflow'"), ("openvino", "known: tensorflow, jax, torch")]
)
def test_an_unknown_backend_is_named(backend, words):
    done = command("run", "demo", KERAS_BACKEND=backend)
    assert done.returncode == 2
    assert words in done.stderr
    assert len(done.stderr.splitlines()) <= 2


def test_a_backend_that_is_not_installed_is_named(tmp_path):
    """A `torch` that can't be found, as on a machine without it."""
    code = (
        "import importlib.util, sys; real = importlib.util.find_spec;"
        "importlib.util.find_spec = lambda name, *a: None if name == 'torch' else real(name, *a);"
        "from lpft_keras.cli import main; sys.exit(main(['run', 'demo']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, "KERAS_BACKEND": "torch"}
    )
    assert done.returncode == 2
    assert 'pip install "lpft-keras[torch]"' in done.stderr


def test_a_diverged_run_says_where_and_keeps_its_directory(tmp_path, capsys):
    arguments = ["run", "demo", "--method", "ft", *TINY, "--learning-rate", "1e38", "--output-dir", str(tmp_path)]
    assert main(arguments) == 2
    assert "smaller learning rate" in capsys.readouterr().err
    assert (tmp_path / "demo/ft/tiny/seed_1001/config.json").is_file()
    assert not (tmp_path / "demo/ft/tiny/seed_1001/metrics.json").exists()


def saved_epoch(checkpoint):
    arrays = read_arrays(checkpoint)
    return -1 if arrays is None else json.loads(str(arrays["state"]))["epoch"]


KILLED = [
    "run",
    "demo",
    "--method",
    "lp-ft",
    "--backbone",
    "tiny",
    "--max-length",
    "48",
    "--epochs",
    "5",
    "--micro-batches",
    "2",
    "--json",
]


@pytest.mark.slow
def test_a_killed_run_goes_on_and_ends_with_the_same_numbers(tmp_path):
    """SIGKILL in the linear probe's stage, after the first epoch, and in a later one."""
    whole = command(*KILLED, "--output-dir", tmp_path / "whole")
    assert whole.returncode == 0, whole.stderr
    expected = json.loads(whole.stdout)
    for number, epoch in enumerate((-1, 0, 2)):
        output = tmp_path / str(number)
        directory = output / "demo/lp-ft/tiny/seed_1001"
        process = subprocess.Popen(
            [sys.executable, "-m", "lpft_keras", *KILLED, "--output-dir", str(output)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        while process.poll() is None:
            started = (directory / "config.json").exists()
            if started and (epoch < 0 or saved_epoch(directory / "checkpoint/checkpoint.npz") >= epoch):
                process.send_signal(signal.SIGKILL)
                break
            time.sleep(0.01)
        assert process.wait() == -signal.SIGKILL, "the run ended before it could be killed"
        again = command(*KILLED, "--output-dir", output)
        assert again.returncode == 0, again.stderr
        assert json.loads(again.stdout)["metrics"] == expected["metrics"]
        for name in ("predictions.npz", "features.npz"):
            a, b = (read_arrays(folder / name) for folder in (directory, tmp_path / "whole/demo/lp-ft/tiny/seed_1001"))
            for key in b:
                np.testing.assert_array_equal(a[key], b[key])
        assert (directory / "history.csv").read_text() == (
            tmp_path / "whole/demo/lp-ft/tiny/seed_1001/history.csv"
        ).read_text()
        assert not list(directory.rglob("*.part"))
        assert not (directory / "checkpoint").exists()
