"""Prompt-based fine-tuning from Python and the command line: runs, kernels, saved classifiers."""

import json

import numpy as np
import pytest

import lpft_keras
from lpft_keras import InputError, TextClassifier
from lpft_keras.cli import main
from lpft_keras.kernels import run_ntk_of
from lpft_keras.methods import METHODS
from lpft_keras.models.classifier import get_head
from lpft_keras.models.masked_lm import read_head
from lpft_keras.tasks import few_shot, get_task, load_task, own_task
from tests.models import tiny_checkpoints as tiny

SMALL = {"backbone": "tiny", "max_length": 48, "epochs": 1, "limit": 60, "micro_batches": 1}
FEW = {"max_length": 48, "epochs": 2, "shots": 16, "seed": 13, "micro_batches": 1}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    output = tmp_path_factory.mktemp("prompted")
    return {method: lpft_keras.run("demo", method, prompt=True, output_dir=output, **FEW) for method in METHODS}


def test_pocket_knows_the_demo_before_any_training(runs):
    """A third is chance; the masked language model is right on nine tenths."""
    found = [run.summary["zero_shot"] for run in runs.values()]
    assert all(one == found[0] for one in found)
    assert {split: round(found[0][split]["accuracy"], 2) for split in ("test", "ood")} == {"test": 0.94, "ood": 0.9}
    assert found[0]["validation"]["accuracy"] > 0.8


def test_each_method_learns_from_sixteen_rows_a_class(runs):
    for run in runs.values():
        assert run.rows["splits"]["train"]["labels"] == dict.fromkeys(("entailment", "contradiction", "neutral"), 16)
        assert run.rows["splits"]["validation"]["rows"] == 48
        assert run.metrics["test"]["accuracy"] > 0.88
        assert run.directory.name == "seed_13-prompt-shots_16"


def test_fine_tuning_starts_from_the_label_words(runs):
    """The first row of the history is the masked language model's, as far as the head was not probed before."""
    for method in ("ft", "lora"):
        start = runs[method].history[0]
        zero_shot = runs[method].summary["zero_shot"]["validation"]
        assert start["validation_accuracy"] == pytest.approx(zero_shot["accuracy"])
        assert start["validation_loss"] == pytest.approx(zero_shot["nll"], rel=1e-5)


def test_the_transform_moves_with_full_fine_tuning_alone(runs):
    known = lpft_keras.models.backbones.load_backbone("pocket").masked_lm.kernel
    for method, run in runs.items():
        kernel = np.asarray(run.model().get_layer("transform").get_weights()[0])
        assert np.allclose(kernel, known) == (method not in ("ft", "lp-ft"))


@pytest.mark.parametrize("method", METHODS)
def test_a_run_is_loaded_as_it_was_trained(runs, method, tmp_path):
    run = runs[method]
    texts = list(few_shot(load_task(get_task("demo")), 16, 13).test.texts)
    logits = run.predictions["test"]["logits"]
    classifier = TextClassifier.from_run(run.directory, calibrated=False)
    np.testing.assert_allclose(classifier.decision_function(texts), logits, atol=1e-4)
    classifier.save(tmp_path / "saved")
    loaded = TextClassifier.load(tmp_path / "saved")
    np.testing.assert_allclose(loaded.decision_function(texts), logits, atol=1e-4)


@pytest.mark.parametrize("method", ["ft", "lora"])
def test_a_preset_keeps_prompt_and_transform(runs, method, tmp_path):
    run = runs[method]
    preset = run.to_preset(tmp_path / "preset", calibrated=False)
    texts = list(load_task(get_task("demo")).test.texts)
    classifier = TextClassifier.from_preset(preset)
    np.testing.assert_allclose(classifier.decision_function(texts), run.predictions["test"]["logits"], atol=1e-4)
    assert read_head(preset) is not None
    card = (preset / "README.md").read_text("utf-8")
    assert "- Prompt: `<s1><sep>[M] <s2>`;" in card
    assert "label words `So`, `But`, `Perhaps`" in card
    assert "- Few-shot: 16 training rows a class" in card


@pytest.mark.slow
def test_runs_are_reused_and_told_apart(runs, tmp_path):
    run = runs["lp"]
    stamp = (run.directory / "metrics.json").stat().st_mtime_ns
    output = run.directory.parents[3]
    words = ["So", "But", "Perhaps"]
    again = lpft_keras.run("demo", "lp", prompt="<s1><sep>[M] <s2>", label_words=words, output_dir=output, **FEW)
    assert again.directory == run.directory
    assert (run.directory / "metrics.json").stat().st_mtime_ns == stamp
    others = [
        {},
        {"prompt": True},
        {"prompt": True, "label_words": ["Thus", "Yet", "Maybe"]},
        {"prompt": "<s1><sep>[M] <s2l>"},
        {"prompt": True, "shots": 5},
    ]
    made = [lpft_keras.run("demo", "lp", output_dir=tmp_path, **SMALL | {"backbone": "pocket"} | one) for one in others]
    assert len({one.directory for one in made}) == len(made)
    accuracies = [one.summary.get("zero_shot", {}).get("test", {}).get("accuracy", 0) for one in made]
    assert accuracies[0] == 0
    assert all(accuracy > 0.7 for accuracy in accuracies[1:])
    tables = lpft_keras.report.result_tables(made)
    assert "label_words=Thus/Yet/Maybe" in str(tables)


class _Killed(Exception):
    pass


@pytest.mark.slow
def test_a_run_that_was_interrupted_goes_on(tmp_path):
    import keras

    class Kill(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == 1:
                raise _Killed

    options = {"prompt": True, **SMALL, "epochs": 3, "output_dir": tmp_path / "killed"}
    with pytest.raises(_Killed):
        lpft_keras.run("demo", "ft", callbacks=[Kill()], **options)
    resumed = lpft_keras.run("demo", "ft", **options)
    whole = lpft_keras.run("demo", "ft", **options | {"output_dir": tmp_path / "whole"})
    np.testing.assert_array_equal(resumed.predictions["test"]["logits"], whole.predictions["test"]["logits"])


@pytest.mark.slow
def test_the_kernel_is_that_of_the_run_at_its_start(tmp_path):
    options = {**SMALL, "backbone": "pocket", "prompt": True, "shots": 4, "output_dir": tmp_path}
    run = lpft_keras.run("demo", "ft", **options)
    kernel = run_ntk_of(run.directory, rows=6)
    assert kernel.directory == run.directory / "ntk"
    rows = kernel.rows["train"]
    few = few_shot(load_task(get_task("demo"), limit=60), 4, 1001)
    np.testing.assert_array_equal(rows["labels"], few.train.labels[rows["indices"]])
    accuracy = (rows["logits"].argmax(1) == rows["labels"]).mean()
    assert accuracy > 0.6, "it starts from the label words"
    assert kernel.summary["ft_ratio"] > 0


@pytest.mark.slow
def test_texts_of_ones_own(tmp_path):
    demo = load_task(get_task("demo"))
    few = few_shot(demo, 8, 21)
    texts, labels = list(few.train.texts), np.array([7, 1, 3])[few.train.labels]
    words = {7: "So", 1: "But", 3: "Perhaps"}
    options = {"backbone": "pocket", "prompt": "<s1><sep>[M] <s2>", "max_length": 48, "epochs": 1}
    held = list(few.validation.texts), np.array([7, 1, 3])[few.validation.labels]
    classifier = TextClassifier("ft", label_words=words, **options).fit(texts, labels, validation=held)
    assert classifier.score(list(demo.test.texts), np.array([7, 1, 3])[demo.test.labels]) > 0.85
    classifier.save(tmp_path)
    loaded = TextClassifier.load(tmp_path)
    assert loaded.label_words == {"7": "So", "1": "But", "3": "Perhaps"}
    np.testing.assert_allclose(loaded.predict_proba(texts), classifier.predict_proba(texts), atol=1e-6)
    with pytest.raises(InputError, match="class '3' has no label word"):
        TextClassifier("ft", label_words={7: "So", 1: "But"}, **options).fit(texts, labels)
    with pytest.raises(InputError, match="has no prompt of its own"):
        TextClassifier("ft", prompt=True).fit(texts, labels)


@pytest.mark.slow
def test_a_sweep_over_seeds_draws_other_rows(tmp_path):
    found = lpft_keras.sweep(
        "demo", "lp", seeds=[13, 21], prompt=True, shots=6, output_dir=tmp_path, max_length=48, limit=100
    )
    assert not found.failures
    first, second = (run.config["data"] for run in found.results)
    assert first["train"] != second["train"]
    assert first["test"] == second["test"]


@pytest.mark.slow
def test_the_command_line(tmp_path, capsys):
    common = ["--max-length", "48", "--epochs", "1", "--limit", "60", "--output-dir", str(tmp_path)]
    words = ["--label-word", "entailment=Thus", "--label-word", "contradiction=Yet", "--label-word", "neutral=Maybe"]
    assert main(["run", "demo", "--method", "lp", *common, "--prompt", *words, "--shots", "5"]) == 0
    table = capsys.readouterr().out
    assert "0-shot" in table
    assert main(["run", "demo", "--method", "lp", *common, "--prompt", "<s1><sep>[M] <s2>", "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert set(summary["zero_shot"]) == {"validation", "test", "ood"}
    assert main(["ntk", "--task", "demo", "--method", "ft", *common[:2], *common[4:], "--prompt", "--rows", "6"]) == 0
    assert "-prompt" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--prompt", "--pooling", "mean"], "leave pooling out"),
        (["--prompt", "<s1> [MASK]"], "the mask is '[M]'"),
        (["--prompt", "--label-word", "entailment"], "--label-word takes CLASS=WORD, not 'entailment'"),
        (["--prompt", "--label-word", "entailmnt=So"], "did you mean 'entailment'"),
        (["--label-word", "entailment=So"], "label_words are of a prompt"),
        (["--prompt", "--label-word", "entailment=Nonsense"], "class 'contradiction' has no label word"),
        (["--prompt", "<s1> [M]"], "the rows have 2"),
        (["--prompt", "<s1> [M] <s2>"], "label word 'So' is 2 tokens to 'tiny' ('Ġ' 'So') after a space"),
        (["--shots", "0"], "shots"),
    ],
)
def test_wrong_input_is_one_line_and_status_two(arguments, words, tmp_path, capsys):
    command = ["run", "demo", "--backbone", "tiny", "--limit", "60", "--output-dir", str(tmp_path)]
    assert main([*command, *arguments]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert words in error


@pytest.mark.parametrize("name", ["shots", "prompt"])
def test_the_papers_tables_are_of_all_rows_and_of_no_prompt(name):
    with pytest.raises(InputError, match=f"of all rows and of no prompt; {name} is for sweep"):
        lpft_keras.reproduce("table1", "demo", **{name: 16})


def test_a_task_of_ones_own_by_its_class_names(tmp_path):
    rows = "\n".join(
        ["text,label", *(f"{text},{label}" for text, label in [("So it is", "yes"), ("But not", "no")] * 30)]
    )
    (tmp_path / "rows.csv").write_text(rows)
    task = own_task(tmp_path / "rows.csv")
    options = {"prompt": "<s1><sep>[M]", "label_words": {"yes": "So", "no": "But"}, **SMALL}
    run = lpft_keras.run(task, "ft", output_dir=tmp_path / "runs", **options)
    assert run.config["settings"]["label_words"] == {"yes": "So", "no": "But"}
    assert get_head(run.model())[0].shape == (32, 2)
    with pytest.raises(InputError, match="task 'rows' has no prompt of its own"):
        lpft_keras.run(task, "ft", prompt=True)


@pytest.mark.real_data
def test_rte_with_a_masked_language_model(real_data, tmp_path):
    """Random weights: what is looked at is that the paper's prompt runs on its own rows."""
    transformers = pytest.importorskip("transformers")
    (tmp_path / "roberta").mkdir()
    texts = ["it is Yes, it is No: " + text for text in tiny.WORDS.split()] * 20
    size = tiny.save_byte_pairs(tmp_path / "roberta", texts)
    config = tiny.config("roberta", size)
    tiny.save_model(transformers.RobertaForMaskedLM, config, tmp_path / "roberta")
    run = lpft_keras.run(
        "rte",
        "lp-ft",
        str(tmp_path / "roberta"),
        real_data,
        prompt=True,
        shots=16,
        epochs=1,
        max_length=64,
        micro_batches=1,
        seed=13,
        output_dir=tmp_path / "runs",
    )
    assert run.rows["splits"]["train"]["labels"] == {"entailment": 16, "not_entailment": 16}
    assert run.rows["splits"]["test"]["rows"] == 277
    assert run.config["settings"]["prompt"] == "<s1->? [M], <s2l>"
    assert 0.3 < run.metrics["test"]["accuracy"] < 0.7
