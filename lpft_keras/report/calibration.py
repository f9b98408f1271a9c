"""Calibration before and after scaling, of runs or of anybody's logits (Tables 3, 14 and 15)."""

import csv
import logging
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import softmax
from sklearn.model_selection import KFold, StratifiedKFold

from lpft_keras.calibration import (
    SCALINGS,
    ReliabilityDisplay,
    Scaling,
    brier_score,
    expected_calibration_error,
    logits_of,
    maximum_calibration_error,
    negative_log_likelihood,
)
from lpft_keras.errors import InputError, first_line, unknown_name
from lpft_keras.results import RunResult
from lpft_keras.storage import read_arrays

log = logging.getLogger(__name__)

_FOLDS = 5


@dataclass(frozen=True)
class Scored:
    """Predictions of one set of rows, before and after scaling.

    Attributes:
        source: The run directory or file.
        split: Which rows, "test" for a file.
        scaling: Name of the scaling.
        temperature: The fitted temperature; the mean over folds where it was cross-fitted; None for other scalings.
        folds: 0 where the scaling was fitted on other rows; else how many folds it was cross-fitted over.
        labels: Class ids, [rows].
        before: Probabilities, float64 [rows, classes].
        after: The same, scaled.
        run: Task, method, backbone and seed, of a run.
    """

    source: str
    split: str
    scaling: str
    temperature: float | None
    folds: int
    labels: np.ndarray
    before: np.ndarray
    after: np.ndarray
    run: Mapping[str, Any] = field(default_factory=dict)

    def measures(self) -> dict[str, dict[str, float]]:
        """Return accuracy, ECE, MCE, Brier score and NLL, "before" and "after"; fractions, 15 bins, NLL in nats."""
        return {name: _measured(getattr(self, name), self.labels) for name in ("before", "after")}

    def as_dict(self) -> dict[str, Any]:
        """Return what `--json` prints."""
        return {
            "source": self.source,
            **self.run,
            "split": self.split,
            "rows": len(self.labels),
            "scaling": self.scaling,
            "temperature": self.temperature,
            "folds": self.folds,
            **self.measures(),
        }


def _measured(probabilities: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    return {
        "accuracy": float((probabilities.argmax(axis=1) == labels).mean()),
        "ece": expected_calibration_error(probabilities, labels),
        "mce": maximum_calibration_error(probabilities, labels),
        "brier": brier_score(probabilities, labels),
        "nll": negative_log_likelihood(logits_of(probabilities), labels),
    }


def score_run(result: RunResult, scaling: str = "temperature", split: str = "test") -> Scored:
    """Fit a scaling on a run's validation rows and apply it to another split, as the paper does.

    Args:
        result: A finished run.
        scaling: A name of `calibration.SCALINGS`.
        split: The rows that are measured.

    Returns:
        The predictions before and after.

    Raises:
        InputError: The scaling or split is unknown, or the validation rows can't fit the scaling.
    """
    predictions = result.predictions
    if split == "test" and split not in predictions:
        raise InputError(
            f"{result.directory} has no test rows to measure on; name some in its task (test) and run again"
        )
    if split not in predictions:
        raise unknown_name(f"split of {result.directory}", split, predictions)
    if split == "validation":
        raise InputError("the validation rows fit the scaling, so they can't measure it; take another split")
    scored = _fitted_elsewhere(str(result.directory), split, scaling, predictions["validation"], predictions[split])
    return replace(scored, run={name: result.summary[name] for name in ("task", "method", "backbone", "seed")})


def score_file(
    path: str | Path, scaling: str = "temperature", *, validation: str | Path | None = None, seed: int = 0
) -> Scored:
    """Calibrate logits and labels of any origin.

    Args:
        path: `.npz` with `labels` and either `logits` or `probabilities`, or a run's `predictions.npz`; or `.csv`
            with a column "label" of class ids and one column of logits a class, in the order of their ids.
        scaling: A name of `calibration.SCALINGS`.
        validation: A file of the same form that the scaling is fitted on. None cross-fits: each fifth of the rows is
            scaled by what was fitted on the other four.
        seed: Seed of the folds.

    Returns:
        The predictions before and after.

    Raises:
        InputError: A file is missing, damaged or of another form, or can't fit the scaling.
    """
    test, fitting = _read(Path(path))
    if validation is not None:
        if Path(validation).exists() and Path(validation).samefile(path):
            raise InputError(f"{path} is both fitted and measured on; leave the second out: its rows are cross-fitted")
        rows, own = _read(Path(validation))
        fitting = own or rows
    if fitting is not None:
        return _fitted_elsewhere(str(path), "test", scaling, fitting, test)
    logits, labels = test["logits"], test["labels"]
    if len(labels) < 2 * _FOLDS:
        raise InputError(
            f"{path} holds {len(labels)} rows, too few to fit on some and measure others; give {2 * _FOLDS} or more, "
            "or a file to fit on (--validation)"
        )
    after = np.empty(logits.shape)
    temperatures: list[float] = []
    for seen, held in _folds(labels, seed):
        fitted = _fit(scaling, {"logits": logits[seen], "labels": labels[seen]}, f"a fold of {path}")
        after[held] = fitted.predict_proba(logits[held])
        if hasattr(fitted, "temperature_"):
            temperatures.append(fitted.temperature_)
    mean = float(np.mean(temperatures)) if temperatures else None
    return Scored(str(path), "test", scaling, mean, _FOLDS, labels, softmax(logits, axis=1), after)


def plot_scored(scored: Sequence[Scored], name: str) -> Any:
    """Draw reliability before and after scaling side by side, the rows of several seeds together.

    Args:
        scored: Predictions by runs of one kind.
        name: What stands before the panels' titles.

    Returns:
        A Matplotlib figure.

    Raises:
        InputError: Matplotlib is not installed.
    """
    labels = np.concatenate([part.labels for part in scored])
    pooled = f" ({len(scored)} runs pooled)" if len(scored) > 1 else ""
    panels = {
        f"{name}{pooled}: before": np.concatenate([part.before for part in scored]),
        f"after {scored[0].scaling} scaling": np.concatenate([part.after for part in scored]),
    }
    return ReliabilityDisplay.compare(panels, labels)


def _folds(labels: np.ndarray, seed: int) -> Iterable[tuple[np.ndarray, np.ndarray]]:
    """Return which rows are seen and held, classes spread evenly, so that a rare one is seen in every fold."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of classes with fewer rows than folds
        all_rare = np.bincount(labels).max() < _FOLDS  # what stratified folds refuse
        folds = (KFold if all_rare else StratifiedKFold)(_FOLDS, shuffle=True, random_state=seed)
        return list(folds.split(labels, labels))


def _fit(name: str, rows: dict[str, np.ndarray], which: str) -> Scaling:
    if name not in SCALINGS:
        raise unknown_name("scaling", name, SCALINGS)
    try:
        return SCALINGS[name]().fit(rows["logits"], rows["labels"])
    except InputError as error:
        raise InputError(f"{which}: {error}") from error


def _fitted_elsewhere(
    source: str, split: str, scaling: str, fitting: dict[str, np.ndarray], measured: dict[str, np.ndarray]
) -> Scored:
    fitted = _fit(scaling, fitting, f"the validation rows of {source}")
    logits = measured["logits"].astype(np.float64)
    if logits.shape[1] != fitted.n_features_in_:
        raise InputError(
            f"{source} has {logits.shape[1]} classes, what the scaling is fitted on {fitted.n_features_in_}"
        )
    return Scored(
        source,
        split,
        scaling,
        getattr(fitted, "temperature_", None),
        0,
        measured["labels"],
        softmax(logits, axis=1),
        fitted.predict_proba(logits),
    )


def _read(path: Path) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray] | None]:
    """Return the rows of a file to measure, and those to fit on where it holds them apart."""
    if not path.is_file():
        raise InputError(f"{path} is no file; give a run directory, or .npz or .csv with logits and labels")
    if path.suffix.lower() == ".csv":
        return _read_csv(path), None
    arrays = read_arrays(path)
    if arrays is None:
        raise InputError(f"{path} is damaged, or neither .npz (plain arrays) nor .csv")
    if "labels" in arrays and ("logits" in arrays or "probabilities" in arrays):
        return _checked(path, arrays["labels"], arrays.get("logits"), arrays.get("probabilities")), None
    wanted = [f"{split}/{part}" for split in ("validation", "test") for part in ("logits", "labels")]
    if all(name in arrays for name in wanted):
        parts = [_checked(path, arrays[f"{s}/labels"], arrays[f"{s}/logits"]) for s in ("test", "validation")]
        return parts[0], parts[1]
    raise InputError(
        f"{path} holds {', '.join(arrays) or 'nothing'}; wanted are labels with logits or probabilities (or "
        f"{', '.join(wanted)})"
    )


def _checked(
    path: Path, labels: np.ndarray, logits: np.ndarray | None, probabilities: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """Return the rows of a file, with logits of probabilities where it holds those; errors name the file."""
    try:
        given = logits_of(probabilities) if logits is None else logits
        negative_log_likelihood(given, labels)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    return {"logits": np.asarray(given, np.float64), "labels": labels}


def _read_csv(path: Path) -> dict[str, np.ndarray]:
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            rows = list(csv.reader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} can't be read as CSV in UTF-8: {first_line(error)}") from error
    if not rows or rows[0].count("label") != 1 or len(rows[0]) < 3:
        raise InputError(f'{path} needs a header with one column "label" and a column of logits for each class')
    if not all(name.strip() for name in rows[0]):
        raise InputError(f"{path} has a column without a name, such as pandas writes for its index; leave it out")
    at = rows[0].index("label")
    logits, labels = [], []
    for number, row in enumerate(rows[1:], start=2):
        if not row:
            continue  # an empty line
        if len(row) != len(rows[0]):
            raise InputError(f"line {number} of {path} has {len(row)} fields, the header {len(rows[0])}")
        try:
            labels.append(int(row[at]))
            logits.append([float(value) for column, value in enumerate(row) if column != at])
        except ValueError as error:
            raise InputError(f"line {number} of {path}: {error}; labels are class ids, all else is logits") from error
    if not labels:
        raise InputError(f"{path} holds a header and no rows")
    if max(map(abs, labels)) > 2**31:
        raise InputError(f"{path}: labels must be class ids, from 0 on; found {max(labels, key=abs)}")
    values, ids = np.array(logits), np.array(labels, np.int64)
    if (values >= 0).all() and np.allclose(values.sum(axis=1), 1, atol=1e-4):
        log.info("%s: every row sums to 1, so its columns are taken for probabilities", path)
        return _checked(path, ids, None, values)
    return _checked(path, ids, values)
