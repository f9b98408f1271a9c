import json
import os
import subprocess
import sys

import numpy as np
import pytest

import lpft_keras
from lpft_keras import TextClassifier
from lpft_keras.errors import InputError
from lpft_keras.sharing import check_uri
from tests.sharing.hub import TOKEN, hub


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    output = tmp_path_factory.mktemp("runs")
    return lpft_keras.run("demo", "lp", "tiny", limit=60, max_length=48, output_dir=output)


def export(done, folder, *arguments, **environment):
    """Run the command where nobody is logged in anywhere, but as told."""
    return alone(folder, "-m", "lpft_keras", "export", done.directory, *arguments, **environment)


def alone(folder, *arguments, **environment):
    """Run Python without anybody's login; nothing but this machine is reached."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING", "KAGGLE"))}
    clean |= {"HOME": str(folder), "HF_HOME": str(folder / "hf"), "KAGGLE_CONFIG_DIR": str(folder / "kaggle")}
    for scheme in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        clean.pop(scheme, None)
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(
        command, env={**clean, **environment}, capture_output=True, text=True, timeout=300, check=False
    )


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "me/model",
        "s3://me/model",
        "hf://",
        "hf://me/",
        "hf://a/b/c",
        "hf://me/mo del",
        "hf://me/--x",
        "kaggle://me/model",
        "kaggle://me/model/pytorch/small",
        "kaggle://me/model/keras/small/1",
        "kaggle://me//keras/small",
    ],
)
def test_what_names_no_place_is_refused(done, uri):
    with pytest.raises(InputError, match=r"give .*(hf|kaggle)://"):
        done.upload(uri)


@pytest.mark.parametrize("uri", ["hf://model", "hf://me/model.v2-small", "kaggle://me/my-model/keras/small_2"])
def test_what_names_a_place_is_not(uri):
    check_uri(uri)


def test_what_comes_before_a_login_is_refused_without_one(done, tmp_path):
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "letter").write_text("dear")
    with pytest.raises(InputError, match="not empty"):
        done.upload("hf://me/model", tmp_path / "theirs")
    with pytest.raises(InputError, match="private is for Hugging Face"):
        done.upload("kaggle://me/model/keras/small", private=True)


def test_the_whole_preset_with_our_card_is_uploaded(done, tmp_path):
    with hub() as (address, state):
        ended = export(
            done,
            tmp_path,
            *("--upload", "hf://me/model", "--output", tmp_path / "kept", "--license", "mit", "--private", "--json"),
            HF_ENDPOINT=address,
            HF_TOKEN=TOKEN,
            HF_HUB_DISABLE_TELEMETRY="1",
        )
    assert ended.returncode == 0, ended.stderr
    said = {"run": str(done.directory), "directory": str(tmp_path / "kept"), "uploaded": "hf://me/model"}
    assert json.loads(ended.stdout) == said
    assert state["created"][0]["name"] == "model"
    assert state["created"][0].get("private") or state["created"][0].get("visibility") == "private"
    kept = {
        path.relative_to(tmp_path / "kept").as_posix(): path.read_bytes()
        for path in (tmp_path / "kept").rglob("*")
        if path.is_file()
    }
    assert {"README.md", "classifier.keras", "model.weights.h5", "assets/tokenizer/vocabulary.json"} <= kept.keys()
    assert state["files"] == kept, "all of it, and the card is ours, there as here"
    assert b'from_preset("hf://me/model")' in kept["README.md"]


def test_it_is_read_back_and_a_card_that_was_there_is_ours_now(done, tmp_path):
    with hub() as (address, state):
        state["files"]["README.md"] = b"of before"
        ended = export(done, tmp_path, "--upload", "hf://me/model", HF_ENDPOINT=address, HF_TOKEN=TOKEN)
        assert ended.returncode == 0, ended.stderr
        code = (
            "import lpft_keras\n"
            "classifier = lpft_keras.TextClassifier.from_preset('hf://me/model')\n"
            "print(classifier.decision_function(['A cat sat.']).tolist())"
        )
        read = alone(tmp_path, "-c", code, HF_ENDPOINT=address, HF_TOKEN=TOKEN)
    assert ended.stdout == "hf://me/model\n"
    assert state["files"]["README.md"].startswith(b"---\nlibrary_name: keras-hub\n")
    assert read.returncode == 0, read.stderr
    want = TextClassifier.from_run(done.directory).decision_function(["A cat sat."])
    np.testing.assert_allclose(json.loads(read.stdout), want, atol=1e-5)


@pytest.mark.parametrize(
    ("uri", "environment", "words"),
    [
        ("hf://me/model", {}, "logged in (hf auth login, or HF_TOKEN)"),
        ("hf://me/model", {"HF_TOKEN": TOKEN, "HF_ENDPOINT": "http://127.0.0.1:9"}, "the network"),
        ("kaggle://me/model/keras/small", {}, "your Kaggle API token"),
    ],
)
def test_without_login_or_network_one_line_says_so_before_any_work(done, tmp_path, uri, environment, words):
    ended = export(done, tmp_path, "--upload", uri, "--output", tmp_path / "kept", **environment)
    assert ended.returncode == 2
    [line] = [line for line in ended.stderr.splitlines() if line.startswith("lpft-keras: ")]
    assert line.startswith(f"lpft-keras: can't upload to {uri} (")
    assert words in line
    assert "Traceback" not in ended.stderr
    assert not (tmp_path / "kept").exists()


def test_a_wrong_token_is_one_line(done, tmp_path):
    with hub() as (address, state):
        ended = export(done, tmp_path, "--upload", "hf://me/model", HF_ENDPOINT=address, HF_TOKEN=TOKEN + "y")
    assert ended.returncode == 2
    assert "check that you are logged in" in ended.stderr
    assert not state["files"]
