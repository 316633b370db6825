"""What can the model's outputs be, whatever its weights? All parameters are drawn anew a few dozen
times and the outputs looked at: their range, and what sums to one. No layer name is read."""

import time
from collections.abc import Iterator
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from trainwright.check.sample import Sample, first_tensor
from trainwright.check.subject import Subject
from trainwright.core.facts import HeadFacts, HeadKind
from trainwright.core.phrases import phrase

NUM_DRAWS = 24
FEWEST_DRAWS = 4
NUM_INPUTS = 64
POOL = 1_000_003  # normal numbers that big tensors are filled from; prime: no two rows are alike
TOLERANCE = 1e-3  # of sums to one, in single precision [measured: softmax of 5 000 classes: 1e-5]
ENDS: dict[str, tuple[float, float]] = {  # what these squash into, however near the draws came
    "softmax": (0.0, 1.0), "sigmoid": (0.0, 1.0), "tanh": (-1.0, 1.0)}  # fmt: skip
Axis = Literal["class", "batch", "other"]


def class_axis(shape: tuple[int, ...], targets: object) -> int | None:
    """The axis of the outputs that runs over classes: the one that index targets lack, the last
    (of a matrix) or second one otherwise. None for outputs [batch]."""
    if len(shape) < 2:
        return None
    kind = tuple(targets.shape) if isinstance(targets, Tensor) else ()
    if len(kind) == len(shape) - 1:
        for axis in (1, len(shape) - 1):
            if shape[:axis] + shape[axis + 1 :] == kind:
                return axis
    if len(shape) == 2:
        return 1
    if isinstance(targets, Tensor) and kind == shape and targets.is_floating_point():
        for axis in (1, len(shape) - 1):
            if shape[axis] > 1 and torch.allclose(targets.sum(axis), torch.ones(())
                                                  .to(targets), atol=1e-4):  # fmt: skip
                return axis
    return len(shape) - 1 if len(shape) == 3 else 1


def head_facts(
    subject: Subject,
    sample: Sample,
    *,
    seconds: float = 0.3,
    outputs: Tensor | None = None,
    row_seconds: float = 0.0,
) -> tuple[HeadFacts, dict[str, str]]:
    """Facts, and what had to be left out. `outputs` are those at the weights as given,
    `row_seconds` what one row's forward takes.

    Draws: He-scaled normal weights, biases N(0, 1), scales of norm layers near 1; every third times
    three; two more times ten, to tell bounded outputs from growing ones.
    """
    given = _usual_size(sample)
    started = time.perf_counter()
    module = subject.restore().eval()
    first = outputs if outputs is not None else _outputs(module, given)
    affordable = int(seconds / (2 * FEWEST_DRAWS) / max(row_seconds, 1e-9))
    given = given.pick(np.arange(min(given.num_rows, max(4, affordable))))
    standard = _standardised(given)
    plain: list[Tensor] = []
    usual: list[Tensor] = []
    wide: list[Tensor] = []
    own = torch.Generator().manual_seed(0)
    pool = normal_pool(module, own)
    for number in range(NUM_DRAWS):
        if number >= FEWEST_DRAWS and time.perf_counter() - started > seconds:
            break
        scale, inputs = 3.0 if number % 3 == 2 else 1.0, standard if number % 2 == 0 else given
        for smaller in (1.0, 0.1, 0.01):  # exponentials overflow
            draw_parameters(module, own, pool, scale, smaller)
            found = _outputs(module, inputs)
            if bool(torch.isfinite(found).any()):
                break
        plain.append(found)
        if number % 4 == 0 and number <= 12:
            usual.append(found)
            draw_parameters(module, own, pool, 10.0)
            wide.append(_outputs(module, inputs))
    unseen = {}
    if len(plain) < NUM_DRAWS:
        unseen["head.draws"] = phrase("{count} of {all} draws in {seconds:g} s",
                                      count=len(plain), all=NUM_DRAWS, seconds=seconds)  # fmt: skip
    subject.restore()
    axis = class_axis(tuple(first.shape), sample.targets)
    return _judge(first, plain, _growth(usual, wide), axis), unseen


def _usual_size(sample: Sample) -> Sample:
    """NUM_INPUTS rows, resampled where there are fewer."""
    if sample.num_rows >= NUM_INPUTS:
        return sample.rows(NUM_INPUTS)
    return sample.pick(np.arange(NUM_INPUTS) % sample.num_rows)


def _standardised(sample: Sample) -> Sample:
    """Floating-point inputs with mean 0 and sd 1 over everything; others as they are."""

    def one(value: object) -> object:
        if not isinstance(value, Tensor) or not value.is_floating_point():
            return value
        sd = value.std(unbiased=False)
        return (value - value.mean()) / sd if bool(torch.isfinite(sd)) and sd > 0 else value

    return Sample(inputs=tuple(map(one, sample.inputs)), targets=sample.targets, names=sample.names,
                  num_examples=sample.num_examples, batch_size=sample.batch_size)  # fmt: skip


def normal_pool(module: nn.Module, own: torch.Generator) -> Tensor:
    """Normal numbers to fill big tensors from; none for small models, which draw their own."""
    largest = max(p.numel() for p in module.parameters())
    return torch.randn(POOL if largest > POOL // 4 else 0, generator=own)


@torch.no_grad()
def draw_parameters(
    module: nn.Module, own: torch.Generator, pool: Tensor | None = None, scale: float = 1.0,
    smaller: float = 1.0,
) -> None:  # fmt: skip
    """New parameters: weights N(0, 2 / fan_in), biases N(0, 1), other vectors (scales of norm
    layers) near 1, slopes of activations as given; all times `scale`, weights times `smaller`."""
    pool = torch.zeros(0) if pool is None else pool
    for owner, name, parameter in _parameters(module):
        if not parameter.is_floating_point() or isinstance(owner, nn.PReLU):
            continue
        if parameter.ndim >= 2:
            fan_in = max(1, parameter[0].numel())
            new = _normal(parameter.shape, own, pool) * (scale * smaller * (2 / fan_in) ** 0.5)
        elif "bias" in name:
            new = _normal(parameter.shape, own, pool) * scale
        else:
            new = (1 + 0.1 * _normal(parameter.shape, own, pool)) * scale
        parameter.copy_(new)


def _parameters(module: nn.Module) -> Iterator[tuple[nn.Module, str, Tensor]]:
    met: set[int] = set()
    for owner in module.modules():
        for name, parameter in owner.named_parameters(recurse=False):
            if id(parameter) not in met:
                met.add(id(parameter))
                yield owner, name, parameter


def _normal(shape: torch.Size, own: torch.Generator, pool: Tensor) -> Tensor:
    """Normal numbers; of a big tensor repeated from the pool, a copy instead of a draw."""
    count = shape.numel()
    if count <= len(pool) or not len(pool):
        if len(pool) and count > 10_000:
            start = int(torch.randint(len(pool) - count + 1, (), generator=own))
            return pool[start : start + count].view(shape)
        return torch.randn(shape, generator=own)
    return pool.repeat(-(-count // len(pool)))[:count].view(shape)


@torch.no_grad()
def _outputs(module: nn.Module, sample: Sample) -> Tensor:
    found = first_tensor(sample.run(module))
    if found is None:
        raise ValueError(phrase("the model returns no tensor"))
    return found.detach().float()


def _growth(usual: list[Tensor], wide: list[Tensor]) -> tuple[bool, float]:
    """(ten times the weights give larger outputs, the largest of those): what grows is not bounded
    on both sides. Outputs that are all smaller come from a dead last layer."""
    ends = []
    for tensors in (usual, wide):
        known = [t[~torch.isnan(t)] for t in tensors]
        ends.append(max((float(k.abs().max()) for k in known if k.numel()), default=None))
    if ends[0] is None or ends[1] is None:
        return True, ends[0] or 0.0
    return not 0.7 * ends[0] <= ends[1] <= 1.3 * ends[0], ends[1]


def _judge(
    first: Tensor, plain: list[Tensor], growth: tuple[bool, float], axis: int | None
) -> HeadFacts:
    good = [o[torch.isfinite(o)] for o in plain]
    good = [g for g in good if g.numel()]
    if not good:
        raise ValueError(phrase("outputs are not finite for any drawn parameters"))
    low, high = min(float(g.min()) for g in good), max(float(g.max()) for g in good)
    complete = [o for o in plain if bool(torch.isfinite(o).all())]
    kind, sums = _kind(low, high, complete, growth, axis)
    low, high = ENDS.get(kind, (low, high))
    if kind in ("non_negative", "bounded") and 0 < low < 0.05 * high:
        low = 0.0
    shape = tuple(first.shape[1:])
    own = first[torch.isfinite(first)]
    size = int(np.prod(shape)) if len(shape) <= 1 or axis is None else int(first.shape[axis])
    return HeadFacts(
        kind=kind, num_outputs=max(1, size), shape=shape, low=low, high=high, sums_over=sums,
        first_low=float(own.min()) if own.numel() else 0.0,
        first_high=float(own.max()) if own.numel() else 0.0,
        first_sd=float(own.std(unbiased=False)) if own.numel() else 0.0,
    )  # fmt: skip


def _kind(
    low: float, high: float, complete: list[Tensor], growth: tuple[bool, float], axis: int | None
) -> tuple[HeadKind, Axis | None]:  # fmt: skip
    spread = high - low
    grows, most_wide = growth
    if spread <= 1e-6 * max(1.0, abs(high)):
        over: Axis | None = "class" if abs(high - 1) < TOLERANCE else None
        return "constant", over
    inside = low >= -1e-5 and high <= 1 + 1e-5
    if inside and (sums := _sums_to_one(complete, axis)):
        return "softmax", sums
    if high <= 1e-5 and complete and axis is not None:
        logs = [float((o.logsumexp(axis)).abs().max()) for o in complete]
        if max(logs) < TOLERANCE:
            return "log_softmax", "class"
    if inside and spread > 0.3 and most_wide <= 1 + 1e-5:
        return "sigmoid", None
    if (
        low >= -1 - 1e-5
        and high <= 1 + 1e-5
        and low < -0.5
        and high > 0.5
        and most_wide <= 1 + 1e-5
    ):
        return "tanh", None
    if not grows:
        return "bounded", None
    return ("non_negative", None) if low >= -1e-6 else ("linear", None)


def _sums_to_one(complete: list[Tensor], axis: int | None) -> Axis | None:
    """Which axis sums to one in every draw."""
    if not complete:
        return None
    axes = [a for a in range(complete[0].ndim - 1, -1, -1) if complete[0].shape[a] > 1]
    axes.sort(key=lambda a: a != axis)
    for candidate in axes:
        if all(float((o.sum(candidate) - 1).abs().max()) < TOLERANCE for o in complete):
            return "class" if candidate == axis else "batch" if candidate == 0 else "other"
    return None
