"""Is a step of our loop the lecture's formula, theta - gamma * grad L? One explicit step beside the
same formula in double precision."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call

from trainwright.core.claims import Measured, Picture, Series
from trainwright.data.batch import Batch
from trainwright.lecture.claim import Pace, repetitions, verdict_within
from trainwright.lecture.training import PLAIN_DESCENT, digit_images, ready, recipe_of
from trainwright.recipe import Recipe
from trainwright.run.assemble import Assembly
from trainwright.train.events import Stepped
from trainwright.train.loop import train

MOST_ERROR = 1e-6  # said in lecture.md, C01
RATE = 0.1
DOTS = 300  # weights in the picture
ALONG = 1e-5  # of the difference quotient in double precision: truncation and rounding about equal
Formula = Callable[[Tensor, Tensor], Tensor]


def cross_entropy(outputs: Tensor, target: Tensor) -> Tensor:
    """Mean of log sum_k exp(z_k) - z_y."""
    return (outputs.logsumexp(1) - outputs[torch.arange(len(target)), target]).mean()


def squared(outputs: Tensor, target: Tensor) -> Tensor:
    """Mean of (z - y)^2."""
    return (outputs.reshape(-1) - target.reshape(-1)).square().mean()


# Each has its loss written down a second time, above, in the textbook's words.
CASES: tuple[tuple[str, dict[str, Any], Formula], ...] = (
    ("softmax regression", {"data.source": "sklearn:wine", "model.name": "linear",
                            "loss.name": "cross_entropy"}, cross_entropy),
    ("mlp", {"data.source": "sklearn:digits", "model.name": "mlp",
             "loss.name": "cross_entropy"}, cross_entropy),
    ("tanh mlp", {"data.source": "sklearn:diabetes", "model.name": "mlp",
                  "model.activation": "tanh", "loss.name": "squared"}, squared),
    ("convnet", {"model.name": "convnet", "model.width": 8, "loss.name": "cross_entropy"},
     cross_entropy),
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step taken twice: `moved` by our loop, `wanted` = -gamma * grad L in double precision,
    [weight]; `error` is the largest difference of the weights after it, `quotient` the relative
    error of the gradient's slope along a random direction against a difference quotient."""

    moved: Tensor
    wanted: Tensor
    error: float
    quotient: float


def measure_c01(pace: Pace) -> Measured:
    """Four models on real data, `pace.seeds` starts and batches of each. Every single step counts:
    the interval is the range of the largest errors over all of them."""
    steps: list[Step] = []
    names: list[str] = []
    for seed in repetitions(pace):
        for at, (name, settings, formula) in enumerate(CASES):
            turned = {**PLAIN_DESCENT, "algorithm.learning_rate": RATE, **settings}
            live = None if "data.source" in settings else digit_images()
            recipe = recipe_of(turned, seed, live=live)
            steps.append(one_step(recipe, formula, RATE))
            names.append(name)
            pace.tell((seed * len(CASES) + at + 1) / (pace.seeds * len(CASES)))
    return judged(steps, names)


def judged(steps: Sequence[Step], names: Sequence[str]) -> Measured:
    """Holds when the largest error of every step is at most MOST_ERROR, in steps that are at least
    a hundred times longer in some weight."""
    errors = [step.error for step in steps]
    interval = (min(errors), max(errors))
    verdict = verdict_within(interval, (0.0, MOST_ERROR))
    shortest = min(float(step.wanted.abs().max()) for step in steps)
    if shortest < 100 * MOST_ERROR:  # so short a step proves nothing
        verdict = "undecided"
    values: dict[str, float | str] = {
        "worst": max(errors), "median": float(np.median(errors)), "shortest": shortest,
        "quotient": max(step.quotient for step in steps), "steps": len(steps),
        "models": len(set(names)),
    }  # fmt: skip
    return Measured(verdict=verdict, effect=max(errors), interval=interval, n=len(steps),
                    values=values, pictures=(_picture(steps, names),))  # fmt: skip


def one_step(recipe: Recipe, formula: Formula, rate: float) -> Step:
    """The first step of the recipe's run, and `rate` times the gradient of `formula` at the same
    weights on the same batch."""
    with ready(recipe) as assembly:
        before = copy.deepcopy(assembly.module)
        batch = _take_step(assembly)
        after = {n: p.detach().double() for n, p in assembly.module.named_parameters()}
    twin = before.double()
    start = {n: p.detach() for n, p in twin.named_parameters()}
    slope = _gradient(twin, formula, batch)
    moved = torch.cat([(after[n] - start[n]).flatten() for n in start])
    wanted = torch.cat([(-rate * slope[n]).flatten() for n in start])
    return Step(moved=moved, wanted=wanted, error=float((moved - wanted).abs().max()),
                quotient=_against_quotient(twin, formula, batch, slope))  # fmt: skip


def _take_step(assembly: Assembly) -> Batch:
    events = train(
        assembly.trainee, assembly.prepared.train, assembly.order, assembly.step,
        knobs=assembly.algorithm, plan=assembly.plan, look=None, metric=assembly.metric,
    )  # fmt: skip
    event = next(events)
    assert isinstance(event, Stepped), event
    return event.batches[0]


def _loss(module: nn.Module, weights: dict[str, Tensor], formula: Formula, batch: Batch) -> Tensor:
    doubled = tuple(p.double() if p.is_floating_point() else p for p in batch.inputs)
    # clones: batch norm's statistics are written to, and every call must find the same ones
    state = {n: b.clone() for n, b in module.named_buffers()}
    outputs = functional_call(module, {**weights, **state}, doubled)
    target = batch.target.double() if batch.target.is_floating_point() else batch.target
    return formula(outputs, target)


def _gradient(module: nn.Module, formula: Formula, batch: Batch) -> dict[str, Tensor]:
    weights = {n: p.detach().clone().requires_grad_() for n, p in module.named_parameters()}
    slopes = torch.autograd.grad(_loss(module, weights, formula, batch), list(weights.values()))
    return dict(zip(weights, slopes, strict=True))


@torch.no_grad()
def _against_quotient(
    module: nn.Module, formula: Formula, batch: Batch, slope: dict[str, Tensor]
) -> float:
    """|d.grad - (L(t + h d) - L(t - h d)) / 2h| / |d.grad| along d = grad / |grad|: a derivative
    that no automatic differentiation had a part in."""
    length = float(torch.cat([s.flatten() for s in slope.values()]).norm())
    ends = [
        float(_loss(module, {n: p + sign * ALONG * slope[n] / length
                             for n, p in module.named_parameters()}, formula, batch))
        for sign in (1, -1)
    ]  # fmt: skip
    return abs(length - (ends[0] - ends[1]) / (2 * ALONG)) / length


def _picture(steps: Sequence[Step], names: Sequence[str]) -> Picture:
    """What the loop did over what the formula asks for, some weights of each model's first step."""
    series = []
    for name in dict.fromkeys(names):
        step = steps[list(names).index(name)]
        every = max(1, len(step.moved) // DOTS)
        chosen = step.wanted.abs().argsort()[::every]
        series.append(Series(name=name, dots=True, x=tuple(step.wanted[chosen].tolist()),
                             y=tuple(step.moved[chosen].tolist())))  # fmt: skip
    return Picture(x="lecture.axis.formula", y="lecture.axis.moved", series=tuple(series))
