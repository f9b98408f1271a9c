"""The paper's other tables: features, heads (1, 11, 12, 13), calibration (3, 14, 15), kernels (2, 9), set-up (6, 7)."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from lpft_keras.methods import METHODS, LinearProbe, default_rates, fine_tuning
from lpft_keras.report.calibration import score_run
from lpft_keras.report.cells import Cell, Row, table_of
from lpft_keras.report.groups import groups_by_task
from lpft_keras.report.in_print import method_in_print
from lpft_keras.report.published import published
from lpft_keras.report.rendering import ResultTable
from lpft_keras.report.representation import represent
from lpft_keras.report.results_table import reported_splits, runs_of
from lpft_keras.results import RunResult
from lpft_keras.tasks import TaskData

PRETRAINED = "pretrained"
_FEATURES = {"cosine_similarity": "CS(F)", "feature_change": "Diff(F)", "fisher_discriminant_ratio": "FDR(F)"}
_KERNELS = {"pretrain": "Pre-train E", "finetune": "FT E", "total": "NTK"}


def _cell(
    task: str,
    backbone: str,
    split: str,
    method: str,
    measure: str,
    values: Iterable[float | None],
    tables: tuple[int, ...],
) -> Cell:
    known = tuple(value for value in values if value is not None and not np.isnan(value))
    return Cell(task, backbone, split, method, measure, known, published(task, split, method, measure, tables))


def _measured(runs: Iterable[RunResult], split: str, measure: str) -> list[float | None]:
    return [run.metrics.get(split, {}).get(measure) for run in runs]


def _heads_as_drawn(found: Mapping[str, Sequence[RunResult]]) -> list[float]:
    """Return the norm of the head before any training, by seed: of runs that neither probe nor scale it first."""
    drawn = [runs for name, runs in found.items() if name in METHODS and LinearProbe() not in METHODS[name].stages]
    return [run.start_head_norm for run in drawn[0]] if drawn else []


def representation_table(results: Sequence[RunResult], tables: tuple[int, ...]) -> ResultTable:
    """Return features and heads by method, with those of the pre-trained model (Tables 1 and 11).

    Args:
        results: Finished runs of any tasks and backbones.
        tables: The tables of the paper that ours are compared with, the first first.

    Returns:
        A row a set of rows and method: CS(F), Diff(F), FDR(F) and Norm(C).
    """
    rows: list[Row] = []
    for (task, backbone), found in groups_by_task(results).items():
        splits = reported_splits(runs_of(found))
        for split in splits:
            where = _where(task, split)
            norms = {name: [run.summary["head_norm"] for run in members] for name, members in found.items()}
            norms[PRETRAINED] = _heads_as_drawn(found)
            before = [represent(run, split).pretrained for run in next(iter(found.values()))]
            features: dict[str, dict[str, list[float | None]]] = {
                PRETRAINED: {name: [own.get(name) for own in before] for name in _FEATURES},
                **{name: {m: _measured(members, split, m) for m in _FEATURES} for name, members in found.items()},
            }
            for method, measures in features.items():
                cells = [_cell(task, backbone, split, method, m, values, tables) for m, values in measures.items()]
                head = norms[method] if split == splits[0] else []  # one head, whatever it is shown
                cells.append(_cell(task, backbone, split, method, "head_norm", head, tables))
                rows.append(Row(backbone, (where, method_in_print(method)), cells))
    note = "FDR: pseudo-inverse of a singular within-class scatter; how the paper treats it is unknown: compare orders"
    columns = [*_FEATURES.values(), "Norm(C)"]
    return table_of("features (F) and head (C)", ["rows", "method"], columns, rows, paper=True, notes=[note])


def feature_change_table(results: Sequence[RunResult], tables: tuple[int, ...]) -> ResultTable:
    """Return how far fine-tuning moves features (Table 12).

    Args:
        results: Finished runs, as for `representation_table`, like the rest.
        tables: The tables of the paper that ours are compared with.

    Returns:
        A row a task or shifted set, a column a method that fine-tunes.
    """
    kinds = groups_by_task(results)
    methods = _in_papers_order(name for found in kinds.values() for name in found if name != "lp")
    rows = []
    for (task, backbone), found in kinds.items():
        for split in reported_splits(runs_of(found)):
            cells = [
                _cell(
                    task,
                    backbone,
                    split,
                    name,
                    "feature_change",
                    _measured(found.get(name, ()), split, "feature_change"),
                    tables,
                )
                for name in methods
            ]
            rows.append(Row(backbone, (_where(task, split),), cells))
    columns = [method_in_print(name) for name in methods]
    note = "mean distance of the features from the pre-trained ones"
    return table_of("feature change in the FT stage", ["rows"], columns, rows, paper=True, notes=[note])


def head_norm_table(results: Sequence[RunResult], tables: tuple[int, ...]) -> ResultTable:
    """Return the norms of heads, as drawn and as trained (Table 13).

    Args:
        results: Finished runs, as for `representation_table`, like the rest.
        tables: The tables of the paper that ours are compared with.

    Returns:
        A row a task, a column a method.
    """
    kinds = groups_by_task(results)
    methods = _in_papers_order(name for found in kinds.values() for name in found)
    rows = []
    for (task, backbone), found in kinds.items():
        norms = {name: [run.summary["head_norm"] for run in members] for name, members in found.items()}
        norms[PRETRAINED] = _heads_as_drawn(found)
        cells = [
            _cell(task, backbone, "test", name, "head_norm", norms.get(name, []), tables)
            for name in (PRETRAINED, *methods)
        ]
        rows.append(Row(backbone, (task,), cells))
    columns = [method_in_print(name) for name in (PRETRAINED, *methods)]
    note = "pre-trained: the head as it is drawn"
    return table_of("norm of the head", ["task"], columns, rows, paper=True, notes=[note])


def _in_papers_order(names: Iterable[str]) -> list[str]:
    order = ["ft", "lora", "lp", "lp-ft", "lp-lora"]
    return sorted(dict.fromkeys(names), key=lambda name: order.index(name) if name in order else len(order))


def _where(task: str, split: str) -> str:
    return task if split == "test" else f"{task} (validation rows)" if split == "validation" else split


def calibration_table(results: Sequence[RunResult], tables: tuple[int, ...]) -> ResultTable:
    """Return ECE and MCE without and with temperature scaling (Tables 3, 14 and 15).

    Args:
        results: Finished runs of tasks with test rows.
        tables: The tables of the paper that ours are compared with.

    Returns:
        A row a set of rows and method; improvement is the error without less that with scaling.
    """
    rows = []
    for (task, backbone), found in groups_by_task(results).items():
        for split in reported_splits(runs_of(found)):
            for method, members in found.items():
                measures = [score_run(run, split=split).measures() for run in members]
                cells = []
                for name in ("ece", "mce"):
                    before = [one["before"][name] for one in measures]
                    after = [one["after"][name] for one in measures]
                    gained = [b - a for b, a in zip(before, after, strict=True)]
                    for kind, values in (("", before), ("/scaled", after), ("/improvement", gained)):
                        cells.append(_cell(task, backbone, split, method, name + kind, values, tables))
                rows.append(Row(backbone, (_where(task, split), method_in_print(method)), cells))
    columns = ["ECE", "with TS", "Imp.", "MCE", "with TS", "Imp."]
    notes = ["TS: temperature scaling, fitted on the validation rows; 15 bins"]
    return table_of("calibration error (%)", ["rows", "method"], columns, rows, paper=True, notes=notes)


def kernel_table(summaries: Sequence[Mapping[str, Any]], tables: tuple[int, ...]) -> ResultTable:
    """Return ranks, norms, accuracies of kernel regression and FT ratios (Tables 2 and 9).

    Args:
        summaries: What `kernel.json` holds of each kernel.
        tables: The tables of the paper that ours are compared with.

    Returns:
        A row a method and kernel; P is that of the first method's head, which all share.
    """
    kinds: dict[tuple[str, str], dict[str, list[Mapping[str, Any]]]] = {}
    for one in summaries:
        kinds.setdefault((one["task"], one["backbone"]), {}).setdefault(one["method"], []).append(one)
    rows = []
    for (task, backbone), found in kinds.items():
        first = next(iter(found.values()))
        own = [(PRETRAINED, "pretrain", first)]
        own += [(method, name, members) for method, members in found.items() for name in ("finetune", "total")]
        for method, name, members in own:
            parts = [one["kernels"][name] for one in members]
            measured: list[tuple[str, str, list[float | None]]] = [
                ("train", f"{name}/rank", [part["rank"] for part in parts]),
                ("train", f"{name}/frobenius_norm", [part["frobenius_norm"] for part in parts]),
                ("train", f"{name}/logit_accuracy", [part["logit_accuracy"]["train"] for part in parts]),
                ("test", f"{name}/logit_accuracy", [part["logit_accuracy"]["test"] for part in parts]),
                ("train", "ft_ratio", [one["ft_ratio"] for one in members] if name == "finetune" else []),
            ]
            # The ratio is one a method, and stands beside its F.
            cells = [
                _cell(task, backbone, split, method, m, values, tables if m != "ft_ratio" or name == "finetune" else ())
                for split, m, values in measured
            ]
            rows.append(
                Row(backbone, (task, "" if method == PRETRAINED else method_in_print(method), _KERNELS[name]), cells)
            )
    counts = sorted({(one["rows"]["train"], one["rows"]["test"]) for one in summaries})
    notes = [
        "acc.: kernel regression, each logit counted, as the paper counts",
        f"rows of train and test: {', '.join(f'{train} and {test}' for train, test in counts)}",
    ]
    columns = ["rank", "FN", "acc. train (%)", "acc. test (%)", "FT ratio"]
    return table_of("kernels", ["task", "method", "kernel"], columns, rows, paper=True, notes=notes)


def rates_table(tasks: Sequence[tuple[str, str]], tables: tuple[int, ...]) -> ResultTable:
    """Return batch sizes and learning rates by default (Table 6).

    Args:
        tasks: Names of tasks, each with a backbone.
        tables: The tables of the paper that ours are compared with.

    Returns:
        A row a task, columns by method.
    """
    methods = _in_papers_order(name for name in METHODS if fine_tuning(name))
    rows = []
    for task, backbone in tasks:
        cells = []
        for method in methods:
            rates = default_rates(method, task, backbone)
            for measure in ("batch_size", "learning_rate"):
                value = getattr(rates, measure)
                cells.append(_cell(task, backbone, "train", method, measure, [float(value)], tables))
        rows.append(Row(backbone, (task,), cells))
    columns = [f"{method_in_print(method)} {name}" for method in methods for name in ("bs", "lr")]
    return table_of("hyper-parameters", ["task"], columns, rows, paper=True, seeds=False)


def rows_table(loaded: Mapping[str, TaskData], tables: tuple[int, ...]) -> ResultTable:
    """Return classes and rows of tasks (Table 7).

    Args:
        loaded: The rows by the name of their task.
        tables: The tables of the paper that ours are compared with.

    Returns:
        A row a task or shifted set.
    """
    rows = []
    for task, data in loaded.items():
        counts = {name: float(len(split)) for name, split in data.every().items()}
        shifted = [name for name in counts if name not in ("train", "validation", "test")]
        cells = [_cell(task, "", "train", "", "classes", [float(len(data.labels))], tables)]
        cells += [
            _cell(task, "", split, "", "rows", [counts[split]] if split in counts else [], tables)
            for split in ("train", "validation", "test")
        ]
        rows.append(Row("", (task,), cells))
        for name in shifted:
            absent = [_cell(task, "", name, "", part, [], ()) for part in ("classes", "train", "validation")]
            rows.append(Row("", (name,), [*absent, _cell(task, "", name, "", "rows", [counts[name]], tables)]))
    note = "the paper counts PubMed's abstracts, of which each sentence is a row, and 57 test rows of CB, which has 56"
    columns = ["classes", "train", "validation", "test"]
    return table_of("rows", ["task"], columns, rows, paper=True, notes=[note], seeds=False)
