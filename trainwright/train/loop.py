"""How does training go? One readable path: batches, step, event; a look at the validation split
now and then; an end. Who listens cannot steer."""

import math
import time
from collections.abc import Callable, Generator, Iterator, Mapping

from trainwright.algorithm.knobs import AlgorithmKnobs
from trainwright.algorithm.schedule import rate_share
from trainwright.data.batch import Batch, Examples, Order
from trainwright.train.events import Ended, Evaluated, Event, NonFinite, Stepped
from trainwright.train.plan import CLOCK_SLACK, WARM_STEPS, Plan, pace
from trainwright.train.step import Step
from trainwright.train.trainee import Best, Trainee, is_better

LATE_CHECK_STEPS = 32  # how often a loss on an accelerator is fetched to see whether it is finite
# (each fetch waits for the device) [assumed]

Look = Callable[[], Mapping[str, float]]


def train(
    trainee: Trainee,
    examples: Examples,
    order: Order,
    step: Step,
    *,
    knobs: AlgorithmKnobs,
    plan: Plan,
    look: Look | None,
    metric: str,
) -> Generator[Event]:
    """Trains from `trainee.step` on to the end of the plan, telling each event as it happens.

    `look` measures the validation split with the weights that would be kept; `metric` says which
    of its numbers decides what is best.
    """
    feed = examples.feed(order, plan.batch_size, trainee.step * plan.accumulate)
    on_cpu = trainee.device.type == "cpu"
    peak = float(knobs.learning_rate)
    if trainee.total_steps is None:
        trainee.total_steps = plan.total_steps
    before = trainee.seconds
    began = time.perf_counter()
    pending: list[Stepped] = []
    trainee.module.train()
    while (reason := _why_end(trainee, knobs, plan)) is None:
        fetch = time.perf_counter()
        batches = _next(feed, plan.accumulate)
        trainee.waited += time.perf_counter() - fetch
        rate = peak * _share(trainee, knobs)
        loss = step(batches, rate, check=on_cpu)
        if on_cpu and not math.isfinite(value := loss.item()):
            yield NonFinite(step=trainee.step + 1, loss=value, batches=batches)
            return
        trainee.step += 1
        event = Stepped(step=trainee.step, loss=loss, rate=rate, batches=batches)
        if not on_cpu:
            pending.append(event)
            if len(pending) == LATE_CHECK_STEPS:
                bad = _first_bad(pending)
                pending.clear()
                if bad is not None:
                    yield bad
                    return
        trainee.seconds = before + time.perf_counter() - began
        # The look comes before the step is told: whoever stops or saves on hearing of a step has a
        # state in which all that belongs to the step is done.
        if look is not None and _look_is_due(trainee, plan):
            metrics = look()
            trainee.module.train()
            gained = _keep_if_best(trainee, metrics, metric)
            if trainee.plateau is not None:
                trainee.plateau.feed(metrics["loss"])
            yield Evaluated(step=trainee.step, metrics=metrics, best=gained)
        yield event
    bad = _first_bad(pending)
    yield bad if bad is not None else Ended(step=trainee.step, reason=reason)


def _why_end(trainee: Trainee, knobs: AlgorithmKnobs, plan: Plan) -> str | None:
    """Why no further step is taken, or None; a function of the state, so that a resumed run ends
    where the uninterrupted one did."""
    if knobs.early_stopping and trainee.looks_without_gain >= knobs.early_stopping:
        return "early_stopping"
    if plan.seconds is not None and trainee.step and _out_of_time(trainee, plan):
        return "clock"
    done = trainee.total_steps is not None and trainee.step >= trainee.total_steps
    return "budget" if done else None


def _next(feed: Iterator[Batch], count: int) -> tuple[Batch, ...]:
    if count == 1:
        return (next(feed),)
    return tuple(next(feed) for _ in range(count))


def _share(trainee: Trainee, knobs: AlgorithmKnobs) -> float:
    share = rate_share(knobs, trainee.step, trainee.total_steps)
    return share if trainee.plateau is None else share * trainee.plateau.share


def _look_is_due(trainee: Trainee, plan: Plan) -> bool:
    return trainee.step % plan.evaluate_every == 0 or trainee.step == trainee.total_steps


def _keep_if_best(trainee: Trainee, metrics: Mapping[str, float], metric: str) -> bool:
    if trainee.best is not None and not is_better(metrics, trainee.best.metrics, metric):
        trainee.looks_without_gain += 1
        return False
    trainee.best = Best(step=trainee.step, metrics=dict(metrics), weights=trainee.weights())
    trainee.looks_without_gain = 0
    return True


def _out_of_time(trainee: Trainee, plan: Plan) -> bool:
    assert plan.seconds is not None
    if not trainee.paced:
        if trainee.step <= WARM_STEPS:
            trainee.warm_seconds = trainee.seconds
        affordable = pace(
            plan, step=trainee.step, elapsed=trainee.seconds, warm_seconds=trainee.warm_seconds
        )
        if affordable is not None:
            wanted = trainee.total_steps
            trainee.total_steps = affordable if wanted is None else min(wanted, affordable)
            trainee.paced = True
    return trainee.seconds > CLOCK_SLACK * plan.seconds


def _first_bad(pending: list[Stepped]) -> NonFinite | None:
    """The first step of `pending` whose loss is not finite; waits for the device."""
    for event in pending:
        if not math.isfinite(value := event.loss.item()):
            return NonFinite(step=event.step, loss=value, batches=event.batches)
    return None
