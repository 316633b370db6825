"""What does the size of a batch buy? Noise of the gradient against batch size, and examples read
until the training loss is down, against full-batch descent and on both sides of the critical
size."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from trainwright.core.claims import Measured, Picture, Series
from trainwright.core.stats import Interval
from trainwright.data.batch import Order
from trainwright.lecture.claim import Pace, repetitions, verdict_of_all, verdict_within
from trainwright.lecture.descent import RATES, Course, Descent, course_of, flat_gradient
from trainwright.lecture.training import factor_interval, mean_interval

TARGET = 0.1  # training loss; a guess among ten digits costs 2.3 [assumed]
MOST_MINI = 40_000  # examples a batch below the full one may read [assumed]: 32 times all rows
MOST_FULL = 400_000  # and the full one, 318 steps [assumed]
NOISE_SIZES = (1, 2, 4, 8, 16, 32, 64, 128)
NOISE_DRAWS = 200  # batches of each size: gradients have heavy tails [assumed]
EARLY_EXAMPLES = 640  # where on the way down the noise is measured a second time [assumed]
SIZES = (4, 8, 16, 32, 64, 128, 256, 512, 1024)
SLOPE: Interval = (-0.6, -0.4)  # said in lecture.md, C05
MINI = 32


# --- C05: noise, and the critical size -----------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """Standard deviation of the batch gradient (its distance from the gradient of all rows, root
    mean square over batches) at NOISE_SIZES, and the slope of its logarithm over that of the size;
    `scale` is the simple noise scale, examples: tr(S) / |G|^2."""

    deviation: tuple[float, ...]
    slope: float
    scale: float


def measure_c05(pace: Pace) -> Measured:
    """Digits, one small network, plain descent; a seed is a split, a start and an order."""
    noises: list[list[Noise]] = []
    ways: list[list[Descent]] = []
    for seed in repetitions(pace):
        with course_of(seed) as assembly:
            course = Course(assembly)
            noises.append(noise_on_the_way(course))
            ways.append([])
            for at, size in enumerate(SIZES):
                ways[-1].append(course.quickest(size, target=TARGET, most=_most(size)))
                pace.tell((seed + (at + 1) / len(SIZES)) / pace.seeds)
    return _judged_c05(noises, ways)


def noise_on_the_way(course: Course) -> list[Noise]:
    """At the start, early, and where the loss is half way (in logarithms) to the target."""
    course.back_to_start()
    found = [gradient_noise(course)]
    half = math.sqrt(TARGET * course.loss())
    course.descend(MINI, RATES[0], target=0.0, most=EARLY_EXAMPLES)
    found.append(gradient_noise(course))
    course.descend(MINI, RATES[0], target=half, most=MOST_MINI)
    found.append(gradient_noise(course))
    course.back_to_start()
    return found


def gradient_noise(course: Course, order: Order | None = None) -> Noise:
    """At the weights as they are, from batches as the loop would read them (in `order`, the run's
    own when left out)."""
    assembly, rows = course.assembly, course.rows
    whole = flat_gradient(assembly, rows.inputs, rows.target)
    deviations = []
    for size in NOISE_SIZES:
        feed = assembly.prepared.train.feed(order or assembly.order, size)
        squares = []
        for _ in range(NOISE_DRAWS):
            batch = next(feed)
            difference = flat_gradient(assembly, batch.inputs, batch.target) - whole
            squares.append(float(difference.square().sum()))
        deviations.append(math.sqrt(float(np.mean(squares))))
    slope = float(np.polyfit(np.log(NOISE_SIZES), np.log(deviations), 1)[0])
    spread = float(np.mean([s * d * d for s, d in zip(NOISE_SIZES, deviations, strict=True)]))
    return Noise(deviation=tuple(deviations), slope=slope,
                 scale=spread / float(whole.square().sum()))  # fmt: skip


def _judged_c05(noises: Sequence[Sequence[Noise]], ways: Sequence[Sequence[Descent]]) -> Measured:
    slopes = [float(np.mean([one.slope for one in on_way])) for on_way in noises]
    critical = [float(np.exp(np.mean(np.log([one.scale for one in on_way])))) for on_way in noises]
    beyond = [rise(way, low=size) for way, size in zip(ways, critical, strict=True)]
    below = [rise(way, high=size) for way, size in zip(ways, critical, strict=True)]
    interval, rises = mean_interval(slopes), mean_interval(beyond)
    verdict = verdict_of_all(
        (verdict_within(interval, SLOPE), verdict_within(rises, (0.0, math.inf)))
    )
    reads = np.array([[_examples(one) for one in way] for way in ways])
    values: dict[str, float | str] = {
        "critical": float(np.exp(np.mean(np.log(critical)))), "rise": float(np.mean(beyond)),
        "rise_low": rises[0], "rise_high": rises[1], "below": float(np.mean(below)),
        "fewest": float(np.median(reads, axis=0).min()), "target": TARGET,
        "most": float(np.median(reads, axis=0)[-1]), "largest": SIZES[-1],
    }  # fmt: skip
    return Measured(verdict=verdict, effect=float(np.mean(slopes)), interval=interval,
                    n=len(slopes), values=values,
                    pictures=(_noise_picture(noises),
                              _size_picture(reads, float(values["critical"]))))  # fmt: skip


def rise(way: Sequence[Descent], *, low: float = 0.0, high: float = math.inf) -> float:
    """Slope of log(examples to the target) over log(batch size) for sizes in [low, high]: 0 where
    a larger batch costs nothing, 1 where it saves no step. At least the two nearest sizes count."""
    inside = [one for one in way if low <= one.batch_size <= high]
    if len(inside) < 2:
        inside = list(way[-2:] if low > 0 else way[:2])
    sizes = np.log([one.batch_size for one in inside])
    return float(np.polyfit(sizes, np.log([_examples(one) for one in inside]), 1)[0])


def _examples(way: Descent) -> float:
    """Examples read until the target; what was read where it was not reached, which is too few."""
    return float(way.examples if way.examples is not None else _most(way.batch_size))


def _most(size: int) -> int:
    return MOST_MINI if size <= MINI else MOST_FULL


def _noise_picture(noises: Sequence[Sequence[Noise]]) -> Picture:
    places = ("lecture.series.start", "lecture.series.early", "lecture.series.half_way")
    series = []
    for at, name in enumerate(places):
        table = np.array([on_way[at].deviation for on_way in noises])
        series.append(Series(name=name, x=tuple(map(float, NOISE_SIZES)),
                             y=tuple(np.exp(np.log(table).mean(0)).tolist()),
                             low=tuple(table.min(0).tolist()),
                             high=tuple(table.max(0).tolist())))  # fmt: skip
    return Picture(x="lecture.axis.batch_size", y="lecture.axis.gradient_noise",
                   series=tuple(series), log_x=True, log_y=True)  # fmt: skip


def _size_picture(reads: np.ndarray, critical: float) -> Picture:
    ends = (float(reads.min()), float(reads.max()))
    return Picture(
        x="lecture.axis.batch_size", y="lecture.axis.examples_to_target", log_x=True, log_y=True,
        series=(
            Series(name="lecture.series.to_target", x=tuple(map(float, SIZES)),
                   y=tuple(np.median(reads, axis=0).tolist()), low=tuple(reads.min(0).tolist()),
                   high=tuple(reads.max(0).tolist())),
            Series(name="lecture.series.critical", x=(critical, critical), y=ends),
        ),
    )  # fmt: skip


# --- C06: mini-batch against full batch ----------------------------------------------------------


def measure_c06(pace: Pace) -> Measured:
    """Digits, one small network, plain descent: batches of 32 against all rows at once, from the
    same start, each at the rate of RATES that gets it to the target with fewest examples."""
    pairs: list[tuple[Descent, Descent]] = []
    for seed in repetitions(pace, 2 * pace.seeds):
        with course_of(seed) as assembly:
            course = Course(assembly)
            rows = len(course.rows.target)
            mini = course.quickest(MINI, target=TARGET, most=MOST_MINI)
            pairs.append((mini, course.quickest(rows, target=TARGET, most=MOST_FULL)))
        pace.tell((seed + 1) / (2 * pace.seeds))
    return judged_c06(pairs)


def judged_c06(pairs: Sequence[tuple[Descent, Descent]]) -> Measured:
    """(mini-batch, full batch) of each seed. Holds when the factor is above 1; a full batch that
    did not arrive counts with what it had read, which makes the factor smaller than it is."""
    factors = [_examples(full) / _examples(mini) for mini, full in pairs]
    factor, interval = factor_interval(factors)
    verdict = verdict_within(interval, (1.0, math.inf))
    if any(mini.examples is None for mini, _ in pairs):
        verdict = "undecided"  # what a mini-batch would have needed is not known
    missed = sum(full.examples is None for _, full in pairs)
    values: dict[str, float | str] = {
        "mini": float(np.median([_examples(mini) for mini, _ in pairs])),
        "full": float(np.median([_examples(full) for _, full in pairs])),
        "mini_rate": float(np.median([mini.rate for mini, _ in pairs])),
        "full_rate": float(np.median([full.rate for _, full in pairs])),
        "mini_steps": float(np.median([_examples(mini) / mini.batch_size for mini, _ in pairs])),
        "full_steps": float(np.median([_examples(full) / full.batch_size for _, full in pairs])),
        "target": TARGET, "size": MINI, "missed": missed,
    }  # fmt: skip
    series = [
        Series(name=name, x=way.read[1:], y=way.loss[1:])
        for name, way in zip(("lecture.series.mini_batch", "lecture.series.full_batch"),
                             pairs[0], strict=True)
    ]  # fmt: skip
    picture = Picture(x="lecture.axis.examples", y="lecture.axis.train_loss", series=tuple(series),
                      log_x=True, log_y=True)  # fmt: skip
    return Measured(verdict=verdict, effect=factor, interval=interval, n=len(pairs), values=values,
                    pictures=(picture,))  # fmt: skip
