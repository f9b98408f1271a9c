"""Some broken files of each kind that costs little, drawn anew at no run: `scripts/fuzz_readers.py` breaks more."""

import importlib
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "scripts" / "fuzz_readers.py"
SLOW = ("run", "weights: head", "weights: adapter", "weights: all", "kernel", "classifier", "preset", "checkpoint")
if not SCRIPT.is_file():
    pytest.skip("scripts/ is in the repository only", allow_module_level=True)
sys.path.insert(0, str(SCRIPT.parent))
fuzz = importlib.import_module("fuzz_readers")
sys.path.remove(str(SCRIPT.parent))


@pytest.mark.parametrize("reader", [one for one in fuzz.READERS if one.name not in SLOW], ids=lambda one: one.name)
def test_broken_files_are_refused_in_one_line_that_names_them(reader, tmp_path):
    reader.make(tmp_path)
    reader.read(tmp_path)
    found = [one[0] for one in fuzz.examples(reader, tmp_path, number=1, count=25) if one is not None]
    assert not found


@pytest.mark.parametrize(
    ("error", "key"),
    [
        (KeyError("a"), "KeyError: elsewhere"),
        (fuzz.InputError("a.json is damaged"), None),
        (fuzz.InputError("damaged"), "names no file: elsewhere"),
    ],
)
def test_what_is_no_clear_refusal_is_a_finding(error, key, tmp_path):
    (tmp_path / "a.json").write_text('{"a": 1}')

    def read(folder):
        raise error

    (outcome,) = fuzz.examples(fuzz.Reader("odd", print, read), tmp_path, number=1, count=1)
    assert (outcome and outcome[0].key) == key
