"""What is wrong with this training program? Every rule is asked, causes are told from consequences,
and what could not be seen is said."""

from collections.abc import Collection
from dataclasses import replace

from trainwright.core.diagnosis import Diagnosis, Finding, Regime, Unseen
from trainwright.core.facts import Facts
from trainwright.core.history import History
from trainwright.diagnose.case import CannotTell, Case
from trainwright.diagnose.catalogue import RULES, Rule
from trainwright.diagnose.causes import causes
from trainwright.diagnose.regime import rate_of

# The rule that names what a regime suspects: who mutes it does not want to hear of either.
RATE_RULES = {"too_low": "A402", "high": "A401", "diverging": "A401", "oscillating": "A401"}


def judge(facts: Facts, history: History | None = None, *, mute: Collection[str] = ()) -> Diagnosis:
    """The diagnosis of a program from what was seen of it; codes in `mute` are not asked."""
    program = Case(facts=facts, history=history or History())
    findings: list[Finding] = []
    unseen = [Unseen(code="", missing=name, reason=reason)
              for name, reason in {**facts.unseen, **program.history.unseen}.items()]  # fmt: skip
    for code, rule in RULES.items():
        if code in mute:
            continue
        answer = _ask(rule, program)
        match answer:
            case Finding():
                severity = "minor" if answer.note else rule.severity
                findings.append(replace(answer, name=rule.name, severity=severity))
            case Unseen():
                unseen.append(answer)
    named, possible = causes(findings, program)
    return Diagnosis(
        findings=tuple(named), possible=tuple(possible), unseen=tuple(unseen),
        overhead=program.history.overhead, steps=program.history.num_steps,
        muted=tuple(sorted(mute)), rate=_rate(program, mute),
    )  # fmt: skip


def _rate(case: Case, mute: Collection[str]) -> Regime | None:
    told = rate_of(case)
    return None if told is None or RATE_RULES.get(told.regime) in mute else told


def _ask(rule: Rule, case: Case) -> Finding | Unseen | None:
    """One rule's answer; a rule that fails is reported and stops nothing."""
    try:
        answer = rule.function(case)
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        return Unseen(code=rule.code, missing="rule", reason=reason)
    if isinstance(answer, CannotTell):
        return Unseen(code=rule.code, missing=answer.missing)
    return answer
