"""A kernel view as tables: one description, for the terminal and as Markdown."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lpft_keras.kernel_views.verdict import ACCURACY, CHANGE, GAIN
from lpft_keras.markdown import escaped_markdown

NAMES = {"adam": "Adam", "sgd": "SGD", "signgd": "SignGD", "asymmetric-signgd": "asymmetric SignGD"}


@dataclass(frozen=True)
class Sheet:
    """One table.

    Attributes:
        title: What it shows.
        columns: The names of its columns; the first is text, the others numbers.
        rows: Its cells.
        note: What has to be said of it.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""


def heading(report: Mapping[str, Any]) -> str:
    """Return in a line what was looked at."""
    rows = ", ".join(f"{count} {name}" for name, count in report["rows"].items())
    few = "" if report["shots"] is None else f", {report['shots']} rows a class"
    asked = "" if report["prompt"] is None else f', prompt "{report["prompt"]}"'
    what = f"{report['method']} on {report['task']}, {report['backbone']}, seed {report['seed']}"
    return f"Kernel view of {what}{few}{asked} ({rows} rows)"


def sheets(report: Mapping[str, Any]) -> list[Sheet]:
    """Return the tables of a report."""
    return [_accuracies(report), _tests(report), _steps(report), _theory(report)]


def _accuracies(report: Mapping[str, Any]) -> Sheet:
    rows = [["start of fine-tuning", _percent(report["start"]["accuracy"]), "", ""]]
    for name, tuned in report["fine_tuning"].items():
        rate = f"learning rate {tuned['learning_rate']:g}"
        rows.append([f"fine-tuned by {NAMES[name]}", _percent(tuned["accuracy"]), "", rate])
        linear = report["linear"][name]["accuracy"]
        rows.append([f"its linear model ({NAMES[name]})", _percent(linear), "", ""])
    for kind, found in report["kernels"].items():
        cells = [_percent(found["accuracy"]), _percent(found["logit_accuracy"]), _solver(found["solver"])]
        rows.append([f"{NAMES.get(kind, kind)} kernel", *cells])
    flow = report["kernels"]["sgd"]["gradient_flow"]
    rows.append(["SGD kernel, gradient flow", _percent(flow["accuracy"]), "", f"time {flow['time']:.3g}"])
    note = (
        "Accuracy of the test rows: of examples (arg max), and of logits, each told yes or no. Solvers are chosen on "
        "the validation rows."
    )
    return Sheet("Accuracy (%)", ("", "examples", "logits", "by"), rows, note)


def _tests(report: Mapping[str, Any]) -> Sheet:
    rows = []
    for name, verdict in report["verdict"].items():
        share, fixed = report["linear"][name]["gain_recovered"], report["fixed_features"][name]
        rows.append(
            [
                NAMES[name],
                "none" if verdict["linearization"] is None else f"{share:.2f} {_mark(verdict['linearization'])}",
                f"{_number(fixed['gradient'], '.2f')} {_mark(verdict['fixed_features'])}",
                f"{_number(fixed['kernel_frobenius'], '.2f')}, {_number(fixed['kernel_elementwise_median'], '.2f')}",
                _mark(verdict["kernel"]),
            ]
        )
    columns = ("", "gain of linear model", "change of gradients", "of kernel", "kernel's accuracy")
    note = (
        f"Passed: the linear model has {GAIN:g} of fine-tuning's gain or more; gradients change by less than "
        f"{CHANGE:g} of their norm; the best kernel of the optimiser has {ACCURACY:g} of fine-tuning's accuracy or "
        "more (thresholds as others quote Malladi et al. 2023). Change of the kernel: in Frobenius norm, and "
        "of the median entry."
    )
    return Sheet("Does fine-tuning behave like its kernel?", columns, rows, note)


def _steps(report: Mapping[str, Any]) -> Sheet:
    rows = [
        [f"{NAMES[rule]}, learning rate {one['learning_rate']:.3g}", _number(one["logits"]), _number(one["features"])]
        for rule, step in report["first_step"].items()
        for one in step["steps"]
    ]
    shares = report["first_step"]["sgd"]["shares"]
    note = (
        "Relative error of the first-order prediction (of SGD: Proposition 1) of one full-batch step. What it leaves "
        "out is of second order, so a tenth of the step has a tenth of the error, until the change is so small that "
        "float32 rounds it off. Adam's first step is that of SignGD. Of the change of the logits by SGD, ||P part|| is "
        f"{_number(shares['pretrain'])} and ||F part|| {_number(shares['finetune'])} of the whole."
    )
    return Sheet("One step, predicted and taken", ("", "error of logits", "of features"), rows, note)


def _theory(report: Mapping[str, Any]) -> Sheet:
    low, gap = report["theory"]["low_rank"], report["theory"]["lp_optimum_gap"]
    rate = report["kernels"]["sgd"]["largest_learning_rate"]
    rows = [
        ["norm of the head at the start", f"{report['start']['head_norm']:.3g}", ""],
        ["largest stable learning rate, mean squared loss", f"{rate:.3g}", ""],
        [
            "F of LoRA / F of what it adapts",
            f"{_number(low['factor'])}±{_number(low['deviation'], '.1g')}",
            _number(low["expected"]),
        ],
        ["what is left of it", _number(low["distance"]), ""],
    ]
    if gap is not None:
        rows.append(["sum P delta against V phi / C, after LP", f"{gap:.1e}", "0"])
    return Sheet("Theory", ("", "measured", "expected"), rows, "Low rank: Proposition 2, corrected; three draws of A.")


def conclusions(report: Mapping[str, Any]) -> list[str]:
    """Return the verdict on each fine-tuning as a sentence."""
    return [f"{NAMES[name]}: {verdict['words']}." for name, verdict in report["verdict"].items()]


def as_markdown(report: Mapping[str, Any]) -> str:
    """Return a report as Markdown."""
    lines = [f"# {escaped_markdown(heading(report))}", "", *(f"- {line}" for line in conclusions(report)), ""]
    for sheet in sheets(report):
        lines += [f"## {sheet.title}", "", _line(sheet.columns), "|---|" + "---:|" * (len(sheet.columns) - 1)]
        lines += [_line(row) for row in sheet.rows]
        lines += ["", sheet.note, ""] if sheet.note else [""]
    return "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(escaped_markdown(cell) for cell in cells) + " |"


def _number(value: float | None, form: str = ".3g") -> str:
    """Return a number as text; None is one that JSON has no word for."""
    return "-" if value is None else format(value, form)


def _percent(share: float) -> str:
    return f"{100 * share:.2f}"


def _mark(passed: bool | None) -> str:
    return {True: "passed", False: "failed", None: "can't be told"}[passed]


def _solver(solver: Mapping[str, Any]) -> str:
    shown = {"regularization": "lambda", "f0_scaling": "f0 scaling", "gamma": "gamma", "mixing": "mixing"}
    given = ", ".join(f"{word} {solver[name]}" for name, word in shown.items() if name in solver)
    return f"{solver['name']}" + (f" ({given})" if given else "")
