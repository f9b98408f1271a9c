"""The command line: parses, calls the package, prints. Results go to standard output, all else to standard error."""

import errno
import logging
import os
import sys
from collections.abc import Sequence

from lpft_keras import __version__
from lpft_keras.cli.data import add_tasks
from lpft_keras.cli.parser import Parser
from lpft_keras.cli.reading import add_calibrate, add_representation, add_table
from lpft_keras.cli.reporting import add_report
from lpft_keras.cli.reproducing import add_reproduce
from lpft_keras.cli.running import add_head_norm, add_ntk, add_run
from lpft_keras.cli.sharing import add_export
from lpft_keras.cli.sweeping import add_sweep, add_tune
from lpft_keras.cli.viewing import add_kernel_view
from lpft_keras.errors import InputError
from lpft_keras.markdown import one_line
from lpft_keras.progress import end_where_stuck

_COMMANDS = (
    add_run,
    add_sweep,
    add_tune,
    add_table,
    add_report,
    add_calibrate,
    add_representation,
    add_head_norm,
    add_ntk,
    add_kernel_view,
    add_reproduce,
    add_export,
    add_tasks,
)

_AGAIN = "the same command (without --overwrite)"
_AFTER_INTERRUPTION = {
    "run": f"{_AGAIN} goes on from the last finished epoch",
    **dict.fromkeys(
        ("sweep", "tune", "head-norm"), f"{_AGAIN} keeps finished runs and goes on from the last finished epoch"
    ),
    "ntk": f"{_AGAIN} goes on from the last finished piece of the kernel",
    "kernel-view": f"{_AGAIN} keeps what was trained and measured, and goes on",
    "reproduce": f"{_AGAIN} keeps finished runs and kernels, and goes on",
}


def _parser() -> Parser:
    parser = Parser(prog="lpft-keras", description="LP-FT: fine-tune pre-trained classifiers that stay robust.")
    parser.add_argument("--version", action="version", version=f"lpft-keras {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    for add in _COMMANDS:
        add(commands)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: The arguments after the program's name; None takes the process's.

    Returns:
        The exit status: 0 done, 2 the input was wrong (one line says what and how to mend it), 1 anything
        else, 130 interrupted.
    """
    parsed = None
    try:
        parsed = _parser().parse_args(arguments)
        if parsed.command is None:
            _parser().print_help()
            return 0
        _show_log()
        return parsed.call(parsed)
    except InputError as error:
        print(f"lpft-keras: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        # Whoever read our output has had enough; nothing more can be said there, also not at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        # As an `InputError`, which leaves nothing in a name that would command a terminal.
        print(f"lpft-keras: {InputError(f'{error.strerror}: {error.filename}; choose a shorter one')}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        how = _AFTER_INTERRUPTION.get(getattr(parsed, "command", ""), "no file is half written; call it again")
        print(f"lpft-keras: interrupted; {how}", file=sys.stderr)
        return 130


class _Plain(logging.Formatter):
    """Leaves nothing in a line that would command a terminal; a traceback keeps its lines."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the text."""
        return "\n".join(map(one_line, super().format(record).split("\n")))


def entry() -> None:
    """Run the command line as a process of its own, which an interruption ends at once.

    Python's own end of a process takes seconds where TensorFlow, JAX and PyTorch are imported.
    """
    end_where_stuck(f"lpft-keras: interrupted; {_AGAIN} goes on from what is finished")
    status = main()
    if status == 130:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    sys.exit(status)


def _show_log() -> None:
    """Show our own log on standard error, and no notes of TensorFlow's."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    handler = logging.StreamHandler()
    handler.setFormatter(_Plain("lpft-keras: %(message)s"))
    logger = logging.getLogger("lpft_keras")
    logger.handlers, logger.propagate = [handler], False
    logger.setLevel(logging.INFO)
    logging.getLogger("tensorflow").setLevel(logging.ERROR)  # its advice on retracing is for its own users
