"""How good is a trained target, beside a constant answer and beside what can be had?"""

import math

from trainwright.core.facts import ScoreFacts
from trainwright.remedy.visit import Visit

BLIND = frozenset({"D107"})  # what a score that counts every example alike does not see
GAIN = 0.02  # of skill: less is noise of one seed [assumed]
NEAR = 0.05  # of skill short of what quick learners reach: near enough [assumed]
LOST = -9.0  # skill of a run without a score
UNKNOWN_GOOD = 0.9  # accuracy or R2 that is enough where nobody knows what can be had [assumed]


def skill(seen: Visit, known: ScoreFacts | None) -> float:
    """Of a score, 0 at the best constant answer and 1 at a perfect one; below 0 by powers of ten,
    so that R2 of -20 is seen to be better than -200. LOST without a score."""
    if seen.score is None:
        return LOST
    constant = known.constant if known is not None and math.isfinite(known.constant) else 0.0
    share = (seen.score - constant) / max(1e-9, 1.0 - constant)
    return share if share >= 0 else -math.log10(1.0 - share)


def is_blind(seen: Visit) -> bool:
    """Does accuracy hardly notice what was named? So it is with rare classes that are missed."""
    return seen.metric == "accuracy" and any(
        finding.code in BLIND for cause in seen.diagnosis.findings
        for finding in (cause, *cause.consequences)
    )  # fmt: skip


def is_well(seen: Visit) -> bool:
    """Nothing wrong found, and no quick learner is clearly better."""
    if not seen.diagnosis.healthy or seen.score is None or seen.state == "failed":
        return False
    known = seen.known
    if known is None or known.reference is None:
        return seen.score >= UNKNOWN_GOOD
    noise = math.hypot(known.reference_sd or 0.0, _error(seen))
    slack = 2 * noise + NEAR * max(0.0, 1.0 - known.constant)
    return seen.score >= known.reference - slack


def is_good(seen: Visit) -> bool:
    """Nothing wrong found, and at least what quick learners reach, chance left aside: an ill run is
    looked after until then, where one that was not ill is left alone when it `is_well`."""
    known = seen.known
    if not is_well(seen) or seen.score is None:
        return False
    return known is None or known.reference is None or seen.score >= known.reference


def _error(seen: Visit) -> float:
    """Standard error of an accuracy, from how many examples it is of; 0 for other scores."""
    share = seen.score or 0.0
    return math.sqrt(max(0.0, share * (1 - share) * seen.resolution))
