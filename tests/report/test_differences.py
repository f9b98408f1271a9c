import logging

import numpy as np
import pytest

from lpft_keras.errors import InputError
from lpft_keras.evaluation import evaluate
from lpft_keras.report import as_csv, as_latex, difference_table, paired_differences
from tests import reference
from tests.report.runs import answers, write_run

# scikit-learn's, of resamples that hold one class only
pytestmark = pytest.mark.filterwarnings("ignore:A single label was found:UserWarning")


def guesses(rng, labels, classes, strength):
    """Return logits that know the labels as well as their strength goes."""
    return (rng.normal(size=(len(labels), classes)) + strength * np.eye(classes)[labels]).astype("float32")


@pytest.fixture
def write(rng, tmp_path):
    """Write runs of a method, one a seed, on the same rows; return them and their logits."""

    def written(method, seeds, strength, labels, classes=3, task="cb", **options):
        logits = [guesses(rng, labels, classes, strength) for _ in seeds]
        runs = [
            write_run(tmp_path, task, method, seed, {"test": (own, labels)}, **options)
            for seed, own in zip(seeds, logits, strict=True)
        ]
        return runs, logits

    return written


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("metric", ["accuracy", "macro_f1", "f1", "matthews_correlation", "nll", "brier", "ece"])
def test_the_interval_is_that_of_the_slow_twin(write, rng, metric, classes):
    labels = rng.integers(0, classes, 40)
    (ft, theirs), (lp, _), (ours, own) = (
        write(method, [1, 2, 3], strength, labels, classes)
        for method, strength in (("ft", 0.5), ("lp", 0.0), ("lp-ft", 2.0))
    )
    if metric == "f1" and classes == 3:
        with pytest.raises(InputError, match="take macro_f1"):
            paired_differences(ft + lp, metric)
        return
    found = paired_differences([*ft, *lp, *ours], metric, resamples=30, level=0.8, seed=5)
    assert [(one.method, one.versus) for one in found] == [("lp", "ft"), ("lp-ft", "ft")]
    assert found[1].seeds == (1, 2, 3)
    each = [a.metrics["test"][metric] - b.metrics["test"][metric] for a, b in zip(ours, ft, strict=True)]
    assert found[1].interval.value == pytest.approx(np.mean(each), abs=1e-12)
    expected = reference.paired_bootstrap(lambda f, y: evaluate(f, y)[metric], own, theirs, labels, 30, 5)
    np.testing.assert_allclose(found[1].interval.samples, expected, atol=1e-12)
    ends = found[1].interval.low, found[1].interval.high
    assert ends == pytest.approx(tuple(np.quantile(expected, [0.1, 0.9])), abs=1e-12)


def test_a_resample_without_a_class_is_measured_as_it_is(write):
    """Of six rows some resamples hold one class only, and some predictions too: 0/0 in F1 and Matthews' correlation."""
    labels = np.array([0, 0, 0, 0, 0, 1])
    (ft, theirs), (lora, own) = (write(method, [1], 3.0, labels, 2) for method in ("ft", "lora"))
    for metric in ("macro_f1", "f1", "matthews_correlation"):
        (found,) = paired_differences(ft + lora, metric, resamples=50)
        expected = reference.paired_bootstrap(lambda f, y, m=metric: evaluate(f, y)[m], own, theirs, labels, 50, 0)
        np.testing.assert_allclose(found.interval.samples, expected, atol=1e-12)


def test_draws_in_blocks_are_the_same(write, rng, monkeypatch):
    labels = rng.integers(0, 3, 20)
    runs = [run for method in ("ft", "lp") for run in write(method, [1, 2], 1.0, labels)[0]]
    whole = paired_differences(runs, resamples=11)[0].interval.samples
    monkeypatch.setattr("lpft_keras.report.resampling._COUNTS_HELD", 60)
    np.testing.assert_array_equal(paired_differences(runs, resamples=11)[0].interval.samples, whole)


def test_it_covers_new_seeds_and_new_rows(rng):
    """Seeds and rows both vary, and no method is better: some 90 % of the intervals hold 0."""
    from lpft_keras.report.differences import _interval
    from lpft_keras.report.resampling import resampled

    hits = 0
    for number in range(60):
        labels = rng.integers(0, 2, 150)
        difficulty = rng.normal(size=(150, 1))
        logits = [guesses(rng, labels, 2, 0.7 + 0.4 * rng.normal()) + np.eye(2)[labels] * difficulty for _ in range(16)]
        values, samples = resampled("accuracy", logits, labels, 200, number)
        found = _interval(values[:8] - values[8:], samples[:8] - samples[8:], 0.9, number)
        hits += found.low <= 0 <= found.high
    assert 48 <= hits <= 60


def test_only_seeds_in_common_are_compared(write, rng, caplog):
    labels = rng.integers(0, 3, 30)
    runs = [r for m, seeds in (("ft", [1, 2]), ("lora", [2, 3]), ("lp", [4])) for r in write(m, seeds, 1.0, labels)[0]]
    with caplog.at_level(logging.WARNING):
        (found,) = paired_differences(runs, resamples=5)
    assert (found.method, found.seeds) == ("lora", (2,))
    assert "cb on minilm: lp and ft have no seed in common" in caplog.text
    assert "only rows vary" in difference_table([found]).notes[1]
    with pytest.raises(InputError, match="no two methods"):
        paired_differences(runs[:2])


def test_the_reference_is_ft_or_what_is_named(write, rng, caplog):
    labels = rng.integers(0, 3, 30)
    runs = [run for method in ("lp-ft", "lora", "lp") for run in write(method, [1], 1.0, labels)[0]]
    runs += write("ft", [1], 1.0, labels, task="rte")[0] + write("lp", [1], 1.0, labels, task="rte")[0]
    found = paired_differences(runs, resamples=5)
    assert [(one.task, one.method, one.versus) for one in found] == [
        ("cb", "lp-ft", "lp"),
        ("cb", "lora", "lp"),
        ("rte", "lp", "ft"),
    ]
    with caplog.at_level(logging.WARNING):
        found = paired_differences(runs, versus="lora", resamples=5)
    assert [(one.method, one.versus) for one in found] == [("lp", "lora"), ("lp-ft", "lora")]
    assert "rte on minilm: no run of lora to compare with" in caplog.text
    with pytest.raises(InputError, match="unknown method 'lor'; did you mean 'lora'"):
        paired_differences(runs, versus="lor")
    with pytest.raises(InputError, match="'mce'"):
        paired_differences(runs, "mce")
    with pytest.raises(InputError, match="resamples must be"):
        paired_differences(runs, resamples=0)


def test_runs_on_other_rows_are_refused(write, rng):
    (ft,), (lp,) = (write(method, [1], 1.0, rng.integers(0, 3, 30))[0] for method in ("ft", "lp"))
    with pytest.raises(InputError, match=r"cb/lp/minilm/seed_1 and .*cb/ft/minilm/seed_1 were measured on different"):
        paired_differences([ft, lp])


def test_the_table_names_what_is_compared(tmp_path):
    splits = {"test": answers(80), "ood": answers(60)}
    better = {"test": answers(90), "ood": answers(50)}
    runs = [write_run(tmp_path, "demo", "ft", seed, splits) for seed in (1, 2)]
    runs += [write_run(tmp_path, "demo", "lp-ft", seed, better, head_scale=2.0) for seed in (1, 2)]
    table = difference_table(paired_differences(runs, resamples=100))
    assert table.title == "minilm: difference in accuracy (%)"
    assert table.columns == ("task", "rows", "methods", "difference", "95 % interval", "seeds")
    assert [(*row[:4], row[5]) for row in table.rows] == [
        ("demo", "test", "LP-FT x2 - FT", "+10.00", "2"),
        ("demo", "ood", "LP-FT x2 - FT", "-10.00", "2"),
    ]
    low, high = table.records[0]["low"], table.records[0]["high"]
    assert table.rows[0][4] == f"[{100 * low:+.2f}, {100 * high:+.2f}]"
    assert 0.02 < low < 0.1 < high < 0.2
    header = "task,backbone,split,method,versus,metric,difference,low,high,level,runs"
    assert as_csv([table]).splitlines()[0] == header
    assert r"LP-FT x2 - FT & $+10.00$ & $[" in as_latex([table])
