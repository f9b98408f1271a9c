"""Valid files of every kind that the package reads, and what reads them, for `fuzz_readers.py`."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lpft_keras.errors import InputError


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


def _write_lines(path: Path) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in _dicts()))


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
    for name in ("temperature", "vector", "platt", "isotonic"):
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
