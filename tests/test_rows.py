import logging

import numpy as np

from lpft_keras import own_task
from lpft_keras.models.backbones import load_backbone
from lpft_keras.models.encoding import encode
from lpft_keras.overview import overview
from lpft_keras.rows import CHARACTERS_KEPT, ERRORS_KEPT, row_counts, surest_errors
from lpft_keras.tasks import load_task
from lpft_keras.training.batches import Encoded


def data(tmp_path, test="seen before,a\nnew,b\n" + "long " * 60 + ",a\n"):
    (tmp_path / "train.csv").write_text("text,label\nseen before,a\nother,b\nthird,a\n")
    (tmp_path / "dev.csv").write_text("text,label\nfourth,b\n")
    (tmp_path / "test.csv").write_text("text,label\n" + test)
    task = own_task(tmp_path / "train.csv", validation=tmp_path / "dev.csv", test=tmp_path / "test.csv")
    return load_task(task)


def encoded(rows, backbone):
    return {name: Encoded(encode(backbone, split.texts, 32), split.labels) for name, split in rows.every().items()}


def test_rows_are_counted_and_leaks_warned_of(tmp_path, caplog):
    rows, backbone = data(tmp_path), load_backbone("tiny")
    with caplog.at_level(logging.WARNING):
        kept = row_counts(rows, encoded(rows, backbone))
    assert kept["splits"]["test"] == {"rows": 3, "labels": {"a": 2, "b": 1}, "truncated": 1}
    assert kept["splits"]["train"]["truncated"] == 0
    assert kept["leaks"] == [{"split": "test", "other": "train", "rows": 1, "share": 1 / 3}]
    first = overview(rows).leaks[0]
    assert kept["leaks"][0] == {name: getattr(first, name) for name in ("split", "other", "rows", "share")}
    assert "leakage: 1 of the test rows in train" in caplog.text
    caplog.clear()
    alone = rows.without_tests()
    assert row_counts(alone, encoded(alone, backbone))["leaks"] == []
    assert not caplog.text


def test_the_surest_errors_are_kept_with_their_texts(tmp_path, rng):
    long = "x" * (CHARACTERS_KEPT + 1)
    rows = data(tmp_path, "".join(f"{'' if n == 7 else long if n == 8 else n},{'ab'[n % 2]}\n" for n in range(40)))
    probabilities = rng.dirichlet([1, 1], 40)
    probabilities[7], probabilities[8], probabilities[9], probabilities[11] = (1, 0), (0, 1), (0.9, 0.1), (0.9, 0.1)
    found = surest_errors(rows.test, probabilities, rows.labels)
    wrong = [n for n in range(40) if probabilities[n].argmax() != rows.test.labels[n]]
    slow = sorted(wrong, key=lambda n: (-probabilities[n].max(), n))[:ERRORS_KEPT]
    assert [error["row"] - 1 for error in found] == slow
    assert slow.index(9) + 1 == slow.index(11), "of equally sure ones the first stands first"
    assert found[0] == {
        "row": 8,
        "texts": [""],
        "characters": [0],
        "label": "b",
        "predicted": "a",
        "probability": 1.0,
    }
    assert found[1]["texts"] == ["x" * CHARACTERS_KEPT]
    assert found[1]["characters"] == [CHARACTERS_KEPT + 1]
    right = np.eye(2)[rows.test.labels]
    assert surest_errors(rows.test, right, rows.labels) == []
