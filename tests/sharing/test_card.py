import json
import shutil

import numpy as np
import pytest
import yaml
from scipy.special import softmax

import lpft_keras
from lpft_keras.calibration import expected_calibration_error
from lpft_keras.checksums import CHECKSUMS
from lpft_keras.results import RunResult
from lpft_keras.sharing.card import model_card, shown_backbone
from lpft_keras.sharing.loading import loading_section
from lpft_keras.tasks import own_task

ABOUT = {
    "kerashub_alone": {"hidden_states": 0.0, "texts": []},
    "exact": {},
    "classifier": {"calibrated": True},
}
SMALL = {"backbone": "pocket", "limit": 60, "max_length": 48}


def parts(card):
    """Return the front matter, parsed, and the sections by heading."""
    _, front, body = card.split("---\n", 2)
    sections = body.split("\n## ")
    return yaml.safe_load(front), {part.partition("\n")[0]: part for part in sections[1:]}


def cells(section, first):
    return next(
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in section.splitlines()
        if line.startswith(f"| {first} ")
    )


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    return lpft_keras.run("demo", "lp", output_dir=tmp_path_factory.mktemp("runs"), **SMALL)


def test_its_numbers_are_those_of_the_run(done):
    front, sections = parts(model_card(done, ABOUT, "apache-2.0", "somewhere"))
    assert front["library_name"] == "keras-hub"
    assert front["license"] == "apache-2.0"
    assert front["pipeline_tag"] == "text-classification"
    temperature = done.summary["temperature"]
    assert abs(temperature - 1) > 0.01
    assert len(front["model-index"][0]["results"]) == 2
    for result in front["model-index"][0]["results"]:
        split = result["dataset"]["split"]
        logits, labels = (done.predictions[split][name] for name in ("logits", "labels"))
        values = {metric["type"]: metric["value"] for metric in result["metrics"]}
        assert values["accuracy"] == pytest.approx((logits.argmax(1) == labels).mean(), abs=1e-6)
        after = expected_calibration_error(softmax(logits.astype(float) / temperature, axis=1), labels)
        assert values["ece"] == pytest.approx(after, abs=1e-6), "of the classifier as it is, scaled"
        row = cells(sections["Calibration"], split)
        assert row[1:3] == [f"{done.metrics[split]['ece']:.3f}", f"{after:.3f}"]
        assert cells(sections["Metrics"], split)[1] == f"{done.metrics[split]['accuracy']:.3f}"
    assert cells(sections["Data"], "train")[1:3] == ["60", "0"]
    assert cells(sections["Data"], "test")[3] == f"`{done.config['data']['test']}`"
    assert "60 rows: one row is 1.7 points" in sections["Limits"]
    assert "One seed (1001)" in sections["Limits"]


def test_without_folding_its_numbers_are_unscaled(done):
    about = {**ABOUT, "classifier": {"calibrated": False}}
    front, sections = parts(model_card(done, about, None, "somewhere"))
    assert "license" not in front
    for result in front["model-index"][0]["results"]:
        values = {metric["type"]: metric["value"] for metric in result["metrics"]}
        assert values["ece"] == pytest.approx(done.metrics[result["dataset"]["split"]]["ece"], abs=1e-6)
    assert "not folded into the head" in sections["Calibration"]


def test_names_of_the_users_are_shown_as_they_are(tmp_path):
    names = ["<img src=x>", "a|b", "*bold* [link](x)"]
    rows = [{"text": f"text {i} {names[i % 3]}", "label": names[i % 3]} for i in range(60)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    task = own_task(
        tmp_path / "rows.jsonl",
        name="my_task.1",
        text="text",
        label="label",
        ood={"other_shop": tmp_path / "rows.jsonl"},
    )
    done = lpft_keras.run(task, "lp", "tiny", output_dir=tmp_path / "runs", max_length=48)
    card = model_card(done, ABOUT, None, "x")
    front, sections = parts(card)
    assert front["model-index"][0]["name"] == "my_task.1, lp on tiny"
    assert "<img" not in card
    assert "| &lt;img src=x&gt; |" in sections["Data"]
    assert "| a\\|b |" in sections["Data"]
    assert "\\*bold\\* \\[link\\](x)" in sections["Data"]
    assert "# my\\_task.1, lp on tiny" in card
    assert "| other\\_shop |" in sections["Metrics"]
    assert "no test rows" in sections["Limits"]


def test_a_collapsed_classifier_is_called_one(done, tmp_path):
    shutil.copytree(done.directory, tmp_path / "run", ignore=shutil.ignore_patterns(CHECKSUMS))
    arrays = dict(np.load(tmp_path / "run" / "predictions.npz"))
    arrays["test/logits"] = np.tile(np.array([0.0, 1.0, 0.0], "float32"), (len(arrays["test/labels"]), 1))
    np.savez(tmp_path / "run" / "predictions.npz", **arrays)
    limits = parts(model_card(RunResult.load(tmp_path / "run"), ABOUT, None, "x"))[1]["Limits"]
    assert "It collapsed: it gives all rows of test the same class" in limits
    assert "On test it is right on no more rows than who always gives the commonest class" in limits
    assert "rows of ood the same" not in limits


def test_runs_of_an_older_version_have_a_card(done, tmp_path):
    shutil.copytree(done.directory, tmp_path / "run")
    for name in ("environment.json", "rows.json"):
        (tmp_path / "run" / name).unlink()
    sections = parts(model_card(RunResult.load(tmp_path / "run"), ABOUT, None, "x"))[1]
    assert cells(sections["Data"], "train")[1:3] == ["unknown", "unknown"]
    assert cells(sections["Data"], "test")[1] == "60"


def test_the_examples_name_the_place():
    assert 'from_preset("hf://me/model")' in loading_section(ABOUT, "hf://me/model")
    kaggle = loading_section(ABOUT, "kaggle://me/model/keras/small")
    assert 'Backbone.from_preset("kaggle://me/model/keras/small")' in kaggle
    assert 'TextClassifier.from_preset("kaggle://' not in kaggle, "which it does not take"


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("minilm", "minilm"),
        ("hf://org/name@main", "hf://org/name@main"),
        ("/home/me/secret/bert", "bert"),
        ("random:./models/bert", "random:bert"),
        ("~/bert", "bert"),
        ("random:tiny", "random:tiny"),
    ],
)
def test_folders_of_a_machine_are_not_shown(name, shown):
    assert shown_backbone(name) == shown
