import json

import pytest

import lpft_keras
from lpft_keras.cli import main
from lpft_keras.storage import read_json


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    output = tmp_path_factory.mktemp("runs")
    return lpft_keras.run("demo", "lp", "tiny", limit=60, max_length=48, output_dir=output)


def test_export_writes_a_preset(done, tmp_path, capsys):
    target = tmp_path / "preset"
    assert main(["export", str(done.directory), "--output", str(target), "--uncalibrated", "--license", "mit"]) == 0
    assert capsys.readouterr().out == f"{target}\n"
    assert read_json(target / "lpft_keras.json")["classifier"]["calibrated"] is False
    assert "license: mit" in (target / "README.md").read_text("utf-8")
    assert main(["export", str(done.directory), "--output", str(target), "--json"]) == 0
    said = {"run": str(done.directory), "directory": str(target), "uploaded": None}
    assert json.loads(capsys.readouterr().out) == said
    assert read_json(target / "lpft_keras.json")["classifier"]["calibrated"] is True


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--upload", "me/model"], "can't upload to 'me/model'"),
        (["--output", "."], "not empty and holds no preset of ours"),
    ],
)
def test_what_is_wrong_is_one_line(done, capsys, arguments, words):
    assert main(["export", str(done.directory), *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert words in captured.err
    assert len(captured.err.splitlines()) == 1
