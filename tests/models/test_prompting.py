"""Prompts as token ids, beside the tokenizers of `transformers` on whole strings."""

import numpy as np
import pytest

from lpft_keras.errors import InputError
from lpft_keras.models.backbones import load_backbone
from lpft_keras.models.encoding import encode
from lpft_keras.models.prompting import label_word_ids, prompt_frame
from lpft_keras.prompts import Prompt
from tests.models import tiny_checkpoints as tiny
from tests.models.test_huggingface import save_tokenizer

transformers = pytest.importorskip("transformers")

PAIRS = [("The cat sat on the Mat.", "In Paris it was not"), ("people's homes,", "São Paulo 2005!"), ("", "the")]
TEMPLATES = [
    ("<s1> It was [M].", lambda a, b, m: (f"{a} It was {m}.",)),
    (" [M]: <s1>", lambda a, b, m: (f"{m}: {a}" if a else f"{m}:",)),
    ("<s1->? [M], <s2l>", lambda a, b, m: (f"{a[:-1]}? {m}, {b[0].lower()}{b[1:]}",)),
    ("<s1> [M], <s2l>", lambda a, b, m: (f"{a} {m}, {b[0].lower()}{b[1:]}",)),
    ("<s1><sep>[M] <s2>", lambda a, b, m: (a, f"{m} {b}")),
    ("<s2-><sep>[M]? <s1>", lambda a, b, m: (b[:-1], f"{m}? {a}" if a else f"{m}?")),
]


@pytest.fixture(scope="module", params=["roberta", "bert"])
def both(request, tmp_path_factory):
    """Our backbone of a tiny checkpoint, and the tokenizer of `transformers`."""
    directory = tmp_path_factory.mktemp(request.param)
    size = save_tokenizer(directory, request.param)
    name = {"roberta": "RobertaForMaskedLM", "bert": "BertForMaskedLM"}[request.param]
    tiny.save_model(getattr(transformers, name), tiny.config(request.param, size), directory)
    if request.param == "bert":
        return load_backbone(str(directory)), transformers.BertTokenizer.from_pretrained(directory)
    # As roberta-base has it: the mask takes the space before it.
    mask = transformers.AddedToken("<mask>", lstrip=True, special=True)
    return load_backbone(str(directory)), transformers.RobertaTokenizer.from_pretrained(directory, mask_token=mask)


@pytest.mark.parametrize(("template", "whole"), TEMPLATES, ids=[template for template, _ in TEMPLATES])
def test_tokens_are_those_of_the_whole_string(both, template, whole):
    backbone, theirs = both
    single = "<s2" not in template
    rows = [pair[:1] if single else pair for pair in PAIRS]
    tokens = encode(backbone, rows, 60, prompt_frame(backbone, template))
    for number, pair in enumerate(PAIRS):
        expected = theirs(*whole(*pair, theirs.mask_token), return_token_type_ids=True)
        length = tokens.lengths[number]
        assert tokens.token_ids[number, :length].tolist() == expected["input_ids"]
        assert (tokens.token_ids[number] == theirs.mask_token_id).sum() == 1
        if tokens.segment_ids is not None:
            assert tokens.segment_ids[number, :length].tolist() == expected["token_type_ids"]
    assert not tokens.truncated.any()


def test_texts_are_cut_longest_first_and_the_prompt_never(both):
    backbone, _ = both
    long, short = "the cat sat on the Mat and " * 20, "in Paris"
    plain = encode(backbone, [("", "")], 60, prompt_frame(backbone, "<s1> said [M] <sep><s2> of homes."))
    own = int(plain.lengths[0])
    for row in ((long, short), (short, long), (long, long)):
        tokens = encode(backbone, [row], 40, prompt_frame(backbone, "<s1> said [M] <sep><s2> of homes."))
        assert tokens.lengths[0] == 40
        assert tokens.truncated[0]
        ids = tokens.token_ids[0].tolist()
        mask = backbone.preprocessor.tokenizer.mask_token_id
        assert ids.count(mask) == 1
        # What ends the prompt is there, and so is all of the shorter text.
        ending = plain.token_ids[0, :own].tolist()
        assert ids[-3:] == ending[-3:]
        if tokens.segment_ids is not None:
            first = int((tokens.segment_ids[0] == 0).sum())
            assert 0 < first < 40
            if row == (long, long):
                assert abs(first - 20) < 8
    with pytest.raises(InputError, match=r"max_length is 8; at least .* of them the prompt's"):
        encode(backbone, [("a", "b")], 8, prompt_frame(backbone, "<s1> said [M] <sep><s2> of homes."))


def test_a_mask_in_a_text_becomes_the_unknown_token(both):
    backbone, theirs = both
    frame = prompt_frame(backbone, "<s1> [M].")
    tokens = encode(backbone, [(f"the {theirs.mask_token} cat",)], 20, frame)
    expected = theirs(f"the {theirs.mask_token} cat {theirs.mask_token}.")["input_ids"]
    place = expected.index(theirs.mask_token_id)
    expected[place] = theirs.unk_token_id
    assert tokens.token_ids[0, : tokens.lengths[0]].tolist() == expected


def test_rows_must_have_the_texts_of_the_prompt(both):
    for template, row in (("<s1> [M]", ("a", "b")), ("<s1> [M] <s2>", ("a",))):
        with pytest.raises(InputError, match="of the texts <s1> and <s2>, the rows have"):
            encode(both[0], [row], 20, prompt_frame(both[0], template))


def test_label_words_are_one_token_with_the_space_before_the_mask(both):
    backbone, theirs = both
    words = ["the", "cat"]
    ids = label_word_ids(backbone, Prompt("<s1> It was [M].", words))
    assert ids == [theirs(f"a {word}", add_special_tokens=False)["input_ids"][-1] for word in words]
    assert len(set(ids)) == 2
    pieces = theirs.tokenize(" homescat")
    with pytest.raises(InputError) as error:
        label_word_ids(backbone, Prompt("<s1> It was [M].", ["the", "homescat"]))
    assert f"label word 'homescat' is {len(pieces)} tokens to" in str(error.value)
    assert f"({' '.join(map(repr, pieces))})" in str(error.value)
    with pytest.raises(InputError, match="label words 'the' and 'the ' are one token"):
        label_word_ids(backbone, Prompt("<s1> It was [M].", ["the", "the "]))


def test_words_without_a_space_open_a_text_of_pocket():
    """What `pocket` read: "So" opens the second sentence, and never comes after a space."""
    pocket = load_backbone("pocket")
    ids = label_word_ids(pocket, Prompt("<s1><sep>[M] <s2>", ["So", "But"]))
    assert [pocket.preprocessor.tokenizer.id_to_token(index) for index in ids] == ["So", "But"]
    with pytest.raises(InputError, match=r"'So' is 2 tokens to 'pocket' \('Ġ' 'So'\) after a space"):
        label_word_ids(pocket, Prompt("<s1><sep> [M] <s2>", ["So", "But"]))


@pytest.mark.parametrize("both", ["bert"], indirect=True)
def test_a_word_out_of_the_vocabulary_is_refused(both):
    with pytest.raises(InputError, match="label word '漢' is unknown to"):
        label_word_ids(both[0], Prompt("<s1> [M]", ["漢", "the"]))


@pytest.mark.parametrize("name", ["random:pocket", "tiny"])
def test_random_encoders_have_a_random_head(name):
    backbone = load_backbone(name)
    again = load_backbone(name)
    np.testing.assert_array_equal(backbone.masked_lm.kernel, again.masked_lm.kernel)
    assert backbone.masked_lm.kernel.std() > 0
