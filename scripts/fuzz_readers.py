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
from fuzzed_files import READERS, Reader
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from lpft_keras.errors import InputError

SECONDS = 30  # longer takes no reader for files as small as these
_LARGEST = 2**20  # of a file that is broken; larger ones are arrays like those of others

_NASTY_TEXT = ["", "\0", "\ufeff", "\u2028", "\x85", "a\nb", '"', "é", "\U0001f600", "{", "x" * 200_000, "nan", "-1"]
_NASTY_BYTES = [text.encode() for text in _NASTY_TEXT] + [b"\xff\xfe", b"\r", b"\r\n", b"\t", b",", b"[" * 20_000]
_NASTY_BYTES += [b"NaN", b"Infinity", b"9" * 5_000, b'{"a": ' * 5_000, b"\xed\xa0\x80"]
_ENCODINGS = ["utf-16", "utf-16-le", "utf-32", "latin-1", "utf-8-sig"]
_NASTY_VALUES = [None, True, -1, 0, 2**70, 1e308, float("nan"), float("inf"), "", "\0", "x" * 5_000]
_NASTY_VALUES += [[], {}, [[]], [1, "a"]]

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
