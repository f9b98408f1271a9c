"""Damage, full disks, directories that can't be written, and processes killed or interrupted: nothing is spoilt."""

import hashlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import keras
import numpy as np
import pytest

import lpft_keras
from lpft_keras import RunResult, TextClassifier, ntk
from lpft_keras.atomic import write_atomically
from lpft_keras.checksums import CHECKSUMS
from lpft_keras.cli import main
from lpft_keras.errors import InputError
from lpft_keras.kernels import run_ntk
from lpft_keras.models.classifier import scale_head
from lpft_keras.run_directory import claim
from lpft_keras.storage import read_arrays, read_json, write_arrays, write_json
from lpft_keras.training.batches import model_inputs
from tests.helpers import MAX_LENGTH, small_classifier, small_tokens

SCRIPT = Path(__file__).parents[1] / "scripts" / "kill_at_random.py"
SMALL = {"backbone": "tiny", "limit": 60, "max_length": 32}
RUN = {**SMALL, "epochs": 2, "learning_rate": 3e-3, "micro_batches": 2}
KERNEL = {**SMALL, "rows": 12}


def half(content):
    return content[: len(content) // 2]


def empty(content):
    return b""


def flipped(content):
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 4]) + content[middle + 1 :]


DAMAGES = (half, empty, flipped)


def damaged(directory, name, damage, tmp_path):
    """Return a copy of a directory with one file damaged."""
    copy = tmp_path / f"{name.replace('/', '-')}-{damage.__name__}" / directory.name
    shutil.copytree(directory, copy)
    path = copy / name
    path.write_bytes(damage(path.read_bytes()))
    return copy


READERS = {
    "metrics.json": lambda run: run,
    "config.json": lambda run: run.config,
    "environment.json": lambda run: run.environment,
    "rows.json": lambda run: run.rows,
    "history.csv": lambda run: run.history,
    "predictions.npz": lambda run: run.predictions,
    "features.npz": lambda run: (run.features, run.pretrained_features),
    "model.weights.h5": lambda run: run.model(),
    "adapter.safetensors": lambda run: run.model(),
    "head.npz": lambda run: run.model(),
    CHECKSUMS: lambda run: run,
}


@pytest.mark.parametrize("method", ["lp", "ft", "lp-lora"])
def test_no_damaged_file_of_a_run_is_read(swept, method, tmp_path):
    """Each file it leaves, damaged in each way, is refused by its name and with the way out."""
    run = next(result for result in swept[1] if result.summary["method"] == method)
    names = {path.name for path in run.directory.iterdir() if path.is_file()}
    assert names <= READERS.keys()
    for name in sorted(names):
        READERS[name](run)  # whole, it is read
        for damage in DAMAGES:
            copy = damaged(run.directory, name, damage, tmp_path)
            with pytest.raises(InputError, match=name) as caught:
                READERS[name](RunResult.load(copy))
            assert "--overwrite" in str(caught.value)


def test_damage_to_what_weights_were_trained_on_is_noticed(swept, tmp_path):
    with pytest.raises(InputError, match=r"environment\.json is damaged"):
        RunResult.load(damaged(swept[1][0].directory, "environment.json", half, tmp_path)).model()


def test_commands_name_the_damaged_file(swept, tmp_path, capsys):
    run = next(result for result in swept[1] if result.summary["method"] == "ft")
    for command in (["table"], ["report", "--output", str(tmp_path / "page.html")]):
        for name in ("metrics.json", "config.json"):
            copy = damaged(run.directory, name, flipped, tmp_path / command[0])
            assert main([command[0], str(copy), *command[1:]]) == 2
            assert name in capsys.readouterr().err
    for name in ("predictions.npz", "history.csv", "rows.json"):  # a page can do without, and says so
        copy = damaged(run.directory, name, flipped, tmp_path)
        assert main(["report", str(copy), "--output", str(tmp_path / f"{name}.html"), "--json"]) == 0
        record = json.loads(capsys.readouterr().out)
        cautions = [one["text"] for one in record["cautions"] if one["kind"] == "incomplete"]
        assert any(name in text and "--overwrite" in text for text in cautions), (name, cautions)


def test_a_finished_run_that_is_damaged_is_never_replaced_silently(tmp_path):
    run = lpft_keras.run("demo", "lp", output_dir=tmp_path, **RUN)
    for name in ("metrics.json", "config.json", CHECKSUMS):
        path = run.directory / name
        whole = path.read_bytes()
        path.write_bytes(flipped(whole))
        with pytest.raises(InputError, match=rf"{name} .*--overwrite"):
            lpft_keras.run("demo", "lp", output_dir=tmp_path, **RUN)
        path.write_bytes(whole)
    assert lpft_keras.run("demo", "lp", output_dir=tmp_path, **RUN).summary == run.summary
    (run.directory / "metrics.json").write_bytes(b"")
    again = lpft_keras.run("demo", "lp", output_dir=tmp_path, overwrite=True, **RUN)
    assert again.metrics == run.metrics


def test_runs_without_checksums_are_read(swept, tmp_path):
    run = swept[1][0]
    shutil.copytree(run.directory, tmp_path / "old")
    (tmp_path / "old" / CHECKSUMS).unlink()
    old = RunResult.load(tmp_path / "old")
    assert old.metrics == run.metrics
    assert old.config == run.config


def test_checksums_of_somebody_else_are_left_alone(tmp_path):
    """Many keep such a file beside a checkpoint; it is theirs to check by."""
    write_json(tmp_path / "x.json", {"a": 1})
    for algorithm in ("md5", "sha256", "sha512"):
        (tmp_path / CHECKSUMS).write_text(f"{hashlib.new(algorithm).hexdigest()}  x.json\n")
        assert read_json(tmp_path / "x.json") == {"a": 1}


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="no sha256sum")
def test_checksums_are_those_of_sha256sum(swept, tmp_path):
    run = swept[1][0]
    done = subprocess.run(
        ["sha256sum", "--check", "--strict", CHECKSUMS], cwd=run.directory, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == len([path for path in run.directory.iterdir() if path.is_file()]) - 1


class Stop(keras.callbacks.Callback):
    """Ends a run as a kill would, in its second epoch."""

    def on_epoch_end(self, epoch, logs=None):
        if epoch == 1:
            raise KeyboardInterrupt


def made_or_refused(make):
    """Return what is made in spite of damage, or, where that is refused, when the user does as the refusal says."""
    try:
        return make()
    except InputError as error:
        assert "--overwrite" in str(error)  # noqa: PT017
        return make(overwrite=True)


@pytest.mark.slow
def test_a_damaged_state_or_cache_is_not_gone_on_with(tmp_path):
    """The run ends with the numbers of an unbroken one, or names what is in the way; then --overwrite mends it."""
    whole = lpft_keras.run("demo", "lp-ft", output_dir=tmp_path / "whole", **RUN)
    stopped = tmp_path / "stopped"
    with pytest.raises(KeyboardInterrupt):
        lpft_keras.run("demo", "lp-ft", output_dir=stopped, callbacks=[Stop()], **RUN)
    files = sorted(path for path in stopped.rglob("*") if path.is_file() and path.suffix != ".lock")
    kinds = {re.split(r"-?\d|-[0-9a-f]{8}", path.name)[0] + path.suffix: path for path in files}
    cached = {"tokens.npy", "tokens.npz", "features.npz", "probe.npz"}
    assert kinds.keys() == {"checkpoint.npz.npz", "best.npz", "config.json.json", "environment.json.json"} | cached
    for name, path in kinds.items():
        for damage in (flipped,) if name in cached else DAMAGES:
            copy = damaged(stopped, str(path.relative_to(stopped)), damage, tmp_path)
            found = made_or_refused(partial(lpft_keras.run, "demo", "lp-ft", output_dir=copy, **RUN))
            assert found.metrics == whole.metrics, (name, damage)
            np.testing.assert_array_equal(found.predictions["test"]["logits"], whole.predictions["test"]["logits"])


@pytest.mark.slow
def test_no_damaged_file_of_a_kernel_is_used(tmp_path):
    result = run_ntk("demo", "ft", output_dir=tmp_path / "whole", **KERNEL)
    expected = result.kernels["test"].total
    place = str(result.directory.relative_to(tmp_path / "whole"))
    for damage in DAMAGES:
        copy = damaged(tmp_path / "whole", f"{place}/kernel.json", damage, tmp_path)
        again = run_ntk("demo", "ft", output_dir=copy, **KERNEL)  # it is computed again
        np.testing.assert_array_equal(again.kernels["test"].total, expected)
        copy = damaged(tmp_path / "whole", f"{place}/kernel.npz", damage, tmp_path)
        with pytest.raises(InputError, match=r"kernel\.npz is missing or damaged; compute it again \(--overwrite\)"):
            run_ntk("demo", "ft", output_dir=copy, **KERNEL).rows  # noqa: B018
        copy = damaged(tmp_path / "whole", f"{place}/{CHECKSUMS}", damage, tmp_path)
        with pytest.raises(InputError, match=rf"{CHECKSUMS} is damaged"):
            run_ntk("demo", "ft", output_dir=copy, **KERNEL)


def test_no_damaged_piece_of_a_kernel_is_used(rng, tmp_path):
    model, tokens = small_classifier(), small_tokens(rng, 8)
    inputs = model_inputs(tokens, np.arange(8), MAX_LENGTH)
    expected = ntk.empirical_ntk(model, inputs, directory=tmp_path / "whole").total
    for name in ("tile-0-whole.npz", "metadata.json"):
        for damage in DAMAGES:
            copy = damaged(tmp_path / "whole", name, damage, tmp_path)
            try:
                found = ntk.empirical_ntk(model, inputs, directory=copy).total
            except InputError as error:
                assert (name, damage) == ("metadata.json", flipped)
                assert str(copy) in str(error)  # noqa: PT017
            else:
                np.testing.assert_array_equal(found, expected)
    # Pieces of which nobody knows what they are of are not used, either.
    scaled = shutil.copytree(tmp_path / "whole", tmp_path / "scaled")
    (scaled / "metadata.json").unlink()
    scale_head(model, 2.0)
    assert not np.allclose(ntk.empirical_ntk(model, inputs, directory=scaled).total, expected)


def test_no_flipped_bit_of_arrays_passes(rng, tmp_path):
    """Each bit of a small file, its directory and headers, too: the same arrays, or none."""
    path = tmp_path / "arrays.npz"
    arrays = {"logits": rng.normal(size=(2, 2)), "labels": np.arange(3)}
    write_arrays(path, arrays)
    content = path.read_bytes()
    refused = 0
    for place in range(len(content)):
        path.write_bytes(content[:place] + bytes([content[place] ^ (1 << place % 8)]) + content[place + 1 :])
        found = read_arrays(path)
        refused += found is None
        if found is not None:
            assert found.keys() == arrays.keys()
            for name, array in arrays.items():
                np.testing.assert_array_equal(found[name], array)
    assert refused > len(content) / 2


def test_saved_classifiers_and_presets_are_checked(swept, tmp_path):
    run = next(result for result in swept[1] if result.summary["method"] == "ft")
    preset = run.to_preset(tmp_path / "preset")
    TextClassifier.from_run(run.directory).save(tmp_path / "saved")
    (preset / "README.md").write_text("of one's own")
    for directory, load in ((preset, TextClassifier.from_preset), (tmp_path / "saved", TextClassifier.load)):
        load(directory)
        names = [str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file()]
        for name in names:
            if not name.endswith((".keras", ".md")):
                with pytest.raises(InputError, match=directory.name):
                    load(damaged(directory, name, flipped, tmp_path))


@contextmanager
def small_disk(folder, size):
    """A file system of so many kB; it is skipped where none may be mounted."""
    folder.mkdir()
    if (
        shutil.which("mount") is None
        or subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}k", "tmpfs", folder]).returncode
    ):
        pytest.skip("no file system can be mounted here (it takes root)")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)  # cached tokens may still be mapped


def remounted(folder, options):
    subprocess.run(["mount", "-o", f"remount,{options}", folder], check=True)


@pytest.mark.slow
def test_a_full_disk_and_a_read_only_one_are_named_and_nothing_is_lost(tmp_path, capsys):
    words = [
        "run",
        "demo",
        "--method",
        "ft",
        "--backbone",
        "tiny",
        "--limit",
        "60",
        "--max-length",
        "32",
        "--epochs",
        "1",
    ]
    with small_disk(tmp_path / "disk", 4000) as disk:
        words += ["--output-dir", str(disk), "--json"]
        assert main([*words, "--seed", "1"]) == 0
        first = json.loads(capsys.readouterr().out)
        expected = {path.name: path.read_bytes() for path in Path(first["directory"]).iterdir()}
        for room in (0, 20, 300):  # of kB, so that it is full at unlike places
            used = sum(path.stat().st_size for path in disk.rglob("*") if path.is_file()) // 1000
            remounted(disk, f"size={used + 100 + room}k")
            (disk / "filler").write_bytes(bytes(1000 * 60))
            assert main([*words, "--seed", "2"]) == 2
            (line,) = [line for line in capsys.readouterr().err.splitlines() if "can't write" in line]
            assert "No space left on device; make room there" in line
            (disk / "filler").unlink()
        assert {path.name: path.read_bytes() for path in Path(first["directory"]).iterdir()} == expected
        remounted(disk, "size=20m")
        assert main([*words, "--seed", "2"]) == 0  # it goes on
        capsys.readouterr()
        remounted(disk, "ro")
        for command in ([*words, "--seed", "3"], [*words, "--seed", "2", "--overwrite"]):
            assert main(command) == 2
            assert "Read-only file system; choose another output directory" in capsys.readouterr().err
        assert main(["report", str(disk / "demo"), "--output", str(disk / "page.html")]) == 2
        assert "page.html: Read-only file system" in capsys.readouterr().err
        assert main(["table", str(disk / "demo")]) == 0


def test_what_a_killed_process_half_wrote_is_removed_and_what_another_writes_is_not(tmp_path):
    path = tmp_path / "a.txt"
    abandoned = tmp_path / ".a.txt.abcdefgh.part"
    abandoned.write_text("half")

    def write(file):
        assert not abandoned.exists()
        (own,) = tmp_path.glob(".*.part")
        write_atomically(path, lambda other: other.write(b"second"))
        assert own.exists()
        file.write(b"first")

    write_atomically(path, write)
    assert path.read_bytes() == b"first"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_kill_while_a_run_is_overwritten_leaves_nothing_that_looks_finished(swept, tmp_path, monkeypatch):
    copy = shutil.copytree(swept[1][0].directory, tmp_path / "run")
    (copy / "zz").mkdir()
    monkeypatch.setattr(shutil, "rmtree", lambda path: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        claim(copy, RunResult.load(copy).config, overwrite=True)
    with pytest.raises(InputError, match="no finished run"):
        RunResult.load(copy)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for processes in /proc")
@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="it takes the quickest backend; once will do")
def test_kills_interruptions_and_two_at_once_at_random_moments():
    """A few of those that `scripts/kill_at_random.py` makes."""
    hows = [word for how in ("write", "time", "interrupt", "together") for word in ("--how", how)]
    only = ["--only", "run lp-ft", "--only", "ntk"]
    backend = "torch" if importlib.util.find_spec("torch") else "tensorflow"
    done = subprocess.run(
        [sys.executable, SCRIPT, "--kills", "8", "--seed", "4", *hows, *only],
        capture_output=True,
        text=True,
        env={**os.environ, "KERAS_BACKEND": backend},
    )
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    assert "8 kills, 0 with something wrong after" in done.stdout


_STUCK = """
import hashlib, os, signal, threading
from lpft_keras.progress import end_where_stuck

signal.signal(signal.SIGINT, signal.default_int_handler)  # which a background process ignores
end_where_stuck("interrupted")
threading.Timer(2, os.kill, (os.getpid(), signal.SIGINT)).start()
hashlib.pbkdf2_hmac("sha256", b"", b"", 10**9)  # minutes of compiled code, in which Python sees no signal
"""


def test_an_interruption_ends_compiled_code_too():
    done = subprocess.run([sys.executable, "-c", _STUCK], capture_output=True, timeout=60)
    assert done.stderr == b"interrupted\n"
    assert done.returncode == 130
