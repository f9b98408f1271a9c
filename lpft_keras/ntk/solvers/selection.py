"""Which solver, with which parameters: the one that is best on validation examples."""

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sklearn.base import clone

from lpft_keras.errors import InputError, unknown_name
from lpft_keras.ntk.solvers.base import KernelSolver
from lpft_keras.ntk.solvers.inputs import checked_kernel, checked_square
from lpft_keras.ntk.solvers.least_squares import KernelLeastSquares

# Of Malladi et al. 2023, as others quote it: strengths of the ridge, and s of f0 / s.
REGULARIZATIONS = (0.0, 0.001, 0.01, 0.1, 1.0)
F0_SCALINGS = (10.0, 100.0, 1000.0, 10000.0, math.inf)


@dataclass(frozen=True)
class SolverSelection:
    """What `select_solver` found.

    Attributes:
        solver: The best one, fitted.
        table: A row for each candidate, in their order: "solver" (its class), its parameters, and "accuracy" and
            "logit_accuracy" of the validation examples.
    """

    solver: KernelSolver
    table: list[dict[str, Any]]


def solver_grid(solver: KernelSolver, parameters: Mapping[str, Sequence[Any]]) -> list[KernelSolver]:
    """Return copies of a solver, one for each combination of parameters; the last parameter runs fastest.

    Args:
        solver: The one whose other parameters all have.
        parameters: Values by name.

    Returns:
        Solvers that are not fitted.

    Raises:
        InputError: The solver has no such parameter, or a parameter's values are no sequence.

    Example:
        >>> solver_grid(AsymmetricLeastSquaresSVM(), {"gamma": [0.1, 1, 10], "mixing": [0, 0.5, 1]})
    """
    for name, values in parameters.items():
        if name not in solver.get_params():
            raise unknown_name(f"parameter of {type(solver).__name__}", name, solver.get_params())
        if isinstance(values, str) or not isinstance(values, Iterable):
            raise InputError(f"{name} must be a sequence of values, as in {{{name!r}: [{values!r}]}}, not {values!r}")
    return [
        clone(solver).set_params(**dict(zip(parameters, values, strict=True)))
        for values in itertools.product(*parameters.values())
    ]


def select_solver(
    train: Any,
    labels: Any,
    validation: Any,
    validation_labels: Any,
    *,
    candidates: Iterable[KernelSolver] | None = None,
    logits: Any = None,
    validation_logits: Any = None,
    flipped: Any = None,
) -> SolverSelection:
    """Fit solvers, and take the one with the highest accuracy on validation examples; of equal ones the first.

    Args:
        train: Kernel of the training examples with themselves, float [N, C, N, C].
        labels: Their class ids, [N].
        validation: Kernel of validation examples with the training examples, float [M, C, N, C].
        validation_labels: Their class ids, [M].
        candidates: Solvers, as `solver_grid` makes them. None takes `KernelLeastSquares` with the grid of Malladi et
            al. 2023 (as quoted by others): regularization 0, 0.001, 0.01, 0.1, 1, each with f0_scaling 10, 100, 1000,
            10000 and infinity; infinity alone where no logits are given.
        logits: f0 of the training examples, float [N, C].
        validation_logits: f0 of the validation examples, float [M, C].
        flipped: For `AsymmetricLeastSquaresSVM`: the validation kernel with the sign on the evaluated side.

    Returns:
        The best solver, fitted, and the table of all. The candidates stay as they are.

    Raises:
        InputError: There are no candidates, one is no solver, or as for `fit` and `accuracy`.

    Example:
        >>> selection = select_solver(train.total, train_labels, validation.total, validation_labels)
        >>> selection.solver.accuracy(test.total, test_labels)
    """
    if candidates is None:
        scalings = F0_SCALINGS if logits is not None else (math.inf,)
        candidates = solver_grid(KernelLeastSquares(), {"regularization": REGULARIZATIONS, "f0_scaling": scalings})
    candidates = _checked_candidates(candidates)
    inside, across = checked_square(train, symmetric=False), checked_kernel(validation, "validation")
    other = None if flipped is None else checked_kernel(flipped, "flipped")
    best, highest, table = candidates[0], -math.inf, []
    for candidate in candidates:
        solver = clone(candidate).fit(inside, labels, logits)
        scores = solver._accuracies(across, validation_labels, validation_logits, other)
        table.append({"solver": type(solver).__name__, **solver.get_params(), **scores})
        if scores["accuracy"] > highest:
            best, highest = solver, scores["accuracy"]
    return SolverSelection(best, table)


def _checked_candidates(candidates: Any) -> list[KernelSolver]:
    if isinstance(candidates, KernelSolver) or not isinstance(candidates, Iterable):
        raise InputError(f"candidates must be a sequence of solvers, as in [KernelSVC()], not {candidates!r}")
    solvers = list(candidates)
    if not solvers:
        raise InputError("there are no candidates to select from")
    for number, solver in enumerate(solvers):
        if not isinstance(solver, KernelSolver):
            raise InputError(f"candidates[{number}] must be a kernel solver, as KernelSVC() is, not {solver!r}")
    return solvers
