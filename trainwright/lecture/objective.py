"""Must the loss be differentiable? What a gradient finds behind argmax, round and detach, whether
our check names them, and what trains the same network all the same."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from trainwright.core.claims import ClaimVerdict, Measured, Picture, Series
from trainwright.doctor import check
from trainwright.lecture.claim import Pace, repetitions, verdict_of_all, verdict_within
from trainwright.lecture.training import PLAIN_DESCENT, Trained, mean_interval, recipe_of, trained
from trainwright.recipe import Live

Loss = Callable[[Tensor, Tensor], Tensor]
CHECK_ROWS = 200  # digits that the check is given: its time goes with them [assumed]
CUT = "L306"  # the rule's code for an operation without a gradient
SETTINGS: Mapping[str, Any] = {
    **PLAIN_DESCENT, "data.source": "sklearn:digits", "model.name": "mlp", "model.depth": 1,
    "model.width": 32, "algorithm.batch_size": 32, "algorithm.learning_rate": 0.1,
    "budget": "600 steps",
}  # fmt: skip


def through_argmax(outputs: Tensor, target: Tensor) -> Tensor:
    """Share of wrong answers, the 0-1 loss itself."""
    return (outputs.argmax(1) != target).float().mean()


def through_round(outputs: Tensor, target: Tensor) -> Tensor:
    """(1 - round(p_y))^2 with p = softmax(outputs): 1 where the true class has no majority."""
    return (1 - _true_share(outputs, target).round()).square().mean()


def through_detach(outputs: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy of outputs that were taken out of the graph."""
    return functional.cross_entropy(outputs.detach(), target)


def soft(outputs: Tensor, target: Tensor) -> Tensor:
    """1 - p_y: the 0-1 loss that an answer drawn from softmax(outputs) has in the mean."""
    return (1 - _true_share(outputs, target)).mean()


def _true_share(outputs: Tensor, target: Tensor) -> Tensor:
    return outputs.softmax(1).gather(1, target[:, None])[:, 0]


CUTS: Mapping[str, Loss] = {
    "argmax": through_argmax, "round": through_round, "detach": through_detach,
}  # fmt: skip
WHOLE: Mapping[str, Loss] = {"cross_entropy": functional.cross_entropy, "soft": soft}
# Without a gradient: changed weights are tried, and those that lose least show the way. Rate and
# momentum are its own; larger batches, since their 0-1 losses tell more tries apart [assumed].
EVOLUTION: Mapping[str, Any] = {
    "algorithm.optimizer": "evolution", "loss.name": "zero_one", "algorithm.batch_size": 256,
    "algorithm.learning_rate": "auto", "algorithm.momentum": "auto",
    "algorithm.schedule": "cosine", "budget": "400 steps",
}  # fmt: skip
# The same network; the first by the gradient of a loss that is flat wherever it has one.
ARMS: Mapping[str, tuple[Mapping[str, Any], Loss | None]] = {
    "raw": ({}, through_round), "soft": ({}, soft), "hinge": ({"loss.name": "hinge"}, None),
    "evolution": (EVOLUTION, None),
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """One loss on one network: the share of weights with a gradient other than 0, and the operation
    that the check names (empty where it accuses none)."""

    reached: float
    named: str


def measure_c02(pace: Pace) -> Measured:
    """Digits; a seed is a start of the network, a split and an order."""
    looked: dict[str, list[Looked]] = {name: [] for name in (*CUTS, *WHOLE)}
    runs: dict[str, list[Trained]] = {name: [] for name in ARMS}
    jobs = len(looked) + len(runs)
    for seed in repetitions(pace):
        done = 0
        for name, loss in {**CUTS, **WHOLE}.items():
            looked[name].append(look(loss, seed))
            done += 1
            pace.tell((seed + done / jobs) / pace.seeds)
        for name, (settings, loss) in ARMS.items():
            live = None if loss is None else Live(loss=loss)
            runs[name].append(trained(recipe_of({**SETTINGS, **settings}, seed, live=live)))
            done += 1
            pace.tell((seed + done / jobs) / pace.seeds)
    accuracy = {name: [run.metric("accuracy") for run in some] for name, some in runs.items()}
    return judged(looked, accuracy, _picture(runs))


def look(loss: Loss, seed: int) -> Looked:
    """The gradient of a fresh network through `loss`, and what the check says of the two."""
    from sklearn.datasets import load_digits

    pixels, digit = load_digits(return_X_y=True)
    rows = np.random.default_rng(seed).permutation(len(digit))[:CHECK_ROWS]
    inputs = torch.tensor(pixels[rows] / 16, dtype=torch.float32)
    target = torch.tensor(digit[rows])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    value = loss(net(inputs), target)
    slopes = [torch.zeros(())]
    if value.requires_grad:
        found = torch.autograd.grad(value, list(net.parameters()), allow_unused=True)
        slopes = [slope.flatten() for slope in found if slope is not None] or slopes
    reached = sum(int(slope.count_nonzero()) for slope in slopes)
    cuts = [f for f in check(net, (inputs, target), loss=loss).findings if f.code == CUT]
    named = str(cuts[0].values.get("operation", "")) if cuts else ""
    return Looked(reached=reached / sum(p.numel() for p in net.parameters()), named=named)


def judged(
    looked: Mapping[str, Sequence[Looked]], accuracy: Mapping[str, Sequence[float]],
    *pictures: Picture,
) -> Measured:  # fmt: skip
    """Holds when no gradient comes through any of CUTS and the check names each, none of WHOLE is
    accused, and the gain in accuracy over the raw loss's gradient is above 0 for each
    surrogate and for the evolution strategy on the raw loss."""
    cuts = [(name, one) for name in CUTS for one in looked[name]]
    named = sum(one.named == name for name, one in cuts)
    reached = max(one.reached for _, one in cuts)
    accused = sum(bool(one.named) for name in WHOLE for one in looked[name])
    sound: ClaimVerdict = "holds" if reached == 0 and named == len(cuts) and not accused else (
        "differs"
    )  # fmt: skip
    gains = {
        name: [a - b for a, b in zip(values, accuracy["raw"], strict=True)]
        for name, values in accuracy.items() if name != "raw"
    }  # fmt: skip
    intervals = {name: mean_interval(some) for name, some in gains.items()}
    verdicts: list[ClaimVerdict] = [
        verdict_within(interval, (0.0, np.inf)) for interval in intervals.values()
    ]
    values: dict[str, float | str] = {
        "named": named, "cuts": len(cuts), "accused": accused, "reached": reached,
        **{name: float(np.mean(some)) for name, some in accuracy.items()},
    }  # fmt: skip
    verdict = verdict_of_all((sound, *verdicts))
    return Measured(verdict=verdict, effect=float(np.mean(gains["hinge"])), values=values,
                    interval=intervals["hinge"], n=len(accuracy["raw"]),
                    pictures=pictures)  # fmt: skip


def _picture(runs: Mapping[str, Sequence[Trained]]) -> Picture:
    """Validation accuracy over the steps, mean and range over seeds."""
    series = []
    for name, some in runs.items():
        courses = [run.course("valid", "accuracy") for run in some]
        table = np.array([values for _, values in courses])
        series.append(Series(name=f"lecture.series.{name}", x=courses[0][0],
                             y=tuple(table.mean(0).tolist()), low=tuple(table.min(0).tolist()),
                             high=tuple(table.max(0).tolist())))  # fmt: skip
    return Picture(x="lecture.axis.steps", y="lecture.axis.valid_accuracy", series=tuple(series))
