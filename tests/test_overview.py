import numpy as np

from lpft_keras.models.backbones import load_backbone
from lpft_keras.models.encoding import encode
from lpft_keras.overview import LENGTH_BINS, overview
from lpft_keras.tasks import load_task, own_task

ROWS = ["same text", "another", "", "  ", "long " * 150, "same text", "same text", "seventh"]


def data(tmp_path):
    train = "".join(f"{text},{label}\n" for text, label in zip(ROWS, "abababba", strict=True))
    (tmp_path / "train.csv").write_text("text,label\n" + train)
    (tmp_path / "held.csv").write_text("text,label\nfresh,a\nanother,a\n")
    (tmp_path / "test.csv").write_text("text,label\nseventh,b\nnew,b\nsame text,a\nfresh,a\n")
    files = {"train": tmp_path / "train.csv", "validation": tmp_path / "held.csv", "test": tmp_path / "test.csv"}
    return load_task(own_task(**files))


def test_rows_classes_repetitions_and_leaks_are_counted(tmp_path):
    found = overview(data(tmp_path))
    train = found.splits["train"]
    assert (train.rows, train.labels, train.empty, train.repeated) == (8, {"a": 4, "b": 4}, 2, 2)
    assert train.contradicting == 2, "'same text' is of class a first, and of class b twice after"
    assert train.lengths is None
    leaks = {(leak.split, leak.other): leak for leak in found.leaks}
    assert {key: leak.rows for key, leak in leaks.items()} == {
        ("validation", "train"): 1,
        ("test", "train"): 2,
        ("test", "validation"): 1,
    }
    assert leaks["test", "train"].share == 0.5
    assert leaks["test", "train"].examples == [(1, ("seventh",)), (3, ("same text",))]


def test_pairs_are_the_same_only_as_pairs(tmp_path):
    (tmp_path / "train.csv").write_text('a,b,label\nx y,z,p\nx,y z,q\n"x","y z",p\n')
    (tmp_path / "test.csv").write_text("a,b,label\nx,y z,q\nx y z,,p\n")
    task = own_task(tmp_path / "train.csv", text=["a", "b"], validation=tmp_path / "test.csv")
    found = overview(load_task(task))
    assert (found.splits["train"].repeated, [leak.rows for leak in found.leaks]) == (1, [1])


def test_token_lengths_are_those_of_the_encoding(tmp_path):
    backbone, rows = load_backbone("random:pocket"), data(tmp_path)
    found = overview(rows, backbone, max_length=32).splits["train"]
    tokens = encode(backbone, list(rows.train.texts), 512 if backbone.model.max_sequence_length >= 512 else 64)
    short = [length for length, cut in zip(tokens.lengths, tokens.truncated, strict=True) if not cut]
    assert sum(found.lengths) == 8
    assert found.lengths[0] == sum(length <= LENGTH_BINS[0] for length in short)
    assert found.longest > 150
    assert found.truncated == 1 / 8
    assert found.median_length == np.median([*short, found.longest][: len(ROWS)])


def test_lengths_of_pairs_count_what_stands_between(tmp_path):
    from lpft_keras.models.encoding import token_lengths

    for name in ("random:pocket", "tiny"):
        backbone = load_backbone(name)
        texts = [("A cat sat.", "An animal sat."), ("A cat sat.", ""), ("", "")]
        assert token_lengths(backbone, texts).tolist() == encode(backbone, texts, 64).lengths.tolist()
