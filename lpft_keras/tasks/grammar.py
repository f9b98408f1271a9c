"""A small grammar of English sentence pairs: the rows of the `demo` task and the text that `pocket` was pre-trained on.

A sentence tells one event: an agent, a verb, an object with number and adjectives, perhaps a place and a time, and
whether it took place at all. A pair is drawn *backwards*: first the hypothesis, from a distribution that does not know
the label, then a premise that stands to it in the relation asked for. So a hypothesis alone says nothing of its label.

The relation holds part by part. The premise *entails* a part of the hypothesis if it says the same (a synonym counts),
something more special (a violin is an instrument, Monday morning is on Monday) or more besides. It *contradicts* a verb
by its antonym, an adjective, number, place or time by one that excludes it, the whole by negation. It leaves a part
open, *neutral*, if it says something more general or nothing, or tells of another agent, object or deed. There are two
vocabularies and two phrasings: the task's own rows use one of each ("plain"), the shifted test the others.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np

from lpft_keras.errors import unknown_name
from lpft_keras.tasks.vocabularies import PLAIN, SHIFTED, Path, Tree, Vocabulary

LABELS = ("entailment", "contradiction", "neutral")

# Words that tell how two sentences hang together, by label: the first opens the first sentence, the others the second.
# They occur in the pre-training text only, where guessing a masked one means understanding the pair; never in a row.
CONNECTIVES = {
    "entailment": ("Since", "So", "Thus"),
    "contradiction": ("Although", "But", "Yet"),
    "neutral": ("While", "Perhaps", "Maybe"),
}

_SPLITS = {"train": (250, 11), "test": (201, 12), "ood": (201, 13)}  # rows, seed


class _Dice:
    """Draws from a seeded generator; one float a draw, because that is the cheapest and the same everywhere."""

    def __init__(self, seed: int, detail: float = 1.0):
        self.detail = detail  # scales how often a sentence says what it may leave out
        self._random = np.random.default_rng(seed).random

    def chance(self, probability: float) -> bool:
        return self._random() < probability

    def pick(self, items: Sequence[Any]) -> Any:
        return items[int(self._random() * len(items))]

    def path(self, words: Tree, within: Path = ()) -> Path:
        """Draw a path that entails `within`: a group first, then perhaps one of its members."""
        group = within or (self.pick(sorted({path[0] for path in words})),)
        members = [path for path in words if len(path) > len(group) and path[: len(group)] == group]
        return self.pick(members) if members and (group not in words or self.chance(0.65)) else group

    def other(self, words: Tree, path: Path, within: Path = ()) -> Path:
        """Draw a path that neither entails `path` nor is entailed by it: neither is the beginning of the other."""
        others = [other for other in words if other[: len(path)] != path and path[: len(other)] != other]
        return self.pick([other for other in others if other[: len(within)] == within])


@dataclass(frozen=True)
class _Event:
    """What a sentence says. Meaning only: synonyms and phrasing are chosen when it is spoken."""

    agent: str
    verb: Path
    object: Path
    number: Path
    adjectives: tuple[Path, ...] = ()
    place: Path | None = None
    time: Path | None = None
    happened: bool = True


def _hypothesis(world: Vocabulary, dice: _Dice) -> _Event:
    words = dice.pick(world.agents), dice.path(world.verbs), dice.path(world.objects)
    number = dice.path(world.numbers) if dice.chance(0.5) else (0,)
    return _with_more(_Event(*words, number, happened=not dice.chance(0.2)), world, dice, share=0.33 * dice.detail)


def _with_more(event: _Event, world: Vocabulary, dice: _Dice, share: float) -> _Event:
    """Add what a sentence may leave out: an adjective (two at most), a place, a time."""
    adjective = dice.path(world.adjectives)
    add = len(event.adjectives) < 2 and all(adjective[0] != old[0] for old in event.adjectives) and dice.chance(share)
    adjectives = tuple(sorted((*event.adjectives, adjective))) if add else event.adjectives
    place = dice.path(world.places) if event.place is None and dice.chance(share) else event.place
    time = dice.path(world.times) if event.time is None and dice.chance(share) else event.time
    return replace(event, adjectives=adjectives, place=place, time=time)


def _entailing(event: _Event, world: Vocabulary, dice: _Dice) -> _Event:
    """Return an event that entails the given one."""
    if not event.happened:
        # Negation turns entailment round (no instrument: no violin either), so what did not happen is only rephrased.
        return event
    parts = [part for part in ("object", "number", "place", "time") if getattr(event, part)]
    special = {part: dice.path(getattr(world, f"{part}s"), getattr(event, part)) for part in parts}
    return _with_more(replace(event, **special), world, dice, share=0.25 * dice.detail)


def _contradicting(event: _Event, world: Vocabulary, dice: _Dice) -> _Event:
    """Return an event that can't be true beside the given one."""
    if not event.happened:
        return _entailing(replace(event, happened=True), world, dice)
    parts: list[Any] = ["happened", "verb", "verb", "number", *event.adjectives]
    part = dice.pick(parts + [part for part in ("place", "time") if getattr(event, part)])
    if part == "happened":
        return replace(event, happened=False)
    premise = _entailing(event, world, dice)
    if part == "verb":
        return replace(premise, verb=dice.other(world.verbs, event.verb, event.verb[:1]))
    if isinstance(part, tuple):
        adjectives = {*premise.adjectives, dice.other(world.adjectives, part, part[:1])} - {part}
        return replace(premise, adjectives=tuple(sorted(adjectives)))
    return replace(premise, **{part: dice.other(getattr(world, f"{part}s"), getattr(event, part))})


def _neutral(event: _Event, world: Vocabulary, dice: _Dice) -> _Event:
    """Return an event that leaves open whether the given one took place."""
    ways: list[tuple[str, Any]] = [("other", "agent"), ("other", "verb"), ("other", "object")]
    if event.happened:
        ways += [("general", p) for p in ("object", "number", "place", "time") if len(getattr(event, p) or ()) > 1]
        ways += [("nothing", p) for p in ("place", "time") if getattr(event, p)]
        ways += [("nothing", adjective) for adjective in event.adjectives]
    way, part = dice.pick(ways)
    premise = _entailing(event, world, dice)
    if isinstance(part, tuple):
        return replace(premise, adjectives=tuple(old for old in premise.adjectives if old != part))
    if way != "other":
        return replace(premise, **{part: getattr(event, part)[:1] if way == "general" else None})
    premise = replace(premise, happened=not dice.chance(0.2))  # one thing done says nothing of another not done
    if part == "agent":
        return replace(premise, agent=dice.pick([agent for agent in world.agents if agent != event.agent]))
    if part == "verb":
        return replace(premise, verb=dice.pick([verb for verb in world.verbs if verb[0] != event.verb[0]]))
    return replace(premise, object=dice.other(world.objects, event.object))


_PREMISES = {"entailment": _entailing, "contradiction": _contradicting, "neutral": _neutral}


def _speak(event: _Event, world: Vocabulary, dice: _Dice, shifted: bool) -> str:
    """Return a clause that tells an event, synonyms and template chosen anew each time."""
    base, past, participle = dice.pick(world.verbs[event.verb]).split()
    number, singular = dice.pick(world.numbers[event.number]), event.number == (0,)
    noun = dice.pick(world.objects[event.object])
    words = [dice.pick(world.adjectives[path]) for path in event.adjectives] + [noun if singular else f"{noun}s"]
    number = "an" if singular and words[0][0] in "aeiou" else number
    thing, be = " ".join([number, *words]), "was" if singular else "were"
    place = f" {dice.pick(world.places[event.place])}" if event.place else ""
    time = f" {dice.pick(world.times[event.time])}" if event.time else ""
    if not event.happened:
        past = f"never {past}" if shifted else f"did not {base}"
        participle = f"never {participle}" if shifted else f"not {participle}"
    active = f"{event.agent} {past} {thing}{place}{time}"
    passive = f"{thing} {be} {participle} by {event.agent}{place}{time}"
    fronted = f"{time.strip()}, {event.agent} {past} {thing}{place}" if time else active
    cleft = f"it was {event.agent} who {past} {thing}{place}{time}"
    relative = f"there {be} {thing} that {event.agent} {past}{place}{time}"
    free = f"what {event.agent} {past}{place}{time} {be} {thing}"
    return dice.pick((passive, fronted, cleft, relative, free) if shifted else (active, active, active, passive))


def _sentence(clause: str) -> str:
    return f"{clause[0].upper()}{clause[1:]}."


def _pair(label: str, world: Vocabulary, dice: _Dice, shifted: bool) -> tuple[str, str]:
    event = _hypothesis(world, dice)
    premise = _PREMISES[label](event, world, dice)
    first, second = _speak(premise, world, dice, shifted), _speak(event, world, dice, shifted)
    # Where nothing was changed and all choices happen to agree, a clause would entail its own copy: draw anew.
    return (first, second) if first != second else _pair(label, world, dice, shifted)


def demo_rows(split: str) -> list[tuple[str, str, str]]:
    """Return the rows of the `demo` task: the same on every machine, no pair twice within or between the splits.

    Args:
        split: `"train"` (250 rows), `"test"` (201 rows, drawn as the training rows are) or `"ood"` (201 rows, the
            shifted test: other names, verbs, nouns, adjectives, numbers, and other sentence templates).

    Returns:
        Rows of (premise, hypothesis, label name), the labels in equal shares and in random order.

    Raises:
        InputError: There is no such split.

    Example:
        >>> premise, hypothesis, label = demo_rows("train")[0]
    """
    if split not in _SPLITS:
        raise unknown_name("demo split", split, _SPLITS)
    return list(_all_rows()[split])


@cache
def _all_rows() -> dict[str, list[tuple[str, str, str]]]:
    seen: set[tuple[str, str]] = set()
    rows: dict[str, list[tuple[str, str, str]]] = {}
    for split, (count, seed) in _SPLITS.items():
        dice, shifted = _Dice(seed), split == "ood"
        rows[split] = []
        while len(rows[split]) < count:
            label = LABELS[len(rows[split]) % len(LABELS)]
            premise, hypothesis = map(_sentence, _pair(label, SHIFTED if shifted else PLAIN, dice, shifted))
            if (premise, hypothesis) not in seen:
                seen.add((premise, hypothesis))
                rows[split].append((premise, hypothesis, label))
        order = np.argsort(np.random.default_rng(seed).random(count))
        rows[split] = [rows[split][index] for index in order]
    return rows


def pretraining_pairs(seed: int, count: int, detail: float = 1.0) -> list[tuple[str, str]]:
    """Return text for masked-language modelling: two sentences that follow each other, told with a connective.

    Both vocabularies and both phrasings occur, in every combination, so that a model that has read this text knows the
    words of the shifted test too, before it sees a single label. A connective (see `CONNECTIVES`) opens the first
    sentence, the second or both. No pair of the `demo` task is among them.

    Args:
        seed: Draws the text; another seed, other text.
        count: How many pairs.
        detail: How much the sentences say, from 0 (no adjective, place or time: easy reading) to 1 (as the rows do).

    Returns:
        Pairs of (first, second) sentence.
    """
    dice = _Dice(seed, detail)
    pairs: list[tuple[str, str]] = []
    rows = {row[:2] for split in _SPLITS for row in demo_rows(split)}
    while len(pairs) < count:
        label, world, shifted = dice.pick(LABELS), dice.pick((PLAIN, SHIFTED)), dice.chance(0.5)
        first, second = _pair(label, world, dice, shifted)
        if (_sentence(first), _sentence(second)) in rows:
            continue
        opening, *middle = CONNECTIVES[label]
        place = dice.pick(("first", "second", "both", "both"))
        first = f"{opening} {first}" if place != "second" else first
        second = f"{dice.pick(middle)} {second}" if place != "first" else second
        pairs.append((_sentence(first), _sentence(second)))
    return pairs
