"""Hyper-parameters by grid search as the paper does it: chosen on validation rows, then evaluated with other seeds."""

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import groupby, product
from pathlib import Path
from typing import Any

from lpft_keras.arrays import real_number
from lpft_keras.engines import check_workers
from lpft_keras.errors import InputError
from lpft_keras.methods import EVALUATION_SEEDS, TUNING_SEEDS, Defaults, default_rates
from lpft_keras.results import RunResult
from lpft_keras.storage import read_json, write_csv, write_json
from lpft_keras.sweeps import SweepResult, as_list, perform_all, plan
from lpft_keras.tasks import Task, get_task
from lpft_keras.workers import Failure, Request, failure

log = logging.getLogger(__name__)

RATE_FACTORS = (0.2, 1.0, 5.0)
"""Learning rates that are tried where none are given, as multiples of the default rate."""


@dataclass(frozen=True)
class Choice:
    """One point of the grid, over its tuning seeds.

    Attributes:
        method: Name of the method.
        learning_rate: The rate.
        batch_size: The batch size.
        metric: What is chosen by, the task's metric.
        score: Its value on the validation rows, mean; NaN where a trial failed.
        deviation: Its standard deviation over the seeds, NaN for one.
        nll: Negative log-likelihood on the validation rows, mean, in nats.
        trials: How many trials ended.
        failed: How many failed.
        chosen: Whether it was the best: the greatest score, of equal ones the least NLL.
    """

    method: str
    learning_rate: float
    batch_size: int
    metric: str
    score: float
    deviation: float
    nll: float
    trials: int
    failed: int
    chosen: bool = False


@dataclass(frozen=True)
class TuningResult:
    """What a search found.

    Attributes:
        choices: All points of the grid by method; none for a method without fine-tuning.
        evaluation: Runs of the chosen points with the evaluation seeds.
        failures: Trials that failed.
    """

    choices: dict[str, list[Choice]]
    evaluation: SweepResult
    failures: list[Failure]


def tune(
    task: str | Path | Task,
    methods: str | Sequence[str] = "lp-ft",
    backbone: str | None = None,
    *,
    learning_rates: float | Sequence[float] | None = None,
    batch_sizes: int | Sequence[int] | None = None,
    tuning_seeds: int | Sequence[int] = TUNING_SEEDS,
    seeds: int | Sequence[int] = EVALUATION_SEEDS,
    workers: int | Sequence[str] | None = None,
    on_end: Callable[[RunResult | Failure], None] | None = None,
    **options: Any,
) -> TuningResult:
    """Choose learning rate and batch size on the validation rows, then run the best with other seeds.

    Trials see no test row; `overwrite` concerns the evaluated runs alone. Trials lie in `<output directory>/tuning`,
    each reused or gone on with like any run; the table of choices is written beside the results, as `tuning.csv` and
    `tuning.json` in `<task>/<method>/<backbone>` (with another optimiser than Adam, its name is part of theirs).

    Args:
        task: As for `lpft_keras.run`.
        methods: Names of methods, or one. One without fine-tuning has nothing to choose and is run.
        backbone: Name of the backbone; None takes the task's own.
        learning_rates: Rates to try; None tries `RATE_FACTORS` times the default.
        batch_sizes: Batch sizes to try; None takes the default alone.
        tuning_seeds: Seeds of the trials.
        seeds: Seeds of the evaluation, none of them a tuning seed.
        workers: As for `lpft_keras.sweep`.
        on_end: Called with each evaluated run as it ends.
        **options: Other arguments of `lpft_keras.run`.

    Returns:
        The choices and the evaluated runs.

    Raises:
        InputError: Before any run: an argument or a data file is wrong, or a finished run of other rates is in the way.

    Example:
        >>> found = tune("cb", ["ft", "lp-ft"], "minilm", learning_rates=[1e-4, 3e-4], data_dir="data")
        >>> found.choices["ft"], [run.metrics["test"]["accuracy"] for run in found.evaluation.results]
    """
    task = get_task(task)
    trial_seeds, final_seeds = as_list(tuning_seeds, "tuning_seeds"), as_list(seeds, "seeds")
    both = set(trial_seeds) & set(final_seeds)
    if both:
        raise InputError(f"seed {min(both)} both tunes and evaluates; take other seeds for one of them")
    for name in ("learning_rate", "batch_size"):
        if name in options:
            raise InputError(f"{name} is what is tuned; give the values to try as {name}s")
    if "head_scales" in options:
        raise InputError("head_scales can't be tuned; sweep over them")
    check_workers(workers)
    planned = plan(task, methods, final_seeds, 1.0, backbone, **options)  # checks all but the rates
    optimizer = options.get("optimizer", "adam")
    trials: list[Request] = []
    for method, runs in _by_method(planned).items():
        defaults = default_rates(method, task.name, str(backbone or task.backbone), optimizer)
        grid = [] if defaults is None else _grid(defaults, learning_rates, batch_sizes)
        if grid:
            _refuse_other_rates(runs, set(grid))
        for rate, size in grid:
            own: dict[str, Any] = {"learning_rate": rate, "batch_size": size}
            trials += [_as_trial(one) for one in plan(task, method, trial_seeds, 1.0, backbone, **own, **options)]
    show = options.get("show_progress")
    tried = perform_all(trials, workers, show_progress=show)
    choices = _choices(task.metric, trials, tried)
    final, hopeless = _evaluated(planned, choices, tried.failures)
    for method, points in choices.items():
        name = "tuning" if optimizer == "adam" else f"tuning-optimizer_{optimizer}"
        _write(_by_method(planned)[method][0].directory.parent / name, points, trial_seeds)
    if on_end is not None:
        for lost in hopeless:
            on_end(lost)
    evaluation = perform_all(final, workers, on_end=on_end, show_progress=show)
    return TuningResult(choices, replace(evaluation, failures=[*hopeless, *evaluation.failures]), tried.failures)


def _by_method(requests: Sequence[Request]) -> dict[str, list[Request]]:
    found: dict[str, list[Request]] = {}
    for request in requests:
        found.setdefault(request.settings["method"], []).append(request)
    return found


def _evaluated(
    planned: Sequence[Request], choices: Mapping[str, Sequence[Choice]], failures: Sequence[Failure]
) -> tuple[list[Request], list[Failure]]:
    """Return the runs that evaluate what was chosen, and those that can't be: all trials of their method failed."""
    final: list[Request] = []
    hopeless: list[Failure] = []
    for method, runs in _by_method(planned).items():
        best = next((choice for choice in choices.get(method, ()) if choice.chosen), None)
        if best is not None:
            rates = {"learning_rate": best.learning_rate, "batch_size": best.batch_size}
            final += [replace(request, settings={**request.settings, **rates}) for request in runs]
        elif method in choices:
            why = next(one for one in failures if one.settings["method"] == method)
            error = f"all trials of {method} failed, the first so: {why.error}"
            hopeless += [failure(request, error, by_input=why.by_input) for request in runs]
        else:
            final += runs
    return final, hopeless


def _refuse_other_rates(planned: Sequence[Request], rates: set[tuple[float, int]]) -> None:
    """Raise an `InputError` where a finished run stands in the way whatever is chosen."""
    for request in planned:
        known = read_json(request.directory / "config.json")
        if known is None or not (request.directory / "metrics.json").is_file() or request.overwrite:
            continue
        rate, size = (known.get("settings", {}).get(name) for name in ("learning_rate", "batch_size"))
        if (rate, size) not in rates:
            raise InputError(
                f"{request.directory} holds a run with learning rate {rate} and batch size {size}, which are not among "
                "those to try; do evaluated runs anew (--overwrite) or choose another output directory"
            )


def _grid(defaults: Defaults, rates: Any, sizes: Any) -> list[tuple[float, int]]:
    rates = [factor * defaults.learning_rate for factor in RATE_FACTORS] if rates is None else rates
    sizes = defaults.batch_size if sizes is None else sizes
    # 5 * 1e-5 is 5.000000000000001e-05; a rate that was meant round shall be.
    given = [real_number(rate, "learning_rate", 0, math.inf) for rate in as_list(rates, "learning_rates")]
    rounded = [float(f"{rate:.6g}") for rate in given]
    return list(product(dict.fromkeys(rounded), dict.fromkeys(as_list(sizes, "batch_sizes"))))


def _as_trial(request: Request) -> Request:
    point = "learning_rate_{learning_rate:g}-batch_size_{batch_size}".format(**request.settings)
    below = request.directory.parent.relative_to(request.output_dir)
    directory = request.output_dir / "tuning" / below / point / request.directory.name
    return replace(request, directory=directory, only_validation=True, overwrite=False)


def _choices(metric: str, trials: Sequence[Request], tried: SweepResult) -> dict[str, list[Choice]]:
    """Return the points of each method, the best of them marked."""
    from lpft_keras.report.cells import mean_and_deviation  # late: it brings scikit-learn, and a typo can do without

    ended = {result.directory: result for result in tried.results}

    def point(request: Request) -> tuple[str, float, int]:
        return tuple(request.settings[name] for name in ("method", "learning_rate", "batch_size"))  # type: ignore[return-value]

    found: dict[str, list[Choice]] = {}
    for (method, rate, size), group in groupby(trials, point):
        requests = list(group)
        results = [ended[request.directory] for request in requests if request.directory in ended]
        failed = len(requests) - len(results)
        measured = [result.metrics["validation"] for result in results]
        score, deviation = mean_and_deviation([one[metric] for one in measured]) if not failed else (math.nan, math.nan)
        nll, _ = mean_and_deviation([one["nll"] for one in measured]) if not failed else (math.nan, math.nan)
        point_tried = Choice(method, rate, size, metric, score, deviation, nll, len(results), failed)
        found.setdefault(method, []).append(point_tried)
    for method, points in found.items():
        usable = [choice for choice in points if not choice.failed]
        best = max(usable, key=lambda choice: (choice.score, -choice.nll), default=None)
        found[method] = [replace(choice, chosen=choice is best) for choice in points]
    return found


def _write(path: Path, choices: Sequence[Choice], seeds: Sequence[int]) -> None:
    """Write the table of choices beside a method's runs."""
    rows = [asdict(choice) for choice in choices]
    write_csv(path.with_suffix(".csv"), rows[0], rows)
    log.info("wrote %s", path.with_suffix(".csv"))
    write_json(path.with_suffix(".json"), {"tuning_seeds": list(seeds), "choices": rows})
