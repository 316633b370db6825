"""Which exams are about the algorithm? Other rates, optimisers, batches and lengths from the same
start, the noise of the gradients, and a step taken again."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch

from trainwright.core.phrases import phrase
from trainwright.core.stats import ratio_of_means
from trainwright.edit.loop import batches, loss_of, take_step
from trainwright.edit.optimizer import OptimizerPlan
from trainwright.edit.program import Program
from trainwright.exam.arms import (
    SAFETY,
    answer_of,
    chance_of,
    compared,
    seconds_per_step,
    verdict_of,
)
from trainwright.exam.exam import Answer, Likelihood, Question, Terms, not_here
from trainwright.exam.rate import range_test
from trainwright.watch.noise import from_successive

TENFOLD, FOURFOLD, TWOFOLD = 10.0, 4, 2
NEAR_BEST = 3.0  # times the best rate, either way: near enough [assumed]
USUAL_ADAMW = 1e-3  # [paper: Kingma and Ba 2015, arXiv:1412.6980]
OWN_SCALE = 1.0  # Prodigy's factor on the step that it finds [paper: arXiv:2306.06101]
NOISE_PAIRS = 24  # of independent gradients
NOISE_AT = 0.25  # share of the training after which the noise is measured
LEAST_OFTEN = 0.02  # that a range test says what is said hardly ever [assumed]


class Ranged(NamedTuple):
    """How often a range test finds the own rate `near` the best, and how often off on the side that
    a finding `said`; else it is off on the other side."""

    near: Likelihood
    said: Likelihood

    def shift(self, *, near: bool, said: bool) -> float:
        """By how much that answer moves the finding's log odds."""
        if near or said:
            return (self.near if near else self.said).shift(1.0)
        right, wrong = (max(LEAST_OFTEN, 1 - a - b) for a, b in zip(self.near[:2], self.said[:2],
                                                                    strict=True))  # fmt: skip
        return math.log(right / wrong)


RANGED = {
    "A401": Ranged(Likelihood(0.02, 0.6, 7, 19), Likelihood(0.96, 0.2, 7, 19)),
    "A402": Ranged(Likelihood(0.02, 0.48, 7, 46), Likelihood(0.96, 0.21, 7, 46)),
}


def _rate(factor: float) -> Callable[[Program, Terms], Answer]:
    def work(program: Program, terms: Terms) -> Answer:
        changed = replace(program, optimizer=program.optimizer.times(factor))
        return answer_of(program, compared(program, changed, terms),
                         own=program.optimizer.learning_rate,
                         other=changed.optimizer.learning_rate)  # fmt: skip

    return work


def learning_rate_range(program: Program, terms: Terms) -> Answer:
    """Is the program's own rate near the best of short trainings?"""
    found = range_test(program, seconds=terms.seconds, seed=terms.seed, tell=terms.tell)
    away = math.log(found.own / found.best) / math.log(NEAR_BEST)
    inside = found.low <= found.own * 1.001 and found.own <= found.high * 1.001
    verdict = "yes" if inside or abs(away) <= 1.001 else "no"
    near, above = verdict == "yes", away > 0
    shifts = {code: known.shift(near=near, said=not near and above == (code == "A401"))
              for code, known in RANGED.items()}  # fmt: skip
    values: dict[str, float | str] = {
        "own": found.own, "best": found.best, "low": found.low, "high": found.high,
        "steps": float(found.steps),
        "diverges": math.nan if found.diverges_at is None else found.diverges_at,
    }  # fmt: skip
    return Answer(verdict=verdict, values=values, pictures=(found.picture(),), shifts=shifts)


def adamw_arm(program: Program, terms: Terms) -> Answer:
    """AdamW at its customary rate in place of the program's optimiser."""
    old = program.optimizer
    if old.kind is torch.optim.AdamW and math.isclose(old.learning_rate, USUAL_ADAMW):
        raise not_here("adamw_arm", phrase("it is AdamW at its customary rate already"))
    plan = OptimizerPlan(kind=torch.optim.AdamW, settings={"lr": USUAL_ADAMW}, without=old.without)
    return answer_of(program, compared(program, replace(program, optimizer=plan), terms),
                     own=old.kind.__name__)  # fmt: skip


def prodigy_arm(program: Program, terms: Terms) -> Answer:
    """Prodigy, which finds its step size in training, in place of the program's optimiser: if it is
    better, the rate was at fault. With Adam's bias correction, without which short trainings of a
    good program lose: .83 of .90 after 120 steps, with it .91 [measured: 10 starts, 600 digits].

    Source: Mishchenko and Defazio 2023, arXiv:2306.06101; package prodigyopt.
    """
    from prodigyopt import Prodigy

    old = program.optimizer
    if old.kind is Prodigy:
        raise not_here("prodigy_arm", phrase("it is Prodigy already"))
    settings = {"lr": OWN_SCALE, "use_bias_correction": True}
    plan = OptimizerPlan(kind=Prodigy, settings=settings, without=old.without)
    return answer_of(program, compared(program, replace(program, optimizer=plan), terms),
                     own=old.kind.__name__, rate=old.learning_rate)  # fmt: skip


def _batch(name: str, factor: float) -> Callable[[Program, Terms], Answer]:
    """A batch of another size, at as many examples, and at as many seconds."""

    def work(program: Program, terms: Terms) -> Answer:
        now = program.habits.batch_size
        size = max(1, min(round(now * factor), program.train.num_rows))
        if size == now:
            raise not_here(name, phrase("the batch cannot be made so: it holds {size} rows",
                                        size=now))  # fmt: skip
        other = replace(program.turned(batch_size=size),
                        train=replace(program.train, batch_size=size))  # fmt: skip
        most = program.habits.most_steps
        other = other.turned(most_steps=most and max(1, round(most * now / size)))
        half = terms.lasting(terms.seconds / 2)
        pairs = compared(program, other, half, equal=False)
        found = answer_of(program, pairs, batch=float(now), other=float(size))
        timed = _as_long(program, other, pairs.steps)
        seconds = compared(program.turned(most_steps=pairs.steps), timed, half, equal=False)
        chance = max(found.chance or 0.0, chance_of(seconds.gain, seconds.noise))
        return replace(found, verdict=verdict_of(chance), chance=chance,
                       values={**found.values, "gain_per_second": seconds.gain})  # fmt: skip

    return work


def _as_long(program: Program, other: Program, steps: int) -> Program:
    """The other program with as many steps as take the time of `steps` of the first."""
    speed = seconds_per_step(program) / max(1e-9, seconds_per_step(other))
    wanted = max(1, round(steps * speed))
    per_epoch = max(1, -(-other.train.num_rows // other.habits.batch_size))
    return other.turned(epochs=-(-wanted // per_epoch), most_steps=wanted)


def train_on(program: Program, terms: Terms) -> Answer:
    """The whole training against one of twice the length: the first is its beginning where the rate
    is constant, and both end at their schedules' ends."""
    pace = seconds_per_step(program)
    needed = (1 + TWOFOLD) * program.num_steps * pace
    if program.num_steps * pace * (1 + TWOFOLD) * SAFETY > terms.seconds:
        return Answer(verdict="undecided", values={"needed": needed}, notes=("exams.note.time",))
    habits = program.habits
    longer = program.turned(
        epochs=habits.epochs * TWOFOLD,
        most_steps=None if habits.most_steps is None else habits.most_steps * TWOFOLD,
        seconds=None if habits.seconds is None else habits.seconds * TWOFOLD,
    )
    pairs = compared(program, longer, terms, equal=False)
    return answer_of(program, pairs, needed=needed)


def noise_scale(program: Program, terms: Terms) -> Answer:
    """tr(S) / |G|^2 with its interval, from pairs of independent gradients a quarter of the
    way through the training: is the batch smaller than that?

    Source: McCandlish et al. 2018, arXiv:1812.06162, equation 2.9; interval by Fieller 1954.
    """
    pace = seconds_per_step(program)
    allowed = SAFETY * terms.seconds / max(1e-9, pace)
    pairs = min(NOISE_PAIRS, max(8, int(allowed / 4)))
    warm = int(min(NOISE_AT * program.num_steps, max(0.0, allowed - 2 * pairs)))
    torch.manual_seed(terms.seed)
    model, optimizer = program.start(terms.seed)
    model.train(program.habits.trains)
    feed = batches(program.train, program.habits, terms.seed)
    for _ in range(warm):
        take_step(program, model, optimizer, feed)
    size = program.habits.batch_size
    own = np.random.default_rng(terms.seed)
    signals, noises = [], []
    for done in range(pairs):
        first, second = (_gradient(program, model, own) for _ in range(2))
        squares = float((first @ first + second @ second) / 2)
        parts = from_successive(dot=float(first @ second), squares=squares, batch_size=size)
        signals.append(parts.signal)
        noises.append(parts.noise)
        terms.tell((done + 1) / pairs)
    found = ratio_of_means(np.array(noises), np.array(signals))
    scale, low, high = map(float, found or (math.nan, 0.0, math.inf))
    verdict = "yes" if low > size else "no" if high < size else "undecided"
    return Answer(verdict=verdict, values={"scale": scale, "low": low, "high": high,
                                           "batch": float(size), "step": float(warm)})  # fmt: skip


def _gradient(program: Program, model: torch.nn.Module, own: np.random.Generator) -> torch.Tensor:
    """The gradient of one random batch, flat, in double precision."""
    size = min(program.habits.batch_size, program.train.num_rows)
    rows = program.train.pick(own.choice(program.train.num_rows, size, replace=True))
    parameters = [p for p in model.parameters() if p.requires_grad]
    parts = torch.autograd.grad(loss_of(program, model, rows), parameters, allow_unused=True)
    return torch.cat([g.reshape(-1).double() for g in parts if g is not None])


def replay(program: Program, terms: Terms) -> Answer:
    """The step of a stored run whose loss left the numbers, or its last, under full instruments."""
    from trainwright.recipe import Live
    from trainwright.run.messages import nobody
    from trainwright.run.replay import take_again

    if terms.record is None or terms.store is None:
        raise not_here("replay", phrase("only a step of a stored run can be taken again"))
    readings, _ = terms.store.readings(terms.record.id)
    bad = next((r.step for r in readings if r.kind == "non_finite"), None)
    live = terms.recipe.live if terms.recipe is not None else Live()
    again = take_again(terms.record, terms.store, readings, step=bad or terms.record.steps,
                       live=live, listener=nobody, allow_code=terms.allow_code)  # fmt: skip
    seen = again.replayed
    where = seen.culprit.name if seen.culprit is not None else ""
    values: dict[str, float | str] = {
        "step": float(again.step), "loss": seen.loss, "operation": where,
        "row": math.nan if again.row is None else float(again.row),
    }  # fmt: skip
    return Answer(verdict="yes" if where else "no", values=values)


QUESTIONS = (
    Question(name="learning_rate_range", work=learning_rate_range, trainings=3,
             about={code: known.near for code, known in RANGED.items()}),
    Question(name="lower_rate", work=_rate(1 / TENFOLD), trainings=4,
             about={"A401": Likelihood(0.75, 0.27, 10, 15), "M202": Likelihood(0.31, 0.42, 5, 25),
                    "M205": Likelihood(0.31, 0.46, 7, 17)}),
    Question(name="higher_rate", work=_rate(TENFOLD), trainings=4,
             about={"A402": Likelihood(0.72, 0.23, 7, 46)}),
    Question(name="adamw_arm", work=adamw_arm, trainings=4,
             about={"A408": Likelihood(0.87, 0.62, 8, 61), "A402": Likelihood(0.8, 0.5, 10, 61)}),
    Question(name="prodigy_arm", work=prodigy_arm, trainings=4,
             about={"A401": Likelihood(0.8, 0.52, 11, 22), "A402": Likelihood(0.52, 0.53, 8, 55),
                    "A408": Likelihood(0.78, 0.54, 8, 53)}),
    Question(name="larger_batch", work=_batch("larger_batch", FOURFOLD), trainings=4,
             about={"A404": Likelihood(0.87, 0.18, 10, 6)}),
    Question(name="smaller_batch", work=_batch("smaller_batch", 1 / FOURFOLD), trainings=10,
             about={"A405": Likelihood(0.91, 0.31, 5, 9)}),
    Question(name="train_on", work=train_on, trainings=6,
             about={"A403": Likelihood(0.93, 0.44, 7, 16)}),
    Question(name="noise_scale", work=noise_scale, trainings=0.25, steps=2 * NOISE_PAIRS,
             about={"A404": Likelihood(0.96, 0.46, 5, 6), "A405": Likelihood(0.07, 0.7, 5, 6)}),
    Question(name="replay", work=replay, trainings=0.5,
             about={"M205": Likelihood(0.8, 0.1), "L305": Likelihood(0.8, 0.1),
                    "D111": Likelihood(0.6, 0.1)}),
)  # fmt: skip
