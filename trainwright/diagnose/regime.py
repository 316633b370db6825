"""Was the learning rate too low, good or too high? Read from one curve of losses, without a second
run to compare with."""

from dataclasses import dataclass

import numpy as np

from trainwright.core.diagnosis import Evidence, Rate, Regime
from trainwright.diagnose.case import Case, medians
from trainwright.diagnose.found import LITTLE, seen

LEAST_STEPS = 40  # fewer are an opening, which looks alike at most rates [assumed]
MOST = 1e12  # times the first loss: what lies beyond is cut to it, so that its square is a number
FIRST = 5  # losses whose median is the start: a single batch may be an odd one
# Found by a grid on six tasks, two optimisers, nine rates and three seeds, two fifths of whose runs
# are of too low a rate; how they do on four other tasks: benchmarks/rate_regimes_*.md.
AT_ONCE = 0.5  # ... unless they are below this share of the first: it was learned at once [assumed]
ROSE = 1.4  # highest loss over the first, less 1
LOST = 1.1  # last eighth over the start, after it rose
CLIMBED = 1.6  # the same without such a rise [assumed]: no curve of those did
SWINGS = 0.1  # of the start: spread of the smoothed second half about a line [assumed]
SOLVED = 0.06  # last eighth over the start: there is nothing left to be restless about
BARELY = 0.1  # share of the start that the first eighth of the steps took away
RESTLESS = 0.16  # spread of the smoothed second half over its level
FALLS = 0.2  # share that the last quarter lies below the one before ...
CLEAR = 3.0  # ... by more than so many standard errors [assumed]
MEASURED = "[measured: benchmarks/rate_regimes.py]"
# How often each way to a verdict was right on the 540 runs of all ten tasks, one right and one
# wrong added [measured: benchmarks/rate_regimes.py]; no run climbed.
SURE = {
    "not_finite": 0.96, "rose_stayed": 0.84, "rose_swings": 0.73, "rose_settled": 0.62,
    "climbed": 0.5, "solved": 0.97, "barely_fell": 0.94, "restless": 0.5, "still_falls": 0.85,
    "settled": 0.51,
}  # fmt: skip
# Weights whose updates are so large a share of them, ten times the usual one [source: CS231n], are
# not moved too slowly, whatever the curve looks like [measured: benchmarks/rate_regimes.py clinic].
MOVED = 0.01
BELOW = 1e-3  # of the first loss that a loss may lie below that of perfect answers [assumed]
UNEVEN = 2.0  # times more or less than its share of the losses, of an eighth of the steps [assumed]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """A curve in a few numbers. The start is the median of the first five losses, or the
    first one where that is lower or far above, and no higher than the prior where it is known."""

    rise: float  # highest over first, less 1
    level: float  # mean of the last eighth over the start
    opening: float  # share of the start that the first eighth took away
    falling: float  # share that the last quarter lies below the one before
    falling_errors: float  # the same in standard errors
    swing: float  # sd of the smoothed second half about a straight line, over the start


def regime(
    losses: np.ndarray, prior: float | None = None, rates: np.ndarray | None = None
) -> Regime | None:
    """The regime of a run from `losses` [step], one for each step from the first on, of batches or
    of all rows.

    `prior`: the loss of the best constant answer, where the first loss is a bad start. `rates`
    [step]: steps of a warm-up and of a decay, where the rate is below half of its peak, are left
    aside. None where that cannot be told: under 40 steps, or losses that are not above 0.
    """
    losses = np.asarray(losses, float)
    bad = np.flatnonzero(~np.isfinite(losses))
    if len(bad):
        return _left_the_numbers(int(bad[0]) + 1)
    if rates is not None and len(rates) == len(losses) > 0:
        losses = losses[np.asarray(rates, float) >= 0.5 * np.nanmax(rates)]
    if len(losses) < LEAST_STEPS or losses[0] <= 0:
        return None
    return _judged(shape_of(losses, prior))


def rate_of(case: Case) -> Regime | None:
    """The regime of a program that was watched, where nothing else that was read of it refutes what
    its curve looks like. None too where the curve has gaps, as that of a loop whose steps are so
    short that only some are looked at, or ends below what the loss of perfect answers is."""
    history, curve = case.history, case.curve
    if history.first_nonfinite is not None:
        return _left_the_numbers(history.first_nonfinite)
    losses = curve.values - _perfect(case)
    if not _is_even(curve.steps, history.num_steps) or losses.min() < -BELOW * losses[0]:
        return None
    told = regime(losses, None, _rates(case))
    return None if told is None or _is_refuted(told.regime, case) else told


def _perfect(case: Case) -> float:
    """The loss of perfect answers, from which losses are counted; 0 where it is not known."""
    perfect = case.facts.loss.perfect if case.facts.loss is not None else None
    return perfect if perfect is not None and np.isfinite(perfect) else 0.0


def _is_even(steps: np.ndarray, num_steps: int) -> bool:
    """Whether each eighth of the steps has about its share of the losses."""
    if len(steps) < LEAST_STEPS:
        return False
    counts, _ = np.histogram(steps, np.linspace(0, num_steps, 9) + 0.5)
    usual = len(steps) / 8
    return bool(counts.min() >= usual / UNEVEN and counts.max() <= usual * UNEVEN)


def _rates(case: Case) -> np.ndarray | None:
    """The learning rate at each step of the curve: the last one that was told until then."""
    told = case.history.train.get("learning_rate")
    if told is None or not np.isfinite(told.values).all() or not len(told.steps):
        return None
    last = np.searchsorted(told.steps, case.curve.steps, side="right") - 1
    return told.values[np.maximum(last, 0)]


def _is_refuted(told: Rate, case: Case) -> bool:
    """A program that has what can be had was not trained at a wrong rate; one whose weights are
    rewritten not at one too low."""
    if told == "good":
        return False
    reached = case.lost is not None and case.lost < LITTLE
    ratio = case.update_ratio
    if reached or told != "too_low" or ratio is None:
        return reached
    late = medians(ratio[len(ratio) // 3 :])
    return bool(np.isfinite(late).any() and np.nanmax(late) > MOVED)


def shape_of(losses: np.ndarray, prior: float | None) -> Shape:
    """The numbers that decide, of finite `losses` [step] that begin above 0."""
    prior = prior / losses[0] if prior is not None else None
    with np.errstate(over="ignore"):
        losses = np.minimum(losses / losses[0], MOST)
    usual = float(np.median(losses[:FIRST]))
    first = usual if AT_ONCE * losses[0] < usual < losses[0] else float(losses[0])
    start = min(first, prior) if prior is not None and prior > 0 else first
    eighths = [part.mean() for part in np.array_split(losses, 8)]
    half = losses[len(losses) // 2 :]
    before, after = np.mean(eighths[4:6]), np.mean(eighths[6:])
    noise = np.std(np.diff(half)) / np.sqrt(2)
    error = noise / np.sqrt(len(losses) / 8)
    width = max(1, len(losses) // 20)
    sums = np.concatenate([[0.0], np.cumsum(half)])
    smooth = (sums[width:] - sums[:-width]) / width
    steps = np.arange(len(smooth))
    line = np.polyval(np.polyfit(steps, smooth, 1), steps)
    return Shape(
        rise=float(losses.max() - 1),
        level=float(eighths[-1] / start),
        opening=float(1 - eighths[0] / first),
        falling=float((before - after) / before) if before > 0 else 0.0,
        falling_errors=float((before - after) / (error + 1e-12)),
        swing=float((smooth - line).std() / start),
    )


def _judged(shape: Shape) -> Regime:
    level = seen("loss.level", shape.level, LOST, MEASURED)
    rise = seen("loss.peak", shape.rise, ROSE, MEASURED)
    if shape.rise > ROSE:
        if shape.level > LOST:
            return _told("diverging", "rose_stayed", rise, level)
        swing = seen("loss.swing", shape.swing, SWINGS, "[assumed]")
        if shape.swing > SWINGS:
            return _told("oscillating", "rose_swings", rise, swing)
        return _told("high", "rose_settled", rise, swing)
    if shape.level > CLIMBED:
        return _told("diverging", "climbed", seen("loss.level", shape.level, CLIMBED, "[assumed]"))
    if shape.level <= SOLVED:
        return _told("good", "solved", seen("loss.level", shape.level, SOLVED, MEASURED))
    opening = seen("loss.opening", shape.opening, BARELY, MEASURED)
    if shape.opening < BARELY:
        return _told("too_low", "barely_fell", opening)
    restless = shape.swing / shape.level
    swing = seen("loss.swing", restless, RESTLESS, MEASURED)
    if restless > RESTLESS:
        return _told("high", "restless", swing)
    falling = seen("loss.falling", shape.falling, FALLS, MEASURED)
    if shape.falling > FALLS and shape.falling_errors > CLEAR:
        return _told("too_low", "still_falls", falling)
    return _told("good", "settled", opening, falling, swing)


def _left_the_numbers(step: int) -> Regime:
    return _told("diverging", "not_finite", seen("loss", "nan", "finite", step=step))


def _told(name: Rate, way: str, *evidence: Evidence) -> Regime:
    return Regime(regime=name, confidence=SURE[way], evidence=evidence)
