"""How many steps, and when to look? The budget turned into numbers before the first step."""

from dataclasses import dataclass

from trainwright.algorithm.knobs import AlgorithmKnobs
from trainwright.core.budget import Budget, parse_budget

# auto budget: see small data at most AUTO_EPOCHS times, but take AUTO_STEPS_LOW steps at least and
# AUTO_STEPS_HIGH at most [measured: benchmarks/quality_*.md]
AUTO_EPOCHS = 30
AUTO_STEPS_LOW = 1500
AUTO_STEPS_HIGH = 12_000
AUTO_SECONDS = 240.0  # and, judged, no longer than five minutes: what people wait for [assumed]

FEWEST_STEPS_BETWEEN_LOOKS = 20  # tiny data: a look per epoch would cost more than training
MOST_STEPS_BETWEEN_LOOKS = 1000  # large data: people want to see something [assumed]
LOOK_SHARE = 0.1  # validation may read this share of what training reads [assumed]
HISTORY_ROWS = 500  # points that a curve needs [assumed]
WARM_STEPS = 5  # untimed: first calls allocate, and cost many times what later ones do
PACE_STEPS = 10  # steps timed after those before a budget of seconds becomes one of steps
PACE_SHARE = 0.04  # and the share of the time that this may take [assumed]
CLOCK_SLACK = 1.25  # a slower machine than planned is stopped at this multiple of its seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Numbers of one run. A step reads `accumulate` batches of `batch_size` examples.

    `total_steps` is None for a budget of seconds until the pace is known (see `Trainee`).
    """

    batch_size: int
    accumulate: int
    steps_per_epoch: int
    total_steps: int | None
    seconds: float | None
    evaluate_every: int
    record_every: int

    @property
    def examples_per_step(self) -> int:
        return self.batch_size * self.accumulate


def make_plan(
    budget: str, knobs: AlgorithmKnobs, *, batch_size: int, num_train: int, num_valid: int
) -> Plan:
    """The plan of a run; `batch_size` is resolved and at most `num_train`."""
    batch_size = min(batch_size, num_train)
    steps_per_epoch = max(1, num_train // (batch_size * knobs.accumulate))
    wanted = None if budget == "auto" else parse_budget(budget)
    total = _steps(wanted, batch_size * knobs.accumulate, steps_per_epoch)
    seconds = AUTO_SECONDS if wanted is None else None
    if wanted is not None and wanted.unit == "seconds":
        seconds = wanted.amount
    every = knobs.evaluate_every or _look_every(
        steps_per_epoch, batch_size * knobs.accumulate, num_valid, total
    )
    return Plan(
        batch_size=batch_size,
        accumulate=knobs.accumulate,
        steps_per_epoch=steps_per_epoch,
        total_steps=total,
        seconds=seconds,
        evaluate_every=every,
        record_every=max(1, (total or 20 * HISTORY_ROWS) // HISTORY_ROWS),
    )


def pace(plan: Plan, *, step: int, elapsed: float, warm_seconds: float) -> int | None:
    """Total steps that fit the plan's seconds, once enough steps were timed; else None.

    `warm_seconds` is what `elapsed` was after WARM_STEPS. Deciding once makes the schedule a
    function of the step, so that a resumed run repeats it.
    """
    assert plan.seconds is not None
    if step < WARM_STEPS + PACE_STEPS or elapsed < PACE_SHARE * plan.seconds:
        return None
    a_step = max(1e-9, elapsed - warm_seconds) / (step - WARM_STEPS)
    return step + max(0, int((plan.seconds - elapsed) / a_step))


def _steps(wanted: Budget | None, batch_examples: int, steps_per_epoch: int) -> int | None:
    if wanted is not None:
        return wanted.steps(batch_examples=batch_examples, steps_per_epoch=steps_per_epoch)
    return min(max(AUTO_EPOCHS * steps_per_epoch, AUTO_STEPS_LOW), AUTO_STEPS_HIGH)


def _look_every(steps_per_epoch: int, examples: int, num_valid: int, total: int | None) -> int:
    """Once an epoch, within limits on cost and on patience; always a few times in a short run."""
    by_cost = int(num_valid / 3 / (LOOK_SHARE * examples))  # a forward pass is a third of a step
    every = max(steps_per_epoch, FEWEST_STEPS_BETWEEN_LOOKS, by_cost)
    every = min(every, max(MOST_STEPS_BETWEEN_LOOKS, by_cost))
    return min(every, max(1, total // 4)) if total else every
