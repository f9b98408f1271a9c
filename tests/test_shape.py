"""The house's shape: short files and functions, each file with what it is for in its first line."""

import ast
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parent.parent / "lpft_keras"
FILES = sorted(PACKAGE.rglob("*.py"))
# Longer than others, and why.
LONG_FILES = {
    "estimator.py": "one class, half of it docstrings",
}
LONG_FUNCTIONS = {
    "run": "its arguments, named one by one, are the settings of a run",
    "kernel_view": "likewise",
}


def functions(tree):
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]


def lines(function):
    """Return how many lines a function has, its docstring apart."""
    first = function.body[0]
    docstring = first.end_lineno - first.lineno + 1 if ast.get_docstring(function) else 0
    return function.end_lineno - function.lineno + 1 - docstring


@cache
def trees():
    return {str(path.relative_to(PACKAGE)): ast.parse(path.read_text(encoding="utf-8")) for path in FILES}


def test_modules_say_what_they_are_for():
    assert [name for name, tree in trees().items() if not ast.get_docstring(tree)] == []


def test_files_are_short():
    assert {str(p.relative_to(PACKAGE)) for p in FILES if len(p.read_text("utf-8").splitlines()) > 300} == set(
        LONG_FILES
    )


def test_functions_are_short():
    long = {function.name for tree in trees().values() for function in functions(tree) if lines(function) > 60}
    assert long == set(LONG_FUNCTIONS)
