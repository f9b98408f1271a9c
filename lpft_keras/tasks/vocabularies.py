"""The words of the demo's grammar: the task's own world and the shifted test's, no word of content in both."""

from dataclasses import dataclass

Path = tuple[int, ...]  # a place in a tree of words: (group,) is general, (group, member) special
Tree = dict[Path, list[str]]  # the synonyms at each path


@dataclass(frozen=True)
class Vocabulary:
    """The words of one world."""

    agents: list[str]
    verbs: Tree  # base, past, participle; the members of a group are antonyms
    adjectives: Tree  # again
    objects: Tree
    numbers: Tree  # (0,) is the singular
    places: Tree
    times: Tree


def _tree(text: str) -> Tree:
    """Return the tree of `general: special, special; general: ...`; `/` parts synonyms, a general may be missing."""
    words: Tree = {}
    for group, line in enumerate(text.split("; ")):
        general, _, members = line.partition(":")
        words |= {(group,): general.split("/")} if general else {}
        words |= {(group, i): member.strip().split("/") for i, member in enumerate(members.split(",")) if member}
    return words


def _vocabulary(agents: str, **trees: str) -> Vocabulary:
    return Vocabulary(agents.split(), **{kind: _tree(text) for kind, text in trees.items()})


PLAIN = _vocabulary(
    agents="Anna Tom Julia Peter Maria David Sarah Mark",
    verbs=":buy bought bought/purchase purchased purchased, sell sold sold; "
    ":find found found/discover discovered discovered, lose lost lost; "
    ":repair repaired repaired/fix fixed fixed, damage damaged damaged",
    adjectives=":big/large, small; :old, new/modern; :red, blue, green",
    objects="instrument: violin/fiddle, drum, flute; vehicle: car/automobile, bicycle/bike, truck; "
    "garment: coat/jacket, shirt, hat",
    numbers="a; two; several: three, four",
    places="in the house: in the kitchen, in the cellar; outside: in the garden, in the street",
    times="on Monday: on Monday morning, on Monday evening; on Friday: on Friday morning, on Friday evening",
)

SHIFTED = _vocabulary(
    agents="Omar Ingrid Yusuf Helga Ravi Chen Fatima Boris",
    verbs=":hide hid hidden/conceal concealed concealed, display displayed displayed; "
    ":lift lifted lifted/raise raised raised, lower lowered lowered; "
    ":borrow borrowed borrowed, lend lent lent/loan loaned loaned",
    adjectives=":wide/broad, narrow; :shiny, dull; :brown, grey, purple",
    objects="weapon: sword/blade, spear, dagger; container: basket, bottle/flask, barrel/cask; "
    "ornament: ring, necklace, crown",
    numbers="a; a pair of; many: nine, twelve/a dozen",
    places="in town: at the market, at the station; in the countryside: near the forest, near the river",
    times="during spring: during early spring, during late spring; "
    "during autumn: during early autumn, during late autumn",
)
