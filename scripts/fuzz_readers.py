"""Break valid files of every kind that the package reads, and see that each is read or refused in one clear line.

`python scripts/fuzz_readers.py --minutes 10 --seed 1`. Hypothesis draws what is done to a file: bytes flipped, cut off
or put between, another encoding, and values of JSON, cells and arrays replaced by nasty ones. Whatever is not read must
be refused by an `InputError` of one line that names the file or its directory. Findings are printed, each kind once,
and kept below --output, broken files and traceback; the exit status is 1 where there are any.
"""

import argparse
import io
import json
import logging
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from lpft_keras.errors import InputError

SECONDS = 30  # longer takes no reader for files as small as these
_LARGEST = 2**20  # of a file that is broken; larger ones are arrays like those of others

_NASTY_TEXT = [
    "",
    "\0",
    "\ufeff",
    "\u2028",
    "\x85",
    "a\nb",
    '"',
    "é",
    "\U0001f600",
    "{",
    "x" * 200_000,
    "nan",
    "-1",
    "1e999",
]
_NASTY_BYTES = [text.encode() for text in _NASTY_TEXT] + [b"\xff\xfe", b"\r", b"\r\n", b"\t", b",", b"[" * 20_000]
_NASTY_BYTES += [b"NaN", b"Infinity", b"9" * 5_000, b'{"a": ' * 5_000, b"\xed\xa0\x80"]
_ENCODINGS = ["utf-16", "utf-16-le", "utf-32", "latin-1", "utf-8-sig"]
_NASTY_VALUES = [
    None,
    True,
    -1,
    0,
    2**70,
    1e308,
    float("nan"),
    float("inf"),
    "",
    "\0",
    "x" * 5_000,
    [],
    {},
    [[]],
    [1, "a"],
]

_values = st.recursive(
    st.sampled_from(_NASTY_VALUES) | st.text(max_size=8) | st.integers(-(2**65), 2**65) | st.floats(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
_places = st.floats(0, 1, exclude_max=True)
_breakages = st.one_of(
    st.tuples(st.just("flip"), st.lists(st.tuples(_places, st.integers(1, 255)), min_size=1, max_size=8)),
    st.tuples(st.just("cut"), _places),
    st.tuples(st.just("insert"), st.tuples(_places, st.sampled_from(_NASTY_BYTES) | st.binary(max_size=20))),
    st.tuples(st.just("replace"), st.binary(max_size=200) | st.text(max_size=50).map(str.encode)),
    st.tuples(st.just("encode"), st.sampled_from(_ENCODINGS)),
    st.tuples(st.just("swap"), st.tuples(_places, _places)),
    st.tuples(st.just("missing"), st.none()),
    st.tuples(st.just("structure"), st.tuples(st.integers(0, 2**32), _values)),
    st.tuples(st.just("structure"), st.tuples(st.integers(0, 2**32), _values)),
)


@dataclass(frozen=True)
class Reader:
    """What reads a kind of file.

    Attributes:
        name: Its name.
        make: Writes valid files into a folder.
        read: Reads a folder of them.
        files: Glob of the files that are broken.
        weight: Share of the examples: slow readers have less.
    """

    name: str
    make: Callable[[Path], object]
    read: Callable[[Path], object]
    files: str = "**/*"
    weight: float = 1.0


@dataclass(frozen=True)
class Finding:
    """What a broken file led to that is no clear refusal."""

    reader: str
    key: str
    told: str


def broken(content: bytes, name: str, breakage: tuple[str, Any]) -> bytes | None:
    """Return a file's content after a breakage; None where the file shall be missing."""
    kind, how = breakage
    at = lambda place: int(place * len(content))  # noqa: E731
    if kind == "flip" and content:
        changed = bytearray(content)
        for place, mask in how:
            changed[at(place)] ^= mask
        return bytes(changed)
    if kind == "cut":
        return content[: at(how)]
    if kind == "insert":
        return content[: at(how[0])] + how[1] + content[at(how[0]) :]
    if kind == "replace":
        return how
    if kind == "encode":
        return content.decode("utf-8", "replace").encode(how, "replace")
    if kind == "swap":
        first, second = sorted(map(at, how))
        return content[second:] + content[first:second] + content[:first]
    if kind == "missing":
        return None
    return _restructured(content, name, random.Random(how[0]), how[1])


def _restructured(content: bytes, name: str, rng: random.Random, value: Any) -> bytes:
    """Return a file of the same form with one part of it replaced, twice there, or gone."""
    try:
        if name.endswith((".jsonl", ".ndjson")):
            lines = content.splitlines()
            number = rng.randrange(len(lines))
            lines[number] = json.dumps(_changed(json.loads(lines[number]), rng, value)).encode()
            return b"\n".join(lines)
        if name.endswith(".json"):
            return json.dumps(_changed(json.loads(content), rng, value)).encode()
        if name.endswith(".safetensors"):
            size = int.from_bytes(content[:8], "little")
            header = json.dumps(_changed(json.loads(content[8 : 8 + size]), rng, value)).encode()
            return len(header).to_bytes(8, "little") + header + content[8 + size :]
        if name.endswith(".npz"):
            return _other_arrays(content, rng)
    except (ValueError, TypeError, IndexError, OverflowError):
        return content + b"\0"
    # A cell of a table, or a value of TOML.
    text = content.decode("utf-8", "replace")
    places = [place for place, letter in enumerate(text) if letter in ',\t\n="'] or [0]
    start, end = sorted(rng.choices([*places, len(text)], k=2))
    new = value if isinstance(value, str) else repr(value)
    return (text[: start + 1] + new + text[min(end, start + 60) :]).encode("utf-8", "surrogatepass")


def _changed(tree: Any, rng: random.Random, value: Any) -> Any:
    """Return a tree of JSON with one node replaced or gone."""
    if isinstance(tree, dict | list) and tree and rng.random() < 0.85:
        keys = list(tree) if isinstance(tree, dict) else list(range(len(tree)))
        key = rng.choice(keys)
        if rng.random() < 0.1:
            del tree[key]
        else:
            tree[key] = _changed(tree[key], rng, value)
        return tree
    return value


def _other_arrays(content: bytes, rng: random.Random) -> bytes:
    with np.load(io.BytesIO(content)) as archive:
        arrays = dict(archive)
    name = rng.choice(list(arrays))
    array = arrays.pop(name)
    changes: list[Callable[[], Any]] = [
        lambda: array.reshape(-1),
        lambda: array[..., None],
        lambda: array[:0],
        lambda: array[: len(array) // 2],
        lambda: array.astype("float64") * np.nan,
        lambda: array.astype("float64") * -1e300,
        lambda: array.astype("U8"),
        lambda: array.astype("complex64"),
        lambda: np.zeros(array.shape, "datetime64[s]"),
        lambda: np.full(array.shape, -(2**62)),
        lambda: np.array(7),
        lambda: array > 0,
        lambda: array[..., :1],
    ]
    if rng.random() < 0.9:
        arrays[name] = rng.choice(changes)()
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def check(reader: Reader, valid: Path, choice: float, breakage: tuple[str, Any]) -> tuple[Finding, Path] | None:
    """Break one file of a reader's and read them; return what went wrong, and the folder, which else is removed."""
    folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
    shutil.copytree(valid, folder, dirs_exist_ok=True)
    files = sorted(path for path in folder.glob(reader.files) if path.is_file() and path.stat().st_size < _LARGEST)
    path = files[int(choice * len(files))]
    content = broken(path.read_bytes(), path.name, breakage)
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    try:
        with _limited(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            reader.read(folder)
    except InputError as error:
        told = str(error)
        named = str(folder) in told or "task 'own'" in told or any(other.name in told for other in files)
        if len(told.splitlines()) == 1 and named:
            shutil.rmtree(folder)
            return None
        fault = "not one line" if named else "names no file"
        key = f"{fault}: {_place(error)}"
    except Exception as error:
        told, key = traceback.format_exc(), f"{type(error).__name__}: {_place(error)}"
    else:
        shutil.rmtree(folder)
        return None
    (folder / "traceback.txt").write_text(f"{path.name} {breakage!r}"[:2000] + f"\n\n{told}\n", "utf-8", "replace")
    return Finding(reader.name, key, told), folder


class _limited:
    """Interrupts what takes too long, on systems that have alarms."""

    def __enter__(self):
        def ring(*_):
            raise TimeoutError(f"took longer than {SECONDS} s")

        self._before = signal.signal(signal.SIGALRM, ring)
        signal.alarm(SECONDS)

    def __exit__(self, *_):
        signal.alarm(0)
        signal.signal(signal.SIGALRM, self._before)


def _place(error: BaseException) -> str:
    """Return the last line of ours that an error went through, by its code: line numbers change."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "lpft_keras" in frame.filename]
    return f"{Path(frames[-1].filename).name}, {frames[-1].name}: {frames[-1].line}" if frames else "elsewhere"


def examples(reader: Reader, valid: Path, number: int, count: int) -> Iterator[tuple[Finding, Path] | None]:
    """Yield what came of so many broken files, drawn by a number."""
    outcomes: list[tuple[Finding, Path] | None] = []

    @seed(number)
    @settings(
        max_examples=count,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(_places, _breakages)
    def one(choice: float, breakage: tuple[str, Any]) -> None:
        outcomes.append(check(reader, valid, choice, breakage))

    one()
    yield from outcomes


# What is read.


def _rows(count: int = 60) -> list[tuple[str, str, str]]:
    from lpft_keras.tasks.grammar import demo_rows

    return demo_rows("train")[:count]


def _own(folder: Path, name: str, **options: Any) -> None:
    from lpft_keras.tasks import load_task, own_task

    data = load_task(own_task(folder / name, name="own", text=["first", "second"], **options))
    data.checksums()
    list(data.train.texts)


def _write_table(path: Path, delimiter: str) -> None:
    lines = [delimiter.join(["first", "second", "label"])]
    lines += [delimiter.join(f'"{part}"' for part in row) for row in _rows()]
    path.write_text("\n".join(lines) + "\n")


def _dicts() -> list[dict[str, str]]:
    return [dict(zip(("first", "second", "label"), row, strict=True)) for row in _rows()]


def _write_parquet(folder: Path) -> None:
    import pyarrow
    from pyarrow import parquet

    parquet.write_table(pyarrow.Table.from_pylist(_dicts()), folder / "rows.parquet")


def _write_dataset(folder: Path) -> None:
    import datasets

    features = datasets.Features(
        {
            "first": datasets.Value("string"),
            "second": datasets.Value("string"),
            "label": datasets.ClassLabel(names=["entailment", "contradiction", "neutral"]),
        }
    )
    datasets.Dataset.from_list(_dicts(), features=features).save_to_disk(str(folder / "saved"))


_TOML = """train = "rows.csv"
test = "rows.csv"
text = ["first", "second"]
label = "label"
labels = ["entailment", "contradiction", "neutral"]
metric = "macro_f1"
split = "stratified"
validation_fraction = 0.2
delimiter = ","
quotes = true
[ood]
shop = "rows.csv"
"""
_SWEEP = """task = ["demo", "cb"]
method = ["lp", "ft"]
backbone = "tiny"
seed = [1, 2]
head_scale = [1.0, 2.0]
epochs = 1
learning_rate = 3e-3
limit = 60
max_length = 48
output_dir = "out"
prompt = false
"""


def _write_toml(folder: Path) -> None:
    _write_table(folder / "rows.csv", ",")
    (folder / "mine.toml").write_text(_TOML)


def _read_own_toml(folder: Path) -> None:
    from lpft_keras.tasks import get_task, load_task

    load_task(get_task(folder / "mine.toml"))


def _read_sweep_toml(folder: Path) -> None:
    from lpft_keras.sweep_files import read_sweep
    from lpft_keras.sweeps import plan

    try:
        options = read_sweep(folder / "sweep.toml")
        options.pop("engine", None)
        options.pop("workers", None)
        plan(**{"tasks": "demo", "methods": "ft", "seeds": 1, **options})
    except InputError as error:
        if len(str(error).splitlines()) > 1:
            raise
        raise InputError(f"sweep.toml: {error}") from error  # a value is named by its key


def _logits(rows: int = 40) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.normal(0, 3, (rows, 3)).astype("float32"), rng.integers(0, 3, rows)


def _write_npz(folder: Path) -> None:
    logits, labels = _logits()
    np.savez(folder / "logits.npz", logits=logits, labels=labels)


def _write_logits_csv(folder: Path) -> None:
    logits, labels = _logits()
    lines = [f"{label},{','.join(map(str, row))}" for row, label in zip(logits, labels, strict=True)]
    (folder / "logits.csv").write_text("\n".join(["label,a,b,c", *lines]) + "\n")


def _score(name: str) -> Callable[[Path], object]:
    def read(folder: Path) -> None:
        from lpft_keras.report import score_file

        score_file(folder / name).as_dict()

    return read


def _write_scalings(folder: Path) -> None:
    from lpft_keras.calibration import SCALINGS

    logits, labels = _logits(60)
    for name in ("temperature", "vector", "dirichlet", "platt", "isotonic", "histogram"):
        SCALINGS[name]().fit(logits, labels).save(folder / f"{name}.json")


def _read_scalings(folder: Path) -> None:
    from lpft_keras.calibration import load_scaling

    for path in sorted(folder.glob("*.json")):
        scaling = load_scaling(path)
        scaling.predict_proba(np.zeros((5, scaling.n_features_in_)))


def _write_official(folder: Path) -> None:
    from lpft_keras.tasks import TASKS

    rows = [{"premise": a, "hypothesis": b, "label": label, "idx": n} for n, (a, b, label) in enumerate(_rows())]
    for split in TASKS["cb"].files.values():
        (folder / split).parent.mkdir(parents=True, exist_ok=True)
        (folder / split).write_text("".join(json.dumps(row) + "\n" for row in rows))


def _read_official(folder: Path) -> None:
    from lpft_keras.tasks import get_task, load_task

    load_task(get_task("cb"), folder)


_RUN = {"backbone": "tiny", "limit": 60, "max_length": 32, "epochs": 1, "micro_batches": 1, "show_progress": False}


def _write_run(method: str) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        import lpft_keras

        result = lpft_keras.run("demo", method, output_dir=folder / "out", **_RUN)
        shutil.copytree(result.directory, folder / "run")
        shutil.rmtree(folder / "out")

    return make


def _read_run(folder: Path) -> None:
    from lpft_keras.page import write_page
    from lpft_keras.report import represent, result_tables, score_run
    from lpft_keras.results import RunResult

    result = RunResult.load(folder / "run")
    for name in ("metrics", "config", "environment", "rows", "predictions", "features", "history"):
        getattr(result, name)
    result_tables([result], paper=True)
    score_run(result)
    represent(result)
    write_page([result], folder / "page.html")


def _read_weights(folder: Path) -> None:
    from lpft_keras import TextClassifier

    TextClassifier.from_run(folder / "run")


def _write_kernel(folder: Path) -> None:
    import lpft_keras

    own = {name: _RUN[name] for name in ("backbone", "limit", "max_length", "show_progress")}
    made = lpft_keras.run_ntk("demo", "ft", output_dir=folder / "out", rows=12, **own)
    shutil.copytree(made.directory, folder / "ntk")
    shutil.rmtree(folder / "out")
    shutil.copy(folder / "ntk" / "kernel.json", folder / "asked")


def _read_kernel(folder: Path) -> None:
    from lpft_keras.kernels import finished_kernel

    config = json.loads((folder / "asked").read_text())["config"]
    found = finished_kernel(folder / "ntk", config)
    if found is not None:
        found.kernels, found.rows  # noqa: B018


def _write_classifier(folder: Path) -> None:
    from lpft_keras import TextClassifier

    rows = [(a, b) for a, b, _ in _rows()]
    classifier = TextClassifier("lp", "tiny", max_length=32, validation_fraction=0.2)
    classifier.fit(rows, [label for *_, label in _rows()]).save(folder / "saved")


def _read_classifier(folder: Path) -> None:
    from lpft_keras import TextClassifier

    TextClassifier.load(folder / "saved")


def _write_preset(folder: Path) -> None:
    from lpft_keras.results import RunResult

    _write_run("lp")(folder)
    RunResult.load(folder / "run").to_preset(folder / "preset")
    shutil.rmtree(folder / "run")
    (folder / "preset" / "classifier.keras").unlink()


def _read_preset(folder: Path) -> None:
    from lpft_keras import TextClassifier

    TextClassifier.from_preset(folder / "preset")


def _write_checkpoint(folder: Path) -> None:
    import tokenizers
    import transformers

    texts = [part for row in _rows() for part in row[:2]]
    cut = tokenizers.ByteLevelBPETokenizer()
    cut.train_from_iterator(texts, 300, special_tokens=["<s>", "<pad>", "</s>", "<unk>", "<mask>"])
    directory = folder / "checkpoint"
    directory.mkdir()
    cut.save_model(str(directory))
    config = transformers.RobertaConfig(
        vocab_size=cut.get_vocab_size(),
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=50,
        type_vocab_size=1,
    )
    transformers.RobertaForMaskedLM(config).save_pretrained(directory)
    (directory / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "RobertaTokenizer"}))


def _read_checkpoint(folder: Path) -> None:
    from lpft_keras.models.backbones import load_backbone
    from lpft_keras.models.encoding import encode

    encode(load_backbone(str(folder / "checkpoint")), [("a b c", "d")], 16)


READERS = (
    Reader("csv", lambda f: _write_table(f / "rows.csv", ","), lambda f: _own(f, "rows.csv")),
    Reader("tsv", lambda f: _write_table(f / "rows.tsv", "\t"), lambda f: _own(f, "rows.tsv", quotes=False)),
    Reader("jsonl", lambda f: _write_lines(f / "rows.jsonl"), lambda f: _own(f, "rows.jsonl")),
    Reader("parquet", _write_parquet, lambda f: _own(f, "rows.parquet")),
    Reader("dataset", _write_dataset, lambda f: _own(f, "saved"), weight=0.3),
    Reader("task TOML", _write_toml, _read_own_toml, "*.toml"),
    Reader("sweep TOML", lambda f: (f / "sweep.toml").write_text(_SWEEP), _read_sweep_toml),
    Reader("official files", _write_official, _read_official),
    Reader("logits .npz", _write_npz, _score("logits.npz")),
    Reader("logits .csv", _write_logits_csv, _score("logits.csv")),
    Reader("scalings", _write_scalings, _read_scalings),
    Reader("run", _write_run("lp"), _read_run, "run/*.*", weight=0.3),
    Reader("weights: head", _write_run("lp"), _read_weights, "run/*.*", weight=0.1),
    Reader("weights: adapter", _write_run("lora"), _read_weights, "run/*.*", weight=0.1),
    Reader("weights: all", _write_run("ft"), _read_weights, "run/*.*", weight=0.1),
    Reader("kernel", _write_kernel, _read_kernel, "ntk/*.*"),
    Reader("classifier", _write_classifier, _read_classifier, weight=0.1),
    Reader("preset", _write_preset, _read_preset, weight=0.1),
    Reader("checkpoint", _write_checkpoint, _read_checkpoint, weight=0.3),
)


def _write_lines(path: Path) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in _dicts()))


def main() -> int:
    """Fuzz until the time is over."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", help="a reader, or what several begin with")
    parser.add_argument("--output", type=Path, default=Path("fuzz-findings"))
    parsed = parser.parse_args()
    logging.disable(logging.CRITICAL)
    readers = [reader for reader in READERS if reader.name.startswith(parsed.only or "")]
    counts = dict.fromkeys((reader.name for reader in readers), 0)
    found: dict[tuple[str, str], int] = {}
    with tempfile.TemporaryDirectory() as valid:
        for reader in readers:
            (Path(valid) / reader.name).mkdir()
            reader.make(Path(valid) / reader.name)
            reader.read(Path(valid) / reader.name)  # what is not broken is read
        end, number = time.monotonic() + 60 * parsed.minutes, parsed.seed * 100_000
        while time.monotonic() < end:
            for reader in readers:
                number += 1
                for outcome in examples(reader, Path(valid) / reader.name, number, max(1, round(40 * reader.weight))):
                    counts[reader.name] += 1
                    if outcome is None:
                        continue
                    finding, folder = outcome
                    known = found.setdefault((finding.reader, finding.key), 0)
                    found[finding.reader, finding.key] += 1
                    if not known:
                        print(f"{finding.reader}: {finding.key}", flush=True)
                        shutil.move(folder, parsed.output / f"{len(found)}")
                    else:
                        shutil.rmtree(folder)
                if time.monotonic() > end:
                    break
    print(f"{sum(counts.values())} inputs ({', '.join(f'{name} {count}' for name, count in counts.items())})")
    print(f"{len(found)} kinds of findings")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
