import inspect
import json
from dataclasses import fields

import keras
import numpy as np
import pytest
from keras import ops

import lpft_keras
from lpft_keras.calibration import TemperatureScaling
from lpft_keras.errors import InputError
from lpft_keras.evaluation import evaluate, evaluate_features
from lpft_keras.methods import METHODS, default_rates
from lpft_keras.models.backbones import load_backbone
from lpft_keras.models.classifier import get_head, scale_head, set_head
from lpft_keras.models.encoding import encode
from lpft_keras.report.groups import groups
from lpft_keras.representation import feature_change, head_norm
from lpft_keras.results import RunResult
from lpft_keras.tasks import get_task, load_task
from lpft_keras.training.forward import forward_function
from tests import reference
from tests.conftest import write_jsonl

SMALL = {"backbone": "tiny", "limit": 60, "max_length": 48, "epochs": 2, "learning_rate": 3e-3, "micro_batches": 2}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """One run a method, in one output directory."""
    output = tmp_path_factory.mktemp("runs")
    return {method: lpft_keras.run("demo", method=method, output_dir=output, **SMALL) for method in METHODS}


@pytest.mark.parametrize("method", METHODS)
def test_the_run_directory_holds_all_of_it(runs, method):
    result = runs[method]
    assert result.directory.parts[-4:] == ("demo", method, "tiny", "seed_1001")
    names = {path.name for path in result.directory.iterdir()}
    weights = {"lp": "head.npz", "lora": "adapter.safetensors", "lp-lora": "adapter.safetensors"}
    assert names == {
        "checksums.txt",
        "config.json",
        "metrics.json",
        "history.csv",
        "predictions.npz",
        "rows.json",
        "features.npz",
        "environment.json",
        weights.get(method, "model.weights.h5"),
    }
    summary = json.loads((result.directory / "metrics.json").read_text())
    assert list(summary) == [
        "task",
        "method",
        "backbone",
        "seed",
        "metrics",
        "temperature",
        "head_norm",
        "seconds",
        "directory",
    ]
    assert summary == result.summary
    environment = json.loads((result.directory / "environment.json").read_text())
    assert environment["backend"] == keras.backend.backend()
    assert set(environment["data"]) == {"train", "validation", "test", "ood"}


@pytest.mark.parametrize("method", METHODS)
def test_metrics_are_those_of_the_predictions(runs, method):
    result = runs[method]
    data = load_task(get_task("demo"), limit=60)
    for split, part in result.predictions.items():
        np.testing.assert_array_equal(part["labels"], data.evaluated()[split].labels)
        change = feature_change(result.features[split], result.pretrained_features[split])
        features = result.features[split], result.pretrained_features[split], part["labels"]
        assert result.metrics[split] == evaluate(part["logits"], part["labels"]) | evaluate_features(*features)
        assert result.metrics[split]["feature_change"] == change
        assert result.features[split].shape[0] == len(part["labels"])
        assert (change == 0) == (method == "lp")
    validation = result.predictions["validation"]
    fitted = TemperatureScaling().fit(validation["logits"], validation["labels"])
    assert result.summary["temperature"] == (fitted.temperature_ if fitted.finite_ else 1)
    assert result.summary["head_norm"] == head_norm(get_head(result.model())[0])


def test_evaluate_equals_the_slow_twins(rng):
    logits, labels = rng.normal(size=(90, 3)), rng.integers(0, 3, 90)
    p = reference.softmax(logits)
    metrics = evaluate(logits, labels)
    assert metrics["accuracy"] == pytest.approx(np.mean([np.argmax(r) == y for r, y in zip(p, labels, strict=True)]))
    assert metrics["macro_f1"] == pytest.approx(reference.macro_f1(p.argmax(1).tolist(), labels.tolist()))
    assert "f1" not in metrics
    assert metrics["matthews_correlation"] == pytest.approx(
        reference.matthews_correlation(p.argmax(1).tolist(), labels.tolist())
    )
    assert metrics["ece"] == pytest.approx(reference.expected_calibration_error(p, labels))
    assert metrics["mce"] == pytest.approx(reference.maximum_calibration_error(p, labels))
    assert metrics["nll"] == pytest.approx(reference.negative_log_likelihood(logits, labels))
    assert metrics["brier"] == pytest.approx(reference.brier_score(p, labels))


def test_two_classes_have_an_f1_score_and_a_matthews_correlation(rng):
    logits, labels = rng.normal(size=(90, 2)), rng.integers(0, 2, 90)
    guesses = logits.argmax(1).tolist()
    metrics = evaluate(logits, labels)
    assert metrics["f1"] == pytest.approx(reference.f1(guesses, labels.tolist()))
    assert metrics["matthews_correlation"] == pytest.approx(reference.matthews_correlation(guesses, labels.tolist()))
    assert evaluate(np.eye(2)[[1] * 90], labels)["matthews_correlation"] == 0


def test_measures_that_rows_do_not_allow_are_no_numbers(rng):
    features = rng.normal(size=(6, 4))
    measures = evaluate_features(features, features, np.zeros(6, int))
    assert np.isnan(measures["fisher_discriminant_ratio"])
    assert measures["feature_change"] == 0


@pytest.mark.parametrize("method", METHODS)
def test_the_model_comes_back_with_the_same_predictions(runs, method):
    result = runs[method]
    tokens = encode(load_backbone("tiny"), load_task(get_task("demo"), limit=60).test.texts, 48)
    features, logits = forward_function(RunResult.load(result.directory).model())(tokens)
    np.testing.assert_allclose(logits, result.predictions["test"]["logits"], atol=1e-5)
    np.testing.assert_allclose(features, result.features["test"], atol=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_history_follows_the_stages(runs, method):
    history = runs[method].history
    stages = [row["stage"] for row in history]
    assert ("linear_probe" in stages) == method.startswith("lp")
    assert stages.count("fine_tune") == (0 if method == "lp" else 3)
    assert stages == sorted(stages, reverse=True)


def test_methods_differ_where_they_should(runs):
    """LP-FT starts from LP's head and features; LP leaves the features, FT and LoRA move them."""
    probe_end = [row for row in runs["lp"].history if row["stage"] == "linear_probe"][-1]
    start = next(row for row in runs["lp-ft"].history if row["stage"] == "fine_tune")
    assert start["head_norm"] == pytest.approx(probe_end["head_norm"], rel=1e-4)
    frozen = runs["lp"].features["test"]
    for method in ("ft", "lp-ft", "lora", "lp-lora"):
        assert np.abs(runs[method].features["test"] - frozen).max() > 1e-4


def test_frozen_features_and_probe_are_computed_once(runs):
    cache = runs["lp"].directory.parents[3] / "cache"
    # Training, validation, test and shifted test, whichever of LP, LP-FT and LP-LoRA came first.
    assert len(list(cache.glob("features-*.npz"))) == 4
    assert len(list(cache.glob("probe-*.npz"))) == 1
    assert len(list(cache.glob("tokens-*.npz"))) == 4


def test_a_finished_run_is_reused_unless_overwritten(runs, caplog):
    first = runs["lp"]
    output = first.directory.parents[3]
    stamp = (first.directory / "metrics.json").stat().st_mtime_ns
    again = lpft_keras.run("demo", method="lp", output_dir=output, **SMALL)
    assert again.summary == first.summary
    assert (first.directory / "metrics.json").stat().st_mtime_ns == stamp
    fresh = lpft_keras.run("demo", method="lp", output_dir=output, overwrite=True, **SMALL)
    assert (first.directory / "metrics.json").stat().st_mtime_ns > stamp
    assert fresh.metrics == first.metrics


def test_other_settings_do_not_silently_replace_a_run(runs):
    output = runs["ft"].directory.parents[3]
    with pytest.raises(InputError, match="epochs: 2 there, 3 asked for"):
        lpft_keras.run("demo", method="ft", output_dir=output, **{**SMALL, "epochs": 3})


@pytest.mark.parametrize("start", [lpft_keras.run, lpft_keras.sweep])
def test_data_parallel_training_is_refused_where_no_batch_can_be_cut(start, tmp_path):
    """`test_distribution` has it where one can."""
    words = f"needs JAX, not {keras.backend.backend()}: set KERAS_BACKEND=jax"
    if keras.backend.backend() == "jax":
        if len(keras.distribution.list_devices()) > 1:
            pytest.skip("JAX sees several devices")
        words = "JAX sees .*:0 alone: leave data_parallel"
    options = dict(SMALL)
    if start is lpft_keras.sweep:
        options["backbones"] = options.pop("backbone")
    for value, message in ((True, words), ("yes", "data_parallel must be True or False, not 'yes'")):
        with pytest.raises(InputError, match=message):
            start("demo", output_dir=tmp_path, data_parallel=value, **options)
    assert not list(tmp_path.iterdir())


class Stopped(Exception):
    """A process that ends after an epoch, seen from inside."""


class StopAfter(keras.callbacks.Callback):
    def __init__(self, epoch):
        super().__init__()
        self.epoch = epoch

    def on_epoch_end(self, epoch, logs=None):
        if epoch == self.epoch:
            raise Stopped


@pytest.mark.parametrize("epoch", [0, 1])
def test_a_stopped_run_goes_on_after_any_epoch_also_the_last(runs, tmp_path, epoch):
    arguments = {"method": "lp-ft", "output_dir": tmp_path, **SMALL}
    with pytest.raises(Stopped):
        lpft_keras.run("demo", callbacks=[StopAfter(epoch)], **arguments)
    result = lpft_keras.run("demo", **arguments)
    assert result.metrics == runs["lp-ft"].metrics
    assert [str(row) for row in result.history] == [str(row) for row in runs["lp-ft"].history]


def test_a_stopped_run_does_not_go_on_with_other_weights(tmp_path):
    arguments = {"method": "ft", "output_dir": tmp_path, **SMALL, "backbone": "pocket"}
    with pytest.raises(Stopped):
        lpft_keras.run("demo", callbacks=[StopAfter(0)], **arguments)
    path = tmp_path / "demo/ft/pocket/seed_1001/environment.json"
    path.write_text(path.read_text().replace('"sha256": "', '"sha256": "0'))
    with pytest.raises(InputError, match="other weights of 'pocket'"):
        lpft_keras.run("demo", **arguments)


def test_a_classifier_that_learnt_nothing_is_named(tmp_path, caplog):
    caplog.set_level("INFO", logger="lpft_keras")
    lpft_keras.run("demo", method="ft", output_dir=tmp_path, **{**SMALL, "learning_rate": 30.0})
    assert "the same class" in caplog.text
    assert "learning rate 30 (as given)" in caplog.text
    assert "batch size 16 (our own for pocket)" in caplog.text


def test_defaults_are_the_same_wherever_they_are_written():
    from lpft_keras.cli import _parser
    from lpft_keras.settings import RunSettings

    settings = {field.name: field.default for field in fields(RunSettings)}
    typed = vars(_parser().parse_args(["run", "demo"]))
    for source in (
        {name: p.default for name, p in inspect.signature(lpft_keras.run).parameters.items()},
        lpft_keras.TextClassifier().get_params(),
        {name: value for name, value in typed.items() if name not in ("seed", "head_scale")},
    ):
        shared = (source.keys() & settings.keys()) - {"task", "method", "backbone"}
        assert len(shared) >= 10
        assert {name: source[name] for name in shared} == {name: settings[name] for name in shared}


def test_a_damaged_cache_is_made_anew(tmp_path):
    first = lpft_keras.run("demo", method="lp", output_dir=tmp_path, **SMALL)
    for path in (tmp_path / "cache").glob("*.npz"):
        path.write_bytes(path.read_bytes()[:-30])
    second = lpft_keras.run("demo", method="lp", output_dir=tmp_path, overwrite=True, **SMALL)
    assert second.metrics == first.metrics


def test_the_same_seed_gives_the_same_numbers_and_another_does_not(tmp_path):
    one, same, other = (
        lpft_keras.run("demo", method="ft", seed=seed, output_dir=tmp_path / str(k), **{**SMALL, "dropout": 0.1})
        for k, seed in enumerate((1, 1, 2))
    )
    assert one.metrics == same.metrics
    assert one.metrics != other.metrics


def test_a_run_leaves_the_global_random_states_alone(tmp_path):
    import random

    states = random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002
    lpft_keras.run("demo", method="lora", output_dir=tmp_path, **SMALL)
    assert (random.getstate(), np.random.get_state()[1].tolist()) == states  # noqa: NPY002


def test_official_files_and_any_keras_callback(official_files, tmp_path):
    seen = []

    class Watcher(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            seen.append(dict(logs))

    settings = {name: value for name, value in SMALL.items() if name != "limit"}
    lpft_keras.run("cb", method="ft", data_dir=official_files, output_dir=tmp_path, callbacks=[Watcher()], **settings)
    assert len(seen) == 2
    assert {"loss", "accuracy", "val_loss", "val_accuracy"} <= set(seen[0])


def test_mixed_precision_is_a_setting(tmp_path):
    result = lpft_keras.run("demo", method="ft", dtype="mixed_bfloat16", output_dir=tmp_path, **SMALL)
    exact = lpft_keras.run("demo", method="ft", output_dir=tmp_path / "exact", **SMALL)
    a, b = (r.predictions["test"]["logits"] for r in (result, exact))
    assert a.dtype == np.float32
    assert 0 < np.abs(a - b).max() < 0.5


def test_changed_data_are_noticed(official_files, tmp_path):
    settings = {name: value for name, value in SMALL.items() if name != "limit"}
    lpft_keras.run("cb", method="lp", data_dir=official_files, output_dir=tmp_path, **settings)
    rows = [json.loads(line) for line in (official_files / "cb/val.jsonl").read_text().splitlines()]
    write_jsonl(official_files / "cb/val.jsonl", rows[1:])
    with pytest.raises(InputError, match="other test data"):
        lpft_keras.run("cb", method="lp", data_dir=official_files, output_dir=tmp_path, **settings)


def test_the_head_can_be_read_set_and_scaled(runs):
    model = runs["lp"].model()
    kernel, bias = get_head(model)
    rows = {"token_ids": np.array([[0, 5, 2]]), "padding_mask": np.ones((1, 3), "int32")}
    before = ops.convert_to_numpy(model(rows))
    scale_head(model, 3.0)
    np.testing.assert_allclose(ops.convert_to_numpy(model(rows)), 3 * before, rtol=1e-5)
    set_head(model, kernel, bias)
    np.testing.assert_array_equal(ops.convert_to_numpy(model(rows)), before)


@pytest.mark.parametrize("method", ["lp-ft", "lora"])
def test_a_temperature_is_folded_into_the_head_and_saved_in_one_file(runs, method, tmp_path):
    result = RunResult(runs[method].directory, {**runs[method].summary, "temperature": 0.37})
    tokens = encode(load_backbone("tiny"), load_task(get_task("demo"), limit=60).test.texts, 48)
    logits = result.predictions["test"]["logits"].astype(float)
    result.model(calibrated=True).save(tmp_path / "classifier.keras")
    loaded = keras.models.load_model(tmp_path / "classifier.keras")
    found = reference.softmax(forward_function(loaded)(tokens)[1].astype(float))
    np.testing.assert_allclose(found, reference.softmax(logits / 0.37), atol=1e-6)
    assert np.abs(found - reference.softmax(logits)).max() > 1e-3


def test_the_head_is_scaled_before_fine_tuning(tmp_path):
    """After LP, or as it was drawn; features move otherwise, and the run has a directory of its own."""
    for method in ("ft", "lp-ft"):
        plain, scaled = (
            lpft_keras.run("demo", method, output_dir=tmp_path, head_scale=scale, **SMALL) for scale in (1.0, 5.0)
        )
        assert scaled.directory.name == "seed_1001-head_scale_5"
        starts = [
            next(row for row in run.history if row["stage"] == "fine_tune" and row["step"] == 0)
            for run in (plain, scaled)
        ]
        assert starts[1]["head_norm"] == pytest.approx(5 * starts[0]["head_norm"], rel=1e-5)
        assert starts[1]["logit_norm"] == pytest.approx(5 * starts[0]["logit_norm"], rel=1e-4)
        assert starts[1]["validation_accuracy"] == starts[0]["validation_accuracy"]
        assert scaled.metrics["test"]["feature_change"] != plain.metrics["test"]["feature_change"]
    lp = lpft_keras.run("demo", "lp", output_dir=tmp_path, head_scale=5.0, **SMALL)
    assert lp.directory.name == "seed_1001"


@pytest.mark.parametrize("optimizer", ["sgd", "signgd"])
def test_another_optimiser_makes_another_run(tmp_path, caplog, optimizer):
    caplog.set_level("INFO", logger="lpft_keras")
    own = {**SMALL, "output_dir": tmp_path, "learning_rate": None}
    run = lpft_keras.run("demo", "ft", optimizer=optimizer, **own)
    assert f"(our own for pocket by {optimizer})" in caplog.text
    assert run.directory.name == f"seed_1001-optimizer_{optimizer}"
    assert run.config["settings"]["optimizer"] == optimizer
    plain = lpft_keras.run("demo", "ft", **own)
    assert plain.directory.name == "seed_1001"
    assert run.history[0]["head_norm"] == plain.history[0]["head_norm"]
    assert run.history[1]["loss"] != plain.history[1]["loss"]
    assert lpft_keras.run("demo", "ft", optimizer=optimizer, **own).summary == run.summary
    # A table of both names what is not the paper's, and no rate, which goes with the optimiser.
    assert list(groups([plain, run])) == ["ft", f"ft by {optimizer}"]
    lp = lpft_keras.run("demo", "lp", optimizer=optimizer, **own)
    assert lp.directory.name == "seed_1001"


def test_a_run_of_a_version_that_knew_adam_only_is_reused(tmp_path):
    run = lpft_keras.run("demo", "ft", output_dir=tmp_path, **SMALL)
    path = run.directory / "config.json"
    config = json.loads(path.read_text())
    del config["settings"]["optimizer"]
    path.write_text(json.dumps(config))
    (run.directory / "checksums.txt").unlink()  # which that version did not write
    again = lpft_keras.run("demo", "ft", output_dir=tmp_path, **SMALL)
    assert again.summary == run.summary
    assert "optimizer" not in json.loads(path.read_text())["settings"]
    assert again.config["settings"]["optimizer"] == "adam"
    assert lpft_keras.TextClassifier.from_run(run.directory).optimizer == "adam"


@pytest.mark.parametrize(("optimizer", "factor"), [("sgd", 100), ("signgd", 0.3)])
def test_rates_without_a_default_follow_adam_s(optimizer, factor):
    adam, other = (default_rates("ft", "cb", "roberta_base_en", name) for name in ("adam", optimizer))
    assert other.batch_size == adam.batch_size
    assert other.learning_rate == pytest.approx(factor * adam.learning_rate)
    assert other.origin == f"by our rule for {optimizer}, {factor:g} times {adam.origin}"
