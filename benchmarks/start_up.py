"""Start-up time: `import lpft_keras` and `lpft-keras --help` over a bare `python -c pass`.

    python benchmarks/start_up.py [--runs 15]

Each round runs all three, so that other load on the machine strikes them alike; the table holds medians.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import time

COMMANDS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "import lpft_keras": [sys.executable, "-c", "import lpft_keras"],
    "lpft-keras --help": [shutil.which("lpft-keras") or "lpft-keras", "--help"],
}


def seconds(command: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=15)
    options = parser.parse_args()
    for command in COMMANDS.values():  # files into the cache, bytecode written
        seconds(command)
    rounds = [{name: seconds(command) for name, command in COMMANDS.items()} for _ in range(options.runs)]
    bare = statistics.median(one["python -c pass"] for one in rounds)
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, {options.runs} rounds\n")
    print("| command | seconds | ratio | more seconds |\n|---|---:|---:|---:|")
    for name in COMMANDS:
        median = statistics.median(one[name] for one in rounds)
        print(f"| `{name}` | {median:.3f} | {median / bare:.1f} | {median - bare:.3f} |")


if __name__ == "__main__":
    main()
