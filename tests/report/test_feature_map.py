import numpy as np

from lpft_keras.report import feature_map, plot_feature_map
from lpft_keras.report.feature_map import Moved


def test_what_did_not_move_stays_and_classes_part(rng):
    labels = np.repeat([0, 1], 20)
    before = rng.normal(size=(40, 8)) * 0.1
    head = rng.normal(size=(2, 8)) * 0.02
    still = Moved(before, head, head)
    apart = Moved(before + 10 * np.eye(8)[labels], head, head)
    points = feature_map(before, {"lp": still, "ft": apart}, labels)
    assert len(points) == 40 + 2 * (40 + 2 + 2)
    assert points == feature_map(before, {"lp": still, "ft": apart}, labels)

    def places(method, kind, state):
        own = [p for p in points if (p["method"], p["kind"], p["state"]) == (method, kind, state)]
        return np.array([[p["x"], p["y"]] for p in own]), np.array([p["class"] for p in own])

    start, classes = places("", "feature", "before")
    np.testing.assert_array_equal(classes, labels)
    stayed, _ = places("lp", "feature", "after")
    moved, _ = places("ft", "feature", "after")
    spread = np.linalg.norm(start - start.mean(axis=0), axis=1).mean()
    assert np.linalg.norm(stayed - start, axis=1).mean() < 0.2 * spread
    assert np.linalg.norm(moved - start, axis=1).mean() > spread
    centres = [moved[labels == label].mean(axis=0) for label in (0, 1)]
    within = np.mean([np.linalg.norm(moved[labels == k] - centres[k], axis=1).mean() for k in (0, 1)])
    assert np.linalg.norm(centres[0] - centres[1]) > 2 * within


def test_class_names_are_shown_as_they_are(rng):
    before = rng.normal(size=(6, 4))
    moved = {"ft": Moved(before, before[:2], before[2:4])}
    figure = plot_feature_map(feature_map(before, moved, np.array([0, 1, 0, 1, 0, 1])), ["$x_{$", "<b>"], "title")
    shown = [text.get_text() for text in figure.legends[0].get_texts()]
    assert shown[:2] == [r"\$x_{\$", "<b>"]
    figure.canvas.draw()
