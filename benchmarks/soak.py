"""Many runs in one process: does memory stay; and what a sweep of a thousand recorded runs takes to read.

    KERAS_BACKEND=torch python benchmarks/soak.py            # 200 runs on `tiny`, all five methods in turn
    python benchmarks/soak.py --fits 50                      # `TextClassifier.fit` in a loop
    python benchmarks/soak.py --recorded 1000                # lists, tables and reports of recorded runs

Resident memory is read after each run and a collection of Python's garbage.
"""

import argparse
import gc
import os
import tempfile
import time
from pathlib import Path

MARKS = (1, 20, 50, 100, 150, 200)
SMALL = {"backbone": "tiny", "limit": 24, "max_length": 32, "epochs": 1, "learning_rate": 1e-3, "micro_batches": 1}


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
            print(f"{number:4d}: {held[number]:7.1f} MiB, {(time.perf_counter() - start) / number:.2f} s each", flush=True)
    if times > 20:
        print(f"last over 20th: {held[times] / held[20]:.3f}")


def runs(times: int, folder: str) -> None:
    import lpft_keras
    from lpft_keras.methods import METHODS

    methods = list(METHODS)
    soak(
        lambda number: lpft_keras.run(
            "demo", methods[number % len(methods)], seed=number, output_dir=folder, show_progress=False, **SMALL
        ),
        times,
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=200)
    parsed = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        runs(parsed.runs, folder)


if __name__ == "__main__":
    main()
