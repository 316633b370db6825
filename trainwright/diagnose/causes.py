"""Which finding is the cause, and which ones does it explain? Known consequences fold under what
came first; at most three causes are named."""

from dataclasses import replace

from trainwright.core.diagnosis import NAMED, Finding
from trainwright.diagnose.algorithm import unusual_rate
from trainwright.diagnose.case import Case

HIGH_RATE, LOW_RATE = 0.5, 2e-3  # of the largest usual rate [assumed]
NUM_CAUSES = 3  # a list of ten is no diagnosis

_INSIDE = frozenset({"M202", "M203", "M204", "M205", "M214"})  # what signals do in the layers
_SLOW = frozenset({"A402", "A403", "A405", "A408", "M207"})  # it did not get there
_WILD = frozenset({"A401", "A404", "A410", "D111", "L305"})  # it did not stay there

# cause -> what it is known to bring about. Source: symptoms catalogue, docstrings of the rules.
CONSEQUENCES: dict[str, frozenset[str]] = {
    "D101": _INSIDE | _SLOW | _WILD | {"D103"},
    "D102": _INSIDE | _SLOW | {"M208", "D104"},
    "D103": _INSIDE | _SLOW | _WILD,
    "D104": frozenset({"M208", "M207", "A403", "D110"}),
    "D105": _INSIDE | _SLOW | {"M208", "D110", "D107", "M209", "A404"},
    "D106": _INSIDE | _SLOW | _WILD | {"L303", "L301", "L302", "L304", "D105"},
    "D107": frozenset({"A403", "M207"}),
    "D109": _INSIDE | _SLOW | {"A404", "D107", "A401"},
    "D110": frozenset({"M208"}),
    "D111": frozenset({"M202", "M205", "L305", "A401", "D101"}),
    "M201": frozenset({"M207", "A403", "A408", "A402"}),
    "M202": frozenset({"A402", "A403", "M207", "A408", "M204", "L302"}),
    "M203": frozenset({"M204", "A402", "A403", "A408", "M207"}),
    "M204": frozenset({"A402", "A403", "A408", "M207", "A405", "M202", "A404"}),
    "M205": frozenset({"M202", "M203", "A401", "A404", "D111", "L305", "A410"}),
    "M206": _INSIDE | _SLOW | _WILD,
    "M209": frozenset({"A402", "A403", "M207", "L307", "M202", "M204", "A408"}),
    "M210": frozenset({"A402", "A403", "A404", "A408", "M207", "M208", "M209"}),
    "M211": _SLOW | {"A414", "M204"},
    "M212": _SLOW | {"D105", "M202", "M204"},
    "M213": frozenset({"D108"}),
    "M216": _INSIDE | _SLOW | {"A401", "L305"},
    "L301": _INSIDE | _SLOW | {"L303", "A404", "D107", "L302"},
    "L302": _INSIDE | _SLOW | _WILD | {"D103", "M201"},
    "L303": _INSIDE | _SLOW | {"D107"},
    "L304": _INSIDE | _SLOW | _WILD | {"A407"},
    "L305": frozenset({"M205", "A401"}),
    "L306": _SLOW | {"M211", "M204", "L301", "L302", "L303"},
    "L307": frozenset({"A402", "A403", "M207", "M209"}),
    "A401": frozenset({"M202", "M203", "M204", "M205", "A404", "A410", "D111", "D107", "A403",
                       "M207", "L305", "A408", "M214", "L307", "M209"}),
    "A402": frozenset({"A403", "A405", "M207", "A408", "M214"}),
    "A403": frozenset({"M207"}),
    "A404": frozenset({"A403"}),
    "A406": _INSIDE | _WILD | {"A402", "A403", "A408", "M208"},
    "A407": _INSIDE | _WILD | {"A411", "L304"},
    "A408": frozenset({"A402", "A403", "M202"}),
    "A409": frozenset({"A402", "A403", "A408", "M207"}),
    "A410": frozenset({"A402", "A403", "A408", "M207"}),
    "A411": _SLOW | {"M211", "A409"},
    "A414": _SLOW | {"M211", "A409", "M204"},
}  # fmt: skip

# Certain before the first step: they come before what only looks likely, at equal confidence.
_STATIC = frozenset({"L301", "L302", "L303", "L304", "L306", "M201", "M206", "M211", "M212",
                     "M213", "M216", "D105", "D106", "D111"})  # fmt: skip
# Read directly in the loop, so nearly as certain.
_DIRECT = frozenset({"A406", "A407", "A409", "A410", "A411", "A414"})


def causes(findings: list[Finding], case: Case) -> tuple[list[Finding], list[Finding]]:
    """(at most three causes, each with its consequences; what is only possible)."""
    named = sorted((f for f in findings if f.confidence >= NAMED), key=_rank, reverse=True)
    possible = [f for f in findings if f.confidence < NAMED]
    roots: list[Finding] = []
    folded: dict[str, list[Finding]] = {}
    for finding in named:
        cause = next((other for other in named if _explains(other, finding, case)), None)
        if cause is None:
            roots.append(finding)
        else:
            folded.setdefault(cause.code, []).append(_explained_away(finding, cause))
    roots = roots or named[:1]  # a circle of explanations: the surest stands
    answer = [replace(root, consequences=tuple(_all_under(root.code, folded, {root.code})))
              for root in roots[:NUM_CAUSES]]  # fmt: skip
    return answer, [*possible, *roots[NUM_CAUSES:]]


def _explained_away(effect: Finding, cause: Finding) -> Finding:
    """A run that did not get there for a reason that was certain before its first step says little
    about its rate or length: as a fault of its own, the effect is half as likely [assumed]."""
    if cause.code in _STATIC and effect.code in _SLOW:
        return replace(effect, confidence=effect.confidence / 2)
    return effect


def _all_under(code: str, folded: dict[str, list[Finding]], seen: set[str]) -> list[Finding]:
    """What a cause explains, and what that explains in turn, once each."""
    found: list[Finding] = []
    for finding in folded.get(code, ()):
        if finding.code not in seen:
            seen.add(finding.code)
            found += [finding, *_all_under(finding.code, folded, seen)]
    return found


def _rank(finding: Finding) -> float:
    bonus = 0.06 if finding.code in _STATIC else 0.0
    early = 0.02 if not finding.since_step else 0.0
    return finding.confidence + bonus + early


def _explains(cause: Finding, effect: Finding, case: Case) -> bool:
    if cause.code == effect.code or effect.code not in CONSEQUENCES.get(cause.code, ()):
        return False
    if cause.code in CONSEQUENCES.get(effect.code, ()) and _rank(cause) <= _rank(effect):
        return False  # each could explain the other: the surer one does
    rate = unusual_rate(case)
    if rate is not None and (effect.code, cause.code) != ("A402", "A408"):
        # A rate that is rare anywhere stands for itself.
        sure = cause.code in _STATIC or cause.code in _DIRECT
        if effect.code == "A401" and rate > HIGH_RATE and not sure:
            return False
        if effect.code == "A402" and rate < LOW_RATE and not sure:
            return False
    return (cause.since_step or 0) <= (effect.since_step or 0) or not effect.since_step
