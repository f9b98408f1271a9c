"""Each example runs as it stands, and prints what its docstring says it prints, digits apart."""

import ast
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


def run(path, folder, *arguments, **environment):
    command = [sys.executable, str(path), *arguments]
    env = {**os.environ, **environment}
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, env=env, timeout=500)
    assert done.returncode == 0, done.stderr
    return done.stdout


def files(task, folder):
    """Write a task's files, and put the official ones in their place, those that are at hand."""
    write_official_files(folder, task)
    for path in TASKS[task].files.values():
        official = Path(os.environ.get("LPFT_TEST_DATA", "nowhere"), path)
        if official.is_file():
            (folder / path).unlink()
            (folder / path).symlink_to(official.absolute())


@pytest.mark.slow
@pytest.mark.parametrize("path", THEMES, ids=lambda path: path.stem)
def test_a_theme_runs_as_it_stands_and_prints_what_it_says(path, tmp_path):
    backend = {"KERAS_BACKEND": "torch"} if "on PyTorch" in path.read_text("utf-8") else {}
    assert labels(run(path, tmp_path, **backend)) == labels(printed(path))


@pytest.mark.slow
@pytest.mark.parametrize("path", BENCHMARKS, ids=lambda path: path.stem)
def test_a_benchmark_runs_on_few_rows_and_prints_what_it_says(path, tmp_path):
    files("amazon" if path.stem in SHIFTED else path.stem, tmp_path / "data")
    limit = ["--limit", "60"] if "--limit" in path.read_text("utf-8") else []
    # On PyTorch, as their docstrings say: the others would spend most of the time compiling for these few rows.
    output = run(path, tmp_path, "--data-dir", "data", "--backbone", "tiny", *limit, KERAS_BACKEND="torch")
    assert labels(output.replace("tiny", "minilm")) == labels(printed(path))


def test_there_is_an_example_for_each_set_of_the_paper():
    paper = {"boolq", "cb", "rte", "wic", "wsc", "cola", "mrpc", "sst2", "amazon", "pubmed", *SHIFTED}
    assert {path.stem for path in BENCHMARKS} == paper


def test_the_readme_names_each_example():
    readme = (FOLDER / "README.md").read_text("utf-8")
    named = re.findall(r"\]\(([\w/]+\.py)\)", readme)
    assert sorted(named) == sorted(str(path.relative_to(FOLDER)) for path in [*THEMES, *BENCHMARKS])
