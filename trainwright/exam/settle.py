"""Which exam is worth its time, and what does its answer change? Findings that are neither sure nor
excluded order the exam that is expected to tell most about them in a second."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from trainwright.core.diagnosis import NAMED, Diagnosis, Evidence, Finding
from trainwright.core.facts import Facts
from trainwright.core.history import History
from trainwright.diagnose.case import Case
from trainwright.diagnose.causes import CONSEQUENCES, causes
from trainwright.edit.program import Program
from trainwright.exam.arms import seconds_per_step
from trainwright.exam.catalogue import EXAMS
from trainwright.exam.exam import Exam, Likelihood, NotHere, Question, Terms

LEAST_SURE, MOST_SURE = 0.05, 0.9  # of a finding that an exam may move [assumed]
LEAST_WORTH = 0.01  # bits that an exam must be expected to tell [assumed]
MOST_SHARE = 0.6  # of what is left, for one exam [assumed]
OVERHEAD = 0.1  # seconds of any exam beside its steps [assumed]
LIMIT = 0.97  # no exam makes a finding surer than that, or its opposite [assumed]
BEHIND = 0.03  # confidence that keeps them in order, more than `causes` gives early ones [assumed]
# Of a rise, what the surest other cause takes away: one of .9 leaves a tenth. What is sick gets
# better by many changes [measured: benchmarks/exam_outcomes_cpu2_2026-11-26.md].
EXPLAINED = 1.0

Told = Callable[[Exam], None]


def settle(
    program: Program, diagnosis: Diagnosis, *, budget: float, terms: Terms | None = None,
    history: History | None = None, told: Told = lambda exam: None,
) -> tuple[Diagnosis, tuple[Exam, ...]]:  # fmt: skip
    """The diagnosis with the confidences that exams gave its open findings, and the exams taken
    within `budget` seconds, in order. Findings that were sure stay as they are.

    posterior odds = prior odds * P(answer | finding) / P(answer | no finding)
    A possible finding that rises above NAMED becomes one; causes are told from consequences anew.
    """
    began = time.perf_counter()
    terms = terms or Terms()
    pace = seconds_per_step(program)
    taken: list[Exam] = []
    tried: set[str] = set()
    now = diagnosis
    while (left := budget - (time.perf_counter() - began)) > OVERHEAD:
        question = _next(program, now, pace, left, tried)
        if question is None:
            break
        tried.add(question.name)
        seconds = min(MOST_SHARE * left, 4 * (OVERHEAD + question.price(program, pace)))
        try:
            exam = question.ask(program, terms.lasting(max(seconds, OVERHEAD)))
        except NotHere:
            continue
        taken.append(exam)
        told(exam)
        now = moved(now, [exam], program.facts, history)
    return now, tuple(taken)


def _next(
    program: Program, diagnosis: Diagnosis, pace: float, left: float, tried: set[str]
) -> Question | None:
    """The question with the most expected bits a second that can be answered in what is left."""
    best: tuple[float, Question] | None = None
    for question in EXAMS.values():
        if question.name in tried:
            continue
        bits = worth(question, diagnosis)
        price = OVERHEAD + question.price(program, pace)
        if bits < LEAST_WORTH or price / 2 > left:  # arms can be cut to half [assumed]
            continue
        if best is None or bits / price > best[0]:
            best = bits / price, question
    return best[1] if best is not None else None


def worth(question: Question, diagnosis: Diagnosis) -> float:
    """Bits that the answer is expected to tell about the open findings that it is about."""
    return sum(
        _gain(finding.confidence, question.about[finding.code])
        for finding in _open(diagnosis) if finding.code in question.about
    )  # fmt: skip


def _gain(prior: float, odds: Likelihood) -> float:
    """Mutual information of the finding and the answer, bits."""
    yes = prior * odds.given + (1 - prior) * odds.otherwise
    after_yes, after_no = prior * odds.given / yes, prior * (1 - odds.given) / (1 - yes)
    return _entropy(prior) - yes * _entropy(after_yes) - (1 - yes) * _entropy(after_no)


def _entropy(p: float) -> float:
    return -sum(q * math.log2(q) for q in (p, 1 - p) if q > 0)


def _open(diagnosis: Diagnosis) -> list[Finding]:
    """Named and suspected findings, consequences too, that an exam may move; each code once."""
    return [f for f in _all_of(diagnosis) if LEAST_SURE <= f.confidence <= MOST_SURE]


def _all_of(diagnosis: Diagnosis) -> list[Finding]:
    """Named ones, their consequences, and suspected ones, each code once."""
    named = [f for cause in diagnosis.findings for f in (cause, *cause.consequences)]
    unique = {f.code: f for f in (*diagnosis.suspected, *named)}
    return list(unique.values())


def moved(
    diagnosis: Diagnosis, exams: Sequence[Exam], facts: Facts, history: History | None = None, *,
    questions: Mapping[str, Question] = EXAMS, explained: float = EXPLAINED,
) -> Diagnosis:  # fmt: skip
    """The diagnosis after the answers. One that nothing moved is returned as it is."""
    open_codes = {f.code for f in _open(diagnosis)}
    shifts = {
        exam.name: {code: shift * _unexplained(code, exam, diagnosis, questions, explained)
                    for code, shift in exam.shifts.items() if code in open_codes and shift}
        for exam in exams
    }  # fmt: skip
    if not any(shifts.values()):
        return diagnosis
    flat: list[Finding] = []
    seen: set[str] = set()
    for cause in (*diagnosis.findings, *diagnosis.possible):
        for finding in (cause, *cause.consequences):
            if finding.code not in seen or finding.note:
                seen.add(finding.code)
                bare = replace(finding, consequences=())
                flat.append(_behind(bare, _after(bare, exams, shifts), diagnosis))
    notes = [f for f in flat if f.note]
    case = Case(facts=facts, history=history or History())
    named, possible = causes([f for f in flat if not f.note], case)
    return replace(diagnosis, findings=tuple(named), possible=(*possible, *notes))


def _unexplained(
    code: str, exam: Exam, diagnosis: Diagnosis, questions: Mapping[str, Question],
    explained: float,
) -> float:  # fmt: skip
    """What share of a rise an answer still gives to a finding, where another one, already likely,
    would have brought the same answer about: P(yes | not this one) holds the other's share. Of
    what the exam is not about, the surest cause that the finding does not explain takes its."""
    about = questions[exam.name].about if exam.name in questions else {}
    chance = 1.0 if exam.answer == "yes" else 0.0
    if code not in about or exam.shifts[code] <= 0:
        return 1.0
    brings = CONSEQUENCES.get(code, frozenset())
    others = (f.confidence for f in diagnosis.findings if f.code not in {code, *brings})
    raw, least = about[code].shift(chance), 1 - explained * max(others, default=0.0)
    for other in _all_of(diagnosis):
        if other.code == code or other.code not in about or raw <= 0:
            continue
        share, odds = other.confidence, about[other.code]
        otherwise = share * odds.given + (1 - share) * about[code].otherwise
        rest = Likelihood(about[code].given, otherwise).shift(chance)
        least = min(least, max(0.0, rest / raw))
    return least


def _behind(before: Finding, after: Finding, diagnosis: Diagnosis) -> Finding:
    """A rise ends BEHIND what was sure without exams: that stays what it is, and where it is."""
    sure = min((f.confidence for f in diagnosis.findings if f.confidence > MOST_SURE), default=1.0)
    if after.confidence <= before.confidence:
        return after
    return replace(after, confidence=max(before.confidence,
                                         min(after.confidence, sure - BEHIND)))  # fmt: skip


def _after(finding: Finding, exams: Sequence[Exam], shifts: dict[str, dict[str, float]]) -> Finding:
    for exam in exams:
        shift = shifts[exam.name].get(finding.code)
        if shift is None or finding.note:
            continue
        before = finding.confidence
        after = posterior(before, shift)
        evidence = Evidence(reading=f"exam.{exam.name}", value=exam.answer,
                            provenance=f"{before:.2f} → {after:.2f}")  # fmt: skip
        finding = replace(finding, confidence=after, evidence=(*finding.evidence, evidence))
    return finding


def posterior(prior: float, shift: float) -> float:
    """The confidence after its log odds moved by `shift`, at most LIMIT sure either way, but never
    less sure than it was."""
    odds = math.log(prior / (1 - prior)) + shift
    found = 1 / (1 + math.exp(-odds))
    return min(max(found, 1 - LIMIT), LIMIT)


def becomes_named(before: Diagnosis, after: Diagnosis) -> tuple[Finding, ...]:
    """Findings that exams made likely enough to be named."""
    known = {f.code for cause in before.findings for f in (cause, *cause.consequences)}
    return tuple(f for f in after.findings if f.code not in known and f.confidence >= NAMED)
