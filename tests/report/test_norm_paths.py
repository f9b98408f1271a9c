import numpy as np

from lpft_keras.report import groups, norm_paths, plot_norm_paths


def test_paths_are_those_of_the_histories(swept):
    found = groups([run for run in swept[1] if run.config["settings"]["head_scale"] == 1])
    rows = norm_paths(found)
    for method, members in found.items():
        for run in members:
            own = [row for row in rows if (row["method"], row["seed"]) == (method, run.summary["seed"])]
            assert [row["head_norm"] for row in own] == [row["head_norm"] for row in run.history]
            assert {row["stage"] for row in own} == {row["stage"] for row in run.history}
    figure = plot_norm_paths(found, "title")
    bars = figure.axes[-1].patches
    heights = [np.mean([run.summary["head_norm"] for run in members]) for members in found.values()]
    np.testing.assert_allclose([bar.get_height() for bar in bars], heights)
    # One line a seed: LP's iterations on the left, epochs of what fine-tunes in the middle.
    assert [len(axes.lines) for axes in figure.axes[:4]] == [2, 4, 2, 4]
    figure.canvas.draw()


def test_without_a_probe_or_fine_tuning_the_rest_is_drawn(swept):
    found = groups([run for run in swept[1] if run.summary["method"] == "lp"])
    plot_norm_paths(found, "title").canvas.draw()
