"""A prompt: a template, and the word that stands for each class at its mask."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lpft_keras.errors import InputError, unknown_name
from lpft_keras.prompts.template import parse_template


@dataclass(frozen=True)
class Prompt:
    """A prompt.

    Attributes:
        template: What the texts are put into; see `lpft_keras.prompts.template`.
        words: A word a class, by class name, or in the order of the classes.

    Raises:
        InputError: The template is wrong, or a word is none.

    Example:
        >>> Prompt("<s1> It was [M].", {"negative": "terrible", "positive": "great"})
    """

    template: str
    words: Mapping[str, str] | Sequence[str]

    def __post_init__(self):
        """Refuse what can't be a prompt."""
        if not isinstance(self.template, str):
            raise InputError(f"a template is text such as '<s1> It was [M].', not {self.template!r}")
        parse_template(self.template)
        if isinstance(self.words, str) or not isinstance(self.words, Mapping | Sequence):
            raise InputError(f"label_words must be a dict of words by class, or a list of words, not {self.words!r}")
        words = list(self.words.values()) if isinstance(self.words, Mapping) else list(self.words)
        for word in words:
            if not isinstance(word, str) or not word.strip():
                raise InputError(f"label word {word!r} is no word; give one word a class")

    def in_order(self, labels: Sequence[str]) -> "Prompt":
        """Return the prompt with its words in the order of the classes.

        Args:
            labels: The class names.

        Returns:
            The prompt; its words are a tuple as long as `labels`.

        Raises:
            InputError: A class has no word, or a word no class.
        """
        if not isinstance(self.words, Mapping):
            if len(self.words) != len(labels):
                raise InputError(
                    f"there are {len(self.words)} label words for {len(labels)} classes ({', '.join(labels)}); give "
                    "one a class"
                )
            return Prompt(self.template, tuple(self.words))
        for name in self.words:
            if name not in labels:
                raise unknown_name("class of a label word", name, labels)
        missing = [name for name in labels if name not in self.words]
        if missing:
            raise InputError(f"class {missing[0]!r} has no label word; give one a class (--label-word CLASS=WORD)")
        return Prompt(self.template, tuple(self.words[name] for name in labels))
