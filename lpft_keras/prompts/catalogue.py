"""Prompts by task: those of Malladi et al. 2023 (arXiv 2210.05643), from Gao et al. 2021 there, and the demo's."""

from collections.abc import Mapping, Sequence

from lpft_keras.errors import InputError
from lpft_keras.prompts.prompt import Prompt

_IT_WAS, _PAIR, _PARAPHRASE = "<s1> It was [M].", "<s1->? [M], <s2l>", "<s1> [M], <s2l>"
_SENTIMENT = Prompt(_IT_WAS, {"negative": "terrible", "positive": "great"})
_INFERENCE = Prompt(_PAIR, {"entailment": "Yes", "neutral": "Maybe", "contradiction": "No"})
_TWO = Prompt(_PAIR, {"entailment": "Yes", "not_entailment": "No"})

PROMPTS: Mapping[str, Prompt] = {
    "sst2": _SENTIMENT,
    "mr": _SENTIMENT,
    "cr": _SENTIMENT,
    "mpqa": _SENTIMENT,
    "sst5": Prompt(
        _IT_WAS,
        {
            "very negative": "terrible",
            "negative": "bad",
            "neutral": "okay",
            "positive": "good",
            "very positive": "great",
        },
    ),
    "subj": Prompt("<s1> This is [M].", {"subjective": "subjective", "objective": "objective"}),
    # The space before the mask: the original's words have one everywhere, at the start of a text too.
    "trec": Prompt(
        " [M]: <s1>",
        {
            "DESC": "Description",
            "ENTY": "Entity",
            "ABBR": "Expression",
            "HUM": "Human",
            "NUM": "Number",
            "LOC": "Location",
        },
    ),
    "ag_news": Prompt(
        "<s1> This article is about [M] news.",
        {"World": "world", "Sports": "sports", "Business": "business", "Sci/Tech": "tech"},
    ),
    "mnli": _INFERENCE,
    "snli": _INFERENCE,
    "qnli": _TWO,
    "rte": _TWO,
    "mrpc": Prompt(_PARAPHRASE, {"not_equivalent": "No", "equivalent": "Yes"}),
    "qqp": Prompt(_PARAPHRASE, {"not_duplicate": "No", "duplicate": "Yes"}),
    # Ours: as the text that `pocket` read before, where such words open the second sentence, without a space.
    "demo": Prompt("<s1><sep>[M] <s2>", {"entailment": "So", "contradiction": "But", "neutral": "Perhaps"}),
}
"""The prompts by task."""


def asked_prompt(
    task: str, prompt: bool | str | None, label_words: Mapping[str, str] | Sequence[str] | None
) -> Prompt | None:
    """Return the prompt that a user asks for.

    Args:
        task: Name of the task.
        prompt: None or False for none; True or "default" for the task's own; or a template.
        label_words: A word a class, by class name or in the order of the classes; None takes those of the task.

    Returns:
        The prompt, words by class name as far as these are known; None for none.

    Raises:
        InputError: The task has no prompt of its own, the template is wrong, or words are missing or no words.
    """
    if prompt is None or prompt is False:
        if label_words is not None:
            raise InputError("label_words are of a prompt; give one, or prompt=True (--prompt) for the task's own")
        return None
    own, known = PROMPTS.get(task), ", ".join(PROMPTS)
    if prompt is True or prompt == "default":
        if own is None:
            raise InputError(
                f"task {task!r} has no prompt of its own; give a template and label_words (--label-word CLASS=WORD); "
                f"these have: {known}"
            )
        prompt = own.template
    if not isinstance(prompt, str):
        raise InputError(f"prompt must be True or a template such as '<s1> It was [M].', not {prompt!r}")
    if label_words is None:
        if own is None:
            raise InputError(
                f"label_words are missing, a word a class (--label-word CLASS=WORD); these have own: {known}"
            )
        return Prompt(prompt, own.words)
    if isinstance(label_words, Mapping):
        return Prompt(prompt, {str(name): word for name, word in label_words.items()})
    if own is not None:
        # By class name, so that two ways to say the same are one run.
        return Prompt(
            prompt, dict(zip(own.words, Prompt(prompt, label_words).in_order([*own.words]).words, strict=True))
        )
    return Prompt(prompt, label_words)
