"""Many runs in one process: does memory stay; and what a thousand recorded runs take to list, tabulate and go on from.

    KERAS_BACKEND=torch python benchmarks/soak.py            # 200 runs on `tiny`, the five methods in turn
    python benchmarks/soak.py --fits 50                      # `TextClassifier.fit` in a loop
    python benchmarks/soak.py --recorded 1000                # each command on as many runs, in a process of its own

Memory is the process's resident size after each run and a collection of Python's garbage. Recorded runs are five real
ones, copied to as many seeds as are wanted.
"""

import argparse
import gc
import json
import logging
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

MARKS = (1, 20, 50, 100, 150, 200)
SMALL = {"backbone": "tiny", "limit": 24, "max_length": 32, "epochs": 1, "learning_rate": 1e-3, "micro_batches": 1}
METHODS = ("ft", "lp-ft", "lora", "lp-lora", "lp")


def resident() -> float:
    """Return the resident memory of this process in MiB."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def soak(step, times: int) -> None:
    """Do a step so many times and print memory at some, and the ratio of the last to the 20th."""
    start, held = time.perf_counter(), {}
    for number in range(1, times + 1):
        step(number)
        held[number] = resident()
        if number in MARKS or number == times or number % 5 == 0:
            seconds = (time.perf_counter() - start) / number
            print(f"{number:4d}: {held[number]:7.1f} MiB, {seconds:.2f} s each", flush=True)
    if times > 20:
        print(f"last over 20th: {held[times] / held[20]:.3f}")


def runs(times: int, folder: str) -> None:
    import lpft_keras

    def step(number):
        method = METHODS[number % len(METHODS)]
        lpft_keras.run("demo", method, seed=number, output_dir=folder, show_progress=False, **SMALL)

    soak(step, times)


def fits(times: int) -> None:
    from lpft_keras import TextClassifier

    texts = [f"a {'good' if n % 2 else 'bad'} film of {n} minutes" for n in range(40)]
    labels = [n % 2 for n in range(40)]
    options = {"backbone": "tiny", "max_length": 32, "epochs": 1, "learning_rate": 1e-3, "batch_size": 16}

    def step(number):
        method = METHODS[number % len(METHODS)]
        TextClassifier(method, seed=number, **options).fit(texts, labels).predict(texts[:4])

    soak(step, times)


def record(folder: Path, count: int) -> list[int]:
    """Do a run of each method, copy them until there are so many runs, and return their seeds."""
    import lpft_keras
    from lpft_keras.checksums import CHECKSUMS

    seeds = list(range(1, count // len(METHODS) + 1))
    for method in METHODS:
        first = lpft_keras.run("demo", method, seed=1, output_dir=folder, show_progress=False, **SMALL).directory
        config, summary = (json.loads((first / name).read_text()) for name in ("config.json", "metrics.json"))
        for seed in seeds[1:]:
            copy = first.with_name(f"seed_{seed}")
            shutil.copytree(first, copy, ignore=shutil.ignore_patterns(CHECKSUMS))
            config["settings"]["seed"] = summary["seed"] = seed
            (copy / "config.json").write_text(json.dumps(config))
            (copy / "metrics.json").write_text(json.dumps({**summary, "directory": str(copy)}))
    return seeds


def commands(count: int, folder: Path) -> None:
    """Time what reads, or goes on from, many recorded runs."""
    seeds = [part for seed in record(folder, count) for part in ("--seed", str(seed))]
    settings = [part for name, value in SMALL.items() for part in (f"--{name.replace('_', '-')}", str(value))]
    settings += ["--output-dir", str(folder), *seeds]
    page = str(folder.with_name("report.html"))
    sides = {
        "table": ["table", str(folder)],
        "table --differences": ["table", str(folder), "--differences"],
        "table --format csv": ["table", str(folder), "--format", "csv"],
        "calibrate": ["calibrate", str(folder)],
        "representation": ["representation", str(folder)],
        "report": ["report", str(folder), "--output", page],
        "sweep, all done": ["sweep", "--task", "demo", *(f"--method={method}" for method in METHODS), *settings],
    }
    for name, arguments in sides.items():
        start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run([sys.executable, "-m", "lpft_keras", *arguments], capture_output=True, text=True)
        wrong = "" if done.returncode == 0 else f" (exit {done.returncode}: {done.stderr[-500:]})"
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        worked = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        print(f"| {name} | {time.perf_counter() - start:.1f} | {worked:.1f} |{wrong}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--fits", type=int, help="instead: so many fits of a TextClassifier")
    parser.add_argument("--recorded", type=int, help="instead: commands on so many recorded runs")
    parsed = parser.parse_args()
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        if parsed.fits:
            fits(parsed.fits)
        elif parsed.recorded:
            commands(parsed.recorded, Path(folder) / "runs")
        else:
            runs(parsed.runs, folder)


if __name__ == "__main__":
    main()
