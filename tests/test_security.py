"""What others wrote (rows, class names, run directories, checkpoints) is data: no code, markup, command or path."""

import ast
import csv
import io
import json
import re
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest

import lpft_keras
from lpft_keras import own_task
from lpft_keras.cli import main
from lpft_keras.errors import InputError
from lpft_keras.models.backbones import POCKET, load_backbone
from lpft_keras.models.huggingface import weight_files
from lpft_keras.settings import RunSettings
from lpft_keras.storage import read_arrays, read_json, write_csv, write_json
from tests.report.runs import answers, write_run

PACKAGE = Path(lpft_keras.__file__).parent
HOSTILE = [
    "<script>alert(1)</script>",
    '=HYPERLINK("http://x","y")',
    "+1+cmd|' /C calc'!A0",
    "@SUM(A1)",
    "\x1b[31mred\x1b]0;title\x07",
    r"$\input{/etc/passwd}$",
    "| pipe | `tick` ![x](http://x)",
    "\N{RIGHT-TO-LEFT OVERRIDE}evil\N{ZERO WIDTH SPACE}\x00\x08\u2028",
    "[bold][link=http://x]markup[/link]",
    "two\nlines\r\n\n# heading",
]
# A terminal is commanded by none of these, and shows what it is told in the order it is told.
COMMANDS = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")


# What the package is written with.

FORBIDDEN = {"eval", "exec", "__import__", "os.system", "os.popen", "yaml.load", "torch.load", "joblib.load"}
FORBIDDEN |= {"keras.config.enable_unsafe_deserialization"}
MODULES = {"pickle", "marshal", "shelve", "dill", "cloudpickle", "yaml", "tarfile"}


def findings(source):
    """Return what of a module's source could run, or unpack, what others wrote."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [f"import {one.name}" for one in node.names if one.name.split(".")[0] in MODULES]
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in MODULES:
            found.append(f"import {node.module}")
        if isinstance(node, ast.Attribute) and ast.unparse(node).startswith("zipfile.") and node.attr != "BadZipFile":
            found.append(ast.unparse(node))
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            given = {one.arg: ast.unparse(one.value) for one in node.keywords}
            unsafe = given.get("shell", "False") != "False" or given.get("safe_mode", "True") != "True"
            plain = given.get("allow_pickle", "True" if name == "np.load" else "False") == "False"
            if (
                name in FORBIDDEN
                or name.endswith(("load_model", "unpack_archive", "extractall"))
                or unsafe
                or not plain
            ):
                found.append(ast.unparse(node))
    return found


@pytest.mark.parametrize(
    "line",
    [
        "import pickle",
        "from yaml import load",
        "eval('1')",
        "np.load(path, mmap_mode='r')",
        "np.load(path, allow_pickle=True)",
        "torch.load(path)",
        "subprocess.run(command, shell=True)",
        "keras.saving.load_model(path)",
        "deserialize(config, safe_mode=False)",
        "zipfile.ZipFile(path).extractall()",
    ],
)
def test_the_search_finds(line):
    assert findings(line)
    assert not findings("np.load(path, allow_pickle=False)\nsubprocess.run(command)\nexcept_ = zipfile.BadZipFile")


def test_nothing_in_the_package_runs_what_others_wrote():
    found = {path.relative_to(PACKAGE).as_posix(): findings(path.read_text("utf-8")) for path in PACKAGE.rglob("*.py")}
    assert len(found) > 100
    # A kernel's worker processes get the model as bytes that the process which starts them has just made.
    own = {"ntk/processes.py": ["import pickle"], "ntk/computation.py": ["import pickle"]}
    assert {path: what for path, what in found.items() if what} == own


# Files from elsewhere.


class Payload:
    """Writes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_arrays_that_are_pickles_are_not_read(tmp_path):
    ran = tmp_path / "ran"
    np.savez(tmp_path / "x.npz", fine=np.ones(2), bad=np.array([Payload(ran)], dtype=object))
    assert read_arrays(tmp_path / "x.npz") is None
    np.save(tmp_path / "y.npy", np.array([Payload(ran)], dtype=object))
    assert read_arrays(tmp_path / "y.npy") is None
    assert not ran.exists()
    np.load(tmp_path / "y.npy", allow_pickle=True)
    assert ran.exists()


@pytest.mark.parametrize("file", ["config.json", "tokenizer.json"])
def test_a_preset_with_code_in_it_is_refused(file, tmp_path):
    preset, ran = tmp_path / "preset", tmp_path / "ran"
    shutil.copytree(POCKET, preset)
    code = compile(f"lambda x: open({str(ran)!r}, 'w')", "x", "eval")
    layer = keras.layers.Lambda(eval(code))
    config = keras.saving.serialize_keras_object(layer)
    config["registered_name"] = read_json(preset / "config.json")["registered_name"] if "config" in file else "Lambda"
    write_json(preset / file, config)
    with pytest.raises(InputError, match="does not load"):
        load_backbone(str(preset))
    assert not ran.exists()


def test_an_index_of_shards_leads_to_no_file_outside(tmp_path):
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    for path in (tmp_path / "secret.safetensors", folder / "own.safetensors"):
        path.write_bytes(b"")
    shards = {"a": "../secret.safetensors", "b": str(tmp_path / "secret.safetensors"), "c": "own.safetensors"}
    write_json(folder / "model.safetensors.index.json", {"weight_map": shards})
    assert weight_files(folder) == [folder / "own.safetensors"]


# Names that become folders.

PATHS = ["../x", "/etc/x", "a/b", "..", ".", "", "a\\b", "C:\\x", "a\0b", "~root", "x" * 300, "con\n"]


@pytest.mark.parametrize("name", PATHS)
def test_no_name_leads_out_of_the_output_directory(name, tmp_path):
    (tmp_path / "rows.csv").write_text("text,label\n" + "".join(f"row {n},{n % 2}\n" for n in range(20)))
    with pytest.raises(InputError, match="name"):
        own_task(tmp_path / "rows.csv", name=name)
    with pytest.raises(InputError, match="called"):
        own_task(tmp_path / "rows.csv", name="fine", ood={name: tmp_path / "rows.csv"})
    directory = RunSettings(task=name, method="lp", backbone=name or "x").directory(tmp_path)
    assert directory.resolve().relative_to(tmp_path.resolve()).parts[1] == "lp"
    directory.mkdir(parents=True)


# Texts and names in everything that is shown.


@pytest.fixture
def hostile_runs(tmp_path):
    """Finished runs whose files somebody else wrote: names of tasks, backbones and classes are theirs."""
    splits = {"validation": answers(70), "test": answers(80)}
    for seed, name in enumerate(HOSTILE):
        run = write_run(tmp_path / "runs", "task", "lp", seed, splits, backbone=f"b{seed}")
        summary = read_json(run.directory / "metrics.json")
        write_json(run.directory / "metrics.json", {**summary, "task": name, "backbone": name})
        config = read_json(run.directory / "config.json")
        config["settings"] |= {"backbone": name, "task": name}
        write_json(run.directory / "config.json", {**config, "labels": [name, f"not {name}"]})
    return tmp_path / "runs"


def test_a_terminal_is_not_commanded_by_names(hostile_runs, capsys):
    assert main(["table", str(hostile_runs)]) == 0
    shown = capsys.readouterr()
    assert not COMMANDS.search(shown.out + shown.err)
    for name in ("<script>alert(1)</script>", "[31mred", "[bold][link=http://x]markup[/link]", "=HYPERLINK"):
        assert name in shown.out
    for seed in range(len(HOSTILE)):
        assert main(["calibrate", str(hostile_runs / "task" / "lp" / f"b{seed}" / f"seed_{seed}")]) == 0
    shown = capsys.readouterr()
    assert not COMMANDS.search(shown.out + shown.err)


def test_a_terminal_is_not_commanded_by_rows_columns_and_classes(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    column, label = HOSTILE[4], f"label{HOSTILE[7][:6]}"
    with open("rows.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([column, label])
        writer.writerows([f"{HOSTILE[n % 7]} {n}", HOSTILE[n % 3 + 3]] for n in range(40))
    own = ["--train", "rows.csv", "--test", "rows.csv", "--text", column, "--label", label, "--backbone", "tiny"]
    assert main(["tasks", "show", *own]) == 0
    shown = capsys.readouterr()
    assert "@SUM(A1)" in shown.out
    assert "[31mred" in shown.out
    assert not COMMANDS.search(shown.out + shown.err)
    assert main(["tasks", "show", "--train", "rows.csv", "--text", "x", "--label", label, "--backbone", "tiny"]) == 2
    assert main(["table", f"none{HOSTILE[4]}"]) == 2
    shown = capsys.readouterr()
    assert len(shown.err.splitlines()) == 2
    assert not COMMANDS.search(shown.out + shown.err)


def test_names_stay_names_in_files(hostile_runs, tmp_path, capsys):
    made = {}
    for ending in ("csv", "md", "tex", "txt"):
        assert main(["table", str(hostile_runs), "--output", str(tmp_path / f"t.{ending}")]) == 0
        made[ending] = (tmp_path / f"t.{ending}").read_bytes().decode()
    rows = list(csv.DictReader(io.StringIO(made["csv"], newline="")))
    assert not [value for row in rows for value in row.values() if value[:1] in tuple("=+@\t\r\n")]
    assert not re.search(r"<script|(?<!\\)\$|(?<!\\)`|!\[x\]", made["md"])
    assert not re.search(r"(?<!\\)\\input|<|\n#", made["tex"])
    for form in ("md", "tex", "txt"):
        assert not COMMANDS.search(made[form])
    capsys.readouterr()


def test_names_stay_text_in_the_page(hostile_runs, tmp_path, capsys):
    assert main(["report", str(hostile_runs), "--output", str(tmp_path / "page.html")]) == 0
    page = (tmp_path / "page.html").read_text("utf-8")
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "<script" not in page
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", page)
    shown = capsys.readouterr()
    assert not COMMANDS.search(shown.out + shown.err)


def test_names_are_no_formulas_in_any_csv(tmp_path):
    write_csv(tmp_path / "x.csv", ["name", "value"], [{"name": name, "value": -1.5} for name in HOSTILE])
    with open(tmp_path / "x.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["name"][:1] in "=+@" for row in rows] == [False] * len(HOSTILE)
    assert {row["value"] for row in rows} == {"-1.5"}


def test_json_for_programs_is_ascii(hostile_runs, capsys):
    assert main(["table", str(hostile_runs), "--json"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert all(line.isascii() and line.isprintable() for line in lines)
    assert {json.loads(line)["task"] for line in lines} == set(HOSTILE)
