"""What a kernel view measures, one function a test; arrays and models in, plain numbers out."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import keras
import numpy as np

from lpft_keras import ntk
from lpft_keras.evaluation import accuracy
from lpft_keras.hyperparameters import LoraSettings
from lpft_keras.models.lora import lora_variables
from lpft_keras.models.lora_layers import LowRank
from lpft_keras.ntk import NTK
from lpft_keras.ntk.behaviour import weights_as
from lpft_keras.ntk.computation import KINDS
from lpft_keras.ntk.solvers import KernelSolver
from lpft_keras.ntk.solvers.selection import F0_SCALINGS, REGULARIZATIONS

Inputs = dict[str, np.ndarray]


@dataclass(frozen=True)
class Rows:
    """Some rows of a split.

    Attributes:
        inputs: Token arrays, as the classifier takes them.
        labels: int64 [rows].
        logits: f0, the classifier's logits at the start of fine-tuning, float32 [rows, C].
    """

    inputs: Inputs
    labels: np.ndarray
    logits: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def head(self, count: int) -> "Rows":
        """Return some rows, of each class as nearly the same share as may be."""
        by_class = [np.flatnonzero(self.labels == label) for label in np.unique(self.labels)]
        turns = sorted((turn, row) for own in by_class for turn, row in enumerate(own))
        some = np.sort([row for _, row in turns[:count]])
        return Rows({name: array[some] for name, array in self.inputs.items()}, self.labels[some], self.logits[some])

    @property
    def accuracy(self) -> float:
        """Accuracy at the start of fine-tuning."""
        return accuracy(self.logits, self.labels)


Splits = Mapping[str, Rows]
"""Rows by "train", "validation" and "test"."""


def kernels_of(splits: Splits, kind: str, compute: Callable[..., tuple[NTK, NTK]]) -> dict[str, np.ndarray]:
    """Compute one kind of kernel of the training rows with themselves and of all others with them.

    Args:
        splits: The rows.
        kind: As `empirical_ntk` takes it.
        compute: Returns what `train_test_ntk` does for (train, test, kind).

    Returns:
        float64 kernels of "train", "validation" and "test".
    """
    train, *others = (splits[name].inputs for name in ("train", "validation", "test"))
    joined = {name: np.concatenate([part[name] for part in others]) for name in train}
    inside, across = compute(train, joined, kind)
    held = len(splits["validation"])
    return {"train": inside.total, "validation": across.total[:held], "test": across.total[held:]}


def start_logits(part: Rows, single_logit: bool) -> np.ndarray:
    """Return f0, float64 [rows, C], or f_1 - f_0 of two."""
    logits = part.logits.astype("float64")
    return logits[:, [1]] - logits[:, [0]] if single_logit else logits


def candidates(kind: str, labels: np.ndarray) -> list[KernelSolver]:
    """Return the solvers among which a kernel's is chosen.

    Args:
        kind: Which kernel.
        labels: Of the training rows, int [rows]. Logistic regression cuts them into folds, and is left out where a
            class has too few rows for that.
    """
    if f"{kind}-flipped" in KINDS:
        # Beside kernels of so many variables 1 / gamma is nothing: it is the ridge that counts.
        grid = {"regularization": (0.0, 0.01, 0.1), "gamma": (0.1, 1.0, 10.0), "mixing": (0.0, 0.5, 1.0)}
        grid |= {"f0_scaling": F0_SCALINGS[::2]}
        return ntk.solver_grid(ntk.AsymmetricLeastSquaresSVM(), grid)
    ridge = {"regularization": REGULARIZATIONS, "f0_scaling": F0_SCALINGS}
    found, regression = ntk.solver_grid(ntk.KernelLeastSquares(), ridge), ntk.KernelRegression(penalty="rkhs")
    return found if np.bincount(labels, minlength=2).min() < regression.folds else [*found, regression]


def kernel_accuracy(
    kernels: Mapping[str, np.ndarray], flipped: Mapping[str, np.ndarray] | None, splits: Splits, kind: str
) -> dict[str, Any]:
    """Solve the task by a kernel, its solver chosen on the validation rows.

    Args:
        kernels: What `kernels_of` gives.
        flipped: The same with the signs on the other side, for an asymmetric kernel.
        splits: The rows.
        kind: Which kernel.

    Returns:
        Accuracy of the test rows, by example and by logit, that of the validation rows, and what was chosen.
    """
    start = {name: start_logits(part, kernels["train"].shape[1] == 1) for name, part in splits.items()}
    sides = {name: None if flipped is None else flipped[name] for name in kernels}
    chosen = ntk.select_solver(
        kernels["train"],
        splits["train"].labels,
        kernels["validation"],
        splits["validation"].labels,
        candidates=candidates(kind, splits["train"].labels),
        logits=start["train"],
        validation_logits=start["validation"],
        flipped=sides["validation"],
    )
    solver, test = chosen.solver, (kernels["test"], splits["test"].labels, start["test"], sides["test"])
    parameters = {name: value for name, value in solver.get_params().items() if isinstance(value, int | float | str)}
    return {
        "accuracy": solver.accuracy(*test),
        "logit_accuracy": solver.logit_accuracy(*test),
        "validation_accuracy": max(row["accuracy"] for row in chosen.table),
        # JSON has no infinity.
        "solver": {"name": type(solver).__name__} | {k: str(v) if v == np.inf else v for k, v in parameters.items()},
    }


def linear_model(classifier: keras.Model, weights: Sequence[np.ndarray], splits: Splits, tuned: float) -> dict:
    """Return what is left of a fine-tuning in the linear model (the linearisation test).

    Args:
        classifier: At the start of fine-tuning.
        weights: The fine-tuned ones.
        splits: The rows.
        tuned: Accuracy of the fine-tuned model on the test rows.

    Returns:
        Accuracy of the linear model on the test rows, and the share of the gain that it has (None without a gain).
    """
    test = splits["test"]
    logits = ntk.linearize(classifier, weights, test.inputs).predict(test.inputs, verbose=0)
    found = accuracy(logits, test.labels)
    share = ntk.gain_recovered(test.accuracy, tuned, found)
    return {"accuracy": found, "gain_recovered": None if np.isnan(share) else share}


def fixed_features(
    classifier: keras.Model,
    weights: Sequence[np.ndarray],
    some: Rows,
    few: Rows,
    max_memory: float = 8e9,
    show_progress: bool | None = None,
) -> dict[str, float]:
    """Return how far a fine-tuning moved kernel and gradients (the fixed-features test).

    Args:
        classifier: At the start of fine-tuning.
        weights: The fine-tuned ones.
        some: Rows whose kernel is taken before and after.
        few: Rows whose gradients are.
        max_memory: Bytes that a kernel's tiles may take.
        show_progress: Whether to show progress bars.

    Returns:
        The relative changes.
    """
    options: dict[str, Any] = {"max_memory": max_memory, "show_progress": show_progress}
    before = ntk.empirical_ntk(classifier, some.inputs, **options).total
    with weights_as(classifier, weights):
        after = ntk.empirical_ntk(classifier, some.inputs, **options).total
    moved = ntk.gradient_change(classifier, weights, few.inputs, show_progress=show_progress)
    return {"gradient": float(moved.mean()), **{f"kernel_{k}": v for k, v in ntk.kernel_change(before, after).items()}}


def first_step(classifier: keras.Model, train: Rows, test: Rows, rule: str = "sgd") -> dict[str, Any]:
    """Compare one full-batch step with what its kernel says of it (Proposition 1), at three step sizes.

    The first is the greatest power of ten, 10 at most, whose prediction errs by less than half: whatever the head, its
    change is one that float32 can tell.

    Args:
        classifier: At the start of fine-tuning.
        train: Training rows.
        test: Rows whose change is looked at.
        rule: "sgd", or "signgd", which is Adam's first step, too.

    Returns:
        The relative errors of the prediction by step size, and the shares of P and F in the change of the logits.
    """
    arguments = (classifier, train.inputs, train.labels, test.inputs)
    rates = (10.0**power for power in range(1, -8, -1))
    steps: list[dict[str, float]] = []
    shares: dict[str, float] = {}
    while len(steps) < 3 and (rate := next(rates, None)) is not None:
        predicted = ntk.predict_update(*arguments, learning_rate=rate, rule=rule)
        errors = predicted.error(ntk.real_update(*arguments, learning_rate=rate, rule=rule))
        if steps or max(errors.values()) < 0.5:
            steps.append({"learning_rate": rate, **errors})
        shares = predicted.shares()
    return {"steps": steps, "shares": shares}


def low_rank(
    classifier: keras.Model, few: Rows, settings: LoraSettings, draws: int = 3, **options: Any
) -> dict[str, float]:
    """Compare F over fresh adapters with F over the weights that they adapt (Proposition 2, corrected).

    Args:
        classifier: With fresh adapters of the paper's style, whose A is drawn anew.
        few: Rows.
        settings: Of the adapters.
        draws: How often A is drawn.
        **options: `max_memory` and `show_progress` of `empirical_ntk`.

    Returns:
        The factor between the two kernels that the proposition expects, (alpha / r)^2 sigma^2 r with sigma^2 =
        1 / (3 d) of A's uniform distribution; its mean and standard deviation over draws; and the mean relative
        distance that is left.
    """
    adapters = lora_variables(classifier)
    down = [variable for variable in adapters if variable.path.endswith("lora_a")]
    layers = [layer for layer in classifier._flatten_layers() if isinstance(layer, LowRank)]
    frozen = [layer._kernel for layer in layers]  # type: ignore[attr-defined]
    compute = partial(ntk.empirical_ntk, classifier, few.inputs, **options)
    whole = compute(variables=frozen).finetune
    rng, fits = np.random.default_rng(0), []
    for _ in range(draws):
        for variable in down:
            bound = 1 / np.sqrt(variable.shape[1])
            variable.assign(rng.uniform(-bound, bound, variable.shape))
        fits.append(ntk.scalar_fit(compute(variables="lora").finetune, whole))
    factors, rest = zip(*fits, strict=True)
    scale, width = settings.alpha / settings.rank, down[0].shape[1]
    return {
        "expected": scale**2 * settings.rank / (3 * width),
        "factor": float(np.mean(factors)),
        "deviation": float(np.std(factors, ddof=1)),
        "distance": float(np.mean(rest)),
    }


def gradient_flow(kernels: Mapping[str, np.ndarray], splits: Splits) -> dict[str, Any]:
    """Train the linear model on the squared loss to the time that is best on the validation rows, in closed form.

    Args:
        kernels: Of "train", "validation" and "test".
        splits: The rows.

    Returns:
        "gradient_flow": accuracy of the test rows and the time; "largest_learning_rate": the greatest rate at which
        gradient descent on that loss is stable.
    """
    natural = ntk.largest_learning_rate(kernels["train"]) / 2  # 1 / the fastest rate
    times = [natural * factor for factor in (1, 10, 100, 1e3, 1e4)]
    start = {name: start_logits(part, kernels["train"].shape[1] == 1) for name, part in splits.items()}
    chosen = ntk.select_solver(
        kernels["train"],
        splits["train"].labels,
        kernels["validation"],
        splits["validation"].labels,
        candidates=ntk.solver_grid(ntk.GradientFlow(), {"time": times}),
        logits=start["train"],
        validation_logits=start["validation"],
    )
    found = chosen.solver.accuracy(kernels["test"], splits["test"].labels, start["test"])
    return {
        "gradient_flow": {"accuracy": found, "time": chosen.solver.get_params()["time"]},
        "largest_learning_rate": 2 * natural,
    }
