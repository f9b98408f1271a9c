"""A section in plain sentences, computed from its numbers."""

import math
from collections.abc import Sequence

from lpft_keras.page.section import Section
from lpft_keras.page.tables import LESS_IS_BETTER, best_group
from lpft_keras.page.words import counted, in_words, listed, metric_name, with_unit
from lpft_keras.report import Difference, mean_and_deviation, number_in_print
from lpft_keras.report.in_print import method_in_print


def summary(section: Section, differences: Sequence[Difference]) -> list[str]:
    """Return what a section comes to.

    Args:
        section: The runs.
        differences: Each method less the best one on the first set of rows, with intervals.

    Returns:
        One sentence or more, the answer first.
    """
    if not section.splits:
        return ["These runs measured nothing."]
    counts = section.row_counts(section.splits[0])
    if len(counts) > 1:
        many = f"{listed([f'{count:,}' for count in counts])} {section.splits[0]} rows"
        return [f"These runs were measured on different rows of {section.task} ({many}), so none is called the best."]
    sentences = [_best(section)]
    own = [one for one in differences if one.split == section.splits[0]]
    if own and len(_leaders(_means(section, section.splits[0], section.metric), section.metric)[0]) < len(
        section.groups
    ):
        sentences.append(_told_apart(section, own))
    sentences += _shifted(section)
    sentences += _calibrated(section)
    return sentences


def _means(section: Section, split: str, metric: str) -> dict[str, float]:
    means = {group.title: mean_and_deviation(group.values(split, metric))[0] for group in section.groups}
    return {title: mean for title, mean in means.items() if not math.isnan(mean)}


def _leaders(means: dict[str, float], metric: str) -> tuple[list[str], float]:
    """Return who is best, equals as they are shown together, and how good."""
    best = (min if metric in LESS_IS_BETTER else max)(means.values())
    shown = number_in_print(best, metric)
    return [title for title, mean in means.items() if number_in_print(mean, metric) == shown], best


def _rows(section: Section, split: str) -> str:
    rows = section.row_count(split)
    return f"the {split} rows" if rows is None else f"the {counted(rows, f'{split} row')}"


def _best(section: Section) -> str:
    split, metric = section.splits[0], section.metric
    means = _means(section, split, metric)
    where = f"on {_rows(section, split)} of {section.task}"
    if not means:
        return f"No run has a value of {metric_name(metric)} {where}."
    leaders, best = _leaders(means, metric)
    reached = with_unit(best, metric)
    seeds = {len(group.runs) for group in section.groups}
    over = f"mean of {in_words(seeds.pop())} seeds" if len(seeds) == 1 and seeds != {1} else ""
    over = f" ({over})" if over else ""
    if len(means) == 1:
        return f"{leaders[0]} reaches {reached} {metric_name(metric)} {where}{over}."
    kinds = len({group.method for group in section.groups})
    of = f"Of {in_words(len(means))} methods" + ("" if kinds == len(section.groups) else " and settings")
    if len(leaders) == len(means):
        all_ = "Both methods" if len(means) == 2 else f"All{of.removeprefix('Of')}"
        return f"{all_} have the same {metric_name(metric)} {where}: {reached}{over}."
    if len(leaders) > 1:
        return f"{of}, {listed(leaders)} share the best {metric_name(metric)} {where}: {reached}{over}."
    return f"{of}, {leaders[0]} has the best {metric_name(metric)} {where}: {reached}{over}."


def _told_apart(section: Section, own: Sequence[Difference]) -> str:
    best = method_in_print(best_group(section) or "")
    open_: list[str] = []
    closed: list[str] = []
    for one in own:
        holds_zero = one.interval.low <= 0 <= one.interval.high
        (open_ if holds_zero else closed).append(method_in_print(one.method))
    how = f"the paired bootstrap ({100 * own[0].level:g}\N{NO-BREAK SPACE}% intervals"
    how += "; one seed, so only rows vary)" if any(len(one.seeds) == 1 for one in own) else ")"
    if not closed:
        other = listed(open_) if len(open_) < 3 else "any other"
        return f"That may be chance: {how} does not tell {best} apart from {other}."
    if not open_:
        others = "every other" if len(closed) > 1 else closed[0]
        return f"It is more than chance: {how} tells {best} apart from {others}."
    return f"The {how.removeprefix('the ')} tells {best} apart from {_some(closed)}, but not from {_some(open_)}."


def _shifted(section: Section) -> list[str]:
    parts = []
    for split in section.splits[1:]:
        means = _means(section, split, section.metric)
        if len(means) > 1:
            leaders, best = _leaders(means, section.metric)
            who = "all alike" if len(leaders) == len(means) else listed(leaders)
            parts.append(f"{who} on {split} ({with_unit(best, section.metric)})")
    if not parts:
        return []
    return [f"On shifted rows the best {'is' if len(parts) == 1 else 'are'} {listed(parts)}."]


def _calibrated(section: Section) -> list[str]:
    split = section.splits[0]
    before = _means(section, split, "ece")
    scored = {group.title: [section.scored(run, split) for run in group.runs] for group in section.groups}
    after = {
        title: mean_and_deviation([one.measures()["after"]["ece"] for one in found if one is not None])[0]
        for title, found in scored.items()
    }
    after = {title: mean for title, mean in after.items() if not math.isnan(mean)}
    if not before:
        return []
    if len(before) == 1:
        ((title, error),) = before.items()
        then = f", and {with_unit(after[title], 'ece')} after temperature scaling" if title in after else ""
        return [f"Its confidence is off by {with_unit(error, 'ece')} on average (ECE){then}."]
    (leaders, best) = _leaders(before, "ece")
    sentence = f"The confidence of {_some(leaders)} is closest to accuracy (ECE {with_unit(best, 'ece')})"
    if not after:
        return [f"{sentence}."]
    scaled_leaders, scaled = _leaders(after, "ece")
    return [f"{sentence}; after temperature scaling, that of {_some(scaled_leaders)} ({with_unit(scaled, 'ece')})."]


def _some(titles: Sequence[str]) -> str:
    return listed(titles) if len(titles) < 6 else f"{in_words(len(titles))} of them"
