"""Commands that read finished runs: `calibrate`, `representation` and `table`."""

import argparse
import io
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lpft_keras.errors import InputError, unknown_name

if TYPE_CHECKING:
    from lpft_keras.report import ResultTable
    from lpft_keras.results import RunResult

log = logging.getLogger(__name__)

_FORMATS = {"text": ".txt", "csv": ".csv", "markdown": ".md", "latex": ".tex"}
_PASSED_OVER = {"tuning", "cache"}


def add_calibrate(commands) -> None:
    """Add `calibrate`."""
    command = commands.add_parser(
        "calibrate", help="calibration before and after scaling, of runs or of any logits", allow_abbrev=False
    )
    command.add_argument(
        "sources",
        nargs="+",
        metavar="RUN_DIRECTORY|FILE",
        help="finished runs, or folders of them; or .npz (labels, and logits or probabilities) or .csv (label, and one "
        "column of logits or probabilities a class, nothing else)",
    )
    command.add_argument(
        "--method",
        default="temperature",
        metavar="M",
        # Named here: what fits them is slow to import.
        help="temperature (default), vector, matrix, dirichlet, platt, isotonic, histogram, beta",
    )
    command.add_argument("--split", default="test", metavar="S", help="of runs: the rows measured (default: test)")
    command.add_argument(
        "--validation",
        metavar="FILE",
        help="of files: what the scaling is fitted on (default: five-fold cross-fitting)",
    )
    command.add_argument(
        "--plot",
        metavar="FILE",
        help="reliability diagrams before and after, .png, .svg or .pdf; for several methods or files one each",
    )
    command.add_argument("--json", action="store_true", help="print one JSON object a source, and nothing else")
    command.set_defaults(call=_calibrate)


def _calibrate(parsed: argparse.Namespace) -> int:
    from lpft_keras.figures import check_figures, save_figure

    if parsed.plot:
        check_figures(parsed.plot)
    files = [source for source in parsed.sources if not Path(source).is_dir()]
    runs = _runs_of_one_task([source for source in parsed.sources if Path(source).is_dir()])
    if files and parsed.split != "test":
        raise InputError("--split is for runs; a file holds the rows that are measured")
    if runs and parsed.validation:
        raise InputError("--validation is for files; a run's own validation rows fit its scaling")
    for file in [*files, *([parsed.validation] if parsed.validation else [])]:
        if not Path(file).is_file():
            raise InputError(f"{file} is no file; give a run directory, or .npz or .csv with logits and labels")
    from lpft_keras.calibration import SCALINGS

    if parsed.method not in SCALINGS:
        raise unknown_name("scaling", parsed.method, SCALINGS)
    from lpft_keras.report import groups, plot_scored, score_file, score_run
    from lpft_keras.storage import as_json, slug
    from lpft_keras.tables import print_calibration

    kinds = [
        (name, [score_run(result, parsed.method, parsed.split) for result in members])
        for name, members in groups(runs).items()
    ]
    for file in dict.fromkeys(files):
        kinds.append((file, [score_file(file, parsed.method, validation=parsed.validation)]))
    if parsed.json:
        for _, scored in kinds:
            for one in scored:
                print(as_json(one.as_dict()))
    else:
        print_calibration(kinds, _title(runs, parsed.split))
    if parsed.plot:
        path = Path(parsed.plot)
        for name, scored in kinds:
            own = path if len(kinds) == 1 else path.with_stem(f"{path.stem}-{slug(name)}")
            save_figure(plot_scored(scored, name), own)
            log.info("wrote %s", own)
    return 0


def add_representation(commands) -> None:
    """Add `representation`."""
    command = commands.add_parser(
        "representation", help="how far features moved and how well they separate", allow_abbrev=False
    )
    command.add_argument("runs", nargs="+", metavar="RUN_DIRECTORY", help="finished runs")
    command.add_argument("--split", metavar="S", help="the rows measured (default: test, or validation without any)")
    command.add_argument(
        "--ridge",
        type=float,
        metavar="R",
        help="of Fisher's ratio: R mean eigenvalues added to the within-class scatter (default: pseudo-inverse)",
    )
    command.add_argument("--json", action="store_true", help="print one JSON object a run, and nothing else")
    command.set_defaults(call=_representation)


def _representation(parsed: argparse.Namespace) -> int:
    runs = _runs_of_one_task(parsed.runs)
    from lpft_keras.report import groups, represent
    from lpft_keras.storage import as_json
    from lpft_keras.tables import print_representation

    split = parsed.split or ("test" if all("test" in result.metrics for result in runs) else "validation")
    kinds = [
        (name, [represent(result, split, ridge=parsed.ridge) for result in members])
        for name, members in groups(runs).items()
    ]
    if parsed.json:
        for _, measured in kinds:
            for one in measured:
                print(as_json(one.as_dict()))
    else:
        print_representation(kinds, _title(runs, split), parsed.ridge)
    return 0


def add_table(commands) -> None:
    """Add `table`."""
    command = commands.add_parser(
        "table", help="mean and standard deviation over seeds, of runs of any tasks and methods", allow_abbrev=False
    )
    command.add_argument("runs", nargs="+", metavar="RUN_DIRECTORY", help="finished runs, or folders of them")
    command.add_argument("--metric", metavar="M", help="such as macro_f1 or ece (default: each task's own)")
    command.add_argument(
        "--format", metavar="F", help=f"{', '.join(_FORMATS)} (default: by --output's ending, or text)"
    )
    command.add_argument(
        "--differences",
        action="store_true",
        help="instead: each method less another over the same seeds and rows, with a bootstrap interval",
    )
    command.add_argument(
        "--versus", metavar="METHOD", help="of differences: what is compared with (default: ft, or the first there is)"
    )
    command.add_argument("--paper", action="store_true", help="the paper's values (of RoBERTa-base) below ours")
    command.add_argument("--output", metavar="FILE", help="write the tables there, .txt, .csv, .md or .tex")
    command.add_argument("--json", action="store_true", help="print one JSON object a number, and nothing else")
    command.set_defaults(call=_table)


def _table(parsed: argparse.Namespace) -> int:
    form = _format(parsed.format, parsed.output)
    if parsed.versus and not parsed.differences:
        raise InputError("--versus says what --differences are compared with; add --differences, or leave it out")
    if parsed.paper and parsed.differences:
        raise InputError("the paper has no differences of paired runs; leave out --paper or --differences")
    if parsed.json and parsed.format and not parsed.output:
        raise InputError("--json prints JSON, whatever the format; leave out --format, or name a file (--output)")
    runs = found_runs(parsed.runs)
    from lpft_keras.atomic import write_atomically
    from lpft_keras.report import difference_table, paired_differences, result_tables
    from lpft_keras.storage import as_json
    from lpft_keras.tables import print_result_tables

    if parsed.differences:
        tables = [difference_table(paired_differences(runs, parsed.metric, parsed.versus))]
    else:
        tables = result_tables(runs, parsed.metric, parsed.paper)
    if parsed.output:
        content = _rendered(tables, form).encode()
        write_atomically(Path(parsed.output), lambda file: file.write(content))
        log.info("wrote %s", parsed.output)
    if parsed.json:
        for table in tables:
            for record in table.records:
                print(as_json(record))
    elif not parsed.output:
        if form == "text":
            print_result_tables(tables)
        else:
            print(_rendered(tables, form), end="")
    return 0


def _format(asked: str | None, output: str | None) -> str:
    """Return the format asked for, or that of a file's ending."""
    if asked is not None:
        if asked not in _FORMATS:
            raise unknown_name("format", asked, _FORMATS)
        return asked
    if output is None:
        return "text"
    endings = {ending: name for name, ending in _FORMATS.items()}
    ending = Path(output).suffix.lower()
    if ending not in endings:
        raise unknown_name("ending of --output", ending, endings)
    return endings[ending]


def _rendered(tables: Sequence["ResultTable"], form: str) -> str:
    from lpft_keras.report import as_csv, as_latex, as_markdown
    from lpft_keras.tables import print_result_tables

    if form == "text":
        text = io.StringIO()
        print_result_tables(tables, text)
        return text.getvalue()
    return {"csv": as_csv, "markdown": as_markdown, "latex": as_latex}[form](tables)


def found_runs(directories: Sequence[str]) -> list["RunResult"]:
    """Return the runs of directories, those below a directory that is none itself too.

    Folders of runs that were only tried out, and the cache, are passed over, unless they are what is named.
    """
    from lpft_keras.results import RunResult

    found: list[RunResult] = []
    seen: set[Path] = set()
    for directory in map(Path, directories):
        below = sorted(path.parent for path in directory.rglob("metrics.json"))
        below = [path for path in below if not _PASSED_OVER.intersection(path.relative_to(directory).parts)]
        if not below or directory in below:
            below = [directory]
        found += [RunResult.load(path) for path in below if path.resolve() not in seen]
        seen.update(path.resolve() for path in below)
    return found


def _runs_of_one_task(directories: Sequence[str]) -> list["RunResult"]:
    """Return the runs of directories, as `found_runs`, all of one task and backbone."""
    found = found_runs(directories)
    kinds = {(run.summary["task"], run.summary["backbone"]) for run in found}
    if len(kinds) > 1:
        named = ", ".join(sorted(f"{task} on {backbone}" for task, backbone in kinds))
        raise InputError(f"these runs are of several tasks or backbones ({named}); give those of one at a time")
    return found


def _title(runs: Sequence["RunResult"], split: str) -> str:
    if not runs:
        return "calibration"
    return f"{runs[0].summary['task']} on {runs[0].summary['backbone']}, {split} rows"
