"""Result tables for a terminal."""

from collections.abc import Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from lpft_keras.kernels import KernelResult
    from lpft_keras.report import HeadNormPoint, Represented, ResultTable, Scored
    from lpft_keras.results import RunResult
    from lpft_keras.tasks import Task


def print_results(results: Sequence["RunResult"]) -> None:
    """Print one line a run and split: accuracy first, then calibration.

    Args:
        results: Finished runs of one task.
    """
    from lpft_keras.report.groups import head_scale_in_words

    first = results[0].summary
    title = f"{escape(first['task'])} on {escape(first['backbone'])}"
    caption = "T: the temperature that suits the validation rows best; above 1, the classifier is too sure of itself"
    table = Table(title=title, caption=caption, box=box.SIMPLE_HEAVY, padding=0)
    for name in ("method", "seed", "split"):
        table.add_column(name, justify="right" if name == "seed" else "left")
    for name in ("acc.", "F1", "NLL", "Brier", "ECE", "MCE", "T", "time"):
        table.add_column(name, justify="right")
    for result in results:
        summary = result.summary
        for number, (split, metrics) in enumerate(result.metrics.items()):
            last = number == len(result.metrics) - 1
            name = summary["method"] + head_scale_in_words(result.config["settings"])
            own = (name, str(summary["seed"])) if number == 0 else ("", "")
            rest = (f"{summary['temperature']:.2f}", f"{summary['seconds']:.0f} s") if number == 0 else ("", "")
            values = (f"{metrics[name]:.3f}" for name in ("accuracy", "macro_f1", "nll", "brier", "ece", "mce"))
            table.add_row(*own, escape(split), *values, *rest, end_section=last)
    _show(table, [result.directory for result in results])


def print_tasks(tasks: Sequence["Task"]) -> None:
    """Print one line a task.

    Args:
        tasks: The tasks.
    """
    from lpft_keras.tasks.sources import official_files

    table = Table(box=box.SIMPLE_HEAVY, pad_edge=False)
    for name in ("task", "labels", "text", "metric", "where from"):
        table.add_column(name, overflow="fold")
    for task in tasks:
        sources = [f"TFDS {task.tfds}"] if task.tfds else []
        sources += [f"--data-dir: {official_files(task)}"] if task.files else ["generated"]
        cells = (task.name, "\n".join(task.labels), "\n".join(task.template), task.metric, "\n".join(sources))
        table.add_row(*map(escape, cells))
    Console().print(table)


def print_kernels(results: Sequence["KernelResult"]) -> None:
    """Print kernels in the layout of the paper's Tables 2 and 9.

    Args:
        results: Computed kernels of one task.
    """
    first = results[0].summary
    rows = first["rows"]
    title = (
        f"{escape(first['task'])} on {escape(first['backbone'])}: {rows['train']} training, {rows['test']} test rows"
    )
    caption = "Acc.: kernel regression, train/test, each logit counted (as the paper prints it), and each example"
    table = Table(title=title, caption=caption, box=box.SIMPLE_HEAVY, padding=0, pad_edge=False)
    for name in ("method", "kernel"):
        table.add_column(name)
    for name in ("seed", "rank", "FN", "acc. logits", "acc. examples", "FT ratio"):
        table.add_column(name, justify="right")
    shown = {"pretrain": "P", "finetune": "F", "total": "NTK"}
    for result in results:
        summary = result.summary
        for name, kernel in summary["kernels"].items():
            accuracies = (
                f"{100 * kernel[key]['train']:.1f}/{100 * kernel[key]['test']:.1f}"
                for key in ("logit_accuracy", "accuracy")
            )
            own = (summary["method"], str(summary["seed"])) if name == "pretrain" else ("", "")
            ratio = f"{summary['ft_ratio']:.4f}" if name == "finetune" else ""
            norm = f"{kernel['frobenius_norm']:.3g}"
            table.add_row(
                own[0], shown[name], own[1], str(kernel["rank"]), norm, *accuracies, ratio, end_section=name == "total"
            )
    _show(table, [result.directory for result in results])


def print_calibration(kinds: Sequence[tuple[str, Sequence["Scored"]]], title: str) -> None:
    """Print calibration before and after scaling in the layout of the paper's Tables 3, 14 and 15.

    Args:
        kinds: By method or file, the predictions of one seed or several.
        title: What was measured.
    """
    first = kinds[0][1][0]
    after = "w/ TS" if first.scaling == "temperature" else f"w/ {first.scaling}"
    table = _table(title, _calibration_notes([one for _, scored in kinds for one in scored]))
    for name in ("method", "metric"):
        table.add_column(name)
    for name in (f"w/o {after[3:]}", after, "improvement", "T", "runs"):
        table.add_column(name, justify="right")
    metrics = ["ece", "mce"] if first.scaling == "temperature" else ["ece", "mce", "accuracy"]
    for name, scored in kinds:
        measures = [one.measures() for one in scored]
        temperatures = [one.temperature for one in scored if one.temperature is not None]
        for metric in metrics:
            before, scaled = ([100 * one[when][metric] for one in measures] for when in ("before", "after"))
            sign = -1 if metric == "accuracy" else 1
            gain = [sign * (b - a) for b, a in zip(before, scaled, strict=True)]
            start = metric == metrics[0]
            table.add_row(
                escape(name) if start else "",
                "acc. (%)" if metric == "accuracy" else f"{metric.upper()} (%)",
                _spread(before),
                _spread(scaled),
                f"{np.mean(gain):.2f}",
                _spread(temperatures) if start and temperatures else "",
                str(len(scored)) if start else "",
                end_section=metric == metrics[-1],
            )
    _show(table)


def _calibration_notes(scored: Sequence["Scored"]) -> str:
    notes = []
    if any(one.folds for one in scored):
        notes.append(f"each fold of {max(one.folds for one in scored)} scaled by what was fitted on the others")
    if scored[0].temperature is None:
        notes.append("this scaling may change predictions, and so accuracy")
    fewest = min(len(one.labels) for one in scored)
    if fewest < 300:
        notes.append(f"{fewest} rows: bins hold few, so ECE and MCE are noisy and too large")
    return "; ".join(notes)


def print_representation(kinds: Sequence[tuple[str, Sequence["Represented"]]], title: str, ridge: float | None) -> None:
    """Print features and heads in the layout of the paper's Tables 1 and 11, with the columns of 12 and 13.

    Args:
        kinds: By method, the measures of one seed or several.
        title: What was measured.
        ridge: How a singular within-class scatter was treated.
    """
    every = [one for _, measured in kinds for one in measured]
    how = "by its pseudo-inverse" if ridge is None else f"with ridge {ridge:g}"
    singular = (
        f"FDR: the within-class scatter is singular (fewer rows than features), taken {how}: "
        "compare it within this table only"
        if any(one.singular for one in every)
        else ""
    )
    table = _table(title, singular)
    table.add_column("method")
    for name in ("CS(F)", "Diff(F)", "FDR(F)", "Norm(C)", "CKA", "runs"):
        table.add_column(name, justify="right", no_wrap=True)
    # Runs on the same rows share their pre-trained features; where tokens or pooling differ there are several.
    before: dict[tuple[str, str], list[float]] = {}
    for one in every:
        own = one.pretrained
        key = f"{own['cosine_similarity']:.3f}", f"{own['fisher_discriminant_ratio']:.3g}"
        before.setdefault(key, []).append(own["head_norm"])
    for number, ((similarity, ratio), norms) in enumerate(before.items(), start=1):
        drawn = [norm for norm in norms if not np.isnan(norm)]
        norm = _spread(drawn, "{:.3g}") if drawn else "-"
        table.add_row("pre-trained", similarity, "-", ratio, norm, "-", "", end_section=number == len(before))
    for name, measured in kinds:
        table.add_row(
            escape(name),
            _spread([one.cosine_similarity for one in measured], "{:.3f}"),
            _spread([one.feature_change for one in measured], "{:.3g}"),
            _spread([one.fisher_discriminant_ratio for one in measured], "{:.3g}"),
            _spread([one.head_norm for one in measured], "{:.3g}"),
            _spread([one.linear_cka for one in measured], "{:.3f}"),
            str(len(measured)),
        )
    _show(table)


def print_head_norm(points: Sequence["HeadNormPoint"], title: str, figure: Path) -> None:
    """Print the head-norm experiment: one line a method and scale.

    Args:
        points: What was measured.
        title: Task and backbone.
        figure: Where the figure is.
    """
    from lpft_keras.report import trends

    falls = ", ".join(f"{method} {value:+.2f}" for method, value in trends(points).items())
    note = (
        f"rank correlation of norm and feature change (-1: it falls as the norm grows, +1: it rises): {falls}"
        if falls
        else ""
    )
    table = _table(title, note)
    table.add_column("method")
    for name in ("head times", "norm", "feature change", "acc.", "runs"):
        table.add_column(name, justify="right")
    for number, point in enumerate(points):
        last = number + 1 == len(points) or points[number + 1].method != point.method
        error = "" if np.isnan(point.standard_error) else f" ± {point.standard_error:.2g}"
        table.add_row(
            point.method,
            f"{point.scale:g}",
            f"{point.start_head_norm:.3g}",
            f"{point.feature_change:.3g}{error}",
            f"{point.accuracy:.3f}",
            str(point.runs),
            end_section=last,
        )
    _show(table, [figure])


def print_result_tables(tables: Sequence["ResultTable"], file: IO[str] | None = None) -> None:
    """Print means over seeds, or differences of methods, in the layout of the paper's Tables 8, 10 and 16.

    Args:
        tables: What `report.result_tables` gives, or `[report.difference_table(...)]`.
        file: Where to, as plain text; None is standard output.
    """
    console = Console(file=file)
    for result in tables:
        table = _table(result.title, "; ".join(result.notes))
        for number, name in enumerate(result.columns):
            is_name = number < result.names
            table.add_column(escape(name), justify="left" if is_name else "right", no_wrap=not is_name, overflow="fold")
        for row in result.rows:
            table.add_row(*map(escape, row))
        needed = console.measure(table, options=console.options.update(width=10_000))
        # A file has no width of its own, and no terminal is too narrow for a number to be shown whole.
        console.width = needed.maximum if file else max(console.width, needed.minimum)
        console.print(table)


def _spread(values: Sequence[float], form: str = "{:.2f}") -> str:
    """Return mean and, for several values, standard deviation, with as many decimals."""
    mean = form.format(np.mean(values))
    if len(values) < 2:
        return mean
    deviation = np.std(values, ddof=1)
    return f"{mean}±{deviation:.2g}" if "e" in mean else f"{mean}±{deviation:.{len(mean.partition('.')[2])}f}"


def _table(title: str, caption: str) -> Table:
    return Table(title=escape(title), caption=escape(caption), box=box.SIMPLE_HEAVY, padding=0, pad_edge=False)


def _show(table: Table, paths: Sequence[Path] = ()) -> None:
    """Print a table of numbers, and where they lie."""
    console = Console()
    console.width = max(console.width, 80)  # a table squeezed narrower than its numbers says nothing
    console.print(table)
    for path in paths:
        console.print(f"[dim]{escape(str(path))}[/dim]", soft_wrap=True)
