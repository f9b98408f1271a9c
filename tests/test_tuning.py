"""Hyper-parameters: chosen on validation rows by the tuning seeds, evaluated with others."""

import csv
import json

import numpy as np
import pytest

from lpft_keras import InputError, RunResult, run
from lpft_keras.tuning import RATE_FACTORS, tune
from tests.conftest import SWEPT

SMALL = {name: value for name, value in SWEPT.items() if name not in ("backbones", "learning_rate")}
RATES = (1e-6, 3e-3)


@pytest.fixture(scope="module")
def tuned(tmp_path_factory):
    output = tmp_path_factory.mktemp("tuned")
    options = {"learning_rates": RATES, "batch_sizes": (8, 16), "tuning_seeds": (5, 6), "seeds": (1, 2)}
    return output, tune("demo", ["lp", "ft"], "tiny", output_dir=output, **options, **SMALL)


@pytest.mark.slow
def test_the_choice_is_that_of_runs_of_their_own(tuned, tmp_path):
    _, found = tuned
    assert list(found.choices) == ["ft"], "linear probing has nothing to choose"
    assert [(c.learning_rate, c.batch_size) for c in found.choices["ft"]] == [(r, b) for r in RATES for b in (8, 16)]
    scores = {}
    for choice in found.choices["ft"]:
        alone = [
            run(
                "demo",
                "ft",
                "tiny",
                seed=seed,
                learning_rate=choice.learning_rate,
                batch_size=choice.batch_size,
                output_dir=tmp_path / f"{choice.learning_rate}-{choice.batch_size}",
                **SMALL,
            ).metrics["validation"]
            for seed in (5, 6)
        ]
        accuracies = [metrics["accuracy"] for metrics in alone]
        assert choice.score == pytest.approx(np.mean(accuracies))
        assert choice.deviation == pytest.approx(np.std(accuracies, ddof=1))
        assert choice.nll == pytest.approx(np.mean([metrics["nll"] for metrics in alone]), rel=1e-5)
        scores[choice.learning_rate, choice.batch_size] = (choice.score, -choice.nll)
    (best,) = (c for c in found.choices["ft"] if c.chosen)
    assert (best.learning_rate, best.batch_size) == max(scores, key=scores.__getitem__)


def test_the_chosen_rates_are_evaluated_with_other_seeds(tuned):
    output, found = tuned
    (best,) = (c for c in found.choices["ft"] if c.chosen)
    assert [(r.summary["method"], r.summary["seed"]) for r in found.evaluation.results] == [
        (method, seed) for method in ("lp", "ft") for seed in (1, 2)
    ]
    for result in found.evaluation.results[2:]:
        settings = result.config["settings"]
        assert (settings["learning_rate"], settings["batch_size"]) == (best.learning_rate, best.batch_size)
        assert result.directory.parent == output / "demo/ft/tiny"


def test_trials_see_no_test_row_and_lie_apart(tuned):
    output, _ = tuned
    trials = list((output / "tuning").rglob("metrics.json"))
    for trial in trials:
        assert set(RunResult.load(trial.parent).rows["splits"]) == {"train", "validation"}
        assert set(RunResult.load(trial.parent).rows["errors"]) == {"validation"}
    assert len(trials) == len(RATES) * 2 * 2
    for path in trials:
        assert list(RunResult.load(path.parent).metrics) == ["validation"]
    assert {path.parent.parent.name for path in trials} == {
        f"learning_rate_{rate:g}-batch_size_{size}" for rate in RATES for size in (8, 16)
    }


def test_the_table_of_choices_lies_beside_the_results_and_trials_are_reused(tuned, monkeypatch):
    output, found = tuned
    with open(output / "demo/ft/tiny/tuning.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["score"]) for row in rows] == [choice.score for choice in found.choices["ft"]]
    assert [row["chosen"] for row in rows].count("True") == 1
    assert json.loads((output / "demo/ft/tiny/tuning.json").read_text())["tuning_seeds"] == [5, 6]
    assert not (output / "demo/lp/tiny/tuning.csv").exists()
    times = {path: path.stat().st_mtime_ns for path in output.rglob("metrics.json")}
    monkeypatch.chdir(output.parent)
    options = {"learning_rates": RATES, "batch_sizes": (8, 16), "tuning_seeds": (5, 6), "seeds": (1, 2)}
    again = tune("demo", ["lp", "ft"], "tiny", output_dir=output.name, workers=2, **options, **SMALL)
    assert again.choices == found.choices
    assert {path: path.stat().st_mtime_ns for path in output.rglob("metrics.json")} == times


def test_rates_around_the_default_are_tried_where_none_are_given(tmp_path):
    found = tune("demo", "ft", "tiny", tuning_seeds=5, seeds=1, output_dir=tmp_path, **{**SMALL, "limit": 40})
    assert [c.learning_rate for c in found.choices["ft"]] == pytest.approx([f * 3e-4 for f in RATE_FACTORS])
    assert {c.batch_size for c in found.choices["ft"]} == {16}
    assert np.isnan(found.choices["ft"][0].deviation)


def test_a_trial_that_diverges_is_not_chosen(tmp_path):
    options = {"tuning_seeds": 5, "seeds": 1, "output_dir": tmp_path, **SMALL, "limit": 40}
    found = tune("demo", "ft", "tiny", learning_rates=(1e38, 1e-3), **options)
    assert [(c.failed, c.chosen) for c in found.choices["ft"]] == [(1, False), (0, True)]
    assert "smaller learning rate" in found.failures[0].error
    found = tune("demo", ["lora", "lp"], "tiny", learning_rates=1e38, **options)
    (lost,) = found.evaluation.failures
    assert lost.error.startswith("all trials of lora failed, the first so: the loss is")
    assert lost.by_input
    assert [r.summary["method"] for r in found.evaluation.results] == ["lp"], "the others are evaluated"


def test_a_run_of_other_rates_is_in_the_way_before_any_trial(tmp_path):
    options = {"output_dir": tmp_path, **SMALL, "limit": 40}
    run("demo", "ft", "tiny", seed=1, learning_rate=0.5, batch_size=16, **options)
    arguments = {"learning_rates": 1e-3, "tuning_seeds": 5, "seeds": 1, **options}
    with pytest.raises(InputError, match=r"learning rate 0\.5 and batch size 16, which are not among those to try"):
        tune("demo", "ft", "tiny", **arguments)
    assert not (tmp_path / "tuning").exists()
    found = tune("demo", "ft", "tiny", overwrite=True, **arguments)
    assert found.evaluation.results[0].config["settings"]["learning_rate"] == 1e-3


def test_wrong_arguments_are_refused_before_any_trial(tmp_path):
    for arguments, words in (
        ({"seeds": (1, 5), "tuning_seeds": (5, 6)}, "seed 5 both tunes and evaluates"),
        ({"learning_rate": 1e-3}, "learning_rate is what is tuned; give the values to try as learning_rates"),
        ({"learning_rates": ()}, "learning_rates hold nothing"),
        ({"learning_rates": ["1e-4"]}, "learning_rate must be a number"),
        ({"head_scales": 2}, "head_scales can't be tuned"),
        ({"learning_rates": -1.0}, "learning_rate must be"),
        ({"batch_sizes": 0}, "batch_size must be"),
        ({"methods": "lpft"}, "did you mean 'lp-ft'"),
        ({"seeds": -1}, "seed must be"),
    ):
        with pytest.raises(InputError, match=words):
            tune(**{"task": "demo", "methods": "ft", "backbone": "tiny", "output_dir": tmp_path, **SMALL, **arguments})
    assert not list(tmp_path.iterdir())
