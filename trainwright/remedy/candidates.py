"""What could help, and what first? The remedies of a diagnosis, the surest cause's first, several
causes' together, then what helps many runs that are not as good as they could be."""

from collections.abc import Iterator
from dataclasses import dataclass

from trainwright.core.diagnosis import Diagnosis, Finding
from trainwright.edit.edit import Context
from trainwright.remedy.visit import Visit

NEXT_REMEDY = 0.8  # how likely the next remedy of a finding is, beside the one before [assumed]
FOLDED = 0.5  # a consequence's remedy beside its cause's [assumed]
SUSPECTED = 0.8  # a finding below the named ones, beside its own confidence [assumed]
TOGETHER = 0.9  # the first remedies of all causes at once, beside the best of them [assumed]

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
# What a careful beginner does all at once; each is left out again if it was not needed.
CUSTOM = ("standardise_inputs", "standardise_target", "pair_head_and_loss", "replace_activation",
          "swap_optimizer")  # fmt: skip
CUSTOM_CHANCE = 0.27  # after single ones were no cure [assumed]

Part = tuple[str, Context]


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """Remedies worth trying at once, mostly one, each with what it may know; `chance` orders."""

    parts: tuple[Part, ...]
    chance: float

    @property
    def code(self) -> str:
        """The finding that asked for it; empty for what helps in general."""
        finding = self.parts[0][1].finding
        return finding.code if finding is not None else ""


def candidates(seen: Visit, *, short: bool) -> list[Candidate]:
    """By falling chance, each remedy once; the usual ones only where the score falls `short`."""
    best: dict[str, Candidate] = {}
    for finding, weight in _findings(seen.diagnosis):
        for place, remedy in enumerate(finding.remedies):
            chance = weight * NEXT_REMEDY**place
            if remedy not in best or best[remedy].chance < chance:
                best[remedy] = _one(remedy, chance, _context(seen, finding))
    for remedy, chance in USUAL if short else ():
        if remedy not in best:
            best[remedy] = _one(remedy, chance, _context(seen, None))
    found = [*best.values(), *_together(seen)]
    if short:
        parts = tuple((remedy, _context(seen, None)) for remedy in CUSTOM)
        found.append(Candidate(parts=parts, chance=CUSTOM_CHANCE))
    return sorted(found, key=lambda c: -c.chance)


def _one(remedy: str, chance: float, context: Context) -> Candidate:
    return Candidate(parts=((remedy, context),), chance=chance)


def _together(seen: Visit) -> Iterator[Candidate]:
    """Half of the real programs have several faults: the first remedy of each named cause."""
    first = {f.remedies[0]: f for f in reversed(seen.diagnosis.findings) if f.remedies}
    if len(first) < 2:
        return
    parts = tuple((remedy, _context(seen, first[remedy])) for remedy in reversed(first))
    yield Candidate(parts=parts, chance=TOGETHER * max(f.confidence for f in first.values()))


def _findings(diagnosis: Diagnosis) -> Iterator[tuple[Finding, float]]:
    for finding in diagnosis.findings:
        yield finding, finding.confidence
        for effect in finding.consequences:
            yield effect, FOLDED * min(finding.confidence, effect.confidence)
    for finding in diagnosis.suspected:
        yield finding, SUSPECTED * finding.confidence


def _context(seen: Visit, finding: Finding | None) -> Context:
    return Context(finding=finding, facts=seen.facts, history=seen.history, resolved=seen.resolved)
