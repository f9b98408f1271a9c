import numpy as np
import pytest
from sklearn.base import clone

from lpft_keras import ntk
from lpft_keras.errors import InputError


def _arguments(problem):
    return problem.train, problem.labels.train, problem.test, problem.labels.test


def test_the_default_grid_is_the_authors_and_the_best_of_it_is_taken(problem):
    logits = {"logits": problem.logits.train, "validation_logits": problem.logits.test}
    selection = ntk.select_solver(*_arguments(problem), **logits)
    assert [(row["regularization"], row["f0_scaling"]) for row in selection.table] == [
        (ridge, scaling) for ridge in (0, 0.001, 0.01, 0.1, 1) for scaling in (10, 100, 1000, 10000, np.inf)
    ]
    scores = []
    for row in selection.table:
        solver = ntk.KernelLeastSquares(row["regularization"], row["f0_scaling"])
        solver.fit(problem.train, problem.labels.train, problem.logits.train)
        predictions = solver.predict(problem.test, problem.logits.test)
        scores.append(sum(p == y for p, y in zip(predictions, problem.labels.test, strict=True)) / 12)
    assert [row["accuracy"] for row in selection.table] == scores
    first = selection.table[scores.index(max(scores))]
    assert selection.solver.get_params() == {name: first[name] for name in selection.solver.get_params()}
    assert selection.solver.accuracy(problem.test, problem.labels.test, problem.logits.test) == max(scores)
    assert [row["f0_scaling"] for row in ntk.select_solver(*_arguments(problem)).table] == [np.inf] * 5


def test_a_worse_first_candidate_is_not_taken_and_candidates_stay_unfitted(three):
    far = ntk.GradientFlow(time=0.0)  # does not move
    near = ntk.GradientFlow(time=10.0)
    wrong = {"logits": -three.logits.train, "validation_logits": -three.logits.test}
    selection = ntk.select_solver(*_arguments(three), candidates=[far, near], **wrong)
    assert selection.solver.time == 10.0
    assert selection.table[0]["accuracy"] < selection.table[1]["accuracy"]
    assert [row["solver"] for row in selection.table] == ["GradientFlow", "GradientFlow"]
    assert not hasattr(near, "dual_coef_")


def test_of_equal_candidates_the_first_is_taken(three):
    grid = ntk.solver_grid(ntk.KernelLeastSquares(0.1), {"tolerance": [1e-12, 1e-13, 1e-14]})
    selection = ntk.select_solver(*_arguments(three), candidates=grid)
    assert len({row["accuracy"] for row in selection.table}) == 1
    assert selection.solver.tolerance == 1e-12


def test_the_asymmetric_machine_is_selected_by_its_flipped_kernel(problem):
    signed = problem.signed
    grid = ntk.solver_grid(ntk.AsymmetricLeastSquaresSVM(), {"gamma": [1e-4, 0.1], "mixing": [0.0, 1.0]})
    assert [(solver.gamma, solver.mixing) for solver in grid] == [(1e-4, 0), (1e-4, 1), (0.1, 0), (0.1, 1)]
    arguments = signed.train, problem.labels.train, signed.test, problem.labels.test
    selection = ntk.select_solver(*arguments, candidates=grid, flipped=signed.flipped)
    assert len(selection.table) == 4
    best = selection.solver.accuracy(signed.test, problem.labels.test, flipped=signed.flipped)
    assert best == max(row["accuracy"] for row in selection.table)


def test_unknown_parameters_and_no_candidates_are_refused(three):
    with pytest.raises(InputError, match="unknown parameter of KernelSVC 'gama'"):
        ntk.solver_grid(ntk.KernelSVC(), {"gama": [1]})
    for values in (1.0, "ten", None):
        with pytest.raises(InputError, match=r"inverse_strength must be a sequence of values, as in \{'inverse"):
            ntk.solver_grid(ntk.KernelSVC(), {"inverse_strength": values})
    for candidates, message in (
        ([], "no candidates"),
        (ntk.KernelSVC(), r"a sequence of solvers, as in \[KernelSVC\(\)\], not KernelSVC\(\)"),
        (3, "a sequence of solvers"),
        ([ntk.KernelSVC(), 3], r"candidates\[1\] must be a kernel solver, as KernelSVC\(\) is, not 3"),
    ):
        with pytest.raises(InputError, match=message):
            ntk.select_solver(*_arguments(three), candidates=candidates)


def test_what_candidates_share_does_not_change_what_each_finds(problem):
    """Each row of the table is that of its candidate alone, whatever ridge came before; symmetric and asymmetric."""
    ridges = [0.0, 0.1, 0.01, 0.1]
    symmetric = [
        solver
        for one, grid in (
            (ntk.KernelLeastSquares(), {"f0_scaling": [10.0, np.inf]}),
            (ntk.KernelSVC(), {"inverse_strength": [0.1, 10.0]}),
            (ntk.GradientFlow(), {"time": [0.1, 10.0]}),
            (ntk.KernelRegression(penalty="rkhs"), {"folds": [3]}),
        )
        for solver in ntk.solver_grid(one, grid | ({} if "time" in grid else {"regularization": ridges}))
    ]
    grid = {"mixing": [0.0, 1.0], "regularization": ridges, "gamma": [1e-3, 1.0]}
    asymmetric = ntk.solver_grid(ntk.AsymmetricLeastSquaresSVM(f0_scaling=10.0), grid)
    logits, labels, signed = problem.logits, problem.labels, problem.signed
    for train, test, flipped, candidates in (
        (problem.train, problem.test, None, symmetric),
        (signed.train, signed.test, signed.flipped, asymmetric),
    ):
        options = {"logits": logits.train, "validation_logits": logits.test, "flipped": flipped}
        selection = ntk.select_solver(train, labels.train, test, labels.test, candidates=candidates, **options)
        assert len({row["logit_accuracy"] for row in selection.table}) > 1
        for row, solver in zip(selection.table, candidates, strict=True):
            alone = clone(solver).fit(train, labels.train, logits.train)
            for name in ("accuracy", "logit_accuracy"):
                assert row[name] == getattr(alone, name)(test, labels.test, logits.test, flipped)
