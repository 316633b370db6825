"""Why was it designed so? Every knob, finding and number that `trainwright explain` can be asked
about, whether it answers with a reason, and of which kind."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from trainwright import recipe as recipes
from trainwright.core.claims import Measured, Picture, Series
from trainwright.core.knob import KnobInfo
from trainwright.core.words import say
from trainwright.lecture.claim import Pace
from trainwright.report.explain import Explanation, explain, topics

Group = Literal["knob", "finding", "number"]
Reason = Literal["paper", "measured", "assumed"]
GROUPS: tuple[Group, ...] = get_args(Group)
REASONS: tuple[Reason, ...] = get_args(Reason)
GROUP_OF: dict[str, Group] = {
    "knob": "knob", "rule": "finding", "reading": "number", "metric": "number",
}  # fmt: skip
# A paper, a book or the lecture: by its year, or by name.
_PAPER = re.compile(r"\b(?:1[89]|20)\d\d\b|\blecture\b|\bCS231n\b")
_MARKED = re.compile(r"\[?(measured|assumed)\b")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What one question brought: its topic, the group, and all kinds of reason that were given."""

    topic: str
    group: Group
    reasons: frozenset[Reason]


def measure_c40(pace: Pace) -> Measured:
    """Every knob, rule, reading and metric; nothing is drawn, so that seeds play no part."""
    found = answers(recipes.knobs())
    pace.tell(1.0)
    return judged(found)


def answers(
    knobs: Iterable[KnobInfo],
    ask: Callable[[str, Sequence[KnobInfo]], Explanation] = explain,
) -> list[Answer]:
    """One answer for each thing that `ask` explains, however many names it has: columns and
    remedies, which are neither knob, finding nor number, are left out."""
    infos = tuple(knobs)
    found: dict[tuple[str, str], Answer] = {}
    for topic in topics(infos):
        said = ask(topic, infos)
        group = GROUP_OF.get(said.kind)
        if group is not None:
            answer = Answer(topic=said.topic, group=group, reasons=reasons_of(source_of(said)))
            found[said.kind, said.topic] = answer
    return list(found.values())


def source_of(said: Explanation) -> str:
    """A rule tells its source below a heading of its own."""
    return said.source or dict(said.more).get(say("rule.heading.source"), "")


def reasons_of(source: str) -> frozenset[Reason]:
    """The kinds of reason in `paper: …; measured: …; [assumed] thresholds`. Words that are neither
    dated nor marked are no reason. A dated benchmark is measured, not published."""
    found: set[Reason] = set()
    for part in source.split(";"):
        marked: list[Reason] = [kind for kind in REASONS if kind in _MARKED.findall(part)]
        found.update(marked)
        if "measured" not in marked and _PAPER.search(part):
            found.add("paper")
    return frozenset(found)


def judged(found: Sequence[Answer]) -> Measured:
    """Holds when every answer has a reason; all are asked, so that the share is exact and its
    interval a point."""
    assert found, "explain knows something"
    silent = sorted(one.topic for one in found if not one.reasons)
    share = 1 - len(silent) / len(found)
    values: dict[str, float | str] = {
        "asked": len(found), "silent": len(silent),
        "which": ", ".join(silent[:SHOWN]) or say("lecture.none_silent"),
    }  # fmt: skip
    for group in GROUPS:
        values[group] = sum(one.group == group for one in found)
    for kind, count in zip(REASONS, _counts(found), strict=True):
        values[kind] = count
    return Measured(verdict="differs" if silent else "holds", effect=share,
                    interval=(share, share), n=len(found), values=values,
                    pictures=(_picture(found),))  # fmt: skip


SHOWN = 10  # names of things without a reason in the sentence [assumed]


def strongest(answer: Answer) -> Reason | None:
    """Paper before measurement before assumption; None without any."""
    return next((kind for kind in REASONS if kind in answer.reasons), None)


def _counts(found: Sequence[Answer]) -> tuple[int, ...]:
    """By the strongest reason, in the order of REASONS."""
    return tuple(sum(strongest(one) == kind for one in found) for kind in REASONS)


def _picture(found: Sequence[Answer]) -> Picture:
    """How many of each group rest on which reason at best."""
    kinds: tuple[Reason | None, ...] = (*REASONS, None)
    x = tuple(float(at) for at in range(1, len(GROUPS) + 1))
    series = tuple(
        Series(name=f"lecture.series.reason_{kind or 'none'}", x=x,
               y=tuple(float(sum(one.group == group and strongest(one) == kind for one in found))
                       for group in GROUPS))
        for kind in kinds
    )  # fmt: skip
    return Picture(x="lecture.axis.asked_group", y="lecture.axis.asked", series=series,
                   names=tuple(f"lecture.asked_group.{group}" for group in GROUPS))  # fmt: skip
