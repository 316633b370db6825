"""How does a rule state what it found? One call; name and severity come from the catalogue."""

from collections.abc import Iterable
from typing import Any

from trainwright.core.diagnosis import Evidence, Finding
from trainwright.diagnose.case import Case

HARMLESS = 0.3  # confidence of a true oddity in a program that loses nothing by it [assumed]
LITTLE, MUCH = (
    0.05,
    0.3,
)  # of what can be had: a loss that is none, and one that leaves no doubt [assumed]


def found(
    code: str,
    confidence: float,
    *evidence: Evidence,
    kind: str = "",
    where: Iterable[str] = (),
    since: int = 0,
    line: str | None = None,
    remedies: Iterable[str] = (),
    **values: Any,
) -> Finding:
    """A finding with all that its sentence needs."""
    return Finding(
        code=code, name="", severity="serious", kind=kind, line=line, since_step=since,
        confidence=min(0.99, max(0.0, float(confidence))), where=tuple(dict.fromkeys(where)),
        evidence=evidence, remedies=tuple(remedies), values=values,
    )  # fmt: skip


def seen(
    reading: str,
    value: float | str,
    threshold: float | str | None = None,
    provenance: str = "",
    *,
    where: str = "",
    step: int | None = None,
) -> Evidence:
    """One number against its threshold."""
    plain = value if isinstance(value, str) else float(value)
    return Evidence(reading=reading, value=plain, threshold=threshold, provenance=provenance,
                    where=where, step=step)  # fmt: skip


def by_harm(
    case: Case, *, sure: float, unknown: float, spared: float = HARMLESS, fit: bool = False
) -> float:
    """The confidence that an oddity is a disease, by what the program loses: `spared` when it loses
    nothing, `sure` from a third of what can be had on, `unknown` when that is not known. With
    `fit`, what it fails to fit of its training examples counts as well."""
    lost = case.lost
    if fit and case.unfitted is not None:
        lost = max(lost or 0.0, case.unfitted)
    if not case.trained or lost is None:
        return unknown
    share = min(1.0, max(0.0, (lost - LITTLE) / (MUCH - LITTLE)))
    return spared + (sure - spared) * share**0.5
