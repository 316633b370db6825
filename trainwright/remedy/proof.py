"""Did it help? Paired outcomes of two arms become an effect with its interval and a verdict; seeds
are added until the answer is clear, without more false answers than were allowed."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import stats

from trainwright.core.stats import normal_quantile

ProofVerdict = Literal["cured", "helped", "no effect", "worse", "undecided"]
FEWEST_PAIRS = 3  # a variance of two differences says next to nothing [assumed]
LEVEL = 0.95
LATER = 0.2  # of the false answers allowed, for the look after more pairs than planned [assumed]
MARGIN = 0.01  # of accuracy or R2: a smaller effect is none in practice [assumed]
RESAMPLES = 4000


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one arm came to at one seed.

    `score` is the task's metric on held-out examples, larger is better; None when the arm crashed
    or left the numbers. `open` are the codes that diagnosis still named.
    """

    seed: int
    score: float | None
    state: str = "finished"
    seconds: float = 0.0
    num_parameters: int = 0
    open: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One side: its name and what it came to, in the order of the seeds."""

    name: str
    outcomes: tuple[Outcome, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Two arms on paired seeds. `effect` is the mean of second minus first, in the metric's unit,
    positive when the second is better; `interval` the t interval of it at the level that this look
    was allowed, `bootstrap` the 95 % percentile interval of the same mean.

    `finding` is the code that the edit was to close: open in so many runs of each arm. `worst` is
    what a run without a score counts as.
    """

    verdict: ProofVerdict
    metric: str
    effect: float
    interval: tuple[float, float]
    bootstrap: tuple[float, float]
    n: int
    arms: tuple[Arm, Arm]
    finding: str = ""
    open_before: int = 0
    open_after: int = 0
    looks: int = 1
    seconds: float = 0.0
    worst: float = 0.0
    notes: tuple[str, ...] = ()


def spent(fraction: float, *, level: float = LEVEL) -> float:
    """The share of false answers allowed up to this fraction of the seeds, two-sided.

    2 (1 - Phi(z / sqrt(t))), which is small early and 1 - level at t = 1.
    Source: Lan and DeMets 1983, Biometrika 70, alpha*_1 (after O'Brien and Fleming).
    """
    assert 0 < fraction <= 1, fraction
    return float(2 * stats.norm.sf(normal_quantile(level) / math.sqrt(fraction)))


def level_of_look(
    look: int, looks: Sequence[int], *, level: float = LEVEL, more: int = 0
) -> float:  # fmt: skip
    """The level of the interval at look number `look` (from 0), when pairs are counted at `looks`,
    the last of which is one `more` pairs later if there are any.

    What is spent between two looks is the look's own: the sum over all looks is 1 - level, whatever
    their dependence (Bonferroni).
    """
    allowed = 1 - level
    if more:
        if look == len(looks) - 1:
            return 1 - LATER * allowed
        looks, level = looks[:-1], 1 - (1 - LATER) * allowed
    last = looks[-1]
    before = spent(looks[look - 1] / last, level=level) if look else 0.0
    return 1 - (spent(looks[look] / last, level=level) - before)


def looks_for(most: int, more: int = 0) -> tuple[int, ...]:
    """When the pairs are looked at: from FEWEST_PAIRS on, at every second one, and at the end; then
    once after `more`."""
    assert most >= 1, most
    later = {most + more} if more else set[int]()
    return tuple(sorted({*range(FEWEST_PAIRS, most, 2), most, *later}))


def differences(first: Sequence[Outcome], second: Sequence[Outcome], *, worst: float) -> np.ndarray:
    """[pair] of second minus first; an arm without a score counts as `worst`."""
    assert [o.seed for o in first] == [o.seed for o in second], "pairs share their seed"

    def score(outcome: Outcome) -> float:
        known = outcome.score is not None and math.isfinite(outcome.score)
        return outcome.score if known and outcome.score is not None else worst

    return np.array([score(b) - score(a) for a, b in zip(first, second, strict=True)])


def t_interval(values: np.ndarray, *, level: float, resolution: float) -> tuple[float, float]:
    """Student's interval of the mean; differences below `resolution` cannot be seen, so that their
    standard deviation is at least that of rounding, resolution / sqrt(12). One value: no bounds."""
    n = len(values)
    if n < 2:
        return -math.inf, math.inf
    deviation = max(float(values.std(ddof=1)), resolution / math.sqrt(12))
    half = float(stats.t.ppf((1 + level) / 2, n - 1)) * deviation / math.sqrt(n)
    middle = float(values.mean())
    return middle - half, middle + half


def bootstrap_interval(values: np.ndarray, *, seed: int = 0) -> tuple[float, float]:
    """95 % percentile interval of the mean over resampled pairs. With few pairs it is too narrow
    (Efron and Tibshirani 1993, chapter 12), so it is shown and does not decide."""
    if len(values) < 2:
        return -math.inf, math.inf
    draws = np.random.default_rng(seed).integers(0, len(values), (RESAMPLES, len(values)))
    low, high = np.quantile(values[draws].mean(1), [0.025, 0.975])
    return float(low), float(high)


def prove(
    first: Arm, second: Arm, *, metric: str, most: int, more: int = 0, look: int | None = None,
    worst: float = 0.0, resolution: float = 0.0, finding: str = "", margin: float = MARGIN,
    notes: tuple[str, ...] = (),
) -> Comparison:  # fmt: skip
    """The comparison as far as pairs are there. `most` is the number of pairs that was planned,
    `more` how many could follow, `look` which of `looks_for(most, more)` this is (the last when
    left out); `resolution` the smallest
    step of the metric, one over the number of examples for an accuracy."""
    planned = looks_for(most, more)
    number = len(planned) - 1 if look is None else look
    values = differences(first.outcomes, second.outcomes, worst=worst)
    level = level_of_look(number, planned, more=more)
    interval = t_interval(values, level=level, resolution=resolution)
    before = sum(finding in o.open for o in first.outcomes) if finding else 0
    after = sum(finding in o.open for o in second.outcomes) if finding else 0
    return Comparison(
        verdict=_verdict(interval, margin, len(values), finding, before, after), metric=metric,
        effect=float(values.mean()) if len(values) else math.nan, interval=interval,
        bootstrap=bootstrap_interval(values), n=len(values), arms=(first, second),
        finding=finding, open_before=before, open_after=after, looks=number + 1,
        seconds=sum(o.seconds for arm in (first, second) for o in arm.outcomes), worst=worst,
        notes=notes,
    )  # fmt: skip


def is_clear(comparison: Comparison) -> bool:
    """Whether more seeds could hardly change the answer."""
    return comparison.verdict != "undecided"


def _verdict(
    interval: tuple[float, float], margin: float, n: int, finding: str, before: int, after: int
) -> ProofVerdict:
    low, high = interval
    if n < FEWEST_PAIRS:
        return "undecided"
    if low > 0:
        closed = bool(finding) and before == n and after == 0
        return "cured" if closed else "helped"
    if high < 0:
        return "worse"
    return "no effect" if low > -margin and high < margin else "undecided"
