"""Which learning rate suits a program? Short trainings from the same weights at rates around its
own, judged by the loss on rows that were not trained on; then three longer ones around the best."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from trainwright.core.claims import Picture, Series
from trainwright.core.errors import TrainwrightError
from trainwright.core.phrases import phrase
from trainwright.core.records import Notice
from trainwright.edit.loop import eval_loss, train
from trainwright.edit.program import Program
from trainwright.exam.arms import seconds_per_step
from trainwright.recipe import Recipe, edit

GRID = math.sqrt(10)  # between neighbouring rates
MOST_DECADES = 4.0  # from the program's own rate, each way [assumed]
PROBES = 10  # short trainings that a budget is shared among [assumed]
LEAST_STEPS, MOST_STEPS = 20, 400
LATE = 0.75  # share of the steps after which looks count
WORSE = 2  # neighbouring rates that must be worse before a direction is left
LOST = 0.2  # of the loss at the start, above it: that rate diverges [assumed]
# Of what the best rate gained: rates so near it share in `best`. [measured: ten tasks of
# benchmarks/rate_range.py, two seeds each: 19 of 20 within 3x of a full sweep's best; the rate of
# the lowest loss alone 13, as neighbours on the grid are 3.16 times apart]
BLUR = 0.05
NEAR = 0.1  # of what the best rate gained: as good as the best [assumed]
SECONDS = 20.0  # for a range test of which nobody says more [assumed]


@dataclass(frozen=True, slots=True, kw_only=True)
class RateRange:
    """Loss at each rate, ascending; infinite where it rose instead. `best` is the middle of the
    rates that share the lowest loss, `low` to `high` do nearly as well; `diverges_at` is the lowest
    rate above them that loses, None where none was met."""

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    own: float
    best: float
    low: float
    high: float
    diverges_at: float | None
    start_loss: float
    steps: int
    seconds: float

    def picture(self) -> Picture:
        """Loss over rates, those that lost left out."""
        known = [(r, x) for r, x in zip(self.rates, self.losses, strict=True) if math.isfinite(x)]
        series = Series(name="exams.series.held_out_loss", x=tuple(r for r, _ in known),
                        y=tuple(x for _, x in known))  # fmt: skip
        return Picture(x="exams.axis.learning_rate", y="exams.axis.loss", series=(series,),
                       log_x=True)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """The rate to take, and what it was chosen from: the range, and [rate] losses of arms."""

    rate: float
    range: RateRange
    arms: tuple[tuple[float, float], ...]
    seconds: float


class _Looks:
    """What `train` tells of held-out rows at each tenth of the way."""

    def __init__(self) -> None:
        self.losses: list[float] = []

    def attach(self) -> None:
        """Nothing hangs on the model."""

    def detach(self) -> None:
        """Nothing is to be taken off."""

    def valid(self, *, score: float, loss: float) -> None:
        """One look."""
        self.losses.append(loss)


def range_test(
    program: Program, *, seconds: float = SECONDS, seed: int = 0, steps: int | None = None,
    tell: Callable[[float], None] = lambda share: None,
) -> RateRange:  # fmt: skip
    """The program at rates half a decade apart, from its own outward each way until two in a row
    are worse than the best, or the loss diverges. Each training takes `steps` steps, by the seconds
    where not given, on the program's own schedule made that short.

    Nothing of the program changes; the same weights and rows each time.
    Raises TrainwrightError for an optimiser without a rate.
    """
    began = time.perf_counter()
    own = program.optimizer.learning_rate
    if not own > 0:
        raise TrainwrightError(
            phrase("the optimiser has no learning rate above 0"),
            allowed=phrase("an optimiser with lr > 0"),
            do=phrase("give it a rate, for example lr=1e-3"),
        )
    short = shortened(program, steps or _affordable(program, seconds))
    start = _start_loss(short, seed)
    found: dict[int, float] = {}

    def loss_at(place: int) -> float:
        if place not in found:
            found[place] = _probe(short, GRID**place, seed, start)
            tell(min(1.0, len(found) / PROBES))
        return found[place]

    loss_at(0)
    deadline = math.inf if steps is not None else began + seconds
    for way in (1, -1):
        _outward(loss_at, found, way, deadline)
    places = sorted(found)
    return _range(own, places, [found[p] for p in places], start, short.num_steps,
                  time.perf_counter() - began)  # fmt: skip


def _outward(
    loss_at: Callable[[int], float], found: dict[int, float], way: int, deadline: float
) -> None:
    """Goes on from the program's own rate until WORSE rates in a row are worse than the best, or
    the time is over; one rate each way is always tried."""
    worse, place = 0, way
    while worse < WORSE and abs(place) <= MOST_DECADES / math.log10(GRID):
        best = min(found.values())
        here = loss_at(place)
        worse = 0 if here < best or not math.isfinite(min(found.values())) else worse + 1
        if way > 0 and not math.isfinite(here):
            return  # it diverged: higher rates do too
        place += way
        if time.perf_counter() > deadline:
            return


def _affordable(program: Program, seconds: float) -> int:
    allowed = int(0.7 * seconds / max(1e-9, PROBES * seconds_per_step(program)))
    return max(LEAST_STEPS, min(MOST_STEPS, allowed))


def shortened(program: Program, steps: int) -> Program:
    """The program as a training of at most `steps` steps, warmup in proportion; rows to look at."""
    total = program.num_steps
    steps = min(steps, total)
    warmup = round(program.habits.warmup_steps * steps / total)
    held = program.valid if program.valid is not None else program.train
    return replace(program.turned(most_steps=steps, warmup_steps=warmup, keeps_best=False),
                   valid=held)  # fmt: skip


def _start_loss(program: Program, seed: int) -> float:
    model, _ = program.start(seed)
    assert program.valid is not None
    return eval_loss(program, model, program.valid)


def _probe(program: Program, factor: float, seed: int, start: float) -> float:
    """Mean held-out loss over the last quarter and its roughness there; infinite where it left the
    numbers or is LOST above the loss at the start."""
    looks = _Looks()
    plan = program.optimizer.times(factor)
    trained = train(replace(program, optimizer=plan), seed, watch=lambda model, optimizer: looks)
    late = np.array(looks.losses[math.floor(LATE * len(looks.losses)) :] or [math.nan])
    if trained.state == "failed" or not np.isfinite(late).all():
        return math.inf
    rough = float(np.maximum(np.diff(late), 0.0).mean()) if len(late) > 1 else 0.0
    loss = float(late.mean()) + rough
    lost = math.isfinite(start) and loss > start + LOST * abs(start)
    return math.inf if lost else loss


def _range(
    own: float, places: list[int], losses: list[float], start: float, steps: int, seconds: float
) -> RateRange:
    rates = [own * GRID**place for place in places]
    at = int(np.argmin(losses))
    if not losses[at] < start:  # nothing learned: say so by a range of the own rate alone
        at = places.index(0)
    limit = losses[at] + NEAR * max(0.0, start - losses[at])
    near = [i for i, loss in enumerate(losses) if loss <= limit] or [at]
    lost = [rate for rate, loss in zip(rates[at + 1 :], losses[at + 1 :], strict=True)
            if not math.isfinite(loss)]  # fmt: skip
    return RateRange(
        rates=tuple(rates), losses=tuple(losses), own=own, low=rates[min(near)],
        best=_middle(rates, losses, start) if losses[at] < start else rates[at],
        high=rates[max(near)], diverges_at=lost[0] if lost else None, start_loss=start, steps=steps,
        seconds=seconds,
    )  # fmt: skip


def _middle(rates: list[float], losses: list[float], start: float) -> float:
    """Mean of the rates' logarithms, each weighed by how near its loss is to the lowest, in units
    of BLUR: two seeds differ in which of two neighbours has the lowest loss."""
    lowest = min(losses)
    unit = BLUR * max(start - lowest, 1e-12)
    weights = np.array([math.exp(-(loss - lowest) / unit) for loss in losses])
    return float(f"{np.exp(weights @ np.log(rates) / weights.sum()):.3g}")


def advise(
    program: Program, *, seconds: float = 2 * SECONDS, seed: int = 0,
    tell: Callable[[float], None] = lambda share: None,
) -> Advice:  # fmt: skip
    """A rate: the range test in half of the seconds, then arms at a third of the best rate, the
    best and three times it, from another start and as long as the rest allows; half way between
    what the two say, in logarithms."""
    began = time.perf_counter()
    found = range_test(program, seconds=seconds / 2, seed=seed, tell=lambda s: tell(s / 2))
    left = seconds - (time.perf_counter() - began)
    pace = seconds_per_step(program)
    steps = max(found.steps, min(program.num_steps, int(0.7 * left / max(1e-9, 3 * pace))))
    longer, own = shortened(program, steps), program.optimizer.learning_rate
    start = _start_loss(longer, seed + 1)
    arms: list[tuple[float, float]] = []
    for rate in (found.best / 3, found.best, found.best * 3):
        arms.append((rate, _probe(longer, rate / own, seed + 1, start)))
        tell(0.5 + len(arms) / 6)
    learned = min(loss for _, loss in arms) < start
    best = _middle([r for r, _ in arms], [x for _, x in arms], start) if learned else found.best
    return Advice(rate=float(f"{math.sqrt(best * found.best):.3g}"), range=found, arms=tuple(arms),
                  seconds=time.perf_counter() - began)  # fmt: skip


def with_measured_rate(
    recipe: Recipe, *, seconds: float = 2 * SECONDS, allow_code: bool = False
) -> tuple[Recipe, Notice]:
    """A recipe whose algorithm.learning_rate is `measured` with the rate that was advised, tried
    around the customary rate of its optimiser; and what is to be said of it.

    Raises TrainwrightError for a recipe that cannot be experimented on.
    """
    from trainwright.edit.from_recipe import program_of

    program = program_of(edit(recipe, {"algorithm.learning_rate": "auto"}), allow_code=allow_code)
    advice = advise(program, seconds=seconds, seed=recipe.seed)
    told = Notice(code="rate_measured", values={
        "rate": advice.rate, "low": advice.range.low, "high": advice.range.high,
        "tried": len(advice.range.rates), "seconds": round(advice.seconds, 1),
    })  # fmt: skip
    return edit(recipe, {"algorithm.learning_rate": advice.rate}), told
