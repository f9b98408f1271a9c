"""What users get wrong, as one table: the command or call, and what its one line must say, the culprit and the way out.

What needs a trained model, or a room's own files, is in that room's tests.
"""

import importlib
import os
import subprocess
import sys
import time

import numpy as np
import pytest

from lpft_keras.cli import main
from lpft_keras.errors import InputError
from lpft_keras.tasks.grammar import demo_rows
from tests.helpers import stamps

OWN = ["run", "--backbone", "tiny", "--text", "first", "--text", "second", "--train"]

# Flags of what trains, each told before Keras is imported.
LONG = "a" * 300
TRAINING = [
    ("--method lpft", "unknown method 'lpft'", "did you mean 'lp-ft'"),
    ("--backbone robrta", "unknown backbone 'robrta'", "did you mean 'roberta_base_en'"),
    ("--backbone minlm", "unknown backbone 'minlm'", "did you mean 'minilm'"),
    ("--backbone ./nowhere", "'./nowhere' does not exist"),
    ("--backbone files/notes", "files/notes holds no checkpoint", "config.json is missing"),
    ("--optimizer SGD", "unknown optimizer 'SGD'", "did you mean 'sgd'"),
    ("--epoch 3", "'--epoch'", "did you mean '--epochs'"),
    ("--epochs 0", "epochs must be a whole number of 1 or more, not 0"),
    ("--epochs -1", "epochs must be a whole number of 1 or more, not -1"),
    ("--epochs two", "--epochs: invalid int value: 'two'"),
    ("--batch-size 0", "batch_size must be a whole number of 1 or more, not 0"),
    ("--batch-size -4", "batch_size must be a whole number of 1 or more, not -4"),
    ("--max-length 0", "max_length must be a whole number of 1 or more, not 0"),
    ("--limit 0", "limit must be a whole number of 1 or more, not 0"),
    ("--seed -1", "seed must be a whole number of 0 or more, not -1"),
    ("--seed 1.5", "--seed: invalid int value: '1.5'"),
    ("--learning-rate nan", "learning_rate must be a number above 0", "nan"),
    ("--learning-rate inf", "learning_rate must be a number above 0", "inf"),
    ("--learning-rate 0", "learning_rate must be a number above 0", "0.0"),
    ("--head-scale 0", "head_scale must be a number above 0"),
    ("--dropout 1", "dropout must be a number above 0 and below 1, not 1.0"),
    ("--dtype float23", "unknown dtype 'float23'", "did you mean 'float32'"),
    ("--pooling frist", "unknown pooling 'frist'", "did you mean 'first'"),
    ("--probe-solver lbgfs", "'lbgfs'", "did you mean 'lbfgs'"),
    ("--method lora --lora-rank 0", "lora_rank must be a whole number of 1 or more"),
    ("--method lora --lora-alpha nan", "lora_alpha must be a number above 0", "nan"),
    ("--lora-style peft", "unknown LoRA style 'peft'", "paper"),
    ("--micro-batches 3", "micro_batches (3) must divide batch_size (16)"),
    ("--shots 0", "shots must be a whole number of 1 or more, not 0"),
    ("--prompt nothing", "nothing", "[M]"),
    ("--label-word it", "--label-word takes CLASS=WORD, not 'it'"),
    ("--label-word neutral=maybe", "label_words are of a prompt", "--prompt"),
    ("--prompt --pooling mean", "leave pooling out, or the prompt"),
    ("--train files/rows.csv", "either the task 'demo' or --train, not both"),
    ("--test files/rows.csv", "--test is for a task of your own", "--train"),
]

COMMANDS = [
    ("runn demo", "'runn'", "'run'"),
    ("run dmeo", "unknown task 'dmeo'", "did you mean 'demo'"),
    ("run", "name a TASK", "--train"),
    ("run --prompt demo", "--prompt took 'demo' as its template", "put TASK before"),
    ("run demo --output-dir files/notes.txt --backbone tiny", "files/notes.txt", "choose another output directory"),
    ("run cb --backbone tiny --data-dir nowhere", "nowhere does not exist"),
    ("run demo --backbone tiny --limit 2", "no training row of class", "give more rows"),
    ("run demo --backbone tiny --shots 100000", "100000", "leave shots out"),
    ("run files/rows.csv", "files/rows.csv holds rows", "--train files/rows.csv"),
    ("run files/none.toml", "can't read files/none.toml"),
    ("run files/notes.toml", "files/notes.toml is no valid TOML", "line 1"),
    ("run files/binary.toml", "files/binary.toml is no valid TOML"),
    ("run files/typo.toml", "unknown key in files/typo.toml 'trian'", "did you mean 'train'"),
    ("run files/kind.toml", "files/kind.toml: quotes must be true or false, not 'no'"),
    ("head-norm dmeo", "did you mean 'demo'"),
    ("head-norm demo --method lp", "method 'lp' has no fine-tuning stage"),
    ("head-norm demo --head-scale inf", "head_scale must be a number above 0"),
    ("head-norm demo --plot figure.bmp", "unknown format of figures 'bmp'", "png"),
    ("sweep", "name the tasks", "--task"),
    ("sweep --task dmeo", "did you mean 'demo'"),
    ("sweep --task demo --workers 0", "workers must be 1 or more", "not 0"),
    ("sweep --task demo --workers gpu:7777", "workers names 'gpu:7777', which this machine has not", "cpu"),
    ("sweep --task demo --workers gpu", "workers must be 1 or more", "['gpu']"),
    ("sweep --task demo --engine spark://x", "unknown engine 'spark://x'", "dask://host:port"),
    ("sweep none.toml", "can't read none.toml"),
    ("sweep files/typo.toml", "unknown key in files/typo.toml 'trian'"),
    ("sweep files/list.toml", "seed must be a whole number of 0 or more, not [1]"),
    ("tune dmeo", "did you mean 'demo'"),
    ("tune demo --seed 11", "seed 11 both tunes and evaluates", "other seeds"),
    ("tune demo --learning-rate 0 --backbone tiny", "learning_rate must be a number above 0"),
    ("tune demo --workers 0", "workers must be 1 or more"),
    ("ntk", "a run directory or --task"),
    ("ntk --task dmeo", "did you mean 'demo'"),
    ("ntk dmeo", "dmeo is no directory", "--task"),
    ("ntk files", "files holds no run (no config.json)", "--task"),
    ("ntk --task demo --method lp", "method 'lp' has no fine-tuning stage"),
    ("ntk --task demo --rows 1", "rows must be a whole number of 2 or more, not 1"),
    ("ntk --task demo --max-memory nan", "max_memory must be a number above 0"),
    ("ntk files/run --seed 3", "--seed is for a TASK", "files/run"),
    ("kernel-view dmo", "did you mean 'demo'"),
    ("kernel-view", "name a TASK"),
    ("kernel-view --prompt demo", "--prompt took 'demo' as its template", "put TASK before"),
    ("kernel-view demo --optimizer adamw", "unknown optimizer 'adamw'", "did you mean 'adam'"),
    ("kernel-view demo --learning-rate 0.1", "OPTIMIZER=RATE, like sgd=0.1, not '0.1'"),
    ("kernel-view demo --shots -1", "shots must be a whole number of 1 or more"),
    ("kernel-view /nowhere/at/all", "/nowhere/at/all is no directory", "a task"),
    ("kernel-view files/run --shots 9", "--shots is for a TASK", "files/run"),
    *(
        (f"{command} {LONG}", "File name too long: aaa", "choose a shorter one")
        for command in ("table", "report", "calibrate", "ntk")
    ),
    (f"run cb --backbone tiny --data-dir {LONG}", "does not exist", "give the folder"),
    ("reproduce", "name what to reproduce", "--list"),
    ("reproduce tabel8", "unknown table or figure 'tabel8'", "did you mean 'table8'"),
    ("reproduce table8 --task cbb", "unknown task 'cbb'", "did you mean 'cb'"),
    ("reproduce table8 --method fft", "unknown method 'fft'", "did you mean 'ft'"),
    ("reproduce table2 --task demo --rows 1", "rows must be a whole number of 2 or more"),
    ("reproduce table8 --workers 0", "workers must be 1 or more"),
    ("table /nowhere", "/nowhere holds no finished run", "run it again"),
    ("table files --format cvs", "unknown format 'cvs'", "did you mean 'csv'"),
    ("table files --output table.doc", "unknown ending of --output '.doc'", "'.csv'"),
    ("table files --versus ft", "--versus", "add --differences"),
    ("report /nowhere", "/nowhere holds no finished run", "run it again"),
    ("report files/run", "files/run holds no finished run"),
    ("representation /nowhere", "/nowhere holds no finished run"),
    ("calibrate /nowhere", "/nowhere is no file", ".npz or .csv"),
    ("calibrate files/logits.npz --method temprature", "'temprature'", "did you mean 'temperature'"),
    ("calibrate files/logits.npz --plot x", "unknown format of figures", "png"),
    ("calibrate files/logits.npz --split ood", "--split is for runs"),
    ("calibrate files/logits.npz --validation files/none.npz", "files/none.npz is no file"),
    ("calibrate files/logits.npz --validation files/logits.npz", "files/logits.npz is both fitted and measured on"),
    ("calibrate files/rows.csv", "line 2 of files/rows.csv", "labels are class ids, all else is logits"),
    ("calibrate files/notes.txt", "files/notes.txt is damaged, or neither .npz"),
    ("calibrate files/nan.npz", "files/nan.npz", "logits"),
    ("calibrate files/range.npz", "files/range.npz", "labels"),
    ("calibrate files/sums.npz", "files/sums.npz", "probabilities"),
    ("calibrate files/one.npz", "files/one.npz"),
    ("calibrate files/empty.npz", "files/empty.npz"),
    ("calibrate files/huge.csv", "files/huge.csv", "label"),
    ("calibrate files", "files holds no finished run"),
    ("export /nowhere --output x", "/nowhere holds no finished run"),
    ("export files", "--output, --upload or both"),
    ("export files --output x --private", "--private is for --upload"),
    ("tasks shwo", "'shwo'", "'show'"),
    ("tasks show", "name a TASK"),
    ("tasks show dmeo", "did you mean 'demo'"),
    ("tasks show demo --backbone tinny", "did you mean 'tiny'"),
    ("tasks show demo --max-length 0", "max_length must be a whole number of 1 or more"),
    ("tasks show cb --data-dir nowhere", "nowhere does not exist"),
    ("tasks --train files/rows.csv", "tasks show"),
]

# Rows of one's own: the file, and what is said of it.
FILES = [
    ("none.csv", "no train file", "none.csv"),
    ("rows.xls", "no train file", "rows.xls"),
    ("notes.txt", "unknown ending", "'.tsv'"),
    ("notes", "notes is no directory that Hugging Face datasets saved", "save_to_disk"),
    ("empty.csv", "empty.csv is empty", "must hold the train rows"),
    ("header.csv", "header.csv is empty", "must hold the train rows"),
    ("columns.csv", "columns.csv, line 2: no field 'first'", "found a, b, c"),
    ("twice.csv", "twice.csv has several columns named 'first'", "rename"),
    ("short.csv", "short.csv, line 3: 2 fields where the header has 3", "missing"),
    ("semicolon.csv", "read by comma", "--delimiter"),
    ("latin.csv", "latin.csv, line 2: not UTF-8 (byte", "save the file as UTF-8"),
    ("wide.csv", "wide.csv, line 1: not UTF-8"),
    ("quote.csv", "quote.csv, line 2", "close the quote"),
    ("single.csv", "all training rows are of class 'neutral'", "two are needed"),
    ("binary.parquet", "binary.parquet can't be read as Parquet", "whole"),
    ("half.jsonl", "half.jsonl, line 2: not valid JSON", "half-written"),
    ("array.jsonl", "array.jsonl, line 1: a JSON object a line is wanted"),
    ("number.jsonl", "number.jsonl, line 1", "first"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where the user stands: a folder `files` with one file of each kind of mistake."""
    root = tmp_path_factory.mktemp("bad")
    files = root / "files"
    (files / "notes").mkdir(parents=True)
    (files / "run").mkdir()
    (files / "run" / "config.json").write_text("{}")
    rows = [f'"{a}","{b}",{label}\n' for a, b, label in demo_rows("train")[:60]]
    texts = {
        "rows.csv": "first,second,label\n" + "".join(rows),
        "notes.txt": "No rows here.\n",
        "notes.toml": "No = keys = here\n",
        "typo.toml": 'trian = "rows.csv"\n',
        "kind.toml": 'train = "rows.csv"\nquotes = "no"\n',
        "list.toml": 'task = "demo"\nseed = [[1]]\n',
        "empty.csv": "",
        "header.csv": "first,second,label\n",
        "columns.csv": "a,b,c\nx,y,z\n",
        "twice.csv": "first,first,label\nx,y,z\n",
        "short.csv": "first,second,label\nx,y,z\nx,y\n",
        "semicolon.csv": "first;second;label\nx;y;z\n",
        "quote.csv": 'first,second,label\n"x,y,z\n',
        "single.csv": "first,second,label\n" + "x,y,neutral\n" * 40,
        "half.jsonl": '{"first": "x", "second": "y", "label": "a"}\n{"first": "x", "seco',
        "array.jsonl": "[1, 2]\n",
        "number.jsonl": '{"first": 5, "second": "y", "label": "a"}\n' * 40,
        "huge.csv": "label,a,b\n" + "9" * 30 + ",1,2\n" + "0,1,2\n" * 20,
    }
    for name, text in texts.items():
        (files / name).write_text(text)
    (files / "latin.csv").write_bytes("first,second,label\nnaïve,y,z\n".encode("latin-1"))
    (files / "wide.csv").write_bytes("first,second,label\nx,y,z\n".encode("utf-16"))
    (files / "binary.toml").write_bytes(bytes(range(128, 256)))
    (files / "binary.parquet").write_bytes(bytes(range(256)) * 9)
    logits, labels = np.random.default_rng(0).normal(size=(40, 3)), np.arange(40) % 3
    spoilt = logits.copy()
    spoilt[3, 1] = np.nan
    arrays = {
        "logits": {"logits": logits, "labels": labels},
        "nan": {"logits": spoilt, "labels": labels},
        "range": {"logits": logits, "labels": labels + 1},
        "sums": {"probabilities": np.full((40, 3), 0.5), "labels": labels},
        "one": {"logits": logits[:, :1], "labels": labels * 0},
        "empty": {"logits": logits[:0], "labels": labels[:0]},
    }
    for name, held in arrays.items():
        np.savez(files / f"{name}.npz", **held)
    return root


def check_line(told, words):
    """One line, after notes on the data at most, with all that it must say."""
    *notes, line = told.splitlines()
    assert all(one.startswith("lpft-keras: ") for one in [*notes, line])
    assert len(notes) <= 1
    assert "Traceback" not in told
    for word in words:
        assert word in line, line


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        *((f"run demo {flags}".split(), words) for flags, *words in TRAINING),
        *((command.split(), words) for command, *words in COMMANDS),
        *(([*OWN, f"files/{name}"], words) for name, *words in FILES),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) and len(" ".join(value)) < 60 else "",
)
def test_a_command_is_refused_in_one_line(folder, arguments, words, capsys, monkeypatch):
    monkeypatch.chdir(folder)
    before = stamps(folder)
    assert main(arguments) == 2
    shown = capsys.readouterr()
    assert not shown.out
    check_line(shown.err, words)
    assert stamps(folder) == before


@pytest.mark.parametrize(
    "arguments",
    [
        "run dmeo",
        "run demo --method lpft",
        "run demo --optimizer SGD",
        "run demo --backbone robrta",
        "ntk --task demo --batch-size x",
        "reproduce tabel8",
        "report nowhere",
        "calibrate nowhere",
    ],
)
def test_a_typo_is_told_within_seconds(folder, arguments):
    """A process of its own, in which nothing is imported yet; what others load the machine with is not counted."""
    code = "import sys, time; from lpft_keras.cli import main; status = main(sys.argv[1:]); print(time.process_time());"
    code += (
        " print([name for name in ('keras', 'tensorflow', 'torch', 'jax') if name in sys.modules]); sys.exit(status)"
    )
    start = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code, *arguments.split()], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    seconds, heavy = done.stdout.splitlines()
    assert heavy == "[]"
    assert float(seconds) < 5
    assert time.monotonic() - start < 30
    assert "Traceback" not in done.stderr


def room(module):
    """Return what calls something of a module by its name, and imports it only then."""

    def called(name, /, *arguments, **options):
        return getattr(importlib.import_module(module), name)(*arguments, **options)

    return called


ours = room("lpft_keras")
calibration, layers, metrics, ntk, prompts, representation = (
    room(f"lpft_keras.{name}") for name in ("calibration", "layers", "metrics", "ntk", "prompts", "representation")
)


def recorded(x, **options):
    """Train for an epoch with the callback."""
    import keras

    from lpft_keras.callbacks import RepresentationHistory

    callback = RepresentationHistory(x, **options)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, name="top")])
    model.compile(loss="mse")
    model.fit(EYE, P, callbacks=[callback], verbose=0)


EYE = np.eye(4)
P = np.full((4, 2), 0.5)
IDS = np.array([0, 1, 0, 1])
TEXTS, NAMES = ["a", "b", "c", "d"] * 5, ["x", "y", "x", "y"] * 5

CALLS = [
    (lambda: ours("run", 5), "a task is a name", "not 5"),
    (lambda: ours("run", "demo", "lp", backbone=5), "unknown backbone '5'", "pocket"),
    (lambda: ours("run", "demo", "lp", "tiny", epochs=1.5), "epochs must be a whole number"),
    (lambda: ours("run", "demo", "lp", "tiny", seed=True), "seed must be a whole number"),
    (lambda: ours("run", "demo", ["lp"], "tiny"), "unknown method ['lp']"),
    (lambda: ours("run", "demo", "ft", "tiny", callbacks=[5]), "callbacks must hold Keras callbacks", "5"),
    (lambda: ours("run", "demo", "ft", "tiny", data_parallel="yes"), "data_parallel must be True or False"),
    (lambda: ours("own_task", f"{LONG}.csv", name="mine"), "no train file", ".csv"),
    (lambda: ours("sweep", []), "tasks", "nothing to run"),
    (lambda: ours("sweep", "demo", seeds=[]), "seeds", "nothing to run"),
    (lambda: ours("sweep", "demo", ["lp", "ftt"]), "unknown method 'ftt'", "did you mean 'ft'"),
    (lambda: ours("sweep", "demo", epoch=3), "unknown argument 'epoch'", "did you mean 'epochs'"),
    (lambda: ours("sweep", "demo", workers=1.5), "workers must be 1 or more", "1.5"),
    (lambda: ours("tune", "demo", learning_rate=0.1), "learning_rate is what is tuned", "learning_rates"),
    (lambda: ours("tune", "demo", batch_sizes=[0], backbone="tiny"), "batch_size must be a whole number"),
    (lambda: ours("reproduce", "figure99"), "unknown table or figure 'figure99'", "did you mean"),
    (lambda: ours("reproduce", []), "names", "nothing"),
    (lambda: ours("run_ntk", "demo", rows=1), "rows must be", "not 1"),
    (lambda: ours("run_ntk", "demo", rows="many"), "rows must be", "'many'"),
    (lambda: ours("kernel_view", "demo", optimizers=[]), "optimizers is empty", "sgd"),
    (lambda: ours("kernel_view", "demo", learning_rates=[1]), "learning_rates are by optimiser"),
    (lambda: ours("own_task", "none.csv"), "no train file"),
    (lambda: ours("own_task", "rows.csv", name="a/b"), "a task's name", "'a/b'"),
    (lambda: ours("own_task", "rows.csv", metric="acuracy"), "did you mean 'accuracy'"),
    (lambda: ours("own_task", "rows.csv", text=[]), "one name or two"),
    (lambda: ours("own_task", "rows.csv", validation_fraction=2), "validation_fraction must be a number"),
    (lambda: ours("own_task", "rows.csv", template="{text"), "no format string"),
    (lambda: ours("own_task", "rows.csv", labels=["a"]), "labels must be two or more names"),
    (lambda: ours("write_page", [], "page.html"), "run"),
    (lambda: ours_load("nowhere"), "holds no finished run"),
    (lambda: ours("TextClassifier", "ftt").fit(TEXTS, NAMES), "unknown method 'ftt'"),
    (lambda: ours("TextClassifier", "lp", "tiny").fit(TEXTS, NAMES[:3]), "20 texts", "3 labels"),
    (lambda: ours("TextClassifier", "lp", "tiny").fit([], []), "texts"),
    (lambda: ours("TextClassifier", "lp", "tiny").fit([1, 2], ["x", "y"]), "text"),
    (lambda: ours("TextClassifier", "lp", "tiny").fit(TEXTS, ["x"] * 20), "class"),
    (lambda: calibration("expected_calibration_error", P, [0, 1, 0]), "labels must be of shape (4,)"),
    (lambda: calibration("expected_calibration_error", P, [0, 1, 0, 2]), "labels must lie in 0..1, found 0..2"),
    (
        lambda: calibration("expected_calibration_error", P * 2, IDS),
        "row 0 of probabilities is no distribution, it sums to 2",
        "softmax",
    ),
    (lambda: calibration("expected_calibration_error", P * np.nan, IDS), "probabilities"),
    (lambda: calibration("expected_calibration_error", P, IDS, bins=0), "bins must be", "0"),
    (lambda: calibration("expected_calibration_error", P, IDS + 0.5), "labels must be integers"),
    (lambda: calibration("expected_calibration_error", "P", IDS), "must be real numbers"),
    (lambda: calibration("expected_calibration_error", P[:0], IDS[:0]), "row"),
    (lambda: calibration("brier_score", P[0], IDS), "[rows, classes]"),
    (lambda: calibration("negative_log_likelihood", P * np.inf, IDS), "logits"),
    (lambda: calibration("TemperatureScaling").fit(P, IDS[:2]), "labels must be of shape (4,)"),
    (lambda: calibration("load_scaling", "none.json"), "none.json holds no saved scaling"),
    (lambda: ntk("as_matrix", np.zeros((2, 3))), "kernel"),
    (lambda: ntk("rank", np.full((2, 2, 2, 2), np.nan)), "kernel"),
    (lambda: ntk("KernelRegression").fit(np.zeros((4, 2, 4, 2)), IDS[:3]), "labels"),
    (lambda: prompts("Prompt", "<s1> is", ["a"]), "'<s1> is' has 0 masks", "where the label word stands"),
    (lambda: prompts("Prompt", "<s1> <s1> [M]", ["a"]), "a text or <sep> twice", "once is enough"),
    (lambda: prompts("Prompt", "<s3> [M]", ["a"]), "'<s3>'", "did you mean '<s2>'"),
    (lambda: prompts("Prompt", 5, ["a"]), "a template is text such as", "not 5"),
    (lambda: prompts("Prompt", "<s1> [M]", ["a", " "]), "label word ' ' is no word", "one word a class"),
    (lambda: prompts("Prompt", "<s1> [M]", "ab"), "label_words must be a dict", "not 'ab'"),
    (lambda: prompts("Prompt", "<s1> [M]", ["a"]).in_order(["x", "y"]), "1 label words for 2 classes (x, y)"),
    (lambda: prompts("Prompt", "<s1> [M]", {"x": "a"}).in_order(["x", "y"]), "class 'y' has no label word"),
    (lambda: prompts("Prompt", "<s1> [M]", {"xx": "a"}).in_order(["x", "y"]), "'xx'", "did you mean 'x'"),
    (lambda: prompts("asked_prompt", "own", True, None), "task 'own' has no prompt of its own", "give a template"),
    (lambda: prompts("asked_prompt", "demo", "<s1> [M]", 5), "label_words must be a dict", "not 5"),
    (lambda: prompts("asked_prompt", "cb", None, ["a"]), "label_words are of a prompt", "prompt=True"),
    (lambda: metrics("ExpectedCalibrationError", bins=0), "bins must be a whole number of 1 or more, not 0"),
    (lambda: metrics("ClassWiseCalibrationError", 1), "num_classes must be a whole number of 2 or more, not 1"),
    (lambda: metrics("ClassWiseCalibrationError", 3).update_state(IDS, P), "2 columns; num_classes is 3"),
    (lambda: metrics("BrierScore").update_state(IDS, P[None]), "[rows, classes] or [rows, 1], not (1, 4, 2)"),
    (lambda: metrics("BrierScore").update_state(np.eye(4), P), "one-hot [rows, 2], not (4, 4)"),
    (lambda: metrics("BrierScore").update_state(IDS[:1], P), "labels must hold one value a row", "4, not 1"),
    (lambda: metrics("BrierScore").update_state(IDS, P, [1.0, 2.0]), "sample_weight must hold one value", "4, not 2"),
    (lambda: layers("Temperature", 0), "temperature must be a number above 0", "not 0"),
    (lambda: layers("Temperature", "hot"), "temperature must be a number above 0", "not 'hot'"),
    (
        lambda: layers("Temperature", calibration("TemperatureScaling")),
        "temperature must be a number",
        "TemperatureScaling()",
    ),
    (lambda: recorded(EYE[:0]), "x must hold rows"),
    (lambda: recorded({"a": EYE, "b": EYE[:2]}), "equally many in each of its arrays"),
    (lambda: recorded(EYE, batch_size=0), "batch_size must be a whole number"),
    (lambda: recorded(EYE, model=5), "model must be a Keras model, not int"),
    (lambda: recorded(EYE, head="tpo"), "does not call a Dense layer named 'tpo'; it calls: top"),
    (lambda: recorded(EYE[:, :3]), "can't be called on a row of x", "shape (1, 3)", "(model=)"),
    (lambda: representation("head_norm", "V"), "head must be real numbers"),
    (lambda: representation("cosine_similarity", EYE[:1]), "one row; a similarity needs two or more"),
    (lambda: representation("cosine_similarity", EYE * 0), "row 0 of features is zero"),
    (lambda: representation("feature_change", EYE, EYE[:2]), "reference must be of the shape of features, (4, 4)"),
    (lambda: representation("feature_change", EYE * np.nan, EYE), "features hold NaN or infinity, first in row 0"),
    (lambda: representation("fisher_discriminant_ratio", EYE, IDS[:3]), "labels must be of shape (4,)", "(3,)"),
    (lambda: representation("fisher_discriminant_ratio", EYE, IDS * 0), "one class only (0)", "two or more"),
    (lambda: representation("fisher_discriminant_ratio", EYE, IDS, ridge=-1), "ridge must be a number above 0"),
    (lambda: representation("linear_cka", EYE, EYE[:2]), "other must have as many rows as features, 4, not 2"),
    (lambda: representation("linear_cka", EYE, EYE * 0), "all rows of other are equal"),
    (lambda: ntk("alignment", np.zeros((2, 1, 2, 1)), np.zeros((3, 1, 3, 1))), "unlike shapes: (2, 2) and (3, 3)"),
]


def ours_load(directory):
    from lpft_keras import RunResult

    return RunResult.load(directory)


@pytest.mark.parametrize(("call", "words"), [(call, words) for call, *words in CALLS], ids=range(len(CALLS)))
def test_a_call_is_refused_in_one_line(folder, call, words, monkeypatch):
    monkeypatch.chdir(folder / "files")
    before = stamps(folder)
    with pytest.raises(InputError) as caught:
        call()
    (line,) = str(caught.value).splitlines()
    for word in words:
        assert word in line, line
    assert stamps(folder) == before


def test_quick_names_of_backbones_are_kerashubs():
    import keras_hub

    from lpft_keras.backbone_names import _presets

    encoders = {name for name, reads_text in _presets().items() if reads_text}
    assert encoders == set(keras_hub.models.TextClassifierPreprocessor.presets)
    assert set(_presets()) >= set(keras_hub.models.Backbone.presets)


def test_an_error_is_one_line_whatever_it_quotes():
    line = str(InputError("no \x1b[31mcolumn\n\u2028 'é\ud800' " + "x" * 10_000 + "; rename it"))
    assert line.startswith("no \\x1b[31mcolumn\\n\\u2028 'é\\ud800' ")
    assert line.endswith("xxx; rename it")
    assert len(line) < 2100
    assert os.linesep not in line
