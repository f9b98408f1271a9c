"""Kill commands at random moments, call them again, and compare all they leave with what an unbroken call leaves.

    python scripts/kill_at_random.py --kills 50 --seed 0        # some ten minutes; PyTorch, unless KERAS_BACKEND is set

Half of the kills come at a moment of the command's time, spread over it; the others just before a file is opened,
renamed or removed, where what is half done would show. Always the whole process group gets SIGKILL. `--how interrupt`
sends SIGINT in its place, as Ctrl-C does, and looks at how the command ends; `--how together` calls it twice at once.
To save the seconds of importing Keras, commands are forked from a process that has imported all and computed nothing.
Processes that a sweep starts are started as ever.
"""

import argparse
import collections
import csv
import json
import logging
import os
import re
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "torch")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["CI"] = "true"

import h5py
import numpy as np

from lpft_keras.cli import main as lpft_keras_main
from lpft_keras.progress import silent_start

_SMALL = ["--backbone", "tiny", "--limit", "40", "--max-length", "24"]
_TRAINED = [*_SMALL, "--epochs", "3", "--learning-rate", "3e-3"]
COMMANDS: dict[str, list[str]] = {
    **{f"run {name}": ["run", "demo", *_TRAINED, "--method", name] for name in ("lp-ft", "ft", "lora")},
    "ntk": ["ntk", "--task", "demo", *_SMALL, "--rows", "8", "--method", "ft", "--max-memory", "3e6"],
    "sweep": ["sweep", "--task", "demo", *_TRAINED, "--method", "lp", "--method", "ft", "--seed", "1", "--seed", "2"],
    "sweep workers": ["sweep", "--task", "demo", *_TRAINED, "--method", "lp", "--method", "ft", "--workers", "2"],
    "reproduce": ["reproduce", "table12", "figure4", "--task", "demo", *_SMALL, "--epochs", "1", "--method", "lp-ft"],
    "reproduce kernels": ["reproduce", "table2", "figure8", "--task", "demo", *_SMALL, "--rows", "12"],
    "report": ["report", "OUTPUT/demo", "--output", "OUTPUT/report.html"],
    "kernel-view": ["kernel-view", "demo", *_SMALL, "--shots", "4", "--epochs", "1", "--rows", "12"],
}
for _name in ("reproduce", "reproduce kernels"):
    COMMANDS[_name] += ["--seed", "1"]
COMMANDS["reproduce kernels"] += ["--method", "lp-ft"]
COMMANDS["kernel-view"] += ["--optimizer", "sgd"]
_WRITING = ("os.rename", "os.remove", "os.mkdir", "os.rmdir")
HOWS = ("time", "write", "interrupt", "together")
_A_WHILE = 1.5  # seconds that a command may take to end
_TOO_LATE = 0.25  # seconds before its end in which Ctrl-C may find nothing left to interrupt
_OWN_TIME = ("seconds", "directory")


def start(name: str, output: Path, kill_at_write: int | None = None) -> int:
    """Start a command in a process group of its own, and return its process id.

    Args:
        name: Its name in `COMMANDS`.
        output: The output directory; its log and temporary files lie beside it.
        kill_at_write: The group is killed before this change of a file; None lets it be.
    """
    words = [word.replace("OUTPUT", str(output)) for word in COMMANDS[name]]
    if name != "report":
        words += ["--output-dir", str(output)]
    child = os.fork()
    if child:
        return child
    os.setpgid(0, 0)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which a background process ignores
    log = os.open(output.with_suffix(".log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    temporary = output.with_suffix(".tmp")
    temporary.mkdir(exist_ok=True)
    os.environ["TMPDIR"] = tempfile.tempdir = str(temporary)
    _count_writes(output, kill_at_write)
    try:
        code = lpft_keras_main(words)
    except SystemExit as error:
        code = int(error.code or 0)
    finally:
        sys.stdout.flush()
        logging.shutdown()
    if name == "sweep workers":  # as a process's end does
        from joblib.externals.loky import get_reusable_executor

        get_reusable_executor().shutdown(kill_workers=True)
    os._exit(code)


def _count_writes(output: Path, kill_at: int | None) -> None:
    """Count changes of files below the output directory in a file beside it; at a certain one, kill the group."""
    count, counted = 0, os.open(output.with_suffix(".writes"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)

    def hook(event: str, arguments: tuple) -> None:
        nonlocal count
        writes = event in _WRITING or (event == "open" and isinstance(arguments[2], int) and arguments[2] & 3)
        if writes and str(arguments[0]).startswith(str(output)):
            count += 1
            os.pwrite(counted, b"%d" % count, 0)
            if count == kill_at:
                os.killpg(0, signal.SIGKILL)

    sys.addaudithook(hook)


def finish(child: int) -> int:
    """Wait for a command, and return its status, negative for a signal's."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def contents(output: Path) -> dict[str, Any]:
    """Return all that lies in an output directory by its name, as it can be compared; but for documented locks."""
    found = {}
    for path in sorted(output.rglob("*")):
        name = str(path.relative_to(output))
        if path.is_dir() or path.suffix == ".lock":
            continue
        found[name] = _comparable(path, output)
    return found


def _comparable(path: Path, output: Path) -> Any:
    if path.suffix == ".json":
        return _without_times(json.loads(path.read_text().replace(str(output), "OUTPUT")))
    if path.suffix == ".npz":
        with np.load(path) as arrays:
            return {name: (array.dtype.str, array.shape, array.tobytes()) for name, array in arrays.items()}
    if path.suffix == ".h5":
        found = {}
        with h5py.File(path) as file:
            file.visititems(
                lambda name, item: found.update({name: item[()].tobytes()} if hasattr(item, "dtype") else {})
            )
        return found
    if path.suffix in (".png", ".svg", ".pdf"):
        return path.stat().st_size > 0  # they hold the time they were made
    if path.suffix in (".html", ".md"):
        return re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d", "TIME", path.read_text().replace(str(output), "OUTPUT"))
    if path.name == "checksums.txt":  # of files that hold times
        return sorted(line.split()[-1] for line in path.read_text().splitlines()[1:])
    return path.read_bytes().replace(str(output).encode(), b"OUTPUT")


def _without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_times(item) for name, item in value.items() if name not in _OWN_TIME}
    return [_without_times(item) for item in value] if isinstance(value, list) else value


def compare(found: dict[str, Any], expected: dict[str, Any]) -> list[str]:
    """Return in words how what a broken and repeated command left differs from what an unbroken one leaves."""
    words = [f"missing {name}" for name in expected if name not in found]
    words += [f"debris {name}" for name in found if name not in expected]
    return words + [f"differs {name}" for name in found if name in expected and found[name] != expected[name]]


def stage(output: Path) -> str:
    """Return how far a killed command had come, by what it had written last."""
    files = [path for path in output.rglob("*") if path.is_file() and path.suffix != ".lock"]
    if not files:
        return "nothing written"
    last = max(files, key=lambda path: path.stat().st_mtime_ns)
    name = re.sub(r"[0-9a-f]{12,}", "*", re.sub(r"\.(\w{8}|\w{10})\.part$", ".part", last.name))
    return f"after {re.sub(r'[0-9]+', 'N', name)}"


class Unbroken:
    """A command that nobody killed: what it left, how long it took and how many changes of files it made."""

    def __init__(self, name: str, folder: Path, prepared: Path):
        output = prepare(name, folder / "unbroken", prepared)
        begun = time.monotonic()
        status = finish(start(name, output))
        self.seconds = time.monotonic() - begun
        if status:
            raise SystemExit(f"{name} ended with {status}:\n{output.with_suffix('.log').read_text()}")
        self.writes = int(output.with_suffix(".writes").read_text() or 0)
        self.contents = contents(output)


def prepare(name: str, output: Path, prepared: Path) -> Path:
    """Return an output directory as a command finds it: with finished runs where it reads them."""
    if name == "report":
        shutil.copytree(prepared, output)
    else:
        output.mkdir(parents=True)
    return output


def interrupted(child: int, log: Path) -> list[str]:
    """Press Ctrl-C, as a terminal does it, and return what is wrong with how a command ends.

    On a machine that has grown faster a command may be done by then, and ends as it would have.
    """
    begun = time.monotonic()
    os.killpg(child, signal.SIGINT)
    status, seconds = finish(child), time.monotonic() - begun
    if status == 0 and seconds < _TOO_LATE:
        return []
    said, wrong = log.read_text(), []
    if status != 130:
        wrong.append(f"ended with {status}")
    last = said.splitlines()[-1] if said else ""
    if "interrupted; " not in last or "Traceback" in said:
        wrong.append(f"said {said[-1500:]}")
    if seconds > _A_WHILE:
        wrong.append(f"took {seconds:.1f} s to end")
    time.sleep(0.2)
    if _lives(child):
        wrong.append("left processes behind")
    return wrong


def _lives(group: int) -> bool:
    """Return whether a process group has any process that is no zombie, which only init could reap."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, its_group, *_ = stat.read_text().rpartition(")")[2].split()
        except OSError:  # it has just ended
            continue
        if int(its_group) == group and state != "Z":
            return True
    return False


def kill_once(name: str, output: Path, prepared: Path, unbroken: Unbroken, moment: float, how: str) -> list[str]:
    """Kill a command, call it again, and return the stage it was killed at, and what is wrong after.

    Args:
        name: The command.
        output: Its output directory, not there yet.
        prepared: The output directory of finished runs.
        unbroken: What it does unbroken.
        moment: In its time, from 0 to 1.
        how: One of `HOWS`: "write" counts the moment in changes of files, and "together" kills nothing, but calls the
            command twice at once.
    """
    prepare(name, output, prepared)
    wrong = []
    other = start(name, output) if how == "together" else None
    child = start(name, output, kill_at_write=1 + int(moment * unbroken.writes) if how == "write" else None)
    if how in ("time", "interrupt"):
        time.sleep(moment * unbroken.seconds)
    if other is not None:
        ends = [finish(one) for one in (child, other)]
        where, wrong = "together", [] if ends == [0, 0] else [f"two at once ended with {ends}"]
    elif how == "interrupt":
        wrong += interrupted(child, output.with_suffix(".log"))
        where = stage(output)
    else:
        if how == "time":
            os.killpg(child, signal.SIGKILL)
        status = finish(child)
        where = stage(output) if status == -signal.SIGKILL else f"had ended ({status})"
    again = finish(start(name, output))
    wrong += (
        [] if again == 0 else [f"the next call ended with {again}: {output.with_suffix('.log').read_text()[-600:]}"]
    )
    wrong += compare(contents(output), unbroken.contents)
    wrong += [f"debris in TMPDIR: {path.name}" for path in output.with_suffix(".tmp").iterdir()]
    return [where, *wrong]


def kill_all(
    names: Sequence[str], kills: int, seed: int, hows: Sequence[str], folder: Path, say: Callable[[str], None]
) -> int:
    """Kill or interrupt commands in turn, say what came of it, and return how often something was wrong."""
    with silent_start():
        import lpft_keras.experiment
        import lpft_keras.kernel_views
        import lpft_keras.page
        import lpft_keras.reproduction  # noqa: F401
    rng = np.random.default_rng(seed)
    prepared = folder / "prepared" / "output"
    prepared.mkdir(parents=True)
    if "report" in names and finish(start("sweep", prepared)):
        raise SystemExit(prepared.with_suffix(".log").read_text())
    unbroken: dict[str, Unbroken] = {}
    counts: dict[str, collections.Counter] = collections.defaultdict(collections.Counter)
    wrong_ones = 0
    for number in range(kills):
        name, turn = names[number % len(names)], number // len(names)
        if name not in unbroken:
            unbroken[name] = Unbroken(name, folder / re.sub(r"\W", "-", name), prepared)
            say(f"{name}: {unbroken[name].seconds:.1f} s, {unbroken[name].writes} changes of files")
        turns = -(-kills // len(names))
        moment = (turn + rng.uniform()) / turns  # spread over all of it
        output = folder / re.sub(r"\W", "-", name) / str(number)
        how = hows[turn % len(hows)]
        where, *wrong = kill_once(name, output, prepared, unbroken[name], moment, how)
        counts[name][where] += 1
        wrong_ones += bool(wrong)
        say(f"{number + 1}/{kills} {name}, {how} {moment:.2f}, {where}: {wrong or 'whole'}")
        shutil.rmtree(output, ignore_errors=True)
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(["command", "killed", "times"])
    writer.writerows([name, where, times] for name, found in counts.items() for where, times in found.items())
    say(f"{kills} kills, {wrong_ones} with something wrong after")
    return wrong_ones


def main() -> int:
    """Parse arguments, kill, and return 1 where anything was wrong after."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", action="append", choices=list(COMMANDS), help="may be repeated")
    parser.add_argument("--how", action="append", choices=HOWS, help="may be repeated (default: time and write)")
    parsed = parser.parse_args()
    names = parsed.only or list(COMMANDS)
    with tempfile.TemporaryDirectory() as folder:
        wrong = kill_all(
            names, parsed.kills, parsed.seed, parsed.how or HOWS[:2], Path(folder), lambda line: print(line, flush=True)
        )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
