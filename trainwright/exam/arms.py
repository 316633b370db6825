"""What does a change do? Short trainings with and without it, from the same starts on the same rows
in the same order, as many pairs as the time allows."""

import math
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from trainwright.check.subject import same_random_states
from trainwright.core.claims import Picture, Series
from trainwright.edit.loop import batches, eval_loss, take_step, train
from trainwright.edit.program import Program
from trainwright.exam.exam import Answer, Terms, Values, Verdict

LEAST_R2 = -1.0  # below it R2 says no more than "far worse than the mean" [assumed]
LEAST_GAIN = 0.02  # of accuracy or R2 that is worth a change [assumed]
LEAST_NOISE = 0.004  # two trainings of one program differ by that much at least [assumed]
SURE = 0.8  # chance of yes, or of no, from which the answer says so [assumed]
MOST_PAIRS = 3
CLEAR = 6.0  # times the noise: fewer pairs say enough [assumed]
ONE_START = 0.03  # what the luck of a start does, as long as one is known [assumed]
FEWEST_STEPS = 10  # of an arm: fewer show nothing [assumed]
PACE_STEPS = 4
POINTS = 60  # of a picture's curve
SAFETY = 0.8  # share of the seconds that is planned with: judging takes time too [assumed]


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One training. `score` is accuracy or R2 on held-out rows, the worst there is where it failed;
    `held` the loss there."""

    score: float
    held: float
    losses: np.ndarray
    seconds: float
    failed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairs:
    """Arms by pair: [pair] scores without the change and with it."""

    before: tuple[Arm, ...]
    after: tuple[Arm, ...]
    noise: float  # of the mean gain, one standard error
    steps: int

    @property
    def gains(self) -> np.ndarray:
        """[pair]"""
        return np.array([b.score - a.score for a, b in zip(self.before, self.after, strict=True)])

    @property
    def gain(self) -> float:
        return float(self.gains.mean())


def seconds_per_step(program: Program) -> float:
    """Of the program's own loop, measured on a few steps of a fresh start."""
    with same_random_states():
        torch.manual_seed(0)
        model, optimizer = program.start(0)
        model.train(program.habits.trains)
        feed = batches(program.train, program.habits, 0)
        take_step(program, model, optimizer, feed)  # the first one allocates
        began = time.perf_counter()
        for _ in range(PACE_STEPS):
            take_step(program, model, optimizer, feed)
        return (time.perf_counter() - began) / PACE_STEPS


def steps_within(program: Program, seconds: float, arms: float) -> int:
    """How many steps each of `arms` trainings may take; at most the program's own number, at least
    FEWEST_STEPS, whatever that takes."""
    allowed = int(SAFETY * seconds / max(1e-9, arms * seconds_per_step(program)))
    return max(1, min(program.num_steps, max(FEWEST_STEPS, allowed)))


def run_arm(program: Program, seed: int, steps: int, terms: Terms) -> Arm:
    """One training of `steps` steps; the same arm of the same program is trained once."""
    key = (id(program), seed, steps)
    if key not in terms.trained:
        found = train(program, seed, steps=steps)
        failed = found.state == "failed" or found.score is None
        worst = 0.0 if _metric(program) == "accuracy" else LEAST_R2
        score = worst if failed or found.score is None else max(worst, found.score)
        held = eval_loss(program, found.model, program.valid or program.train)
        arm = Arm(score=score, held=held, losses=found.losses, seconds=found.seconds, failed=failed)
        terms.trained[key] = (program, arm)  # the program is kept, so that its id stays its own
    return terms.trained[key][1]


def compared(before: Program, after: Program, terms: Terms, *, equal: bool = True) -> Pairs:
    """Pairs of arms until the gain is clear, the time is over or there are MOST_PAIRS.

    With `equal` both take as many steps; else each as many as it plans, cut by the same share.
    """
    began = time.perf_counter()
    arms = 2.0 if equal else 1 + after.num_steps / before.num_steps
    steps = steps_within(before, terms.seconds, arms)
    share = steps / before.num_steps
    other = steps if equal else max(1, round(after.num_steps * share))
    done: list[tuple[Arm, Arm]] = []
    while True:
        seed = terms.seed + len(done)
        done.append((run_arm(before, seed, steps, terms), run_arm(after, seed, other, terms)))
        terms.tell(len(done) / MOST_PAIRS)
        pairs = Pairs(before=tuple(a for a, _ in done), after=tuple(b for _, b in done),
                      noise=_noise(before, done), steps=steps)  # fmt: skip
        spent = time.perf_counter() - began
        over = spent * (1 + 1 / len(done)) > terms.seconds
        if over or len(done) == MOST_PAIRS or abs(pairs.gain) > CLEAR * max(pairs.noise, ONE_START):
            return pairs


def chance_of(gain: float, noise: float, least: float = LEAST_GAIN) -> float:
    """How likely the true gain is `least` or more, for a normal error of `noise`."""
    return 0.5 * (1 + math.erf((gain - least) / (max(noise, LEAST_NOISE) * math.sqrt(2))))


def verdict_of(chance: float) -> Verdict:
    """yes from SURE on, no below its opposite."""
    return "yes" if chance >= SURE else "no" if chance <= 1 - SURE else "undecided"


def answer_of(
    before: Program, pairs: Pairs, *, least: float = LEAST_GAIN, **values: float | str
) -> Answer:
    """Is the second arm better? With both arms' losses as a picture."""
    cut = () if pairs.steps >= before.num_steps else ("exams.note.cut",)
    lost = ("exams.note.failed",) if any(arm.failed for arm in pairs.after) else ()
    chance = chance_of(pairs.gain, pairs.noise, least)
    return Answer(verdict=verdict_of(chance), chance=chance, pictures=(losses(pairs),),
                  values={**told(before, pairs), **values}, notes=(*cut, *lost))  # fmt: skip


def told(program: Program, pairs: Pairs) -> Values:
    """What every sentence on two arms may name."""
    return {
        "metric": _metric(program), "pairs": float(len(pairs.before)), "steps": float(pairs.steps),
        "before": float(np.mean([arm.score for arm in pairs.before])),
        "after": float(np.mean([arm.score for arm in pairs.after])),
        "gain": pairs.gain,
    }  # fmt: skip


def losses(pairs: Pairs) -> Picture:
    """Training loss over steps, the mean of the pairs."""
    named = (("exams.series.before", pairs.before), ("exams.series.after", pairs.after))
    series = tuple(smooth(name, [arm.losses for arm in arms]) for name, arms in named)
    return Picture(x="exams.axis.steps", y="exams.axis.loss", series=series)


def smooth(name: str, curves: list[np.ndarray]) -> Series:
    """At most POINTS points of the mean curve, each the mean of its stretch."""
    length = min(len(curve) for curve in curves)
    mean = np.mean([curve[:length] for curve in curves], axis=0)
    stretches = [s for s in np.array_split(np.arange(length), min(POINTS, length)) if len(s)]
    return Series(name=name, x=tuple(float(s.mean() + 1) for s in stretches),
                  y=tuple(float(mean[s].mean()) for s in stretches))  # fmt: skip


def _metric(program: Program) -> str:
    known: Any = program.facts.score
    targets = program.facts.targets
    if known is not None:
        return known.metric
    return "r2" if targets is not None and targets.task == "regression" else "accuracy"


def _noise(program: Program, done: list[tuple[Arm, Arm]]) -> float:
    """Standard error of the mean gain: over pairs, and, of an accuracy, over the held-out rows."""
    gains = np.array([b.score - a.score for a, b in done])
    between = float(gains.std(ddof=1)) / math.sqrt(len(gains)) if len(gains) > 1 else 0.0
    if _metric(program) != "accuracy":
        return between if len(gains) > 1 else LEAST_GAIN
    share = float(np.mean([arm.score for pair in done for arm in pair]))
    rows = max(1, program.judged.num_rows)
    return math.hypot(between, math.sqrt(max(0.0, share * (1 - share)) / rows))
