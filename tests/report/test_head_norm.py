import dataclasses

import numpy as np
import pytest

from lpft_keras.report import HeadNormPoint, head_norm_points, plot_head_norm, trends


def test_points_are_means_over_the_seeds(swept):
    _, results = swept
    points = head_norm_points(results)
    assert [(p.method, p.scale, p.runs) for p in points] == [
        (method, scale, 2) for method in ("ft", "lp-lora") for scale in (1.0, 10.0)
    ]
    own = [r for r in results if r.summary["method"] == "ft" and r.config["settings"]["head_scale"] == 10.0]
    changes = [r.metrics["test"]["feature_change"] for r in own]
    point = points[1]
    assert point.feature_change == pytest.approx(np.mean(changes))
    assert point.standard_error == pytest.approx(np.std(changes, ddof=1) / np.sqrt(2))
    assert point.start_head_norm == pytest.approx(10 * points[0].start_head_norm, rel=1e-5)
    assert np.isnan(head_norm_points(own[:1])[0].standard_error)


def test_a_trend_is_a_rank_correlation():
    point = HeadNormPoint("ft", 1.0, 1, 1.0, 5.0, float("nan"), 0.5)
    falling = [dataclasses.replace(point, start_head_norm=n, feature_change=1 / n) for n in (1.0, 2.0, 5.0)]
    rising = [dataclasses.replace(point, method="lora", start_head_norm=n, feature_change=n) for n in (1.0, 2.0, 5.0)]
    assert trends(falling + rising) == pytest.approx({"ft": -1.0, "lora": 1.0})
    assert trends(falling[:2]) == {}


def test_the_figure_holds_each_method_with_its_band(swept, tmp_path):
    pytest.importorskip("matplotlib")
    points = head_norm_points(swept[1])
    figure = plot_head_norm(points, "demo on tiny")
    left = figure.axes[0]
    assert [line.get_label() for line in left.lines] == ["FT", "LP-LoRA"]
    np.testing.assert_allclose(left.lines[0].get_xdata(), [1.0, 10.0])
    np.testing.assert_allclose(left.lines[0].get_ydata(), [p.feature_change for p in points[:2]])
    assert len(left.collections) == 2
    figure.savefig(tmp_path / "figure.png")
