"""What did a claim of the lecture come to? The records that an experiment hands to the report:
numbers and codes only, no words for people."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

ClaimVerdict = Literal["holds", "differs", "undecided"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One curve: `name` is a word code (`lecture.series.full_batch`) or plain text (`0.1`).

    `x` and `y` [point]; `low` and `high` [point] are a band around it, `dots` draws points alone.
    """

    name: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    low: tuple[float, ...] | None = None
    high: tuple[float, ...] | None = None
    dots: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """Curves on shared axes; `x` and `y` are word codes, `lecture.axis.steps`.

    `names`, where the x axis stands for names: the word codes or plain texts of its places 1, 2, ….
    Each series is then a bar for each name.
    """

    x: str
    y: str
    series: tuple[Series, ...]
    log_x: bool = False
    log_y: bool = False
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What one experiment measured, and whether the claim's rule is met.

    `effect` with its 95 % `interval` is in the unit that the claim's rule names, from `n` seeds or
    repetitions. `values` fill the reading sentence, `notes` are codes of what was left out.
    """

    verdict: ClaimVerdict
    effect: float
    interval: tuple[float, float]
    n: int
    values: Mapping[str, float | str] = field(default_factory=dict)
    pictures: tuple[Picture, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimResult:
    """A measured claim, how long it took and on what."""

    claim: str
    measured: Measured
    seconds: float
    device: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimNews:
    """What is told while claims are measured: the share done of one, 0 to 1, or how it ended: a
    result (`kept` when it was measured before), or the reason why there is none."""

    claim: str
    share: float = 0.0
    result: ClaimResult | None = None
    reason: str = ""
    kept: bool = False
