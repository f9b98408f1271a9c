"""The command about rows: `tasks` lists the catalogue, `tasks show` looks at one task's."""

import argparse
import json
import logging
from typing import TYPE_CHECKING

from lpft_keras.cli.checking import check_values
from lpft_keras.cli.parser import add_task_arguments, asked_task, own_task_arguments
from lpft_keras.errors import InputError
from lpft_keras.progress import silent_start

if TYPE_CHECKING:
    from lpft_keras.models.backbones import TextBackbone

log = logging.getLogger(__name__)


def add_tasks(commands) -> None:
    """Add `tasks`."""
    tasks = commands.add_parser("tasks", help="list the tasks, or look at the rows of one", allow_abbrev=False)
    tasks.add_argument("action", nargs="?", choices=("show",), metavar="show", help="look at one task's rows")
    add_task_arguments(tasks)
    tasks.add_argument("--data-dir", metavar="D", help="folder with the official files (default: TensorFlow Datasets)")
    tasks.add_argument("--limit", type=int, metavar="N", help="look at the first N rows of each split only")
    tasks.add_argument(
        "--backbone", metavar="B", help="whose tokens are counted (default: the task's, if it is at hand)"
    )
    tasks.add_argument("--max-length", type=int, default=128, metavar="L", help="tokens a row (default: 128)")
    tasks.add_argument("--json", action="store_true", help="print one JSON object a task")
    tasks.set_defaults(call=_tasks)


def _tasks(parsed: argparse.Namespace) -> int:
    if parsed.action == "show":
        return _show(parsed)
    if own_task_arguments(parsed):
        raise InputError("a task of your own is looked at by `lpft-keras tasks show`, with the same flags")
    from lpft_keras.tasks import TASKS

    if parsed.json:
        for task in TASKS.values():
            print(json.dumps({"task": task.name, "labels": task.labels, "metric": task.metric, "tfds": task.tfds}))
        return 0
    from lpft_keras.tables import print_tasks

    print_tasks(list(TASKS.values()))
    return 0


def _show(parsed: argparse.Namespace) -> int:
    task = asked_task(parsed, parsed.task)
    check_values([task], ["lp"], [1001], {"max_length": parsed.max_length, "backbone": parsed.backbone})
    from lpft_keras.backend import check_backend
    from lpft_keras.storage import as_json
    from lpft_keras.tasks import load_task

    check_backend()
    data = load_task(task, parsed.data_dir, parsed.limit)
    with silent_start():
        from lpft_keras.overview import overview
    found = overview(data, _backbone(parsed.backbone, task.backbone), parsed.max_length)
    if parsed.json:
        print(as_json({"task": task.name, **found.as_dict()}))
        return 0
    from lpft_keras.tables import print_overview

    print_overview(task.name, found)
    return 0


def _backbone(asked: str | None, default: str) -> "TextBackbone | None":
    """Return the backbone, its weights random: the tokenizer is wanted. None where the default one is not to be had."""
    from lpft_keras.models.backbones import load_backbone

    try:
        return load_backbone(f"random:{(asked or default).removeprefix('random:')}")
    except InputError:
        if asked is not None:
            raise
        log.info("no token lengths: the task's backbone, %s, is not at hand; name one that is (--backbone)", default)
        return None
