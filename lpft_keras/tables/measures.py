"""Tables of what is measured on runs: calibration, representations, the head-norm experiment, kernels."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from rich import box
from rich.table import Table

from lpft_keras.tables.terminal import escape, new_table, show, spread

if TYPE_CHECKING:
    from lpft_keras.kernel_results import KernelResult
    from lpft_keras.report import HeadNormPoint, Represented, Scored


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
            own = (escape(summary["method"]), str(summary["seed"])) if name == "pretrain" else ("", "")
            ratio = f"{summary['ft_ratio']:.4f}" if name == "finetune" else ""
            norm = f"{kernel['frobenius_norm']:.3g}"
            table.add_row(
                own[0], shown[name], own[1], str(kernel["rank"]), norm, *accuracies, ratio, end_section=name == "total"
            )
    show(table, [result.directory for result in results])


def print_calibration(kinds: Sequence[tuple[str, Sequence["Scored"]]], title: str) -> None:
    """Print calibration before and after scaling in the layout of the paper's Tables 3, 14 and 15.

    Args:
        kinds: By method or file, the predictions of one seed or several.
        title: What was measured.
    """
    first = kinds[0][1][0]
    after = "w/ TS" if first.scaling == "temperature" else f"w/ {first.scaling}"
    table = new_table(title, _calibration_notes([one for _, scored in kinds for one in scored]))
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
                spread(before),
                spread(scaled),
                f"{np.mean(gain):.2f}",
                spread(temperatures) if start and temperatures else "",
                str(len(scored)) if start else "",
                end_section=metric == metrics[-1],
            )
    show(table)


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
    table = new_table(title, singular)
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
        norm = spread(drawn, "{:.3g}") if drawn else "-"
        table.add_row("pre-trained", similarity, "-", ratio, norm, "-", "", end_section=number == len(before))
    for name, measured in kinds:
        table.add_row(
            escape(name),
            spread([one.cosine_similarity for one in measured], "{:.3f}"),
            spread([one.feature_change for one in measured], "{:.3g}"),
            spread([one.fisher_discriminant_ratio for one in measured], "{:.3g}"),
            spread([one.head_norm for one in measured], "{:.3g}"),
            spread([one.linear_cka for one in measured], "{:.3f}"),
            str(len(measured)),
        )
    show(table)


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
    table = new_table(title, note)
    table.add_column("method")
    for name in ("head times", "norm", "feature change", "acc.", "runs"):
        table.add_column(name, justify="right")
    for number, point in enumerate(points):
        last = number + 1 == len(points) or points[number + 1].method != point.method
        error = "" if np.isnan(point.standard_error) else f" ± {point.standard_error:.2g}"
        table.add_row(
            escape(point.method),
            f"{point.scale:g}",
            f"{point.start_head_norm:.3g}",
            f"{point.feature_change:.3g}{error}",
            f"{point.accuracy:.3f}",
            str(point.runs),
            end_section=last,
        )
    show(table, [figure])
