"""Does the gradient survive depth? Its size by layer in a deep sigmoid network, in one that starts
with too large weights, and in one with skip connections, and whether each of them learns."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from trainwright.core.claims import ClaimVerdict, Measured, Picture, Series
from trainwright.core.stats import wilson
from trainwright.data.batch import Batch
from trainwright.lecture.claim import Pace, verdict_of_all, verdict_within
from trainwright.lecture.training import PLAIN_DESCENT, mean_interval, ready, recipe_of, trained
from trainwright.run.assemble import Assembly

DEPTH = 20
LEAST_R2 = 0.9  # said in lecture.md, C08
FLAT = 0.1  # slopes of log gradient per layer within it are about 0: a factor of 7 in 20 [assumed]
LEARNED = 0.9  # of the training rows right [assumed]
NOT_LEARNED = 0.2  # twice the share of the commonest of ten classes [assumed]
DIVERGED = 10.0  # times its first value: a loss that high is not coming back [assumed]
RATES = (0.03, 0.3, 3.0)  # from too low to too high for one hidden layer [measured: seed 100]
RATES_FROM_LARGE = (0.003, 0.03)  # at the second, the usual start learns [measured: seed 100]
NARROW = {"model.width": 64, "model.name": "mlp", "loss.name": "cross_entropy"}
# The last weights are judged, on the rows they were trained on: the question is whether they move.
SETTINGS: Mapping[str, Any] = {
    **PLAIN_DESCENT, **NARROW, "data.source": "sklearn:digits", "model.depth": DEPTH,
    "model.activation": "sigmoid", "data.valid_fraction": 0.0, "data.test_fraction": 0.3,
    "algorithm.batch_size": 64, "algorithm.keep": "last", "budget": "400 steps",
}  # fmt: skip
SHALLOW = {"model.depth": 1}
LARGE = {"model.activation": "relu", "model.init": "normal", "model.init_sd": 0.3}  # He: 0.177
USUAL = {"model.activation": "relu"}
SKIP = {"model.skip": True}


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """One start: `log_gradient` [layer], the natural logarithm of the root mean square of dL/dh_i
    for the hidden layers i = 1 … depth, and the line through it over the distance from the loss.

    exp(slope) is the gain per layer, the factor by which |dh_i/dh_{i-1}| scales the gradient.
    """

    log_gradient: tuple[float, ...]
    slope: float
    r2: float


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """What one training came to: its share of training rows right (NaN where it failed), and
    whether its loss left the numbers or ended above DIVERGED times its start."""

    accuracy: float
    diverged: bool


def hidden_outputs(module: nn.Module, inputs: Sequence[Tensor]) -> tuple[list[Tensor], Tensor]:
    """(h_1 … h_depth, outputs) of a built-in mlp or convnet: what each hidden layer hands on, after
    its activation, or after the sum where there is a skip."""
    found: list[Tensor] = []
    parts = [part for name, part in module.named_children()
             if name.startswith(("activation_", "block_"))]  # fmt: skip
    assert parts, "a deep network has hidden layers"

    def keep(part: nn.Module, given: object, made: Tensor) -> None:
        found.append(made)

    handles = [part.register_forward_hook(keep) for part in parts]
    try:
        outputs = module(*inputs)
    finally:
        for handle in handles:
            handle.remove()
    return found, outputs


def profile_of(assembly: Assembly, batch: Batch) -> Profile:
    """The gradient of the mean loss of the batch by each hidden layer's output, as it stands."""
    hidden, outputs = hidden_outputs(assembly.module, batch.inputs)
    slopes = torch.autograd.grad(assembly.objective(outputs, batch.target), hidden)
    # in double precision: squares of the smallest leave float32
    logs = [0.5 * math.log(float(slope.double().square().mean())) for slope in slopes]
    return line_through(logs)


def line_through(log_gradient: Sequence[float]) -> Profile:
    """Least squares over the number of layers between h_i and the loss. Where nothing varies, a
    line explains nothing: R² is 0."""
    y = np.asarray(log_gradient)
    distance = np.arange(len(y), 0, -1)
    slope, base = np.polyfit(distance, y, 1)
    spread = float(np.square(y - y.mean()).sum())
    left = float(np.square(y - base - slope * distance).sum())
    return Profile(log_gradient=tuple(y.tolist()), slope=float(slope),
                   r2=1 - left / spread if spread else 0.0)  # fmt: skip


def start_of(seed: int, settings: Mapping[str, Any]) -> Profile:
    """The profile before the first step, on all training rows."""
    with ready(recipe_of({**SETTINGS, **settings}, seed)) as assembly:
        rows = next(assembly.prepared.train.batches(len(assembly.prepared.train)))
        return profile_of(assembly, rows)


def end_of(seed: int, rate: float, settings: Mapping[str, Any]) -> End:
    """The training at this rate, to its end."""
    turned = {**SETTINGS, **settings, "algorithm.learning_rate": rate}
    run = trained(recipe_of(turned, seed))
    loss = run.course("train", "loss")[1]
    failed = run.record.state == "failed"
    return End(accuracy=run.metric("accuracy", "train"),
               diverged=failed or not loss[-1] <= DIVERGED * loss[0])  # fmt: skip


def ends_of(
    pace: Pace, arms: Sequence[tuple[Mapping[str, Any], Sequence[float]]]
) -> list[list[list[End]]]:
    """[arm][seed][rate]; what one seed draws is the same in every arm."""
    found: list[list[list[End]]] = [[] for _ in arms]
    for seed in range(pace.seeds):
        for at, (settings, rates) in enumerate(arms):
            found[at].append([end_of(seed, rate, settings) for rate in rates])
            pace.tell((seed + (at + 1) / len(arms)) / pace.seeds)
    return found


def best(ends: Sequence[Sequence[End]]) -> list[float]:
    """[seed] accuracy at the rate that served the seed best; 0 where every rate failed."""
    return [max((e.accuracy for e in row if not math.isnan(e.accuracy)), default=0.0)
            for row in ends]  # fmt: skip


def measure_c08(pace: Pace) -> Measured:
    """20 sigmoid layers on digits, beside the same with one layer."""
    starts = [start_of(seed, {}) for seed in range(pace.seeds)]
    deep, shallow = ends_of(pace, [({}, RATES), (SHALLOW, RATES)])
    return judged_vanishing(starts, best(deep), best(shallow))


def judged_vanishing(
    starts: Sequence[Profile], deep: Sequence[float], shallow: Sequence[float]
) -> Measured:
    """Holds when R² is above 0.9, the gain per layer below 1, and at its best rate the deep network
    ends below NOT_LEARNED; undecided when one layer does not learn either: then depth is not to
    blame."""
    verdict = verdict_of_all((
        _is_line(starts), verdict_within(_slope(starts), (-math.inf, 0.0)),
        verdict_within(mean_interval(deep), (-math.inf, NOT_LEARNED)),
    ))  # fmt: skip
    values = {"deep": float(np.mean(deep)), "shallow": float(np.mean(shallow))}
    return _measured(starts, _with_control(verdict, shallow), values)


def measure_c09(pace: Pace) -> Measured:
    """20 ReLU layers whose weights start 1.7 times too large, beside the usual start."""
    starts = [start_of(seed, LARGE) for seed in range(pace.seeds)]
    large, usual = ends_of(pace, [(LARGE, RATES_FROM_LARGE), (USUAL, RATES_FROM_LARGE)])
    diverged = [all(end.diverged for end in row) for row in large]
    return judged_exploding(starts, diverged, best(usual))


def judged_exploding(
    starts: Sequence[Profile], diverged: Sequence[bool], usual: Sequence[float]
) -> Measured:
    """Holds when R² is above 0.9, the gain per layer above 1, and for sure more than half of the
    starts diverge at every rate; undecided when the usual start does not learn either."""
    share = float(np.mean(diverged))
    verdict = verdict_of_all((
        _is_line(starts), verdict_within(_slope(starts), (0.0, math.inf)),
        verdict_within(wilson(share, len(diverged)), (0.5, 1.0)),
    ))  # fmt: skip
    values = {"diverged": float(sum(diverged)), "usual": float(np.mean(usual))}
    return _measured(starts, _with_control(verdict, usual), values)


def measure_c10(pace: Pace) -> Measured:
    """C08's network with each layer's input added to its output, at the same rates."""
    starts = [start_of(seed, SKIP) for seed in range(pace.seeds)]
    without = [start_of(seed, {}) for seed in range(pace.seeds)]
    skip, plain = ends_of(pace, [(SKIP, RATES), ({}, RATES)])
    return judged_skip(starts, without, best(skip), best(plain))


def judged_skip(
    starts: Sequence[Profile], without: Sequence[Profile], skip: Sequence[float],
    plain: Sequence[float],
) -> Measured:  # fmt: skip
    """Holds when the slope lies within ±FLAT and the network ends above LEARNED; undecided when it
    learns without a skip too, or its gradient is as flat: then nothing was to be mended."""
    verdict = verdict_of_all((
        verdict_within(_slope(starts), (-FLAT, FLAT)),
        verdict_within(mean_interval(skip), (LEARNED, math.inf)),
    ))  # fmt: skip
    ill = _slope(without)[1] < -FLAT and mean_interval(plain)[1] < LEARNED
    values = {"skip": float(np.mean(skip)), "plain": float(np.mean(plain)),
              "plain_gain": math.exp(float(np.mean([s.slope for s in without])))}  # fmt: skip
    return _measured(starts, verdict if ill else "undecided", values, without)


def _slope(starts: Sequence[Profile]) -> tuple[float, float]:
    return mean_interval([start.slope for start in starts])


def _is_line(starts: Sequence[Profile]) -> ClaimVerdict:
    return verdict_within(mean_interval([start.r2 for start in starts]), (LEAST_R2, math.inf))


def _with_control(verdict: ClaimVerdict, control: Sequence[float]) -> ClaimVerdict:
    return verdict if mean_interval(control)[0] > LEARNED else "undecided"


def _measured(
    starts: Sequence[Profile], verdict: ClaimVerdict, values: Mapping[str, float],
    without: Sequence[Profile] = (),
) -> Measured:  # fmt: skip
    """The effect is the gain per layer, the geometric mean over starts."""
    slopes = [start.slope for start in starts]
    low, high = mean_interval(slopes)
    shared = {"r2": min(start.r2 for start in starts), "depth": float(DEPTH),
              "whole": math.exp(float(np.mean(slopes)) * (DEPTH - 1))}  # fmt: skip
    curves = [_curve("gradient", starts)]
    if without:
        curves = [_curve("gradient_skip", starts), _curve("gradient_plain", without)]
    picture = Picture(x="lecture.axis.layer", y="lecture.axis.output_gradient",
                      series=tuple(curves), log_y=True)  # fmt: skip
    return Measured(verdict=verdict, effect=math.exp(float(np.mean(slopes))),
                    interval=(math.exp(low), math.exp(high)), n=len(starts),
                    values={**shared, **values}, pictures=(picture,))  # fmt: skip


def _curve(name: str, starts: Sequence[Profile]) -> Series:
    """Geometric mean and range over starts, by hidden layer."""
    logs = np.array([start.log_gradient for start in starts])
    layers = tuple(float(i) for i in range(1, logs.shape[1] + 1))
    return Series(name=f"lecture.series.{name}", x=layers, y=tuple(np.exp(logs.mean(0)).tolist()),
                  low=tuple(np.exp(logs.min(0)).tolist()),
                  high=tuple(np.exp(logs.max(0)).tolist()))  # fmt: skip
