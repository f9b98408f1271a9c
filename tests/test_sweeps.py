"""Many runs: which there are, what they share, what fails, and who does them."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from lpft_keras import InputError, RunResult, sweep
from lpft_keras.sweep_files import read_sweep
from lpft_keras.tasks import own_task
from lpft_keras.tasks.grammar import demo_rows
from tests.conftest import SWEPT

SMALL = {name: value for name, value in SWEPT.items() if name != "backbones"}


@pytest.fixture(scope="module")
def own_rows(tmp_path_factory):
    """A CSV file of a user's own."""
    path = tmp_path_factory.mktemp("own") / "own.csv"
    rows = [f'"{premise}","{hypothesis}",{label}\n' for premise, hypothesis, label in demo_rows("train")[:80]]
    path.write_text("first,second,label\n" + "".join(rows))
    return path


def test_the_cross_product_is_run_and_finished_runs_are_reused(tmp_path):
    options = {"head_scales": (2, 2.0, 1.0), "backbones": "tiny", "output_dir": tmp_path, **SMALL}
    first = sweep("demo", ["lp", "lora"], 1, **options)
    assert [(r.summary["method"], r.directory.name) for r in first.results] == [
        ("lp", "seed_1"),
        ("lora", "seed_1-head_scale_2"),
        ("lora", "seed_1"),
    ]
    assert not first.failures
    seen: list[RunResult] = []
    # What can be read only once will do.
    again = sweep("demo", iter(["lp", "lora"]), iter([1]), on_end=seen.append, **options)
    assert [r.summary for r in again.results] == [r.summary for r in first.results]
    assert [r.directory for r in seen] == [r.directory for r in first.results]


@pytest.mark.slow
def test_tasks_and_backbones_are_crossed_and_share_what_they_can(tmp_path, own_rows):
    own = own_task(own_rows, text=["first", "second"])
    found = sweep(
        ["demo", own], ["lp", "lp-ft"], backbones=["tiny", "pocket"], output_dir=tmp_path, **{**SMALL, "limit": 50}
    )
    places = {(r.summary["task"], r.summary["backbone"], r.summary["method"]) for r in found.results}
    assert len(places) == len(found.results) == 8
    for kind, count in (
        ("tokens", 2 * 4 + 2 * 2),  # the demo has four splits, own.csv two; a backbone's tokenizer is its own
        ("probe", 2 * 2),
    ):
        assert len(list((tmp_path / "cache").glob(f"{kind}-*.npz"))) == count
    assert {tuple(r.metrics) for r in found.results} == {("validation", "test", "ood"), ("validation",)}


def test_all_is_checked_before_the_first_run(tmp_path):
    broken = tmp_path / "broken.csv"
    broken.write_text("text,label\na,x\nb\n")
    for arguments, words in (
        ({"methods": ["lp", "ft"], "head_scales": (1.0, -1.0)}, "head_scale must be"),
        ({"methods": "ft", "head_scales": None}, "head_scale must be"),
        ({"methods": ["lp", "tf"]}, "did you mean 'ft'"),
        ({"methods": []}, "methods hold nothing"),
        ({"seeds": 1.5}, "seed must be"),
        ({"tasks": ["demo", "rtee"]}, "did you mean 'rte'"),
        ({"tasks": ["demo", own_task(broken)]}, "line 3: 1 fields"),
        ({"backbones": ["tiny", "tinny"]}, "did you mean 'tiny'"),
        ({"workers": 0}, "workers must be 1 or more"),
        ({"workers": ["gpu0"]}, "workers must be 1 or more, or list the device"),
        ({"backbone": "tiny"}, "unknown argument 'backbone'; did you mean 'backbones'"),
        ({"epoch": 3}, "unknown argument 'epoch'; did you mean 'epochs'"),
    ):
        with pytest.raises(InputError, match=words):
            sweep(**{"tasks": "demo", "backbones": "tiny", "output_dir": tmp_path / "out", **SMALL, **arguments})
    assert not (tmp_path / "out").exists()


def test_what_fails_does_not_stop_the_rest(tmp_path):
    class Broken(Exception):
        pass

    import keras

    class Stop(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if self.failing:
                raise Broken("no more\nof this")

    stop = Stop()
    stop.failing = True
    options = {"backbones": "tiny", "output_dir": tmp_path, "callbacks": [stop], **SMALL}
    found = sweep("demo", ["ft", "lp"], **options)
    (failure,) = found.failures
    assert [r.summary["method"] for r in found.results] == ["lp"]
    assert failure.error == "Broken: no more"
    assert not failure.by_input
    assert "on_epoch_begin" in failure.traceback
    assert failure.as_dict()["method"] == "ft"
    stop.failing = False
    assert not sweep("demo", ["ft", "lp"], **options).failures


def test_a_diverged_run_is_the_user_s_to_mend(tmp_path):
    found = sweep("demo", ["ft", "lp"], backbones="tiny", output_dir=tmp_path, **{**SMALL, "learning_rate": 1e38})
    assert "smaller learning rate" in found.failures[0].error
    assert found.failures[0].by_input
    assert len(found.results) == 1


@pytest.mark.slow
def test_processes_side_by_side_find_the_same_numbers_and_share_the_work(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # folders are named from where the user stands
    options = {"seeds": (1, 2), "backbones": "tiny", **SMALL}
    here = sweep("demo", ["lp", "ft", "lp-ft"], output_dir="here", **options)
    there = sweep("demo", ["lp", "ft", "lp-ft"], output_dir="there", workers=2, **options)
    assert not there.failures
    assert [str(r.directory).replace("there", "here") for r in there.results] == [
        str(r.directory) for r in here.results
    ]
    assert there.results[0].summary["directory"] == "there/demo/lp/tiny/seed_1"
    for one, other in zip(here.results, there.results, strict=True):
        assert one.summary["method"] == other.summary["method"]
        for name, value in one.metrics["test"].items():
            assert other.metrics["test"][name] == pytest.approx(value, rel=1e-4, abs=1e-6)
    caches = [sorted(path.name for path in (tmp_path / where / "cache").glob("*.np?")) for where in ("here", "there")]
    assert caches[0] == caches[1]


@pytest.mark.slow
def test_a_killed_process_fails_its_own_run_only(tmp_path):
    """The first run's callback kills its process each time; the others are none the worse."""
    import keras

    class Killer(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            os.kill(os.getpid(), signal.SIGKILL)

    options = {"backbones": "tiny", "output_dir": tmp_path, "workers": 2, **SMALL}
    found = sweep("demo", ["ft", "lp"], (1, 2), callbacks=[Killer()], **options)
    assert [(f.settings["method"], f.settings["seed"]) for f in found.failures] == [("ft", 1), ("ft", 2)]
    assert all("its process was killed" in failure.error for failure in found.failures)
    assert [(r.summary["method"], r.summary["seed"]) for r in found.results] == [("lp", 1), ("lp", 2)]


_SHOW_DEVICE = """
import os, sys
from joblib import Parallel, delayed
from lpft_keras.workers import Request, _prepare_process

def look(request):
    import os, time
    _prepare_process(request)
    time.sleep(1)  # so that both processes are taken
    return os.getpid(), os.environ["CUDA_VISIBLE_DEVICES"], "keras" in sys.modules

request = Request(None, {}, None, None, devices=("gpu:3", "gpu:5"), claims=sys.argv[1], backend=sys.argv[2])
for line in Parallel(n_jobs=2, batch_size=1)(delayed(look)(request) for _ in range(6)):
    print(*line)
"""


def test_each_process_gets_a_gpu_of_its_own(tmp_path):
    import keras

    done = subprocess.run(
        [sys.executable, "-c", _SHOW_DEVICE, str(tmp_path), keras.backend.backend()], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    lines = {tuple(line.split()) for line in done.stdout.splitlines()}
    assert len(lines) == 2, "each process keeps its device"
    assert {device for _, device, _ in lines} == {"3", "5"}
    assert {loaded for _, _, loaded in lines} == {"False"}, "Keras must not start before its device is chosen"


def test_who_gets_which_runs(tmp_path, monkeypatch):
    """GPUs are shared out between several runs; one run, or a data-parallel one, keeps all devices to itself."""
    from lpft_keras import engines
    from lpft_keras.sweeps import plan

    sent = []
    monkeypatch.setattr(engines, "_processes", lambda requests, workers, claims: sent.append(workers) or iter(()))
    monkeypatch.setattr(engines, "perform_request", lambda request, data: sent.append("here"))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    several = plan("demo", "lp", (1, 2, 3), backbones="tiny", output_dir=tmp_path)
    parallel = [with_settings(request, data_parallel=True) for request in several]
    for requests, workers, expected in (
        (several, None, [["gpu:0", "gpu:1"]]),
        (several[:1], None, ["here"]),
        (parallel, None, ["here"] * 3),
        (several, 3, [["gpu:0", "gpu:1", "gpu:0"]]),
        (several, ["gpu:1"], [["gpu:1"]]),
        (several, 1, ["here"] * 3),
    ):
        sent.clear()
        list(engines.spread(requests, lambda request: None, workers))
        assert sent == expected


def with_settings(request, **settings):
    return dataclasses.replace(request, settings={**request.settings, **settings})


@pytest.mark.slow
def test_one_device_is_one_process(tmp_path):
    found = sweep("demo", "lp", (1, 2), backbones="tiny", output_dir=tmp_path, workers=["cpu"], **SMALL)
    assert not found.failures
    assert [r.summary["seed"] for r in found.results] == [1, 2]


@pytest.mark.slow
def test_what_can_t_be_sent_to_a_process_fails_alone(tmp_path):
    import keras

    class Locked(keras.callbacks.Callback):
        def __init__(self):
            super().__init__()
            self.lock = threading.Lock()

    found = sweep("demo", "ft", (1, 2), backbones="tiny", output_dir=tmp_path, workers=2, callbacks=[Locked()], **SMALL)
    assert len(found.failures) == 2
    assert "can't be sent to another process" in found.failures[0].error


def test_gpus_are_counted_without_the_backend(monkeypatch, tmp_path):
    from lpft_keras.engines import visible_gpus

    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,7")
    assert visible_gpus() == ["gpu:2", "gpu:7"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert visible_gpus() == []
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 'GPU 0: H100 (UUID: x)'\necho 'GPU 1: H100 (UUID: y)'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert visible_gpus() == ["gpu:0", "gpu:1"]


def test_two_threads_of_a_process_take_turns(tmp_path):
    """As those of a Dask worker with several threads."""
    import joblib

    with joblib.parallel_config("threading", n_jobs=2):
        found = sweep("demo", "lp", (1, 2, 3), backbones="tiny", output_dir=tmp_path, **SMALL)
    assert [r.summary["seed"] for r in found.results] == [1, 2, 3]


def started(*command):
    return subprocess.Popen([sys.executable, "-m", *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_dask_cluster_loses_a_worker_and_nothing_else(tmp_path):
    """A real scheduler with two workers, one of which is killed in the middle: nothing is lost, nothing done twice."""
    pytest.importorskip("distributed")
    address, output = tmp_path / "scheduler.json", tmp_path / "out"
    scheduler = started("distributed.cli.dask_scheduler", "--port", "0", "--no-dashboard", "--scheduler-file", address)
    options = ("--nthreads", "1", "--no-nanny", "--no-dashboard", "--scheduler-file", address)
    workers = [started("distributed.cli.dask_worker", *options, "--local-directory", tmp_path) for _ in range(2)]
    try:
        wait_for(address.is_file)
        place = json.loads(address.read_text())["address"].removeprefix("tcp://")
        arguments = ["sweep", "--task", "demo", "--method", "lp", "--method", "lp-ft", "--backbone", "tiny", "--json"]
        arguments += ["--seed", "1", "--seed", "2", "--seed", "3", "--limit", "60", "--max-length", "48"]
        arguments += ["--learning-rate", "3e-3", "--epochs", "4", "--engine", f"dask://{place}"]
        found: list[subprocess.CompletedProcess] = []
        command = [sys.executable, "-m", "lpft_keras", *arguments, "--output-dir", str(output)]
        thread = threading.Thread(
            target=lambda: found.append(subprocess.run(command, capture_output=True, text=True, timeout=800))
        )
        thread.start()
        first_seen: dict[Path, int] = {}
        killed = False
        while thread.is_alive():
            for path in output.glob("demo/*/tiny/*/metrics.json"):
                first_seen.setdefault(path, path.stat().st_mtime_ns)
            busy = [*output.glob("demo/lp-ft/tiny/*/checkpoint/checkpoint.npz")]
            if busy and first_seen and not killed:
                workers[0].kill()
                killed = True
            time.sleep(0.02)
    finally:
        for process in [*workers, scheduler]:
            process.kill()
            process.wait()
    assert killed, "the sweep ended before a worker could be killed"
    assert found[0].returncode == 0, found[0].stderr
    rows = [json.loads(line) for line in found[0].stdout.splitlines()]
    assert {(row["method"], row["seed"]) for row in rows} == {(m, s) for m in ("lp", "lp-ft") for s in (1, 2, 3)}
    assert len(rows) == 6
    assert {path: path.stat().st_mtime_ns for path in first_seen} == first_seen, "a finished run was done again"
    alone = sweep(
        "demo", ["lp", "lp-ft"], (1, 2, 3), backbones="tiny", output_dir=tmp_path / "alone",
        limit=60, max_length=48, learning_rate=3e-3, epochs=4,
    )  # fmt: skip
    for result in alone.results:
        (row,) = (r for r in rows if (r["method"], r["seed"]) == (result.summary["method"], result.summary["seed"]))
        for split in result.metrics:
            logits = RunResult.load(row["directory"]).predictions[split]["logits"]
            np.testing.assert_allclose(logits, result.predictions[split]["logits"], atol=1e-4)


def wait_for(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_engines_that_are_not_there_are_named(tmp_path, monkeypatch):
    from lpft_keras import engines

    monkeypatch.setattr(engines, "_CONNECT", 1)
    monkeypatch.setitem(sys.modules, "ray", None)
    for name, words in (
        ("dusk://here:1", "unknown engine"),
        ("dask", "unknown engine 'dask'; take"),
        ("ray", "pip install ray"),
        ("dask://127.0.0.1:1", "no Dask scheduler answers at 127.0.0.1:1"),
    ):
        with pytest.raises(InputError, match=words) as caught, engines.engine(name):
            pass
        assert len(str(caught.value).splitlines()) == 1


def test_a_sweep_may_be_a_file(tmp_path, own_rows):
    path = tmp_path / "sweep.toml"
    path.write_text(
        'task = ["demo", "mine.toml"]\nmethod = ["lp", "ft"]\nseed = [1, 2]\nbackbone = "tiny"\nepochs = 1\n'
        'head-scale = 2.0\ndata_dir = "rows"\nworkers = 2\nengine = "ray"\n'
    )
    assert read_sweep(path) == {
        "tasks": ["demo", tmp_path / "mine.toml"],
        "methods": ["lp", "ft"],
        "seeds": [1, 2],
        "backbones": ["tiny"],
        "epochs": 1,
        "head_scales": 2.0,
        "data_dir": tmp_path / "rows",
        "workers": 2,
        "engine": "ray",
    }
    path.write_text("seeds = 1")
    with pytest.raises(InputError, match=r"unknown key in .*sweep.toml 'seeds'; did you mean 'seed'"):
        read_sweep(path)
    path.write_text("seeds = ")
    with pytest.raises(InputError, match="is no valid TOML"):
        read_sweep(path)
