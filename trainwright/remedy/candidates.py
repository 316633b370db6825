"""What could help, and what first? The remedies of a diagnosis, the surest cause's first, then what
helps many runs that are not as good as they could be."""

from collections.abc import Iterator
from dataclasses import dataclass

from trainwright.core.diagnosis import Diagnosis, Finding
from trainwright.edit.edit import Context
from trainwright.remedy.visit import Visit

NEXT_REMEDY = 0.8  # how likely the next remedy of a finding is, beside the one before [assumed]
FOLDED = 0.5  # a consequence's remedy beside its cause's [assumed]
SUSPECTED = 0.8  # a finding below the named ones, beside its own confidence [assumed]

# What helps many runs that fall short, with how often it is worth a try [assumed]. Runs that stop
# short, rates and scales are the commonest faults of real programs (faults/README.md).
USUAL: tuple[tuple[str, float], ...] = (
    ("swap_optimizer", 0.30),
    ("standardise_inputs", 0.28),
    ("pair_head_and_loss", 0.26),
    ("train_longer", 0.24),
    ("standardise_target", 0.22),
    ("add_norm", 0.20),
    ("raise_learning_rate", 0.18),
    ("lower_learning_rate", 0.16),
    ("reinitialise_he", 0.14),
    ("replace_activation", 0.12),
    ("decay_learning_rate", 0.11),
    ("widen", 0.10),
    ("smaller_batch", 0.09),
    ("larger_batch", 0.08),
    ("keep_best_checkpoint", 0.07),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One remedy worth trying: `chance` orders them, `context` is what it may know."""

    remedy: str
    chance: float
    context: Context

    @property
    def code(self) -> str:
        return self.context.finding.code if self.context.finding is not None else ""


def candidates(seen: Visit, *, short: bool) -> list[Candidate]:
    """By falling chance, each remedy once; the usual ones only where the score falls `short`."""
    best: dict[str, Candidate] = {}
    for finding, weight in _findings(seen.diagnosis):
        for place, remedy in enumerate(finding.remedies):
            chance = weight * NEXT_REMEDY**place
            if remedy not in best or best[remedy].chance < chance:
                best[remedy] = Candidate(remedy=remedy, chance=chance,
                                         context=_context(seen, finding))  # fmt: skip
    for remedy, chance in USUAL if short else ():
        if remedy not in best:
            best[remedy] = Candidate(remedy=remedy, chance=chance, context=_context(seen, None))
    return sorted(best.values(), key=lambda c: -c.chance)


def _findings(diagnosis: Diagnosis) -> Iterator[tuple[Finding, float]]:
    for finding in diagnosis.findings:
        yield finding, finding.confidence
        for effect in finding.consequences:
            yield effect, FOLDED * min(finding.confidence, effect.confidence)
    for finding in diagnosis.suspected:
        yield finding, SUSPECTED * finding.confidence


def _context(seen: Visit, finding: Finding | None) -> Context:
    return Context(finding=finding, facts=seen.facts, history=seen.history, resolved=seen.resolved)
