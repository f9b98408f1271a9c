import numpy as np
import pytest

from lpft_keras import calibration
from tests import reference
from tests.calibration.cases import predictions, top_label_as_two

BINNED = (
    "expected_calibration_error",
    "maximum_calibration_error",
    "equal_mass_calibration_error",
    "average_calibration_error",
    "root_mean_square_calibration_error",
    "overconfidence_error",
)


@pytest.mark.parametrize("name", BINNED)
@pytest.mark.parametrize("classes", [2, 3, 20])
@pytest.mark.parametrize("bins", [1, 10, 15])
def test_errors_equal_their_slow_twins(rng, name, classes, bins):
    _, p, y = predictions(rng, classes=classes)
    assert getattr(calibration, name)(p, y, bins) == pytest.approx(getattr(reference, name)(p, y, bins), abs=1e-12)


def test_debiased_error_and_overconfidence_equal_their_slow_twins(rng):
    for rows in (30, 400):
        _, p, y = predictions(rng, rows)
        expected = reference.root_mean_square_calibration_error(p, y, debiased=True)
        assert calibration.root_mean_square_calibration_error(p, y, debiased=True) == pytest.approx(expected, abs=1e-12)
        assert calibration.overconfidence(p, y) == pytest.approx(reference.overconfidence(p, y), abs=1e-12)


def test_debiasing_takes_chance_away(rng):
    """Of calibrated predictions the plain error is chance alone, on average the debiased square is zero."""
    plain, debiased = [], []
    for _ in range(40):
        p = reference.softmax(rng.normal(0, 1, (300, 2)))
        y = (rng.random(300) < p[:, 1]).astype(int)
        plain.append(calibration.root_mean_square_calibration_error(p, y) ** 2)
        debiased.append(calibration.root_mean_square_calibration_error(p, y, debiased=True) ** 2)
    assert np.mean(debiased) < np.mean(plain) / 2


@pytest.mark.parametrize("classes", [2, 3, 5])
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("expected_calibration_error", "ECE"),
        ("maximum_calibration_error", "MCE"),
        ("average_calibration_error", "ACE"),
    ],
)
def test_netcal_agrees_on_the_top_label(rng, classes, ours, theirs):
    metrics = pytest.importorskip("netcal.metrics")
    _, p, y = predictions(rng, classes=classes)
    expected = getattr(metrics, theirs)(15).measure(*top_label_as_two(p, y))
    assert getattr(calibration, ours)(p, y) == pytest.approx(expected, abs=1e-9)


def test_netcal_on_two_classes_is_another_number(rng):
    """It compares P(class 1) with the share of class 1: our class-wise error of either class."""
    metrics = pytest.importorskip("netcal.metrics")
    _, p, y = predictions(rng, classes=2)
    expected = metrics.ECE(15).measure(p, y)
    assert calibration.class_wise_calibration_error(p, y) == pytest.approx(expected, abs=1e-9)
    assert abs(calibration.expected_calibration_error(p, y) - expected) > 1e-3


def test_netcal_agrees_on_equal_mass(rng):
    metrics = pytest.importorskip("netcal.metrics")
    # A number of rows at which no quantile is a confidence itself: netcal puts that one above the edge, we below.
    _, p, y = predictions(rng, rows=399)
    expected = metrics.ECE(15, equal_intervals=False).measure(*top_label_as_two(p, y))
    assert calibration.equal_mass_calibration_error(p, y) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("classes", [2, 3, 5])
@pytest.mark.parametrize(
    ("ours", "norm"),
    [
        ("expected_calibration_error", "l1"),
        ("maximum_calibration_error", "max"),
        ("root_mean_square_calibration_error", "l2"),
    ],
)
def test_torchmetrics_agrees(rng, classes, ours, norm):
    torch = pytest.importorskip("torch")
    functional = pytest.importorskip("torchmetrics.functional.classification")
    _, p, y = predictions(rng, classes=classes)
    expected = functional.multiclass_calibration_error(
        torch.tensor(p), torch.tensor(y), num_classes=classes, n_bins=15, norm=norm
    )
    assert getattr(calibration, ours)(p, y) == pytest.approx(float(expected), abs=1e-6)  # float32 inside


@pytest.mark.parametrize("strategy", ["uniform", "quantile"])
def test_bins_are_those_of_scikit_learn(rng, strategy):
    from sklearn.calibration import calibration_curve

    # As above: where a quantile is a confidence itself, rounding decides on which side of the edge it is.
    _, p, y = predictions(rng, rows=399)
    confidence, correct = top_label_as_two(p, y)
    accuracy, mean = calibration_curve(correct, confidence, n_bins=15, strategy=strategy)
    bins = calibration.reliability_bins(p, y, strategy=strategy)
    np.testing.assert_allclose(bins.accuracy[bins.filled], accuracy, atol=1e-12)
    np.testing.assert_allclose(bins.confidence[bins.filled], mean, atol=1e-12)


def test_confidence_one_and_values_on_bin_edges():
    certain = np.array([[1.0, 0.0], [1.0, 0.0]])
    assert calibration.expected_calibration_error(certain, np.array([0, 1])) == pytest.approx(0.5)
    # 0.6 is the upper edge of its bin of ten, so that it shares the bin with 0.55, not with 0.65.
    edge = np.array([[0.6, 0.4], [0.55, 0.45], [0.65, 0.35]])
    labels = np.array([0, 1, 0])
    assert calibration.maximum_calibration_error(edge, labels, 10) == pytest.approx(0.35)
    assert calibration.expected_calibration_error(edge, labels, 10) == pytest.approx(
        (2 * abs(0.5 - 0.575) + abs(1 - 0.65)) / 3
    )


def test_probability_zero_lies_in_the_first_bin():
    p = np.array([[1.0, 0.0, 0.0], [0.02, 0.98, 0.0]])
    # Class 2 is never given a chance and never comes: no error of its own. Bins of one tenth.
    expected = (0.02 / 2 + 0.02 / 2) / 3
    assert calibration.class_wise_calibration_error(p, np.array([0, 1]), 10) == pytest.approx(expected)


def test_the_first_of_equal_probabilities_counts():
    p = np.array([[0.5, 0.5], [0.5, 0.5]])
    assert calibration.overconfidence(p, np.array([0, 0])) == pytest.approx(-0.5)
    wide = np.full((2, 20), 0.05)
    assert calibration.overconfidence(wide, np.array([0, 0])) == pytest.approx(0.05 - 1)


def test_one_row_and_one_class_are_measured():
    assert calibration.expected_calibration_error([[0.9, 0.1]], [0]) == pytest.approx(0.1)
    p = np.array([[0.9, 0.05, 0.05], [0.2, 0.5, 0.3]])
    assert calibration.expected_calibration_error(p, np.array([0, 0])) == pytest.approx((0.1 + 0.5) / 2)


def test_many_rows_are_measured_in_pieces(rng):
    """More rows than are looked at at once, against the sum over all of them."""
    p = reference.softmax(rng.normal(0, 2, (1000, 2)))
    y = rng.integers(0, 2, 1000)
    many = np.tile(p, (140, 1)), np.tile(y, 140)
    for name in BINNED:
        metric = getattr(calibration, name)
        assert metric(*many) == pytest.approx(metric(p, y), abs=1e-3 if "mass" in name else 1e-9)
