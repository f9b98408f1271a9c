"""A parser whose errors are one line, and arguments that several commands share."""

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from lpft_keras.errors import InputError, unknown_name
from lpft_keras.methods import METHODS, get_method

if TYPE_CHECKING:
    from lpft_keras.tasks import Task


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, with the nearest names."""

    def error(self, message: str) -> NoReturn:
        """Raise the message as an `InputError`."""
        raise InputError(f"{message} (see {self.prog} --help)")

    def parse_args(self, args=None, namespace=None):  # type: ignore[override]
        """Parse, and refuse what is unknown with its nearest names."""
        parsed, unknown = self.parse_known_args(args, namespace)
        if unknown:
            chosen = _subparser(self, getattr(parsed, "command", None))
            flags = [flag for action in chosen._actions for flag in action.option_strings]
            raise unknown_name("argument", unknown[0].split("=")[0], flags)
        return parsed


def _subparser(parser: argparse.ArgumentParser, command: str | None) -> argparse.ArgumentParser:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction) and command in action.choices:
            return action.choices[command]
    return parser


def add_task_arguments(parser: argparse.ArgumentParser, positional: bool = True, or_a_run: bool = False) -> None:
    """Add what says which task: one of the catalogue, a TOML file, or files named by flags."""
    if positional:
        text = 'a task (see "lpft-keras tasks"), or a TOML file that describes your own'
        text += ", or the directory of a finished run" if or_a_run else ""
        parser.add_argument("task", nargs="?", metavar="TASK", help=text)
    own = parser.add_argument_group("a task of your own", "CSV, TSV, JSON lines, Parquet, or a directory of `datasets`")
    for flag, metavar, text in (
        ("--train", "FILE", "training rows; takes the place of TASK"),
        ("--validation", "FILE", "rows that choose the best epoch (default: a tenth of the training rows)"),
        ("--test", "FILE", "test rows"),
        ("--name", "NAME", "the task's name (default: the training file's)"),
        ("--label", "COLUMN", "column of the labels (default: label)"),
        ("--metric", "M", "accuracy (default), macro_f1, f1 or matthews_correlation"),
        ("--split", "S", "which training rows validate: last (default) or stratified"),
        ("--delimiter", "C", "what parts columns, or tab (default: comma in .csv, tab in .tsv)"),
    ):
        own.add_argument(flag, dest=f"own_{flag[2:]}", metavar=metavar, help=text)
    own.add_argument(
        "--validation-fraction", dest="own_validation_fraction", type=float, metavar="X", help="default: 0.1"
    )
    own.add_argument(
        "--text", dest="own_text", action="append", metavar="COLUMN", help="column of the texts, twice for pairs"
    )
    own.add_argument(
        "--template",
        dest="own_template",
        action="append",
        metavar="T",
        help='or "{title}: {body}", twice for pairs',
    )
    own.add_argument("--labels", dest="own_labels", metavar="A,B", help="class names in the order of their ids")
    own.add_argument("--ood", dest="own_ood", action="append", metavar="NAME=FILE", help="a shifted test set")
    own.add_argument(
        "--no-quotes", dest="own_quotes", action="store_const", const=False, help="quotes in files are letters"
    )


def own_task_arguments(parsed: argparse.Namespace) -> dict[str, Any]:
    """Return what flags say of a task of the user's own."""
    return {name[4:]: value for name, value in vars(parsed).items() if name.startswith("own_") and value is not None}


def asked_task(parsed: argparse.Namespace, named: str | None) -> "Task":
    """Return the task that was asked for, by its name or by flags, checked."""
    given = own_task_arguments(parsed)
    from lpft_keras.tasks import get_task, own_task

    if "train" not in given:
        if given:
            flag = {"quotes": "no-quotes"}.get(next(iter(given)), next(iter(given))).replace("_", "-")
            raise InputError(f"--{flag} is for a task of your own; name its --train file")
        if named is None:
            prompt = getattr(parsed, "prompt", None)
            if isinstance(prompt, str) and "[M]" not in prompt:
                raise InputError(f"--prompt took {prompt!r} as its template; put TASK before --prompt")
            raise InputError("name a TASK, or the --train file of your own")
        return get_task(named)
    if named is not None:
        raise InputError(f"give either the task {named!r} or --train, not both")
    if "ood" in given:
        pairs = [pair.partition("=") for pair in given["ood"]]
        wrong = [name for name, equals, path in pairs if not (name and equals and path)]
        if wrong:
            raise InputError(f"--ood takes NAME=FILE, not {wrong[0]!r}")
        given["ood"] = {name: path for name, _, path in pairs}
    if "labels" in given:
        given["labels"] = given["labels"].split(",")
    return own_task(**given)


def add_model_arguments(
    parser: argparse.ArgumentParser,
    default_method: str = "lp-ft",
    several_backbones: bool = False,
    default_seed: str = "1001",
) -> None:
    """Add what says which model on which rows."""
    parser.add_argument(
        "--method",
        action="append",
        metavar="M",
        help=f"{', '.join(METHODS)} or all; may be repeated (default: {default_method})",
    )
    parser.add_argument(
        "--backbone",
        action="append" if several_backbones else "store",
        metavar="B",
        help='KerasHub preset, "hf://org/name@revision", directory, pocket, minilm or tiny (default: the task\'s)'
        + ("; may be repeated" if several_backbones else ""),
    )
    parser.add_argument("--data-dir", metavar="D", help="folder with the official files (default: TensorFlow Datasets)")
    parser.add_argument(
        "--seed", action="append", type=int, metavar="S", help=f"may be repeated (default: {default_seed})"
    )
    parser.add_argument("--max-length", type=int, default=128, metavar="L", help="tokens a row (default: 128)")
    parser.add_argument("--limit", type=int, metavar="N", help="use only the first N rows of each split")
    parser.add_argument("--pooling", metavar="P", help="first or mean (default: the backbone's)")
    parser.add_argument("--dropout", type=float, metavar="P", help="default: the checkpoint's, and 0.1 for the head")
    parser.add_argument("--dtype", default="float32", metavar="T", help="float32 (default) or mixed_bfloat16")
    parser.add_argument("--lora-rank", type=int, default=8, metavar="R", help="rank of the adapters (default: 8)")
    parser.add_argument("--lora-alpha", type=float, default=8.0, metavar="A", help="scale of the adapters (default: 8)")
    parser.add_argument("--lora-style", default="paper", metavar="S", help="paper (default) or keras")
    parser.add_argument(
        "--probe-solver", default="newton-cg", metavar="S", help="newton-cg (default), or lbfgs as in the paper"
    )


def add_prompt_arguments(parser: argparse.ArgumentParser, default_shots: str = "all rows") -> None:
    """Add what says how rows are asked about, and how few of them."""
    parser.add_argument(
        "--prompt",
        nargs="?",
        const=True,
        metavar="TEMPLATE",
        help='put rows into a prompt: the task\'s own, or a template such as "<s1> It was [M]." (after TASK)',
    )
    parser.add_argument(
        "--label-word",
        dest="label_words",
        action=_LabelWord,
        metavar="CLASS=WORD",
        help="the word at [M] of a class; once for each (default: the task's own)",
    )
    parser.add_argument(
        "--shots",
        type=int,
        metavar="K",
        help=f"train on K rows a class and validate on K others, drawn by the seed (default: {default_shots})",
    )


class _LabelWord(argparse.Action):
    """Collects CLASS=WORD into a dict."""

    def __call__(self, parser, namespace, values, option_string=None):
        name, equals, word = str(values).rpartition("=")
        if not (name and equals and word):
            raise InputError(f"--label-word takes CLASS=WORD, not {values!r}")
        known = getattr(namespace, self.dest, None) or {}
        setattr(namespace, self.dest, {**known, name: word})


def add_training_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what says how fine-tuning goes."""
    parser.add_argument(
        "--epochs", type=int, default=10, metavar="E", help="passes over the training rows (default: 10)"
    )
    parser.add_argument(
        "--micro-batches", type=int, metavar="K", help="parts of like length a batch is cut into (default: 4)"
    )
    parser.add_argument(
        "--data-parallel", action="store_true", help="share each batch between all devices that JAX sees"
    )
    parser.add_argument(
        "--tensorboard", action="store_true", help="log each epoch in the run's directory, for tensorboard --logdir"
    )


def add_rate_arguments(parser: argparse.ArgumentParser, default_scales: str = "1") -> None:
    """Add the hyper-parameters of fine-tuning that `tune` chooses or leaves alone."""
    parser.add_argument(
        "--head-scale",
        action="append",
        type=float,
        metavar="X",
        help=f"multiply the head before fine-tuning; may be repeated (default: {default_scales})",
    )
    parser.add_argument("--batch-size", type=int, metavar="N", help="default: the paper's, by task and method")
    parser.add_argument("--learning-rate", type=float, metavar="LR", help="default: the paper's, by task and method")
    add_optimizer_argument(parser)


def add_optimizer_argument(parser: argparse.ArgumentParser) -> None:
    """Add what the weights are moved by."""
    parser.add_argument(
        "--optimizer", default="adam", metavar="O", help="adam (default), sgd, or signgd: SGD on the gradient's signs"
    )


def add_workers_argument(parser: argparse.ArgumentParser) -> None:
    """Add how many processes there are."""
    parser.add_argument(
        "--workers",
        type=_workers,
        metavar="W",
        help="processes side by side, or the device of each, gpu:0,gpu:1 (default: one a GPU, or this one)",
    )
    parser.add_argument("--engine", metavar="E", help="a cluster instead: dask://host:port, ray or ray://host:port")


def _workers(text: str) -> int | list[str]:
    return int(text) if text.lstrip("-").isdecimal() else text.split(",")


def add_output_arguments(parser: argparse.ArgumentParser) -> None:
    """Add where results go."""
    parser.add_argument("--output-dir", default="runs", metavar="O", help="where run directories live (default: runs)")
    parser.add_argument("--overwrite", action="store_true", help="do it anew, whatever the directory holds")
    parser.add_argument("--json", action="store_true", help="print one JSON object a run, and nothing else")


def split_options(parsed: argparse.Namespace, *apart: str) -> dict[str, Any]:
    """Return the arguments that are passed on as they are, without those that the command looks at itself."""
    passed = {name: value for name, value in vars(parsed).items() if not name.startswith("own_")}
    return {name: value for name, value in passed.items() if name not in ("command", "call", "json", "task", *apart)}


def asked_methods(parsed: argparse.Namespace, every: Sequence[str], default: Sequence[str] = ("lp-ft",)) -> list[str]:
    """Return the methods asked for, each known; "all" stands for every one of a list."""
    asked = parsed.method or default
    methods = list(dict.fromkeys(name for method in asked for name in (every if method == "all" else [method])))
    for method in methods:
        get_method(method)
    return methods
