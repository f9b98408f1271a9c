import numpy as np
import pytest

from lpft_keras.calibration import ReliabilityDisplay, expected_calibration_error, maximum_calibration_error
from lpft_keras.errors import InputError
from tests.calibration.cases import overconfident, predictions

pytest.importorskip("matplotlib")


def bars(axes):
    return [patch for container in axes.containers for patch in container]


def test_bars_are_accuracies_and_empty_bins_are_empty(rng):
    _, p, y = predictions(rng)
    display = ReliabilityDisplay.from_predictions(p, y).plot()
    filled = display.bins.filled
    assert not filled.all()  # of three classes no confidence lies below a third
    accuracy, gap = display.axes_[0].containers[:2]
    np.testing.assert_allclose([bar.get_height() for bar in accuracy], display.bins.accuracy[filled])
    np.testing.assert_allclose(
        [bar.get_y() + bar.get_height() for bar in gap], display.bins.confidence[filled], atol=1e-12
    )
    assert len(display.axes_[1].containers[0]) == filled.sum()
    assert np.isnan(display.band[:, ~filled]).all()
    words = " ".join(text.get_text() for text in display.axes_[0].texts)
    assert f"{100 * expected_calibration_error(p, y):.1f} %" in words
    assert f"{100 * maximum_calibration_error(p, y):.1f} %" in words


def test_the_band_is_that_of_drawn_rows(rng):
    logits, y = overconfident(rng, rows=300)
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    band = ReliabilityDisplay.from_predictions(p, y, 5, resamples=4000).band
    confidence, correct = p.max(1), p.argmax(1) == y
    inside = (confidence > 0.8) & (confidence <= 1)
    drawn = []
    for _ in range(2000):
        rows = rng.integers(0, 300, 300)
        drawn.append(correct[rows][inside[rows]].mean())
    np.testing.assert_allclose(band[:, 4], np.quantile(drawn, [0.025, 0.975]), atol=0.02)


def test_several_panels_share_their_axes(rng, tmp_path):
    _, p, y = predictions(rng)
    figure = ReliabilityDisplay.compare({"before": p, "after": np.full_like(p, 1 / 3)}, y, resamples=50)
    assert [axes.get_title() for axes in figure.axes[:2]] == ["before", "after"]
    figure.savefig(tmp_path / "both.png")
    assert (tmp_path / "both.png").stat().st_size > 10_000


def test_no_band_where_none_is_asked_for(rng):
    _, p, y = predictions(rng)
    display = ReliabilityDisplay.from_predictions(p, y, resamples=0, strategy="quantile").plot()
    assert display.band is None
    with pytest.raises(InputError, match="unknown strategy 'quantiles'"):
        ReliabilityDisplay.from_predictions(p, y, strategy="quantiles")


def test_bins_of_few_rows_are_pale():
    p = np.array([[0.55, 0.45]] * 2 + [[0.95, 0.05]] * 30)
    display = ReliabilityDisplay.from_predictions(p, np.zeros(32, int), 10).plot()
    few, many = display.axes_[0].containers[0]
    assert few.get_facecolor()[3] < many.get_facecolor()[3] == 1
