"""What the documentation says can be typed: commands parse, names and arguments exist, links lead somewhere."""

import ast
import importlib
import inspect
import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import lpft_keras
from lpft_keras.cli import _parser
from lpft_keras.methods import METHODS
from lpft_keras.sweep_files import read_sweep
from lpft_keras.tasks import own_task

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "ARCHITECTURE.md", *sorted(ROOT.glob("docs/**/*.md"))]
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_GENERATED = {"docs/reference/command-line.md"}  # by scripts/site_hooks.py


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def _blocks(path: Path, language: str) -> list[str]:
    return [text for kind, text in _BLOCK.findall(path.read_text(encoding="utf-8")) if kind == language]


def _commands(path: Path) -> Iterator[list[str]]:
    """Yield the arguments of each `lpft-keras ...` of a page, in its shell blocks and in its sentences."""
    for block in _blocks(path, "bash"):
        for line in block.splitlines():
            words = shlex.split(line, comments=True)
            while words:
                end = words.index("&&") if "&&" in words else len(words)
                command = [word for word in words[:end] if not re.match(r"[A-Z_]+=", word)]
                if command[:1] == ["lpft-keras"]:
                    yield command[1:]
                words = words[end + 1 :]
    prose = _BLOCK.sub("", path.read_text(encoding="utf-8"))
    for code in re.findall(r"`(lpft-keras [^`]+)`", prose):
        if "COMMAND" not in code:
            yield shlex.split(code)[1:]


@pytest.mark.parametrize("path", PAGES, ids=_name)
def test_commands_parse(path):
    for arguments in _commands(path):
        if len(arguments) == 1 or "--help" in arguments:  # named, not called
            with pytest.raises(SystemExit, match="0"):
                _parser().parse_args([arguments[0], "--help"])
            continue
        parsed = _parser().parse_args(arguments)
        methods = getattr(parsed, "method", None)
        if isinstance(methods, list):
            assert set(methods) <= {"all", *METHODS}, arguments


def test_commands_are_found_and_wrong_ones_noticed(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "Say `lpft-keras tasks`.\n```bash\nX=1 lpft-keras run demo --sed 3  # why\ncd . && lpft-keras ntk\n```\n"
    )
    commands = list(_commands(page))
    assert commands == [["run", "demo", "--sed", "3"], ["ntk"], ["tasks"]]
    with pytest.raises(Exception, match="--seed"):
        _parser().parse_args(commands[0])
    assert sum(len(list(_commands(path))) for path in PAGES) > 40


def _check_code(code: str) -> None:
    """Raise where code does not parse, or names or passes what the package does not have."""
    tree = ast.parse(code)
    known: dict[str, Any] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == "lpft_keras":
                    known[alias.asname or "lpft_keras"] = importlib.import_module(alias.name)
        elif isinstance(node, ast.ImportFrom) and str(node.module).split(".")[0] == "lpft_keras":
            module = importlib.import_module(str(node.module))
            known |= {alias.asname or alias.name: getattr(module, alias.name) for alias in node.names}

    def value(node: ast.AST) -> Any:
        if isinstance(node, ast.Name):
            return known.get(node.id)
        if isinstance(node, ast.Attribute):
            owner = value(node.value)
            return getattr(owner, node.attr) if isinstance(owner, ModuleType | type) else None
        return None

    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            value(node)
        if isinstance(node, ast.Call) and (called := value(node.func)) is not None:
            signature = inspect.signature(called)
            signature.bind_partial(*node.args, **{word.arg: None for word in node.keywords if word.arg})


@pytest.mark.parametrize("path", PAGES, ids=_name)
def test_names_and_arguments_of_python_blocks_exist(path):
    package = "import lpft_keras\nfrom lpft_keras import calibration, callbacks, layers, metrics, ntk\n"
    for block in _blocks(path, "python"):
        _check_code(package + block)


@pytest.mark.parametrize("code", ["lpft_keras.ruin('cb')", "lpft_keras.run('cb', sed=1)", "from lpft_keras import x"])
def test_wrong_code_is_noticed(code):
    with pytest.raises((AttributeError, TypeError, ImportError)):
        _check_code("import lpft_keras\n" + code)


@pytest.mark.parametrize(
    "module", [lpft_keras, *(getattr(lpft_keras, name) for name in ("calibration", "ntk", "report"))]
)
def test_the_reference_has_every_public_name(module):
    pages = "".join(path.read_text(encoding="utf-8") for path in ROOT.glob("docs/reference/*.md"))
    shown = re.findall(r"^::: (\S+)$", pages, re.MULTILINE)
    for name in module.__all__:
        place = rf"{re.escape(module.__name__)}\.(\w+\.)?{name}"
        assert name.startswith("__") or any(re.fullmatch(place, one) for one in shown), name


@pytest.mark.parametrize("path", PAGES, ids=_name)
def test_keys_of_toml_blocks_exist(path, tmp_path):
    for block in _blocks(path, "toml"):
        keys = tomllib.loads(block)
        if "train" in keys:
            inspect.signature(own_task).bind(**keys)
        else:
            (tmp_path / "sweep.toml").write_text(block, encoding="utf-8")
            assert read_sweep(tmp_path / "sweep.toml")["tasks"]


@pytest.mark.parametrize("path", PAGES, ids=_name)
def test_links_lead_to_files(path):
    for link in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", _BLOCK.sub("", path.read_text(encoding="utf-8"))):
        target = (path.parent / link).resolve()
        assert target.exists() or target.relative_to(ROOT).as_posix() in _GENERATED, link


@pytest.mark.slow
def test_the_site_is_built_strictly_and_fetches_nothing(tmp_path):
    pytest.importorskip("mkdocs", reason='the site needs pip install -e ".[docs]"')
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    done = subprocess.run(build, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    for page in tmp_path.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        assert not re.findall(
            r'<(?:script|img|link rel="(?:stylesheet|preconnect)")[^>]+(?:src|href)="(?:https?:)?//', text
        )
        assert "arithmatex" not in text, page
    assert (tmp_path / "theory.html").read_text(encoding="utf-8").count("<math") > 50
    assert "--head-scale" in (tmp_path / "reference" / "command-line.html").read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_tutorial_works_as_written(tmp_path):
    """All of its commands and code in order, with one epoch and few rows."""
    short = {"run": ["--epochs", "1", "--limit", "60"], "ntk": ["--rows", "10"]}
    command = tmp_path / "command.py"
    command.write_text("import sys\nfrom lpft_keras.cli import main\n\nsys.exit(main())\n", encoding="utf-8")
    steps: list[tuple[Path, list[str]]] = []
    for kind, block in _BLOCK.findall((ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")):
        if kind == "toml":
            (tmp_path / block.split()[1]).write_text(block, encoding="utf-8")
        elif kind == "python":
            steps.append((tmp_path / f"block{len(steps)}.py", []))
            steps[-1][0].write_text(block, encoding="utf-8")
        elif kind == "bash":
            for line in block.splitlines():
                if line.startswith("lpft-keras "):
                    words = shlex.split(line)[1:]
                    steps.append((command, [*words, *short.get(words[0], [])]))
    assert sum(path == command for path, _ in steps) == 7
    # In one process, which imports Keras once.
    asked = [{"path": str(path), "folder": str(tmp_path), "arguments": arguments} for path, arguments in steps]
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests" / "run_scripts.py")],
        input=json.dumps(asked),
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    wrong = [(step, end["error"]) for step, end in zip(steps, json.loads(done.stdout), strict=True) if end["error"]]
    assert not wrong, (wrong, done.stderr)
    assert (tmp_path / "relations-classifier").is_dir()
