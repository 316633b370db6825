"""Are layers of linear maps one linear map? A trained stack is multiplied out, and what it can
learn is compared with a single map and with the same stack with ReLU between."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from trainwright.core.claims import Measured, Picture, Series
from trainwright.lecture.claim import Pace, repetitions, verdict_of_all, verdict_within
from trainwright.lecture.training import Trained, mean_interval, recipe_of, trained

MOST_ERROR = 1e-5  # said in lecture.md, C07
MARGIN = 0.03  # of accuracy: a smaller difference is none [assumed]
SOLVED = 0.95  # accuracy on points that were not trained on [assumed]
SHAPES = ("xor", "spiral")
ARMS: Mapping[str, Mapping[str, Any]] = {
    "linear": {"model.name": "linear"},
    "stack": {"model.name": "mlp", "model.activation": "none", "model.depth": 3,
              "model.width": 64},
    "relu": {"model.name": "mlp", "model.activation": "relu", "model.depth": 3, "model.width": 64},
}  # fmt: skip
# The last weights are judged: the best of many looks would be a lucky line among many.
SETTINGS: Mapping[str, Any] = {
    "data.noise": 0.0, "data.valid_fraction": 0.0, "data.test_fraction": 0.4,
    "algorithm.batch_size": 32, "algorithm.learning_rate": 0.01, "algorithm.keep": "last",
    "budget": "600 steps",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One seed on one shape: accuracy of each arm, and the largest difference between the trained
    stack's outputs and those of the single map that it was multiplied out to, relative to the
    largest output."""

    shape: str
    accuracy: Mapping[str, float]
    error: float


def collapse(module: nn.Module) -> tuple[Tensor, Tensor]:
    """(W, b) of the linear layers in order as if nothing stood between them, float64:
    W = Wn ... W1 and b = Wn(... (W2 b1 + b2) ...) + bn."""
    layers = [part for part in module.modules() if isinstance(part, nn.Linear)]
    assert layers, "a stack has layers"
    weight = torch.eye(layers[0].in_features, dtype=torch.float64)
    bias = torch.zeros(layers[0].in_features, dtype=torch.float64)
    for layer in layers:
        own = layer.weight.detach().double()
        shift = 0.0 if layer.bias is None else layer.bias.detach().double()
        weight, bias = own @ weight, own @ bias + shift
    return weight, bias


@torch.no_grad()
def collapse_error(module: nn.Module, *, seed: int = 0) -> float:
    """max |f(x) - (W x + b)| / max |f(x)| over 1000 points, the normal distribution thrice as wide
    as the inputs that a network is given."""
    weight, bias = collapse(module)
    random = torch.Generator().manual_seed(seed)
    points = 3 * torch.randn(1000, weight.shape[1], generator=random)
    outputs = module(points).double()
    return float((outputs - (points.double() @ weight.T + bias)).abs().max() / outputs.abs().max())


def measure_c07(pace: Pace) -> Measured:
    """Points in the plane as a playground draws them; a seed is a draw, a split and a start."""
    outcomes: list[Outcome] = []
    first: dict[str, Trained] = {}
    seeds = 2 * pace.seeds  # a line through XOR guesses, so that its accuracy varies by draw
    total = seeds * len(SHAPES)
    for seed in repetitions(pace, seeds):
        for shape in SHAPES:
            runs = {}
            for arm, settings in ARMS.items():
                source = {"data.source": f"synthetic:{shape}"}
                runs[arm] = trained(recipe_of({**SETTINGS, **source, **settings}, seed))
                pace.tell((len(outcomes) + len(runs) / len(ARMS)) / total)
            if shape == SHAPES[-1]:
                first = first or runs
            outcomes.append(
                Outcome(shape=shape, error=collapse_error(runs["stack"].module, seed=seed),
                        accuracy={arm: run.metric("accuracy") for arm, run in runs.items()})
            )  # fmt: skip
    return judged(outcomes, _picture(first))


def judged(outcomes: Sequence[Outcome], *pictures: Picture) -> Measured:
    """Holds when every stack's error is at most MOST_ERROR, the stack's accuracy is the single
    map's within MARGIN, and the accuracy with ReLU is above SOLVED on either shape."""
    errors = [one.error for one in outcomes]
    same = mean_interval([o.accuracy["stack"] - o.accuracy["linear"] for o in outcomes])
    gains = [o.accuracy["relu"] - o.accuracy["stack"] for o in outcomes]
    solved = [
        mean_interval([o.accuracy["relu"] for o in outcomes if o.shape == shape],
                      resolution=1 / 400)
        for shape in SHAPES
    ]  # fmt: skip
    verdict = verdict_of_all((
        verdict_within((min(errors), max(errors)), (0.0, MOST_ERROR)),
        verdict_within(same, (-MARGIN, MARGIN)),
        *(verdict_within(interval, (SOLVED, math.inf)) for interval in solved),
    ))  # fmt: skip
    values: dict[str, float | str] = {
        "error": max(errors), "difference_low": same[0], "difference_high": same[1],
        **{f"{shape}_{arm}": _mean(outcomes, shape, arm) for shape in SHAPES for arm in ARMS},
    }  # fmt: skip
    return Measured(verdict=verdict, effect=sum(gains) / len(gains), interval=mean_interval(gains),
                    n=len(outcomes), values=values, pictures=pictures)  # fmt: skip


def _mean(outcomes: Sequence[Outcome], shape: str, arm: str) -> float:
    known = [one.accuracy[arm] for one in outcomes if one.shape == shape]
    return sum(known) / len(known)


def _picture(runs: Mapping[str, Trained]) -> Picture:
    """Training loss of the three on the first seed's spiral."""
    series = []
    for arm, run in runs.items():
        steps, loss = run.course("train", "loss")
        series.append(Series(name=f"lecture.series.{arm}", x=steps, y=loss))
    return Picture(x="lecture.axis.steps", y="lecture.axis.train_loss", series=tuple(series))
