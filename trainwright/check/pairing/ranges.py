"""How low can the loss get with constant outputs, with perfect ones, and with what the head can
give; and is it finite at the ends of that range? A few gradient steps on the outputs themselves."""

import math
from collections.abc import Callable, Iterable
from typing import Protocol

import torch
from torch import Tensor

from trainwright.check.pairing.answers import Answers
from trainwright.core.facts import Expects, HeadFacts

STEPS = 60
FAR = 80.0  # outputs that a linear head can give: exp is still finite there in single precision
Map = Callable[[Tensor], Tensor]


class Loss(Protocol):
    """The criterion as a function of outputs: a number (NaN: not possible), or a scalar tensor."""

    def __call__(self, outputs: Tensor | None) -> float: ...

    def tensor(self, outputs: Tensor) -> Tensor: ...

    def gradient(self, outputs: Tensor) -> Tensor | None: ...


def _least(numbers: Iterable[float]) -> float | None:
    finite = [n for n in numbers if math.isfinite(n)]
    return min(finite) if finite else None


def descend(judge: Loss, start: Tensor, outputs: Map, rate: float, steps: int = STEPS) -> float:
    """The least loss met by Adam on `start`, through `outputs`; NaN when the criterion raises."""
    free = start.detach().clone()
    mean, square, least = torch.zeros_like(free), torch.zeros_like(free), math.nan
    try:
        for step in range(1, steps + 1):
            free.requires_grad_()
            with torch.enable_grad():
                loss = judge.tensor(outputs(free))
            value = float(loss.detach())
            least = value if not value >= least else least
            if not loss.requires_grad or not math.isfinite(value):
                break
            (slope,) = torch.autograd.grad(loss, [free])
            mean, square = 0.9 * mean + 0.1 * slope, 0.99 * square + 0.01 * slope**2
            along = mean / (1 - 0.9**step)
            free = free.detach() - rate * along / ((square / (1 - 0.99**step)).sqrt() + 1e-12)
    except Exception:  # whatever a foreign criterion raises
        return least
    return least


def _to_expected(expects: Expects | None, answers: Answers, exclusive: bool | None) -> Map:
    """From free numbers to outputs of the kind that the criterion expects."""
    if answers.truth is not None and answers.exclusive and exclusive is None:
        exclusive = True
    axis = answers.axis if answers.axis is not None else -1
    if expects == "probabilities":
        return torch.sigmoid if not exclusive else lambda z: z.softmax(axis)
    if expects == "log_probabilities":
        return lambda z: z.log_softmax(axis)
    return lambda z: z


def lowest_constant(
    judge: Loss, answers: Answers, expects: Expects | None, exclusive: bool | None, *, search: bool
) -> float | None:  # fmt: skip
    """Loss of the best outputs that are the same for all examples and positions.

    Begins at class shares, or at mean and median of numbers; `search` goes on by gradient.
    """
    squash = _to_expected(expects, answers, exclusive)
    starts = [s.expand(answers.shape) for s in _constant_starts(answers, expects, exclusive)]
    values = [judge(squash(s)) for s in starts]
    if search and expects is not None and starts:
        best = min(range(len(values)), key=lambda i: (not math.isfinite(values[i]), values[i]))
        free = _constant_starts(answers, expects, exclusive)[best]
        scale = _spread(answers) if expects == "values" else 1.0
        values.append(descend(judge, free, lambda z: squash(z.expand(answers.shape)), 0.05 * scale))
    return _least(values)


def _spread(answers: Answers) -> float:
    values = answers.values
    return (float(values.std(unbiased=False)) or 1.0) if values is not None else 1.0


def _constant_starts(
    answers: Answers, expects: Expects | None, exclusive: bool | None
) -> list[Tensor]:  # fmt: skip
    """Free numbers whose outputs are near the best constant ones."""
    kept = [] if answers.axis is None else [answers.axis]
    over = [a for a in range(len(answers.shape)) if a not in kept]
    if expects in ("values", None) and answers.values is not None:
        flat = answers.values.movedim(kept, [-1]) if kept else answers.values[..., None]
        median = flat.reshape(-1, flat.shape[-1]).median(0).values
        shape = [n if a in kept else 1 for a, n in enumerate(answers.shape)]
        return [answers.values.mean(over, keepdim=True), median.reshape(shape)]
    if answers.truth is None:
        shape = [n if a in kept else 1 for a, n in enumerate(answers.shape)]
        return [answers.middle().new_zeros(shape)]
    told = answers.values if answers.kind == "one_hot" else None  # shares of several classes
    shares = (answers.truth if told is None else told).mean(over, keepdim=True)
    if expects == "values":
        majority = (shares == shares.amax()).double() if answers.exclusive else shares.round()
        return [shares, majority]
    if expects == "margins":
        return [2 * shares - 1, 2 * shares.round() - 1, shares.log1p()]
    near = shares.clamp(1e-6, 1 - 1e-6)
    return [near.log() if exclusive else near.logit()]


def lowest_free(
    judge: Loss, answers: Answers, expects: Expects | None, *, search: bool
) -> float | None:  # fmt: skip
    """Loss of outputs that are all that the criterion can wish for."""
    if answers.truth is None:
        if answers.values is None:
            return None
        values = [judge(answers.values)]
        if expects == "logits":
            values.append(judge(answers.values.clamp(min=1e-9).log()))
        if search and (expects != "values" or not values[0] < 1e-12):
            for start in (answers.values, torch.zeros_like(answers.values)):
                values.append(descend(judge, start, lambda z: z, 0.1 * _spread(answers)))
        return _least(values)
    ideal = _ideal(answers, expects)
    values = [judge(o) for o in ideal]
    if search and expects == "probabilities" and not _least(values):
        values.append(descend(judge, answers.logits(3.0), torch.sigmoid, 0.3))
    return _least(values)


def _ideal(answers: Answers, expects: Expects | None) -> list[Tensor | None]:
    truth = answers.truth
    assert truth is not None
    sure = answers.probabilities(1 - 1e-7)
    shares = answers.values if answers.kind == "one_hot" and answers.values is not None else sure
    match expects:
        case "probabilities":
            return [sure, answers.probabilities(1 - 1e-4), shares]
        case "log_probabilities":
            return [o.clamp(min=1e-12).log() for o in (sure, shares)]
        case "values":
            return [answers.values if answers.values is not None else truth]
        case "margins":
            return [answers.logits(k) for k in (1.0, 3.0, 8.0)]
        case _:
            return [
                sure,
                shares.clamp(min=1e-12).log(),
                *(answers.logits(k) for k in (1.0, 3.0, 8.0, 20.0, 40.0)),
            ]


def lowest_in_head(
    judge: Loss, answers: Answers, expects: Expects | None, head: HeadFacts | None,
    perfect: float | None,
) -> float | None:  # fmt: skip
    """Loss of the best outputs that the head's last activation allows; `perfect`: of the best."""
    if head is None or head.sums_over in ("batch", "other"):
        return None
    if head.kind == "linear":
        return perfect
    if head.kind == "constant":
        return _least([judge(torch.full_like(answers.middle(), head.low))])
    axis = answers.axis if answers.axis is not None else -1
    low, high = head.low, head.high
    maps: dict[str, Map] = {
        "softmax": lambda z: z.softmax(axis), "log_softmax": lambda z: z.log_softmax(axis),
        "sigmoid": torch.sigmoid, "tanh": torch.tanh, "non_negative": lambda z: z.clamp(min=low),
        "bounded": lambda z: low + (high - low) * torch.sigmoid(z)}  # fmt: skip
    squash = maps[head.kind]
    values: list[float] = []
    if answers.truth is not None:
        values += [judge(squash(answers.logits(k))) for k in (1.0, 4.0, 16.0)]
        values.append(descend(judge, answers.logits(2.0), squash, 0.3))
        wished = _ideal(answers, expects)
    else:
        wished = [answers.values]
    if head.kind not in ("softmax", "log_softmax"):
        top = None if head.kind == "non_negative" else high
        values += [judge(w.clamp(low, top)) for w in wished if w is not None]
    elif answers.values is not None:
        values.append(descend(judge, answers.values, squash, 0.3))
    return _least(values)


def finite_everywhere(judge: Loss, answers: Answers, head: HeadFacts | None) -> str | None:
    """The outputs inside the head's range at which loss or gradient is NaN or infinite, in single
    precision; None when there are none."""
    for name, outputs in _ends(answers, head):
        single = outputs.float()
        if not math.isfinite(judge(single)):
            return name
        slope = judge.gradient(single)
        if slope is not None and not bool(torch.isfinite(slope).all()):
            return name
    return None


def _ends(answers: Answers, head: HeadFacts | None) -> list[tuple[str, Tensor]]:
    kind = head.kind if head is not None else "linear"
    like = answers.middle()
    if kind in ("softmax", "sigmoid") and answers.truth is not None:
        truth = answers.truth
        wrong = truth.roll(1, answers.axis) if answers.exclusive and answers.axis else 1 - truth
        if kind == "sigmoid" or answers.exclusive:
            return [("0 and 1, all right", truth), ("0 and 1, some wrong", wrong)]
        return []
    if kind == "sigmoid":
        return [(f"{v:g}", torch.full_like(like, v)) for v in (0.0, 1.0)]
    if kind == "tanh":
        return [(f"{v:g}", torch.full_like(like, v)) for v in (-1.0, 0.0, 1.0)]
    if kind == "bounded" and head is not None:
        return [(f"{v:g}", torch.full_like(like, v)) for v in (head.low, head.high)]
    if kind == "non_negative":
        return [(f"{v:g}", torch.full_like(like, v)) for v in (0.0, 1.0, FAR)]
    if kind != "linear":
        return []
    found = [(f"{v:g}", torch.full_like(like, v)) for v in (-1.0, 0.0, 1.0)]
    if answers.truth is not None:
        found += [(f"{FAR:g}, right", answers.logits(FAR)), (f"{FAR:g}, wrong",
                                                             answers.logits(-FAR))]  # fmt: skip
    else:
        found += [(f"{v:g}", torch.full_like(like, v)) for v in (-FAR, FAR)]
    return found
