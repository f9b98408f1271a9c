import pytest

from lpft_keras.errors import InputError
from lpft_keras.prompts.template import Literal, Mask, Segment, Separator, parse_template


def test_pieces_and_to_whom_spaces_belong():
    assert parse_template("<s1->? [M], <s2l>") == (
        Segment(1, True, False, False),
        Literal("?"),
        Mask(True),
        Literal(","),
        Segment(2, False, True, True),
    )
    assert parse_template("<s2-l> <sep> [M] news. <s1>") == (
        Segment(2, True, True, False),
        Separator(),
        Mask(True),
        Literal(" news."),
        Segment(1, False, False, True),
    )
    assert parse_template(" [M]: <s1>")[0] == Mask(True)
    assert parse_template("[M]: <s1> ") == (Mask(False), Literal(":"), Segment(1, False, False, True))


@pytest.mark.parametrize(
    ("piece", "row", "text"),
    [
        (Segment(1, False, False, False), ("A cat.", "B"), "A cat."),
        (Segment(1, True, False, False), ("A cat.", "B"), "A cat"),
        (Segment(1, False, True, True), ("A cat.", "B"), " a cat."),
        (Segment(2, True, True, True), ("A cat.", "Ärger!"), " ärger"),
        (Segment(1, True, True, True), (".",), ""),
        (Segment(1, True, True, True), ("",), ""),
    ],
)
def test_texts_are_filled_in(piece, row, text):
    assert piece.fill(row) == text


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("<s1> It was <mask>.", "unknown piece '<mask>' of the prompt '<s1> It was <mask>.'; the mask is '[M]'"),
        ("<s1> It was [MASK].", "the mask is '[M]'"),
        ("<s3> [M]", "did you mean '<s"),
        ("<s1> <spe> [M]", "did you mean '<sep>'"),
        ("<s1+> [M]", "unknown piece of the prompt '<s1+> [M]' '<s1+>'; did you mean '<s1"),
        ("<s1> It was.", "has 0 masks"),
        ("<s1> [M] [M]", "has 2 masks"),
        ("[M] <s2>", "has no <s1>"),
        ("<s1> <s1> [M]", "twice"),
        ("<s1><sep>[M]<sep>", "twice"),
        ("", "has 0 masks"),
    ],
)
def test_what_is_no_template_is_refused(template, words):
    with pytest.raises(InputError) as error:
        parse_template(template)
    assert words in str(error.value)
