"""Start-up time: what a command takes before it works, and what commands that only read take in all.

    python benchmarks/start_up.py [--runs 15] [--before /path/to/another/checkout]

Each round runs all of them, so that other load on the machine strikes them alike; the table holds medians. With another
checkout each command is run by both, one after the other.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent
LPFT = [sys.executable, "-m", "lpft_keras"]


def commands(runs: str) -> dict[str, list[str]]:
    return {
        "python -c pass": [sys.executable, "-c", "pass"],
        "import lpft_keras": [sys.executable, "-c", "import lpft_keras"],
        "lpft-keras --help": [*LPFT, "--help"],
        "lpft-keras run dmeo": [*LPFT, "run", "dmeo"],
        "lpft-keras table": [*LPFT, "table", runs],
        "lpft-keras calibrate": [*LPFT, "calibrate", runs],
        "lpft-keras report": [*LPFT, "report", runs, "--output", f"{runs}.html"],
        "import keras": [sys.executable, "-c", "import keras"],
    }


def seconds(command: list[str], package: Path, folder: str) -> float:
    start = time.perf_counter()
    # Elsewhere than in a checkout, which Python would take the package from.
    environment = {**os.environ, "PYTHONPATH": str(package), "CI": "1"}
    subprocess.run(command, env=environment, cwd=folder, capture_output=True)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--before", type=Path, help="another checkout to compare with")
    options = parser.parse_args()
    packages = [HERE] if options.before is None else [options.before, HERE]
    with tempfile.TemporaryDirectory() as folder:
        runs = f"{folder}/runs"
        train = ["run", "demo", "--backbone", "tiny", "--method", "lp", "--limit", "60", "--output-dir", runs]
        subprocess.run([*LPFT, *train], check=True, capture_output=True, env={**os.environ, "PYTHONPATH": str(HERE)})
        asked = commands(runs)
        taken: dict[tuple[str, Path], list[float]] = {}
        for number in range(options.runs + 1):
            for name, command in asked.items():
                for package in packages:
                    value = seconds(command, package, folder)
                    if number:  # the first round fetches files into memory and writes bytecode
                        taken.setdefault((name, package), []).append(value)
    medians = {key: statistics.median(values) for key, values in taken.items()}
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, {options.runs} rounds\n")
    columns = ["before", "seconds", "ratio"] if options.before else ["seconds"]
    print(f"| command | {' | '.join(columns)} |\n|---|{'---:|' * len(columns)}")
    for name in asked:
        values = [medians[name, package] for package in packages]
        ratio = [values[1] / values[0]] if options.before else []
        print(f"| `{name}` | {' | '.join(f'{value:.2f}' for value in [*values, *ratio])} |")


if __name__ == "__main__":
    main()
