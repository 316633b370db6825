"""What is wrong, in codes and numbers? The records that rules make and reports put into words."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Severity = Literal["critical", "serious", "minor"]
Rate = Literal["too_low", "good", "high", "diverging", "oscillating"]
NAMED = 0.5  # a finding below this confidence is a possibility, not a diagnosis [assumed]


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """One number against its threshold. `reading` names it as `core.history` or `core.facts` do;
    `provenance` says where the threshold comes from: [paper: …], [measured: …] or [assumed]."""

    reading: str
    value: float | str
    where: str = ""
    step: int | None = None
    threshold: float | str | None = None
    provenance: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One diagnosis. `kind` tells variants of a code apart (M206: constant, too_large, …);
    `values` fill its sentence; `consequences` are findings that this one explains. A `note` is true
    and does no harm: it is said beside the verdict and never counts against the program."""

    code: str
    name: str
    severity: Severity
    confidence: float
    kind: str = ""
    where: tuple[str, ...] = ()
    line: str | None = None  # file:line of the user's code, where known
    since_step: int | None = None  # 0: before the first step
    evidence: tuple[Evidence, ...] = ()
    values: Mapping[str, Any] = field(default_factory=dict)
    remedies: tuple[str, ...] = ()
    consequences: tuple["Finding", ...] = ()
    note: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Unseen:
    """A rule that could not decide, and the reading or fact that it lacked."""

    code: str
    missing: str
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Regime:
    """What the learning rate was by the look of the loss curve; `confidence` is how often curves
    that led the same way were judged rightly, `evidence` the numbers that decided."""

    regime: Rate
    confidence: float
    evidence: tuple[Evidence, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """The answer: at most three causes, the surest first, each with what it explains.

    `healthy` is the first thing said: nothing reached the confidence at which it is named.
    `possible` are findings below that confidence: `suspected` ones, and `notes`.
    `rate` is what the loss curve says of the learning rate as if nothing else were wrong; it
    accuses nothing, and is None where the curve does not tell.
    """

    findings: tuple[Finding, ...] = ()
    possible: tuple[Finding, ...] = ()
    unseen: tuple[Unseen, ...] = ()
    overhead: float | None = None
    steps: int = 0
    seconds: float | None = None  # of training that were watched
    muted: tuple[str, ...] = ()
    rate: Regime | None = None

    @property
    def healthy(self) -> bool:
        return not self.findings

    @property
    def notes(self) -> tuple[Finding, ...]:
        return tuple(f for f in self.possible if f.note)

    @property
    def suspected(self) -> tuple[Finding, ...]:
        return tuple(f for f in self.possible if not f.note)

    def to_json(self) -> dict[str, Any]:
        """Plain values; the keys are stable."""
        return {
            "healthy": self.healthy,
            "findings": [asdict(f) for f in self.findings],
            "possible": [asdict(f) for f in self.possible],
            "unseen": [asdict(u) for u in self.unseen],
            "overhead": self.overhead,
            "steps": self.steps,
            "seconds": self.seconds,
            "muted": list(self.muted),
            "rate": asdict(self.rate) if self.rate is not None else None,
        }
