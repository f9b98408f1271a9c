"""A CSV of many rows to token arrays: how near to the raw tokenizer's own rate, and in how much memory.

Both sides run in processes of their own, in turn, on the same rows. "Raw" is the Hugging Face tokenizer on texts that
are in memory already, its ids thrown away; ours reads the file, checks and labels the rows, cuts, truncates, pads, and
writes the arrays. Memory is what the process holds beyond files that the system may drop (RssAnon), less what it held
before it read the first row.

    python benchmarks/encoding.py                     # a million rows
    python benchmarks/encoding.py --rows 200000 --repeats 3
"""

import argparse
import csv
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

LENGTH = 128


def write_rows(path: Path, rows: int, each: int) -> None:
    """Write sentences of the demo's grammar, of some eight words, so many a row."""
    import numpy as np

    from lpft_keras.tasks.grammar import demo_rows

    sentences = [text for split in ("train", "test", "ood") for pair in demo_rows(split) for text in pair[:2]]
    chosen = np.random.default_rng(0).integers(0, len(sentences), (rows, each))
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        writer.writerows([" ".join(sentences[i] for i in row), f"class {row[0] % 3}"] for row in chosen.tolist())


def held() -> int:
    """Return the bytes of this process that no file backs."""
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("RssAnon"))


class Watch(threading.Thread):
    """Notes the greatest number of bytes held."""

    def __init__(self):
        super().__init__(daemon=True)
        self.start_bytes = self.peak = held()
        self.ended = threading.Event()

    def run(self):
        """Look every few milliseconds."""
        while not self.ended.wait(0.02):
            self.peak = max(self.peak, held())


def raw(path: Path) -> dict:
    """Cut the texts by the tokenizer alone."""
    from lpft_keras.models.backbones import load_backbone
    from lpft_keras.models.tokenization import rust_tokenizer

    tokenizer = rust_tokenizer(load_backbone("random:minilm").preprocessor.tokenizer)
    with open(path, newline="", encoding="utf-8") as file:
        texts = [row[0] for row in csv.reader(file)][1:]
    start = time.perf_counter()
    for first in range(0, len(texts), 4096):
        tokenizer.encode_batch_fast(texts[first : first + 4096], add_special_tokens=False)
    return {"seconds": time.perf_counter() - start}


def ours(path: Path) -> dict:
    """Make token arrays of the file, as `run` does."""
    from lpft_keras.encodings import encoded_splits
    from lpft_keras.models.backbones import load_backbone
    from lpft_keras.tasks import load_task, own_task

    backbone = load_backbone("random:minilm")
    watch = Watch()
    watch.start()
    with tempfile.TemporaryDirectory() as cache:
        start = time.perf_counter()
        data = load_task(own_task(path))
        read = time.perf_counter() - start
        encoded_splits(backbone, data, LENGTH, Path(cache), show_progress=False)
        seconds = time.perf_counter() - start
    watch.ended.set()
    return {"seconds": seconds, "read": read, "bytes": watch.peak - watch.start_bytes}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--sentences", type=int, default=3, help="sentences a row (default: 3, some 30 tokens)")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--side", choices=("raw", "ours"), help=argparse.SUPPRESS)
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        print(json.dumps({"raw": raw, "ours": ours}[options.side](options.file)))
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.csv"
        write_rows(path, options.rows, options.sentences)
        found: dict[str, list[dict]] = {"raw": [], "ours": []}
        for _ in range(options.repeats):
            for side in found:
                command = [sys.executable, __file__, "--side", side, "--file", str(path)]
                done = subprocess.run(command, check=True, capture_output=True, text=True)
                found[side].append(json.loads(done.stdout.splitlines()[-1]))
    median = {side: statistics.median(one["seconds"] for one in runs) for side, runs in found.items()}
    read = statistics.median(one["read"] for one in found["ours"])
    what = f"{options.rows:,} rows of {options.sentences} sentences"
    print(f"{what}, {path.name} to int32 [rows, {LENGTH}]; medians of {options.repeats}")
    print(f"raw tokenizer: {median['raw']:.1f} s, {options.rows / median['raw']:,.0f} rows a second")
    print(
        f"ours: {median['ours']:.1f} s ({read:.1f} s of it reading), {options.rows / median['ours']:,.0f} rows a second"
    )
    print(f"ratio: {median['raw'] / median['ours']:.2f}; memory: {max(o['bytes'] for o in found['ours']) / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
