"""What does the learning rate do? One sweep from far too low to far too high, which of the
lecture's four regimes are seen in it, and whether a range test finds its best."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from trainwright.core.claims import ClaimVerdict, Measured, Picture, Series
from trainwright.core.stats import Interval
from trainwright.edit.from_recipe import program_of
from trainwright.exam.rate import GRID, MOST_STEPS, range_test
from trainwright.lecture.claim import Pace, repetitions, verdict_of_all, verdict_within
from trainwright.lecture.descent import DIGITS, Course, course_of
from trainwright.lecture.training import factor_interval, recipe_of
from trainwright.remedy.proof import t_interval

# 0.001 to 10: three a decade where it matters, fewer where it is slow
RATES = tuple(round(10 ** (k / 3), 6) for k in (-9, -7, -5, -4, -3, -2, -1, 0, 1, 2, 3))
# Fresh seeds: with 8 units and seeds 0 to 4, 10 to 17 and 20 to 27 the third regime was undecided
# in four of five tries; 4 units and 8 seeds were then chosen on seeds 100 to 104.
FIRST_SEED, MORE_SEEDS = 40, 3
STEPS = 1200
BATCH = 4
LOOKS = 60  # at the loss on all training rows, in the whole run
EARLY = 0.05  # share of the steps: fast or slow is judged there [assumed]
LAST = 0.1  # share of the looks whose mean is the final loss [assumed]
NEAR = 3.0  # said in lecture.md, C04
LOST = 1e6  # times the first loss: what counts for a loss that left the numbers [assumed]
# Four units cannot fit all digits, so that noise is left in the gradient where the loss is lowest.
# Where nothing is left, rates below divergence leave no plateau [measured: 64 units, 2 seeds].
SETTINGS: Mapping[str, Any] = {**DIGITS, "model.width": 4, "model.activation": "tanh"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """Training loss of one seed, [rate, look]: `loss[:, 0]` is before the first step."""

    rates: tuple[float, ...]
    loss: np.ndarray

    def at(self, share: float) -> np.ndarray:
        """[rate], in logarithms."""
        return np.log(self.loss[:, round(share * (self.loss.shape[1] - 1))])

    def around(self, share: float) -> np.ndarray:
        """[rate], the mean of the looks about there, as many as `final` has, in logarithms: one
        look at a high rate is as noisy as its steps."""
        count = self.loss.shape[1]
        middle, half = round(share * (count - 1)), max(1, round(LAST * count)) // 2
        return np.log(self.loss[:, middle - half : middle + half + 1].mean(axis=1))

    @property
    def final(self) -> np.ndarray:
        """[rate], the mean of the last looks, in logarithms."""
        return np.log(self.loss[:, -max(1, round(LAST * self.loss.shape[1])) :].mean(axis=1))


@dataclass(frozen=True, slots=True, kw_only=True)
class Regimes:
    """Indices into the rates: the lowest, the best, the one seen as high (None where none is), the
    highest; and whether each part of the rule is met."""

    best: int
    high: int | None
    parts: Mapping[str, ClaimVerdict]
    effect: float
    interval: Interval


def measure_c04(pace: Pace) -> Measured:
    """Digits, plain descent at a constant rate; a seed is a split, a start and an order."""
    sweeps: list[Sweep] = []
    tested: list[float] = []
    count = pace.seeds + MORE_SEEDS
    for done in repetitions(pace, count):
        seed = FIRST_SEED + done
        with course_of(seed, SETTINGS) as assembly:
            course = Course(assembly)
            rows = []
            for at, rate in enumerate(RATES):
                rows.append(_curve(course, rate))
                pace.tell((done + (at + 1) / (len(RATES) + 1)) / count)
            sweeps.append(Sweep(rates=RATES, loss=np.array(rows)))
        tested.append(found_by_range_test(seed, offset=done / count))
        pace.tell((done + 1) / count)
    return judged(sweeps, tested)


def found_by_range_test(seed: int, *, offset: float) -> float:
    """The rate that our range test takes for the same training, begun at the sweep's lowest rate.

    It looks at rates GRID apart: `offset`, 0 to 1, shifts them by a share of that, so that over
    seeds neither a lucky nor an unlucky place of the grid decides.
    """
    own = RATES[0] * GRID**offset
    settings = {**SETTINGS, "algorithm.batch_size": BATCH, "algorithm.learning_rate": own,
                "budget": f"{STEPS} steps"}  # fmt: skip
    program = program_of(recipe_of(settings, seed))
    return range_test(program, steps=MOST_STEPS, seed=seed).best


def _curve(course: Course, rate: float) -> list[float]:
    """The loss at each look; what is lost stays as bad as it was last."""
    way = course.descend(BATCH, rate, target=-math.inf, most=STEPS * BATCH,
                         look=STEPS * BATCH // LOOKS)  # fmt: skip
    worst = LOST * way.loss[0]
    known = [value if value < worst else worst for value in way.loss]
    return known + [known[-1]] * (LOOKS + 1 - len(known))


def regimes(sweeps: Sequence[Sweep]) -> Regimes:
    """Which of the four are there, each by an interval of the paired differences over seeds.

    low: the lowest rate ends above the best and still falls; good: the best rate is neither end
    of the sweep; high: some rate above the best, not itself lost, is lower early, ends above it,
    and falls by less in the second half; very high: the highest rate ends above where it began.
    """
    final = np.stack([one.final for one in sweeps])  # [seed, rate]
    early = np.stack([one.at(EARLY) for one in sweeps])
    half = np.stack([one.around(0.5) for one in sweeps])
    start = np.stack([one.at(0.0) for one in sweeps])
    late = np.stack([one.around(0.75) for one in sweeps])
    best = int(final.mean(axis=0).argmin())
    lost = final.mean(axis=0) > start.mean(axis=0)
    tried = [at for at in range(best + 1, final.shape[1]) if not lost[at]]
    above, high = _high(early, half, final, best, tried)
    inner = 0 < best < final.shape[1] - 1
    parts: dict[str, ClaimVerdict] = {
        "low": verdict_of_all((_above_zero(final[:, 0] - final[:, best]),
                               _above_zero(late[:, 0] - final[:, 0]))),
        "good": "holds" if inner else "undecided",
        "high": above,
        "very_high": _above_zero(final[:, -1] - start[:, -1]),
    }  # fmt: skip
    shown = best if high is None else high
    excess = final[:, shown] - final[:, best]
    low, top = t_interval(excess, level=0.95, resolution=0.0)
    return Regimes(best=best, high=high, parts=parts, effect=math.exp(float(excess.mean())),
                   interval=(math.exp(low), math.exp(top)))  # fmt: skip


def _high(
    early: np.ndarray, half: np.ndarray, final: np.ndarray, best: int, tried: Sequence[int]
) -> tuple[ClaimVerdict, int | None]:
    """The rate of `tried` that is fast and then stuck, if any. As many rates are looked at, each
    interval is so much wider (Bonferroni)."""
    found: dict[int, ClaimVerdict] = {}
    for at in tried:
        differences = (
            early[:, best] - early[:, at],
            final[:, at] - final[:, best],
            (final[:, at] - half[:, at]) - (final[:, best] - half[:, best]),
        )
        found[at] = verdict_of_all(
            tuple(_above_zero(difference, of=len(tried)) for difference in differences)
        )
    held = [at for at, verdict in found.items() if verdict == "holds"]
    if held:  # the one that stands out most
        return "holds", max(held, key=lambda at: float((early[:, best] - early[:, at]).mean()))
    return ("undecided" if "undecided" in found.values() else "differs"), None


def _above_zero(values: np.ndarray, *, of: int = 1) -> ClaimVerdict:
    interval = t_interval(values, level=1 - 0.05 / of, resolution=0.0)
    return verdict_within(interval, (0.0, math.inf))


def judged(sweeps: Sequence[Sweep], tested: Sequence[float]) -> Measured:
    """Holds when all four regimes are in the sweep, and the rates that the range test found,
    `tested` [seed], are within NEAR times the sweep's best (interval of the geometric mean)."""
    found = regimes(sweeps)
    rates = sweeps[0].rates
    ratio, near = factor_interval([rate / rates[found.best] for rate in tested])
    parts: dict[str, ClaimVerdict] = {**found.parts, "test": verdict_within(near, (1 / NEAR, NEAR))}
    final = np.exp(np.stack([one.final for one in sweeps]).mean(axis=0))
    values: dict[str, float | str] = {
        "lowest": rates[0], "best": rates[found.best], "highest": rates[-1],
        "lowest_loss": float(final[0]), "best_loss": float(final[found.best]),
        "highest_loss": float(final[-1]),
        "high": "–" if found.high is None else f"{rates[found.high]:.3g}",
        "high_loss": "–" if found.high is None else f"{final[found.high]:.3g}",
        "ratio": ratio, "ratio_low": near[0], "ratio_high": near[1], "short": MOST_STEPS,
        "steps": STEPS,
    }  # fmt: skip
    notes = tuple(f"lecture.note.rate_{part}" for part, one in parts.items() if one != "holds")
    return Measured(verdict=verdict_of_all(tuple(parts.values())), effect=found.effect,
                    interval=found.interval, n=len(sweeps), values=values, notes=notes,
                    pictures=(_curves(sweeps, found), _finals(sweeps)))  # fmt: skip


def _curves(sweeps: Sequence[Sweep], found: Regimes) -> Picture:
    shown = {"low": 0, "good": found.best, "high": found.high, "very_high": -1}
    steps = tuple(float(s) for s in np.linspace(0, STEPS, sweeps[0].loss.shape[1]))
    series = []
    for name, at in shown.items():
        if at is None:
            continue
        curves = np.stack([one.loss[at] for one in sweeps])
        series.append(Series(name=f"lecture.series.rate_{name}", x=steps,
                             y=tuple(np.exp(np.log(curves).mean(0)).tolist()),
                             low=tuple(curves.min(0).tolist()),
                             high=tuple(curves.max(0).tolist())))  # fmt: skip
    return Picture(x="lecture.axis.steps", y="lecture.axis.train_loss", series=tuple(series),
                   log_y=True)  # fmt: skip


def _finals(sweeps: Sequence[Sweep]) -> Picture:
    final = np.exp(np.stack([one.final for one in sweeps]))
    middle = np.exp(np.log(final).mean(0))
    series = Series(name="lecture.series.final_loss", x=sweeps[0].rates, y=tuple(middle.tolist()),
                    low=tuple(final.min(0).tolist()),
                    high=tuple(final.max(0).tolist()))  # fmt: skip
    return Picture(x="lecture.axis.learning_rate", y="lecture.axis.final_loss", series=(series,),
                   log_x=True, log_y=True)  # fmt: skip
