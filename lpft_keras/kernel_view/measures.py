"""What a kernel view measures, one function a test; arrays and models in, plain numbers out."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import keras
import numpy as np

from lpft_keras import ntk
from lpft_keras.models.lora import LoraSettings, lora_variables
from lpft_keras.models.lora_layers import LowRank
from lpft_keras.ntk.behaviour import weights_as
from lpft_keras.ntk.solvers import KernelSolver

Inputs = dict[str, np.ndarray]
# Of Malladi et al. 2023, as others quote it.
REGULARIZATIONS = (0.0, 0.001, 0.01, 0.1, 1.0)
F0_SCALINGS = (10.0, 100.0, 1000.0, 10000.0, np.inf)


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


def accuracy(logits: np.ndarray, labels: np.ndarray) -> float:
    """Return the share of rows whose greatest logit is that of their label."""
    return float((logits.argmax(axis=1) == labels).mean())


Splits = Mapping[str, Rows]
"""Rows by "train", "validation" and "test"."""


def kernels_of(
    classifier: keras.Model, splits: Splits, kind: str, single_logit: bool, compute: Callable[..., Any]
) -> dict[str, np.ndarray]:
    """Compute one kind of kernel of the training rows with themselves and of all others with them.

    Args:
        classifier: At the start of fine-tuning.
        splits: The rows.
        kind: As `empirical_ntk` takes it.
        single_logit: Likewise.
        compute: `train_test_ntk`, with what is always the same bound.

    Returns:
        float64 kernels of "train", "validation" and "test".
    """
    train, *others = (splits[name].inputs for name in ("train", "validation", "test"))
    joined = {name: np.concatenate([part[name] for part in others]) for name in train}
    inside, across = compute(classifier, train, joined, kind=kind, single_logit=single_logit)
    held = len(splits["validation"])
    return {"train": inside.total, "validation": across.total[:held], "test": across.total[held:]}


def candidates(kind: str) -> list[KernelSolver]:
    """Return the solvers among which a kernel's is chosen."""
    if kind.startswith("asymmetric"):
        grid = {"gamma": (0.1, 1.0, 10.0), "mixing": (0.0, 0.5, 1.0), "f0_scaling": F0_SCALINGS[::2]}
        return ntk.solver_grid(ntk.AsymmetricLeastSquaresSVM(), grid)
    ridge = {"regularization": REGULARIZATIONS, "f0_scaling": F0_SCALINGS}
    return [*ntk.solver_grid(ntk.KernelLeastSquares(), ridge), ntk.KernelRegression(penalty="rkhs")]


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
    single = kernels["train"].shape[1] == 1

    def start(name: str) -> np.ndarray:
        logits = splits[name].logits.astype("float64")
        return logits[:, [1]] - logits[:, [0]] if single else logits

    sides = {name: None if flipped is None else flipped[name] for name in kernels}
    chosen = ntk.select_solver(
        kernels["train"],
        splits["train"].labels,
        kernels["validation"],
        splits["validation"].labels,
        candidates=candidates(kind),
        logits=start("train"),
        validation_logits=start("validation"),
        flipped=sides["validation"],
    )
    solver = chosen.solver
    evaluate = partial(_evaluated, kernels["test"], splits["test"].labels, start("test"), sides["test"])
    parameters = {name: value for name, value in solver.get_params().items() if isinstance(value, int | float | str)}
    return {
        "accuracy": evaluate(solver.accuracy),
        "logit_accuracy": evaluate(solver.logit_accuracy),
        "validation_accuracy": max(row["accuracy"] for row in chosen.table),
        # JSON has no infinity.
        "solver": {"name": type(solver).__name__} | {k: str(v) if v == np.inf else v for k, v in parameters.items()},
    }


def _evaluated(kernel, labels, logits, flipped, measure: Callable[..., float]) -> float:
    return measure(kernel, labels, logits, flipped)


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
    classifier: keras.Model, weights: Sequence[np.ndarray], some: Rows, few: Rows, show_progress: bool | None
) -> dict[str, float]:
    """Return how far a fine-tuning moved kernel and gradients (the fixed-features test).

    Args:
        classifier: At the start of fine-tuning.
        weights: The fine-tuned ones.
        some: Rows whose kernel is taken before and after.
        few: Rows whose gradients are.
        show_progress: Whether to show progress bars.

    Returns:
        The relative changes.
    """
    before = ntk.empirical_ntk(classifier, some.inputs, show_progress=show_progress).total
    with weights_as(classifier, weights):
        after = ntk.empirical_ntk(classifier, some.inputs, show_progress=show_progress).total
    moved = ntk.gradient_change(classifier, weights, few.inputs, show_progress=show_progress)
    return {"gradient": float(moved.mean()), **{f"kernel_{k}": v for k, v in ntk.kernel_change(before, after).items()}}


def first_step(classifier: keras.Model, train: Rows, test: Rows, rates: Sequence[float]) -> dict[str, Any]:
    """Compare one full-batch step with what Proposition 1 says of it.

    Args:
        classifier: At the start of fine-tuning.
        train: Training rows.
        test: Rows whose change is looked at.
        rates: Step sizes.

    Returns:
        The relative error of the prediction by step size, and the shares of P and F in the change of the logits.
    """
    steps, shares = [], {}
    for rate in rates:
        arguments = (classifier, train.inputs, train.labels, test.inputs)
        predicted = ntk.predict_update(*arguments, learning_rate=rate)
        error = predicted.error(ntk.real_update(*arguments, learning_rate=rate))
        steps.append({"learning_rate": rate, **error})
        shares = predicted.shares()
    return {"steps": steps, "shares": shares}


def low_rank(classifier: keras.Model, few: Rows, settings: LoraSettings, draws: int = 3) -> dict[str, float]:
    """Compare F over fresh adapters with F over the weights that they adapt (Proposition 2, corrected).

    Args:
        classifier: With fresh adapters of the paper's style, whose A is drawn anew.
        few: Rows.
        settings: Of the adapters.
        draws: How often A is drawn.

    Returns:
        The factor between the two kernels that the proposition expects, (alpha / r)^2 sigma^2 r with sigma^2 =
        1 / (3 d) of A's uniform distribution; its mean and standard deviation over draws; and the mean relative
        distance that is left.
    """
    adapters = lora_variables(classifier)
    down = [variable for variable in adapters if variable.path.endswith("lora_a")]
    layers = [layer for layer in classifier._flatten_layers() if isinstance(layer, LowRank)]
    frozen = [layer._kernel for layer in layers]  # type: ignore[attr-defined]
    whole = ntk.empirical_ntk(classifier, few.inputs, variables=frozen).finetune
    rng, fits = np.random.default_rng(0), []
    for _ in range(draws):
        for variable in down:
            bound = 1 / np.sqrt(variable.shape[1])
            variable.assign(rng.uniform(-bound, bound, variable.shape))
        fits.append(ntk.scalar_fit(ntk.empirical_ntk(classifier, few.inputs, variables="lora").finetune, whole))
    factors, rest = zip(*fits, strict=True)
    scale, width = settings.alpha / settings.rank, down[0].shape[1]
    return {
        "expected": scale**2 * settings.rank / (3 * width),
        "factor": float(np.mean(factors)),
        "deviation": float(np.std(factors, ddof=1)),
        "distance": float(np.mean(rest)),
    }
