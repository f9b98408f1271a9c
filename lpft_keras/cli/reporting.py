"""`report`: finished runs as one page."""

import argparse
import logging
from collections.abc import Iterator
from contextlib import contextmanager

from lpft_keras.cli.reading import found_runs
from lpft_keras.markdown import one_line

log = logging.getLogger(__name__)


def add_report(commands) -> None:
    """Add `report`."""
    command = commands.add_parser(
        "report", help="one self-contained HTML page of finished runs: numbers, figures, errors", allow_abbrev=False
    )
    command.add_argument("runs", nargs="+", metavar="RUN_DIRECTORY", help="finished runs, or folders of them")
    command.add_argument("--output", default="report.html", metavar="FILE", help="the page (default: report.html)")
    command.add_argument(
        "--json", action="store_true", help="print one JSON object a task and backbone, and nothing else"
    )
    command.set_defaults(call=_report)


def _report(parsed: argparse.Namespace) -> int:
    runs = found_runs(parsed.runs)
    from lpft_keras.page import write_page
    from lpft_keras.storage import as_json

    with _silent("lpft_keras.calibration.temperature"):  # the page says which have no temperature, once
        page = write_page(runs, parsed.output)
    for record in page.records:
        print(as_json(record) if parsed.json else one_line(" ".join(record["summary"])))
    log.info("wrote %s", page.path)
    return 0


@contextmanager
def _silent(name: str) -> Iterator[None]:
    logger = logging.getLogger(name)
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before
