"""The demo task's rows: the same everywhere, balanced, unleaked, shifted where they should be, and no gift."""

import hashlib
from collections import Counter

import numpy as np
import pytest
from scipy.sparse import hstack
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.tree import DecisionTreeClassifier

from lpft_keras.errors import InputError
from lpft_keras.tasks import grammar
from lpft_keras.tasks.grammar import CONNECTIVES, LABELS, demo_rows, pretraining_pairs
from lpft_keras.tasks.vocabularies import PLAIN, SHIFTED

SIZES = {"train": 250, "test": 201, "ood": 201}
ROWS = {split: demo_rows(split) for split in SIZES}


def words(sentence: str) -> list[str]:
    return sentence.replace(".", "").replace(",", "").lower().split()


def digest(rows: object) -> str:
    return hashlib.sha256(repr(rows).encode()).hexdigest()[:16]


def test_rows_are_the_same_on_every_machine():
    grammar._all_rows.cache_clear()
    assert {split: demo_rows(split) for split in SIZES} == ROWS
    assert {split: digest(rows) for split, rows in ROWS.items()} == {
        "train": "46565e057f80182e",
        "test": "d67f37e90379cd19",
        "ood": "3e1ffb1c2d56d409",
    }


def test_a_caller_cannot_spoil_the_rows():
    demo_rows("train").clear()
    assert demo_rows("train") == ROWS["train"]


@pytest.mark.parametrize("split", SIZES)
def test_sizes_labels_and_balance(split):
    rows = ROWS[split]
    assert len(rows) == SIZES[split]
    counts = Counter(label for _, _, label in rows)
    assert set(counts) == set(LABELS)
    assert max(counts.values()) - min(counts.values()) <= 1


def test_both_parts_of_train_hold_all_labels():
    labels = [label for _, _, label in ROWS["train"]]
    for part in (labels[:225], labels[225:]):
        assert min(Counter(part)[label] for label in LABELS) >= 0.2 * len(part)


def test_no_pair_occurs_twice():
    pairs = [row[:2] for rows in ROWS.values() for row in rows]
    assert len(set(pairs)) == len(pairs)
    assert all(premise != hypothesis for premise, hypothesis in pairs)


def test_sentences_are_english_enough():
    for premise, hypothesis, _ in (row for rows in ROWS.values() for row in rows):
        for sentence in (premise, hypothesis):
            assert sentence[0].isupper()
            assert sentence.endswith(".")
            assert "  " not in sentence
            assert "None" not in sentence
            for word, following in zip(words(sentence), words(sentence)[1:], strict=False):
                if word in ("a", "an") and following not in ("pair", "dozen"):
                    assert (word == "an") == (following[0] in "aeiou"), sentence


def test_the_shifted_test_has_other_words():
    train = {word for row in ROWS["train"] for sentence in row[:2] for word in words(sentence)}
    test = [word for row in ROWS["test"] for sentence in row[:2] for word in words(sentence)]
    ood = [word for row in ROWS["ood"] for sentence in row[:2] for word in words(sentence)]
    assert np.mean([word in train for word in test]) > 0.99
    content = [word for word in ood if len(word) > 3 and word not in ("were", "what", "there", "that", "near")]
    assert np.mean([word not in train for word in content]) > 0.95


def test_the_shifted_test_has_other_phrasings():
    def openings(split: str) -> float:
        return np.mean([words(row[1])[0] in ("it", "what", "there", "during") for row in ROWS[split]])

    assert openings("train") == openings("test") == 0
    assert openings("ood") > 0.5


@pytest.mark.parametrize("split", ["test", "ood"])
@pytest.mark.parametrize("fields", [(0,), (1,), (0, 1)], ids=["premise", "hypothesis", "both"])
def test_words_alone_do_not_give_the_label(split, fields):
    """Bags of words and word pairs of either sentence, or both, stay near one in three."""

    def bags(rows):
        return hstack([counter.transform([row[f] for row in rows]) for f, counter in counters.items()])

    counters = {f: CountVectorizer(ngram_range=(1, 2)).fit([row[f] for row in ROWS["train"]]) for f in fields}
    model = LogisticRegression(C=0.3, max_iter=300).fit(bags(ROWS["train"]), [row[2] for row in ROWS["train"]])
    assert model.score(bags(ROWS[split]), [row[2] for row in ROWS[split]]) < 0.5


def test_overlap_does_not_give_the_label():
    def overlap(rows):
        sets = [[set(words(sentence)) for sentence in row[:2]] for row in rows]
        return [[len(p & h) / len(h), len(p & h) / len(p), len(h - p), len(p - h), len(p), len(h)] for p, h in sets]

    model = DecisionTreeClassifier(max_depth=4, random_state=0).fit(
        overlap(ROWS["train"]), [row[2] for row in ROWS["train"]]
    )
    assert model.score(overlap(ROWS["test"]), [row[2] for row in ROWS["test"]]) < 0.6


def test_events_stand_in_the_relation_the_label_names():
    """The meaning of a pair, judged by another reading of the rules than the one that drew it."""

    def judge(premise, hypothesis) -> str:
        entailed, excluded = [], []
        for part in ("agent", "verb", "object", "number", "place", "time", "adjectives"):
            p, h = getattr(premise, part), getattr(hypothesis, part)
            if part == "adjectives":
                entailed.append(set(h) <= set(p))
                excluded.append(any(a[0] == b[0] and a != b for a in p for b in h))
            elif part in ("agent", "verb") or h is None or p is None:
                entailed.append(h is None or p == h)
                excluded.append(part == "verb" and p != h and p[0] == h[0])
            else:
                entailed.append(p[: len(h)] == h)
                excluded.append(part != "object" and p[: len(h)] != h[: len(p)])
        same = premise.happened == hypothesis.happened
        if all(entailed):
            return "entailment" if same else "contradiction"
        return "contradiction" if any(excluded) and premise.happened and hypothesis.happened else "neutral"

    dice = grammar._Dice(5)
    for world in (PLAIN, SHIFTED):
        for label, make_premise in grammar._PREMISES.items():
            for _ in range(400):
                hypothesis = grammar._hypothesis(world, dice)
                assert judge(make_premise(hypothesis, world, dice), hypothesis) == label


def test_pretraining_text_covers_both_worlds():
    text = pretraining_pairs(3, 3000)
    assert text == pretraining_pairs(3, 3000)
    assert text[:50] != pretraining_pairs(4, 50)
    seen = {word for pair in text for sentence in pair for word in words(sentence)}
    for rows in ROWS.values():
        for row in rows:
            assert set(words(row[0] + " " + row[1])) <= seen


def test_pretraining_text_holds_no_row_behind_its_connectives():
    def bare(sentence: str) -> tuple[str, ...]:
        return tuple(word for word in words(sentence) if word not in connectives)

    connectives = {word.lower() for group in CONNECTIVES.values() for word in group}
    rows = {(bare(premise), bare(hypothesis)) for split in SIZES for premise, hypothesis, _ in ROWS[split]}
    # Short sentences, because only among them is it likely that the same pair is drawn twice.
    text = pretraining_pairs(3, 6000, detail=0.0)
    assert not rows & {(bare(first), bare(second)) for first, second in text}


def test_connectives_open_pretraining_text_and_never_rows():
    connectives = {word.lower() for group in CONNECTIVES.values() for word in group}
    in_rows = {word for rows in ROWS.values() for row in rows for s in row[:2] for word in words(s)}
    assert not connectives & in_rows
    for first, second in pretraining_pairs(3, 500):
        assert {words(first)[0], words(second)[0]} & connectives
        assert not set(words(first)[1:] + words(second)[1:]) & connectives


def test_unknown_split():
    with pytest.raises(InputError, match="did you mean 'test'"):
        demo_rows("tests")
