"""ECE of ten million predictions of two classes, against netcal and torchmetrics, and the bootstrap: times and memory.

    python benchmarks/calibration.py [--rows N] [--repeats K]

All sides see the same float32 arrays; each is a process of its own, so that its growth of memory is its own.
Prints medians.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time

import numpy as np

SIDES = ("lpft-keras", "netcal", "torchmetrics", "bootstrap")


def predictions(rows):
    rng = np.random.default_rng(0)
    first = rng.beta(2, 1, rows).astype(np.float32)
    return np.stack([first, 1 - first], axis=1), (rng.random(rows) > first).astype(np.int64)


def prepare(side, p, y):
    """Return a function that computes the number, imports and tensors already made."""
    if side == "lpft-keras":
        from lpft_keras.calibration import expected_calibration_error

        return lambda: expected_calibration_error(p, y)
    if side == "bootstrap":
        from lpft_keras.calibration import bootstrap_interval, expected_calibration_error

        return lambda: bootstrap_interval(expected_calibration_error, p[:10_000], y[:10_000], resamples=1000).value
    if side == "netcal":
        from netcal.metrics import ECE

        return lambda: ECE(15).measure(p.max(1), (p.argmax(1) == y).astype(int))
    import torch
    from torchmetrics.functional.classification import multiclass_calibration_error

    torch.set_num_threads(1)
    given, labels = torch.from_numpy(p), torch.from_numpy(y)
    return lambda: float(multiclass_calibration_error(given, labels, num_classes=2, n_bins=15))


def measure(side, rows, repeats):
    compute = prepare(side, *predictions(rows))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        value = compute()
        seconds.append(time.perf_counter() - start)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    return {"value": float(value), "seconds": statistics.median(seconds), "megabytes": grown}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    parsed = parser.parse_args()
    if parsed.side:
        print(json.dumps(measure(parsed.side, parsed.rows, parsed.repeats)))
        return
    found = {}
    for side in SIDES:
        command = [
            sys.executable,
            __file__,
            "--side",
            side,
            "--rows",
            str(parsed.rows),
            "--repeats",
            str(parsed.repeats),
        ]
        found[side] = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    ours = found["lpft-keras"]["seconds"]
    print(
        f"ECE of {parsed.rows:,} x 2, float32; bootstrap: 1,000 resamples of 10,000 rows; medians of {parsed.repeats}"
    )
    print("| side | value | seconds | times ours | memory grown |\n|---|---|---|---|---|")
    for side, row in found.items():
        ratio = "" if side == "bootstrap" else f"{row['seconds'] / ours:.2f}"
        print(f"| {side} | {row['value']:.6f} | {row['seconds']:.2f} | {ratio} | {row['megabytes']:.0f} MB |")


if __name__ == "__main__":
    main()
