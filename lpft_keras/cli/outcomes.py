"""What several runs came to, on the command line: printed as they end, and kept where an interruption ends them all."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from lpft_keras.markdown import one_line

if TYPE_CHECKING:
    from lpft_keras.results import RunResult
    from lpft_keras.workers import Failure


class Outcomes:
    """Results and failures so far.

    Args:
        json: Whether each is printed as a JSON object.
    """

    def __init__(self, json: bool):
        self._json = json
        self.results: list[RunResult] = []
        self.failures: list[Failure] = []
        self.interrupted = False

    def add(self, outcome: "RunResult | Failure") -> None:
        """Take what a run came to."""
        from lpft_keras.results import RunResult
        from lpft_keras.storage import as_json

        if isinstance(outcome, RunResult):
            self.results.append(outcome)
        else:
            self.failures.append(outcome)
        if self._json:
            print(as_json(outcome.summary if isinstance(outcome, RunResult) else outcome.as_dict()), flush=True)

    def status(self) -> int:
        """Say what failed, and return the exit status."""
        if self.interrupted:
            raise KeyboardInterrupt
        several = len(self.results) + len(self.failures) > 1
        for failure in self.failures:
            place = f"{failure.directory}: " if several else ""
            print(one_line(f"lpft-keras: {place}{failure.error}"), file=sys.stderr)
        if not self.failures:
            return 0
        return 2 if all(failure.by_input for failure in self.failures) else 1


@contextmanager
def collected(json: bool) -> Iterator[Outcomes]:
    """Collect outcomes, so that what was finished can be shown where the user has had enough."""
    outcomes = Outcomes(json)
    try:
        yield outcomes
    except KeyboardInterrupt:
        outcomes.interrupted = True
