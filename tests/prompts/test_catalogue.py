import pytest

from lpft_keras.errors import InputError
from lpft_keras.prompts import PROMPTS, Prompt, asked_prompt
from lpft_keras.prompts.template import Segment, parse_template
from lpft_keras.tasks import TASKS


@pytest.mark.parametrize("name", PROMPTS)
def test_prompts_know_the_classes_and_texts_of_their_tasks(name):
    assert tuple(PROMPTS[name].words) == TASKS[name].labels or set(PROMPTS[name].words) == set(TASKS[name].labels)
    texts = [piece.number for piece in parse_template(PROMPTS[name].template) if isinstance(piece, Segment)]
    assert sorted(texts) == list(range(1, len(TASKS[name].template) + 1))


def test_the_fourteen_tasks_of_the_paper_and_the_demo_have_one():
    paper = "sst2 mr cr mpqa sst5 subj trec ag_news mnli snli qnli rte mrpc qqp"
    assert set(PROMPTS) == {*paper.split(), "demo"}
    assert PROMPTS["rte"] == Prompt("<s1->? [M], <s2l>", {"entailment": "Yes", "not_entailment": "No"})


def test_two_ways_to_say_the_same_are_one():
    own = PROMPTS["rte"]
    same = [True, "default", own.template]
    assert all(asked_prompt("rte", one, None) == own for one in same)
    assert asked_prompt("rte", own.template, ["Yes", "No"]) == own
    assert asked_prompt("rte", True, ["Yes", "No"]) == own
    assert asked_prompt("rte", None, None) is asked_prompt("rte", False, None) is None
    mine = asked_prompt("mine", "<s1> [M]", ["a", "b"])
    assert mine.in_order(["x", "y"]) == Prompt("<s1> [M]", ("a", "b"))
    assert asked_prompt("mine", "<s1> [M]", {1: "a", 0: "b"}).in_order(["0", "1"]).words == ("b", "a")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("rte", None, ["Yes", "No"]), "label_words are of a prompt"),
        (("cb", True, None), "task 'cb' has no prompt of its own"),
        (("cb", "<s1> [M]", None), "label_words are missing"),
        (("rte", 3, None), "prompt must be True or a template"),
        (("rte", True, "Yes"), "must be a dict of words by class"),
        (("rte", True, ["Yes"]), "1 label words for 2 classes"),
        (("cb", "<s1> [M]", ["Yes", " "]), "label word ' ' is no word"),
        (("cb", "<s1> [M]", [1, 2]), "label word 1 is no word"),
        (("rte", "<s1> [N]", None), "did you mean '[M]'"),
    ],
)
def test_what_can_not_be_asked_is_refused(arguments, words):
    with pytest.raises(InputError) as error:
        asked_prompt(*arguments)
    assert words in str(error.value)


def test_words_and_classes_must_meet():
    prompt = Prompt("<s1> [M]", {"good": "great", "bad": "terrible"})
    assert prompt.in_order(("bad", "good")).words == ("terrible", "great")
    with pytest.raises(InputError, match="class of a label word 'good'; did you mean 'goods'"):
        prompt.in_order(("bad", "goods"))
    with pytest.raises(InputError, match="class 'other' has no label word"):
        prompt.in_order(("bad", "good", "other"))
