"""The demo's kernel view, interrupted once and finished, each number against what it is said to be."""

import json
import logging
import subprocess
import sys
import time

import keras
import numpy as np
import pytest

import lpft_keras
from lpft_keras import ntk
from lpft_keras.checksums import CHECKSUMS
from lpft_keras.errors import InputError
from lpft_keras.kernel_views import kernel_view, kernel_view_of
from lpft_keras.ntk.behaviour import weights_as
from lpft_keras.representation import head_norm
from lpft_keras.settings import RunSettings
from lpft_keras.starting import inputs_of, start_of
from lpft_keras.storage import read_arrays
from lpft_keras.tasks import few_shot, get_task, load_task
from lpft_keras.tasks.grammar import demo_rows
from tests.conftest import VIEWED
from tests.helpers import stamps

pytestmark = pytest.mark.timeout(1500)  # JAX compiles each method's segments

MODEL = {name: VIEWED[name] for name in ("backbone", "seed", "max_length", "shots")}


@pytest.fixture(scope="module")
def view(viewed):
    return viewed[3]


@pytest.fixture(scope="module")
def rows(view):
    """The rows of the report, drawn here, as the classifier takes them; and the classifier at the start."""
    settings = RunSettings(task="demo", method="lp-ft", **MODEL)
    data = few_shot(load_task(get_task("demo"), None), 4, 13)
    start = start_of(settings, data, view.directory.parents[4] / "cache")
    indices = {"train": np.arange(12), "validation": np.arange(12)}
    many = len(start.tokens["test"])
    indices["test"] = np.sort(np.random.default_rng([13, 3]).choice(many, 12, replace=False))
    return start.classifier, {name: start.tokens[name].take(some) for name, some in indices.items()}, indices["test"]


def run_of(view):
    return lpft_keras.RunResult.load(view.report["fine_tuning"]["sgd"]["directory"])


def test_an_interrupted_view_goes_on(viewed):
    _, files, parts, view = viewed
    assert set(parts) == {"kernel-sgd", "kernel-signgd", "kernel-asymmetric-signgd", "linear-sgd"}
    for name, part in parts.items():
        kind, _, which = name.partition("-")
        assert view.report[{"kernel": "kernels"}.get(kind, kind)][which] == part
    now = stamps(viewed[0])
    kept = [path for path in files if path.exists()]
    assert "metrics.json" in {path.name for path in kept}
    assert {path: now[path] for path in kept} == {path: files[path] for path in kept}
    kernels = {
        path.name: stamp for path, stamp in files.items() if path.name in ("kernel-sgd.npz", "kernel-signgd.npz")
    }
    assert len(kernels) == 2
    assert {name: now[view.directory / name] for name in kernels} == kernels  # put in place, not computed again
    assert not list(view.directory.glob("parts-*"))


def test_a_finished_view_is_reused(viewed, caplog, monkeypatch):
    output, *_, view = viewed
    before = stamps(output)
    caplog.set_level(logging.INFO, "lpft_keras")
    monkeypatch.setattr(logging.getLogger("lpft_keras"), "propagate", True)  # which the command line turns off
    again = kernel_view("demo", output_dir=output, **VIEWED)
    assert again.report == view.report
    assert {record.getMessage() for record in caplog.records} == {f"reused the kernel view in {view.directory}"}
    assert stamps(output) == before
    assert json.loads((view.directory / "kernel_view.json").read_text())["report"] == view.report


def test_what_is_written(view):
    names = {path.name for path in view.directory.iterdir()}
    kernels = {f"kernel-{kind}.npz" for kind in ("sgd", "signgd", "asymmetric-signgd")}
    assert names == {"kernel_view.json", "kernel_view.md", "environment.json", CHECKSUMS, "locks", *kernels}
    assert view.directory.relative_to(view.directory.parents[4]).as_posix() == (
        "demo/lp-ft/tiny/seed_13-shots_4/kernel_view"
    )
    assert view.report["directory"] == str(view.directory)
    text = (view.directory / "kernel_view.md").read_text()
    assert f"- SGD: {view.report['verdict']['sgd']['words']}." in text.splitlines()
    assert f"| fine-tuned by SGD | {100 * view.report['fine_tuning']['sgd']['accuracy']:.2f} |" in text
    environment = json.loads((view.directory / "environment.json").read_text())
    assert environment["backend"] == keras.backend.backend()


def test_what_was_looked_at(view):
    report = view.report
    assert (report["task"], report["method"], report["backbone"], report["seed"]) == ("demo", "lp-ft", "tiny", 13)
    assert (report["shots"], report["prompt"], report["classes"]) == (4, None, 3)
    assert report["rows"] == {"train": 12, "validation": 12, "test": 12}
    assert report["seconds"] > 0


def test_accuracies_are_those_of_the_runs(view, rows):
    """At the start of fine-tuning: those of LP alone."""
    _, tokens, drawn = rows
    probe = lpft_keras.run("demo", "lp", output_dir=view.directory.parents[4], **MODEL)
    tuned = np.load(run_of(view).directory / "predictions.npz")
    scores = []
    for arrays in (probe.predictions["test"], {name: tuned[f"test/{name}"] for name in ("logits", "labels")}):
        logits, labels = arrays["logits"][drawn], arrays["labels"][drawn]
        np.testing.assert_array_equal(labels, tokens["test"].labels)
        scores.append(np.mean(logits.argmax(axis=1) == labels))
    assert [view.report["start"]["accuracy"], view.report["fine_tuning"]["sgd"]["accuracy"]] == scores
    assert view.report["fine_tuning"]["sgd"]["learning_rate"] == 0.05
    assert view.report["start"]["head_norm"] == pytest.approx(probe.summary["head_norm"], rel=1e-5)
    assert view.report["start"]["head_norm"] == pytest.approx(run_of(view).start_head_norm, rel=1e-5)


def test_kernels_are_those_of_the_start(view, rows):
    classifier, tokens, _ = rows
    inputs = {name: inputs_of(part) for name, part in tokens.items()}
    expected = ntk.empirical_ntk(classifier, inputs["test"], inputs["train"]).total
    held = {kind: read_arrays(view.directory / f"kernel-{kind}.npz") for kind in view.report["kernels"]}
    np.testing.assert_allclose(held["sgd"]["test"], expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())
    for kernels in held.values():
        shapes = {name: kernel.shape for name, kernel in kernels.items()}
        assert shapes == dict.fromkeys(("train", "validation", "test"), (12, 3, 12, 3))
    flat = held["sgd"]["train"].reshape(36, 36)
    np.testing.assert_allclose(flat, flat.T, rtol=1e-9)
    largest = 2 * 12 / np.linalg.eigvalsh(flat).max()
    assert view.report["kernels"]["sgd"]["largest_learning_rate"] == pytest.approx(largest, rel=1e-6)
    # The diagonal of the signs' kernel counts variables that move: whole numbers.
    counts = np.einsum("icic->ic", held["signgd"]["train"])
    np.testing.assert_allclose(counts, counts.round(), atol=1e-3)


def test_accuracies_of_kernels_are_those_of_their_solvers(view, rows):
    """The solver that the report names, fitted to the file's kernels and the start's logits."""
    classifier, tokens, _ = rows
    inputs = {name: inputs_of(part) for name, part in tokens.items()}
    logits = {name: classifier.predict(x, verbose=0) for name, x in inputs.items()}
    assert set(view.report["kernels"]) == {"sgd", "signgd", "asymmetric-signgd"}
    for kind, report in view.report["kernels"].items():
        told = dict(report["solver"])
        solver = getattr(ntk, told.pop("name"))(
            **{name: float(value) if name == "f0_scaling" else value for name, value in told.items()}
        )
        kernels = read_arrays(view.directory / f"kernel-{kind}.npz")
        solver.fit(kernels["train"], tokens["train"].labels, logits["train"])
        for split, name in (("test", "accuracy"), ("validation", "validation_accuracy")):
            flipped = None
            if kind == "asymmetric-signgd":
                flipped = ntk.empirical_ntk(classifier, inputs[split], inputs["train"], kind=f"{kind}-flipped").total
            found = solver.accuracy(kernels[split], tokens[split].labels, logits[split], flipped)
            assert report[name] == found


def test_the_linear_model_is_that_of_a_hundredth_of_the_way(view, rows):
    classifier, tokens, _ = rows
    x, labels = inputs_of(tokens["test"]), tokens["test"].labels
    start, end = classifier.get_weights(), run_of(view).model().get_weights()
    home = classifier.predict(x, verbose=0).astype("float64")
    sides = []
    for share in (0.01, -0.01):
        with weights_as(classifier, [a + share * (b - a) for a, b in zip(start, end, strict=True)]):
            sides.append(classifier.predict(x, verbose=0).astype("float64"))
    linear = home + (sides[0] - sides[1]) / 0.02
    found = ntk.linearize(classifier, end, x).predict(x, verbose=0)
    np.testing.assert_allclose(found, linear, atol=2e-3 * np.abs(linear).max())
    told = view.report["linear"]["sgd"]
    assert told["accuracy"] == np.mean(found.argmax(axis=1) == labels)
    before, after = view.report["start"]["accuracy"], view.report["fine_tuning"]["sgd"]["accuracy"]
    assert after != before
    if after > before:
        assert told["gain_recovered"] == pytest.approx((told["accuracy"] - before) / (after - before))
    else:  # fine-tuning lost, and there is no gain that a share could be of
        assert told["gain_recovered"] is None


def test_one_step_and_theory(view):
    for rule in ("sgd", "signgd"):
        steps = view.report["first_step"][rule]["steps"]
        rates = [one["learning_rate"] for one in steps]
        assert rates == pytest.approx([rates[0], rates[0] / 10, rates[0] / 100])
        assert max(steps[0]["logits"], steps[0]["features"]) < 0.5
        assert steps[1]["logits"] < steps[0]["logits"]
    low = view.report["theory"]["low_rank"]
    assert low["expected"] == pytest.approx(8 / (3 * 32))  # rank 8, alpha 8, width 32
    assert low["factor"] == pytest.approx(low["expected"], abs=4 * low["deviation"])
    assert view.report["theory"]["lp_optimum_gap"] < 1e-2


def test_other_settings_are_refused_by_name_before_any_run(viewed):
    output, *_ = viewed
    before = stamps(output)
    for other, words in (
        ({"rows": 10}, "rows: 12 there, 10 asked for"),
        ({"optimizers": ("sgd", "adam")}, "runs: .*'sgd': 0.05.* there, .*'adam'.* asked for"),
        ({"epochs": 2}, "epochs: 1 there, 2 asked for"),
    ):
        with pytest.raises(InputError, match=f"holds a kernel view of other settings .*{words}.*--overwrite"):
            kernel_view("demo", output_dir=output, **{**VIEWED, **other})
    assert stamps(output) == before


def test_overwriting_the_run_keeps_its_view(tmp_path):
    """Both lie in the directory of Adam's run; a run done anew leaves them, and folders of runs are read past them."""
    from lpft_keras.cli.reading import found_runs

    run = lpft_keras.run("demo", "lp", output_dir=tmp_path, **MODEL)
    for name in ("ntk", "kernel_view"):
        (run.directory / name / "cache").mkdir(parents=True)
        (run.directory / name / "kernel.json").write_text("{}")
    (run.directory / "debris.txt").write_text("")
    lpft_keras.run("demo", "lp", output_dir=tmp_path, overwrite=True, **MODEL)
    assert (run.directory / "kernel_view" / "kernel.json").is_file()
    assert (run.directory / "ntk" / "kernel.json").is_file()
    assert not (run.directory / "debris.txt").exists()
    assert [found.directory for found in found_runs([str(tmp_path)])] == [run.directory]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"optimizers": ()}, "optimizers is empty"),
        ({"optimizers": ("adamw",)}, "unknown optimizer 'adamw'; did you mean 'adam'"),
        ({"learning_rates": {"sdg": 0.1}}, "unknown optimizer 'sdg'; did you mean 'sgd'"),
        ({"optimizers": ("adam",), "learning_rates": {"sgd": 0.1}}, "learning_rates names 'sgd', by which nothing"),
        ({"method": "lp"}, "method 'lp' has no fine-tuning stage"),
        ({"method": "lp-tf"}, "unknown method 'lp-tf'; did you mean"),
        ({"rows": 1}, "rows must be a whole number of 2 or more"),
        ({"max_memory": 0}, "max_memory must be a number above 0"),
        ({"shots": 0}, "shots must be a whole number of 1"),
        ({"backbone": "tinny"}, "did you mean 'tiny'"),
    ],
)
def test_what_can_not_be_is_refused_before_any_work(arguments, words, tmp_path):
    with pytest.raises(InputError, match=words):
        kernel_view("demo", output_dir=tmp_path, **{"backbone": "tiny", **arguments})
    assert not list(tmp_path.iterdir())


@pytest.fixture
def own(tmp_path):
    """A task of one's own, of two classes, without test rows."""
    lines = [f'"{a}","{b}",{label}\n' for a, b, label in demo_rows("train")[:90] if label != "neutral"]
    (tmp_path / "rows.csv").write_text("first,second,label\n" + "".join(lines))
    (tmp_path / "mine.toml").write_text('train = "rows.csv"\nsplit = "stratified"\ntext = ["first", "second"]\n')
    return tmp_path / "mine.toml"


def test_a_run_that_is_no_good_is_refused(own, tmp_path):
    settings = {"backbone": "tiny", "max_length": 48, "epochs": 1, "output_dir": tmp_path / "runs"}
    with pytest.raises(InputError, match="holds no finished run"):
        kernel_view_of(tmp_path)
    probe = lpft_keras.run(own, "lp", **settings)
    with pytest.raises(InputError, match="method 'lp' has no fine-tuning stage"):
        kernel_view_of(probe.directory)
    run = lpft_keras.run(own, "ft", **settings)
    with pytest.raises(InputError, match="is a run of a task of your own, 'mine'; name it beside the run"):
        kernel_view_of(run.directory)
    with pytest.raises(InputError, match="is a run of task 'mine', not of 'demo'"):
        kernel_view_of(run.directory, task="demo")
    with pytest.raises(InputError, match="rows must be"):
        kernel_view_of(run.directory, task=own, rows=1)
    lines = (own.parent / "rows.csv").read_text().splitlines()
    (own.parent / "rows.csv").write_text("\n".join(lines[:-1]) + "\n")
    with pytest.raises(InputError, match=r"rows are not those of the run in .*give its own \(--data-dir\)"):
        kernel_view_of(run.directory, task=own)
    assert not (run.directory / "kernel_view").exists()


@pytest.mark.slow
def test_wrong_data_of_the_catalogue_are_refused(official_files, tmp_path):
    from tests.official_files import write_official_files

    run = lpft_keras.run("cb", "ft", "tiny", official_files, epochs=1, max_length=48, output_dir=tmp_path / "runs")
    write_official_files(tmp_path / "other", "cb", train=50, test=20)
    with pytest.raises(InputError, match=r"the train rows are not those of the run in .*--data-dir"):
        kernel_view_of(run.directory, tmp_path / "other")


@pytest.mark.slow
@pytest.mark.parametrize("method", ["ft", "lora"])  # "lp-ft" is the fixture's
def test_the_view_of_a_run_directory(method, tmp_path):
    """A run that hardly moved is its own linear model, whose weights have the order of the classifier at the start."""
    settings = {"backbone": "tiny", "seed": 13, "max_length": 48, "shots": 8, "epochs": 1, "optimizer": "sgd"}
    run = lpft_keras.run("demo", method, learning_rate=1e-2, output_dir=tmp_path, **settings)
    view = kernel_view_of(run.directory, rows=30)
    assert view.directory == run.directory / "kernel_view"
    assert (view.report["method"], view.report["rows"]) == (method, {"train": 24, "validation": 24, "test": 30})
    assert kernel_view_of(run.directory, rows=30).report == view.report
    assert view.report["theory"]["lp_optimum_gap"] is None
    data = few_shot(load_task(get_task("demo"), None), 8, 13)
    start = start_of(RunSettings(**run.config["settings"]), data, tmp_path / "cache")
    tokens = start.tokens["test"]
    drawn = np.sort(np.random.default_rng([13, 3]).choice(len(tokens), 30, replace=False))
    x = inputs_of(tokens.take(drawn))
    end = run.model()
    linear = ntk.linearize(start.classifier, end.get_weights(), x).predict(x, verbose=0)
    home, away = start.classifier.predict(x, verbose=0), run.predictions["test"]["logits"][drawn]
    moved = np.linalg.norm(away - home)
    assert moved > 1e-5 * np.linalg.norm(home)
    assert np.linalg.norm(linear - away) < 0.05 * moved
    assert view.report["linear"]["sgd"]["accuracy"] == np.mean(linear.argmax(axis=1) == tokens.labels[drawn])
    some = inputs_of(start.tokens["train"].take(np.arange(24)))
    before, after = (ntk.empirical_ntk(model, some).total for model in (start.classifier, end))
    assert view.report["fixed_features"]["sgd"]["kernel_frobenius"] == pytest.approx(
        np.linalg.norm(after - before) / np.linalg.norm(before), rel=1e-2
    )
    with pytest.raises(InputError, match="rows: 30 there, 20 asked for"):
        kernel_view_of(run.directory, rows=20)
    assert head_norm(np.array(start.classifier.get_layer("head").kernel)) == pytest.approx(
        view.report["start"]["head_norm"], rel=1e-5
    )


_KILLED = """
import sys, ast
from lpft_keras.kernel_views import kernel_view
kernel_view("demo", output_dir=sys.argv[1], **ast.literal_eval(sys.argv[2]))
"""


@pytest.mark.slow
@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="what is kept knows nothing of backends")
def test_a_killed_view_ends_with_the_same_report_and_one_taken_anew_too(view, tmp_path):
    command = [sys.executable, "-c", _KILLED, str(tmp_path), repr(VIEWED)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    while process.poll() is None and not list(tmp_path.rglob("parts-*/kernel-signgd.json")):
        time.sleep(0.02)
    assert process.poll() is None, "it ended before it could be killed"
    process.kill()
    process.wait()
    assert not list(tmp_path.rglob("kernel_view.json"))
    (part,) = tmp_path.rglob("parts-*/kernel-sgd.json")
    stamp = (part.parent / "kernel-sgd.npz").stat().st_mtime_ns
    other = kernel_view("demo", output_dir=tmp_path, **VIEWED)
    assert (other.directory / "kernel-sgd.npz").stat().st_mtime_ns == stamp
    anew = kernel_view("demo", output_dir=tmp_path, overwrite=True, **VIEWED)
    assert (other.directory / "kernel-sgd.npz").stat().st_mtime_ns > stamp
    for found in (other, anew):
        assert numbers(found.report) == pytest.approx(numbers(view.report), rel=1e-2, abs=1e-5)


def numbers(value, name=""):
    """The numbers of a report by their place, without times, and without what is mean of all but noise."""
    if isinstance(value, dict):
        return {k: v for key, item in value.items() for k, v in numbers(item, f"{name}/{key}").items()}
    if isinstance(value, list):
        return {k: v for at, item in enumerate(value) for k, v in numbers(item, f"{name}/{at}").items()}
    noisy = name == "/seconds" or "elementwise" in name or "/steps/2" in name
    return {} if noisy or isinstance(value, str | None) else {name: float(value)}
