"""Does clipping save a training that diverges? A recurrent network on digits at one rate, without
and with its gradient clipped; rate and threshold are settled on other seeds."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
import torch

from trainwright.core.claims import Measured, Picture, Series
from trainwright.core.history import History
from trainwright.core.stats import wilson
from trainwright.edit.algorithm import quiet_norm
from trainwright.edit.edit import Context
from trainwright.lecture.claim import Pace, repetitions, verdict_of_all, verdict_within
from trainwright.lecture.training import PLAIN_DESCENT, mean_interval, ready, recipe_of
from trainwright.recipe import Live
from trainwright.run.assemble import Assembly

# Half a row each: with 8 less explodes, with 64 less is learnt [measured: seeds 100 to 103]
MOMENTS = 16
BATCH, STEPS = 32, 400
# A state that ReLU does not bound can grow at each moment, and its gradient with it.
SETTINGS: Mapping[str, Any] = {
    **PLAIN_DESCENT, "model.name": "rnn", "model.cell": "rnn", "model.activation": "relu",
    "model.depth": 1, "model.width": 32, "loss.name": "cross_entropy", "data.valid_fraction": 0.0,
    "data.test_fraction": 0.3, "algorithm.batch_size": BATCH, "budget": f"{STEPS} steps",
}  # fmt: skip
RATES = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
FIRST_TRIAL_SEED = 100  # rate and threshold are settled on seeds from here on, none of them judged
LEARNED = 0.5  # of the test rows right, where one answer for all gets a tenth [assumed]
SHOWN = 1000.0  # a loss or a norm beyond it has exploded; how far is no news [assumed]
SETTLING = 0.5  # share of the time that it takes, about
MORE = 2  # times the pace's seeds: a share of few failures is known badly [assumed]


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One training: `loss` and `norm` [step], the length of the whole gradient as the update got
    it; `accuracy` on `rows` test rows and that of the `constant` answer, the commonest class. What
    left the numbers (`lost`) has the constant answer's accuracy: its user can still give that."""

    loss: tuple[float, ...]
    norm: tuple[float, ...]
    accuracy: float
    constant: float
    rows: int

    @property
    def lost(self) -> bool:
        return not math.isfinite(self.loss[-1])

    @property
    def failed(self) -> bool:
        """Lost, or not above the constant answer for sure (Wilson's interval over test rows)."""
        return self.lost or wilson(self.accuracy, self.rows)[0] <= self.constant


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """What is fixed before anything is judged: the rate and the clipping threshold. `lower` is the
    best mean accuracy without clipping at a lower rate, `lower_rate`, on the same `trials`."""

    rate: float
    threshold: float
    lower: float
    lower_rate: float
    trials: int


def digit_sequences() -> Live:
    """scikit-learn's 1797 digits, row by row from the top, [example, 16 moments, 4 pixels]."""
    from sklearn.datasets import load_digits

    pixels, digit = load_digits(return_X_y=True)
    return Live(source=pixels.reshape(-1, MOMENTS, 4).astype(np.float32), target=digit)


def way(seed: int, rate: float, threshold: float | None) -> Way:
    """The training at this rate, its gradient clipped to `threshold`, or left as it is for None."""
    settings = {**SETTINGS, "algorithm.learning_rate": rate, "algorithm.clip_norm": threshold}
    with ready(recipe_of(settings, seed, live=digit_sequences())) as assembly:
        feed = assembly.prepared.train.feed(assembly.order, BATCH)
        loss: list[float] = []
        norm: list[float] = []
        for _ in range(STEPS):
            loss.append(float(assembly.step((next(feed),), rate, check=True)))
            if not math.isfinite(loss[-1]):
                break  # no weight has moved, and none will
            norm.append(_gradient_norm(assembly))
        accuracy, constant, rows = _scores(assembly)
    known = accuracy if math.isfinite(loss[-1]) else constant
    return Way(loss=tuple(loss), norm=tuple(norm), accuracy=known, constant=constant, rows=rows)


def _gradient_norm(assembly: Assembly) -> float:
    slopes = [p.grad for p in assembly.module.parameters() if p.grad is not None]
    return math.sqrt(sum(float(slope.double().square().sum()) for slope in slopes))


@torch.no_grad()
def _scores(assembly: Assembly) -> tuple[float, float, int]:
    """(accuracy, the constant answer's accuracy, rows) of the test rows, weights as they are."""
    test = assembly.prepared.test
    assert test is not None
    batch = next(test.batches(len(test)))
    right = assembly.module(*batch.inputs).argmax(dim=1) == batch.target
    commonest = assembly.prepared.train.targets().mode().values
    constant = batch.target == commonest
    return float(right.float().mean()), float(constant.float().mean()), len(test)


def settle(pace: Pace) -> Settled:
    """The lowest of RATES at which each of the pace's trial seeds fails without clipping (the
    highest where none is), and the median over them of our remedy's own threshold for that failed
    training: the 90th percentile of the gradient norms of its quieter half.

    Source: Pascanu et al. 2013, arXiv:1211.5063, section 3.2.
    """
    seeds = range(FIRST_TRIAL_SEED, FIRST_TRIAL_SEED + pace.seeds)
    lower, lower_rate, rate = 0.0, RATES[0], RATES[0]
    failed: list[Way] = []
    for rate in RATES:
        failed = [way(seed, rate, None) for seed in seeds]
        if all(one.failed for one in failed):
            break
        mean = float(np.mean([one.accuracy for one in failed]))
        if mean > lower:
            lower, lower_rate = mean, rate
    threshold = median(quiet_norm(_seen(one)) for one in failed)
    return Settled(rate=rate, threshold=threshold, lower=lower, lower_rate=lower_rate,
                   trials=pace.seeds)  # fmt: skip


def _seen(one: Way) -> Context:
    """What the remedy would have been given to know."""
    return Context(history=History(by_step={"gradient_norm_all": np.array(one.norm)}))


def measure_c11(pace: Pace) -> Measured:
    """A seed is a split, a start and an order, the same with and without clipping."""
    fixed = settle(pace)
    pace.tell(SETTLING)
    count = MORE * pace.seeds
    pairs: list[tuple[Way, Way]] = []
    for seed in repetitions(pace, count):
        pairs.append((way(seed, fixed.rate, None), way(seed, fixed.rate, fixed.threshold)))
        pace.tell(SETTLING + (1 - SETTLING) * (seed + 1) / count)
    return judged(fixed, pairs)


def judged(fixed: Settled, pairs: Sequence[tuple[Way, Way]]) -> Measured:
    """(unclipped, clipped) of each seed. Holds when for sure more than half of the unclipped fail,
    the clipped end above LEARNED, and ahead of the unclipped; undecided when the network learns at
    no lower rate either: then the rate is not to blame."""
    plain, clipped = [one for one, _ in pairs], [one for _, one in pairs]
    gains = [with_.accuracy - without.accuracy for without, with_ in pairs]
    failed = sum(one.failed for one in plain)
    interval = mean_interval(gains)
    verdict = verdict_of_all((
        verdict_within(wilson(failed / len(pairs), len(pairs)), (0.5, 1.0)),
        verdict_within(mean_interval([one.accuracy for one in clipped]), (LEARNED, math.inf)),
        verdict_within(interval, (0.0, math.inf)),
    ))  # fmt: skip
    values: dict[str, float | str] = {
        "rate": fixed.rate, "threshold": fixed.threshold, "trials": fixed.trials,
        "lower": fixed.lower, "lower_rate": fixed.lower_rate, "failed": failed,
        "lost": sum(one.lost for one in plain), "n": len(pairs),
        "clipped_failed": sum(one.failed for one in clipped),
        "plain": float(np.mean([one.accuracy for one in plain])),
        "clipped": float(np.mean([one.accuracy for one in clipped])),
        "share": float(np.mean([clipped_share(one, fixed.threshold) for one in clipped])),
    }  # fmt: skip
    return Measured(verdict=verdict if fixed.lower > LEARNED else "undecided",
                    effect=float(np.mean(gains)), interval=interval, n=len(pairs), values=values,
                    pictures=_pictures(pairs))  # fmt: skip


def clipped_share(one: Way, threshold: float) -> float:
    """Share of the steps whose gradient was scaled down: it ends at the threshold, within rounding;
    0 of no steps."""
    return float(np.mean(np.array(one.norm) >= 0.999 * threshold)) if one.norm else 0.0


def until_lost(course: Sequence[float]) -> tuple[float, ...]:
    """The course as far as it can be drawn: it leaves the picture at SHOWN."""
    found: list[float] = []
    for value in course:
        if not value < SHOWN:
            return (*found, SHOWN)
        found.append(value)
    return tuple(found)


def _pictures(pairs: Sequence[tuple[Way, Way]]) -> tuple[Picture, ...]:
    """The first seed's loss and gradient by step, and the accuracy of all."""
    curves: dict[str, list[Series]] = {"loss": [], "norm": []}
    for name, one in zip(("unclipped", "clipped"), pairs[0], strict=True):
        for kind, found in curves.items():
            y = until_lost(getattr(one, kind))
            x = tuple(float(step) for step in range(1, len(y) + 1))
            found.append(Series(name=f"lecture.series.{name}", x=x, y=y))
    seeds = tuple(float(seed) for seed in range(len(pairs)))
    dots = [Series(name=f"lecture.series.{name}", x=seeds, dots=True,
                   y=tuple(pair[at].accuracy for pair in pairs))
            for at, name in enumerate(("unclipped", "clipped"))]  # fmt: skip
    return (
        Picture(x="lecture.axis.steps", y="lecture.axis.cut_loss", series=tuple(curves["loss"]),
                log_y=True),
        Picture(x="lecture.axis.steps", y="lecture.axis.gradient_norm",
                series=tuple(curves["norm"]), log_y=True),
        Picture(x="lecture.axis.seed", y="lecture.axis.accuracy", series=tuple(dots)),
    )  # fmt: skip
