"""What do likelihoods do to diagnoses? The exams that were taken of the clinic's programs, replayed with
what was assumed and with what was measured, on a half that nothing was chosen on."""

import math
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from exam_fit import (
    ASSUMED,
    ASSUMED_RANGE,
    RANGE,
    counts,
    likelihoods,
    questions_of,
    ranged_of,
    side_of,
    yes_of,
)

from trainwright.core.diagnosis import Diagnosis, Finding
from trainwright.exam.algorithm import RANGED, Ranged
from trainwright.exam.catalogue import EXAMS
from trainwright.exam.exam import Exam, Likelihood, Question
from trainwright.exam.settle import EXPLAINED, LEAST_WORTH, OVERHEAD, moved, worth

if TYPE_CHECKING:
    from exam_outcomes import Case

Rows = list[dict[str, Any]]
Pairs = list[tuple["Case", Rows]]
BUDGET = 8.0  # seconds of a replay, as benchmarks/faults.py --exams 8
# (repeated, explained): what each further exam of a code counts, of the one before; what the surest
# other cause takes of a rise.
OLD = ((1.0, 0.0), (0.5, 0.0), (1.0, 1.0))
TRIED = (
    (1.0, 0.0),
    (0.7, 0.0),
    (0.5, 0.0),
    (0.3, 0.0),
    (1.0, 0.5),
    (1.0, 1.0),
    (0.7, 1.0),
    (0.5, 1.0),
)


class Belief(NamedTuple):
    """Likelihoods with which exams are replayed, and how much a further exam of a code counts."""

    questions: Mapping[str, Question]
    ranged: Mapping[str, Ranged] | None  # None: as it was assumed, in the old form
    repeated: float = 1.0
    explained: float = EXPLAINED


def assumed(repeated: float = 1.0, explained: float = 0.0) -> Belief:
    old = {exam: replace(EXAMS[exam], about={code: Likelihood(*p) for code, p in codes.items()})
           for exam, codes in ASSUMED.items()}  # fmt: skip
    near = {code: Likelihood(0.05, 0.7) for code in ASSUMED_RANGE}
    return Belief(old | {RANGE: replace(EXAMS[RANGE], about=near)}, None, repeated, explained)


def measured(rows: Rows, repeated: float, explained: float) -> Belief:
    return Belief(questions_of(rows), ranged_of(rows), repeated, explained)


def exam_of(row: Mapping[str, Any], belief: Belief) -> Exam | None:
    """The exam of a row, with the shifts that a belief gives its answer."""
    chance = yes_of(row)
    if row["answer"] not in ("yes", "no", "undecided"):
        return None
    about = belief.questions[row["exam"]].about
    shifts = {code: 0.0 if chance is None else odds.shift(chance) for code, odds in about.items()}
    if row["exam"] == RANGE:
        shifts = {code: _range_shift(row, code, belief.ranged) for code in about}
    return Exam(name=row["exam"], answer=row["answer"], values={}, pictures=(), shifts=shifts,
                seconds=row["spent"])  # fmt: skip


def _range_shift(
    row: Mapping[str, Any], code: str, ranged: Mapping[str, Ranged] | None
) -> float:  # fmt: skip
    near, said = row["answer"] == "yes", bool(side_of(row, code))
    if ranged is not None:
        return ranged[code].shift(near=near, said=said)
    sure = math.log(0.95 / 0.3), math.log(0.05 / 0.7)
    return sure[1] if near else sure[0] if said else 2 * sure[1]


def replayed(case: "Case", rows: Rows, belief: Belief) -> Diagnosis:
    """The diagnosis after the exams that settle would have taken in BUDGET seconds."""
    left, now = BUDGET, case.diagnosis
    waiting = {row["exam"]: row for row in rows if row["exam"] in belief.questions}
    asked: Counter[str] = Counter()
    while waiting and left > OVERHEAD:
        rated = [(worth(belief.questions[name], now) / (OVERHEAD + row.get("price", 0.0)), name)
                 for name, row in waiting.items()
                 if (OVERHEAD + row.get("price", 0.0)) / 2 <= left
                 and worth(belief.questions[name], now) >= LEAST_WORTH]  # fmt: skip
        if not rated:
            return now
        row = waiting.pop(max(rated)[1])
        exam = exam_of(row, belief)
        left -= row["spent"]
        if exam is not None:
            weighed = {c: s * belief.repeated ** asked[c] for c, s in exam.shifts.items()}
            asked.update(code for code, shift in exam.shifts.items() if shift)
            now = moved(now, [replace(exam, shifts=weighed)], case.facts, case.history,
                        questions=belief.questions, explained=belief.explained)  # fmt: skip
    return now


def odd(case: "Case") -> bool:
    """Which half of the clinic a program is in; twins and seeds are in the same."""
    return bool(zlib.crc32((case.program.twin or case.program.name).encode()) % 2)


class Outcome(NamedTuple):
    """What exams did to the diagnoses of some cases."""

    sick: int
    first: tuple[int, int]  # named first and right, before and after
    lost: tuple[str, ...]  # right before and wrong after
    won: tuple[str, ...]
    healthy: int
    alarms: tuple[int, int]
    suspicions: tuple[int, int]  # open findings of healthy programs, before and after
    brier: tuple[float, float]  # of open findings, before and after


def outcome(pairs: Pairs, belief: Belief) -> Outcome:
    first, alarms, suspicions = [0, 0], [0, 0], [0, 0]
    lost: list[str] = []
    won: list[str] = []
    squares: list[tuple[float, float]] = []
    for case, rows in pairs:
        after = replayed(case, rows, belief)
        squares += _squares(case, after)
        if case.program.fault is None:
            for at, found in enumerate((case.diagnosis, after)):
                alarms[at] += bool(found.findings)
                suspicions[at] += sum(f.confidence >= 0.05 for f in _all(found))
            continue
        right = [bool(d.findings) and case.program.right(d.findings[0].code)
                 for d in (case.diagnosis, after)]  # fmt: skip
        first = [total + now for total, now in zip(first, right, strict=True)]
        if right[0] != right[1]:
            named = ", ".join(f.code for f in after.findings) or "healthy"
            (lost if right[0] else won).append(f"{case.name}: {named}")
    n = max(1, len(squares))
    return Outcome(
        sum(c.program.fault is not None for c, _ in pairs), (first[0], first[1]), tuple(lost),
        tuple(won), sum(c.program.fault is None for c, _ in pairs), (alarms[0], alarms[1]),
        (suspicions[0], suspicions[1]),
        (sum(a for a, _ in squares) / n, sum(b for _, b in squares) / n),
    )  # fmt: skip


def _all(found: Diagnosis) -> Iterator[Finding]:
    for cause in found.findings:
        yield cause
        yield from cause.consequences
    yield from found.suspected


def _squares(case: "Case", after: Diagnosis) -> list[tuple[float, float]]:
    """Squared errors of each open finding's confidence, before and after."""
    now = {f.code: f.confidence for f in _all(after)}
    return [((p - case.program.right(c)) ** 2, (now.get(c, p) - case.program.right(c)) ** 2)
            for c, p in case.open.items()]  # fmt: skip


# --- words -----------------------------------------------------------------------------------------


def report(pairs: Pairs) -> str:
    """All tables."""
    rows = rows_in(pairs)
    return "\n".join([*counts(rows), *likelihoods(rows), *_structure(pairs)])


def rows_in(pairs: Pairs) -> Rows:
    return [row for _, own in pairs for row in own]


def _structure(pairs: Pairs) -> list[str]:
    pairs = [(case, rows) for case, rows in pairs if case.open]
    chosen = [pair for pair in pairs if not odd(pair[0])]
    other = [pair for pair in pairs if odd(pair[0])]
    rows, notes = rows_in(chosen), list[str]()
    lines = [
        "", "## Replayed", "",
        f"Programs with open findings, {BUDGET:g} s of exams each in the order of settle. Likelihoods are fitted, and the two ways to count less are chosen, on one half of the clinic's bases; the other half is the one to read. `repeated`: what each further exam of a code counts, of the one before. `explained`: what the surest other cause takes of a rise, times its confidence. `error` is the mean squared error of the open findings' confidences.",
        "", "| half | likelihoods | repeated | explained | sick | named first and right, before → after | hits lost | won | healthy | alarms | suspicions | error |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    for name, half in (("chosen on", chosen), ("other", other)):
        lines += [_outcome(name, "assumed", half, assumed(*each)) for each in OLD]
        lines += [_outcome(name, "measured", half, measured(rows, *each)) for each in TRIED]
    kept = Belief(EXAMS, RANGED)
    for name, belief in (("assumed", assumed()), ("as kept", kept)):
        found = outcome(pairs, belief)
        lines += [_outcome("both", name, pairs, belief)]
        notes += ["", f"With likelihoods {name}, hits lost: {'; '.join(found.lost) or 'none'}.",
                  f"Won: {'; '.join(found.won) or 'none'}."]  # fmt: skip
    return [*lines, *notes]


def _outcome(half: str, name: str, pairs: Pairs, belief: Belief) -> str:
    o = outcome(pairs, belief)
    return f"| {half} | {name} | {belief.repeated:g} | {belief.explained:g} | {o.sick} | {o.first[0]} → {o.first[1]} | {len(o.lost)} | {len(o.won)} | {o.healthy} | {o.alarms[0]} → {o.alarms[1]} | {o.suspicions[0]} → {o.suspicions[1]} | {o.brier[0]:.4f} → {o.brier[1]:.4f} |"
