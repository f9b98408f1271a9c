"""Each example runs as it stands, and prints what its docstring says it prints, digits apart."""

import ast
import json
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from lpft_keras.tasks import TASKS
from tests.official_files import write_official_files

FOLDER = Path(__file__).parent.parent / "examples"
DRIVER = Path(__file__).parent / "run_scripts.py"
THEMES, BENCHMARKS = sorted(FOLDER.glob("*.py")), sorted(FOLDER.glob("benchmarks/*.py"))
SHIFTED = TASKS["amazon"].ood


def printed(path):
    """Return what an example's docstring says it printed: the indented lines that end it."""
    _, _, block = ast.get_docstring(ast.parse(path.read_text("utf-8"))).partition(":\n\n    ")
    assert block, f"{path} does not say what it printed"
    return textwrap.dedent("    " + block)


def labels(output):
    """Return the lines of an output without their numbers and without how wide these make a column."""
    number = r"[-+]?(?:\d+(?:[.,]\d+)*(?:e[-+]?\d+)?|\bnan\b)%?"
    return [" ".join(re.sub(rf"{number}(?:±{number})?", "0", line).split()) for line in output.strip().splitlines()]


def run(scripts, backend):
    """Run scripts, (path, folder, arguments), in one process of a backend; return what each printed by its path."""
    asked = [{"path": str(path), "folder": str(folder), "arguments": arguments} for path, folder, arguments in scripts]
    done = subprocess.run(
        [sys.executable, str(DRIVER)],
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        env={**os.environ, "KERAS_BACKEND": backend},
        timeout=900,
    )
    assert done.returncode == 0, done.stderr
    return {script[0]: outcome for script, outcome in zip(scripts, json.loads(done.stdout), strict=True)}


def checked(outcome):
    assert not outcome["error"], outcome["error"]
    return labels(outcome["output"])


def files(task, folder):
    """Write a task's files, and put the official ones in their place, those that are at hand."""
    write_official_files(folder, task)
    for path in TASKS[task].files.values():
        official = Path(os.environ.get("LPFT_TEST_DATA", "nowhere"), path)
        if official.is_file():
            (folder / path).unlink()
            (folder / path).symlink_to(official.absolute())


def on_torch(path):
    return "on PyTorch" in path.read_text("utf-8")


@pytest.fixture(scope="module")
def on_tensorflow(tmp_path_factory):
    folder = tmp_path_factory.mktemp("themes")
    return run([(path, folder, []) for path in THEMES if not on_torch(path)], "tensorflow")


@pytest.fixture(scope="module")
def on_pytorch(tmp_path_factory):
    """What the other themes print, and the benchmarks on few rows: there no time goes into compiling for these."""
    scripts = [(path, tmp_path_factory.mktemp("themes"), []) for path in THEMES if on_torch(path)]
    for path in BENCHMARKS:
        folder = tmp_path_factory.mktemp(path.stem)
        files("amazon" if path.stem in SHIFTED else path.stem, folder / "data")
        limit = ["--limit", "60"] if "--limit" in path.read_text("utf-8") else []
        scripts.append((path, folder, ["--data-dir", "data", "--backbone", "tiny", *limit]))
    return run(scripts, "torch")


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("path", THEMES, ids=lambda path: path.stem)
def test_a_theme_runs_as_it_stands_and_prints_what_it_says(path, request):
    outcomes = request.getfixturevalue("on_pytorch" if on_torch(path) else "on_tensorflow")
    assert checked(outcomes[path]) == labels(printed(path))


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("path", BENCHMARKS, ids=lambda path: path.stem)
def test_a_benchmark_runs_on_few_rows_and_prints_what_it_says(path, on_pytorch):
    outcome = on_pytorch[path]
    assert checked({**outcome, "output": outcome["output"].replace("tiny", "minilm")}) == labels(printed(path))


def test_there_is_an_example_for_each_set_of_the_paper():
    paper = {"boolq", "cb", "rte", "wic", "wsc", "cola", "mrpc", "sst2", "amazon", "pubmed", *SHIFTED}
    assert {path.stem for path in BENCHMARKS} == paper


def test_the_readme_names_each_example():
    readme = (FOLDER / "README.md").read_text("utf-8")
    named = re.findall(r"\]\(([\w/]+\.py)\)", readme)
    assert sorted(named) == sorted(str(path.relative_to(FOLDER)) for path in [*THEMES, *BENCHMARKS])
