"""Does each output depend on what it should, and on nothing else? Pairs of forwards whose inputs or
modes differ in one thing; no gradient is needed."""

import math

import numpy as np
import torch
from torch import Tensor, nn

from trainwright.check.network.trace import WithoutDropout
from trainwright.check.pairing.head import draw_parameters, normal_pool
from trainwright.check.sample import Sample, first_tensor
from trainwright.check.subject import Subject
from trainwright.core.facts import HeadKind
from trainwright.core.phrases import phrase

AFFINE = 1e-3  # relative deviation from a linear map, in single precision [assumed]


@torch.no_grad()
def _run(module: nn.Module, sample: Sample) -> Tensor:
    with WithoutDropout():
        found = first_tensor(sample.call(module))
    if found is None or not found.is_floating_point():
        raise ValueError(phrase("the model returns no floating-point tensor"))
    return found.detach().double()


def _batch_norms(module: nn.Module) -> list[nn.modules.batchnorm._BatchNorm]:
    return [m for m in module.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]


def mode_difference(subject: Subject, sample: Sample) -> float | None:
    """Mean |train - eval outputs| in sd of the eval outputs. None for batch norm that
    is fresh, and outputs that are not finite."""
    norms = _batch_norms(subject.module)
    counts = [m.num_batches_tracked for m in norms if m.num_batches_tracked is not None]
    if counts and all(int(c) == 0 for c in counts):
        return None
    train = _run(subject.restore().train(), sample)
    evaluated = _run(subject.restore().eval(), sample)
    sd = float(evaluated.std(unbiased=False))
    gap = float((train - evaluated).abs().mean())
    if not (math.isfinite(sd) and math.isfinite(gap)):
        return None
    return gap / max(sd, 1e-12) if gap > 0 else 0.0


def _other_rows(sample: Sample) -> tuple[Sample, np.ndarray]:
    """The second half of the rows replaced by copies of one, the first half kept. (A mere
    permutation would leave sums over the batch as they are.)"""
    index = np.arange(sample.num_rows)
    half = sample.num_rows // 2
    index[half:] = half if sample.num_rows - half > 1 else 0
    return sample.pick(index), np.arange(half)


def mixes_examples(subject: Subject, sample: Sample) -> float | None:
    """Change of the kept examples' outputs, as a share of all change, when the others are changed:
    the larger of eval mode and of training mode without batch statistics."""
    if sample.num_rows < 2:
        return None
    sample = sample.rows(16 if sample.num_rows > 8 else 4)  # few rows came: each is slow
    changed, kept = _other_rows(sample)
    worst = 0.0
    for training in (False, True):
        module = subject.restore().train(training)
        for norm in _batch_norms(module):
            norm.eval()
        before, after = _run(module, sample), _run(module, changed)
        if before.ndim == 0 or len(before) != sample.num_rows or before.shape != after.shape:
            raise ValueError(phrase("outputs of shape {shape} for {rows} rows",
                                    shape=tuple(before.shape), rows=sample.num_rows))  # fmt: skip
        moved = (after - before).abs().reshape(len(before), -1).mean(1)
        foreign, own = float(moved[kept].mean()), float(moved[len(kept) :].mean())
        share = foreign / (foreign + own) if foreign + own > 0 else 0.0
        worst = max(worst, share if math.isfinite(share) and share > 1e-5 else 0.0)
    return worst


def sees_future(subject: Subject, sample: Sample) -> float | None:
    """Change of outputs before position t, as a share of all change, when inputs from t on change.
    None where the targets are not the inputs one step later."""
    x, y = sample.inputs[0], sample.targets
    if not (isinstance(x, Tensor) and isinstance(y, Tensor)) or x.ndim < 2 or y.ndim < 2:
        return None
    if x.shape[:2] != y.shape[:2] or x.shape[1] < 3 or x.ndim > 3 or sample.num_rows < 2:
        return None
    if y.shape != x.shape or float((y[:, :-1] == x[:, 1:]).double().mean()) < 0.9:
        return None
    middle = x.shape[1] // 2
    changed = x.clone()
    changed[:, middle:] = x.roll(1, 0)[:, middle:].roll(1, 1)
    module = subject.restore().eval()
    other = Sample(inputs=(changed, *sample.inputs[1:]), targets=y, names=sample.names)
    before, after = _run(module, sample), _run(module, other)
    axis = next((a for a in (1, 2) if before.ndim > a and before.shape[a] == x.shape[1]), None)
    if axis is None:
        return None
    moved = (after - before).abs().movedim(axis, 1)
    early, late = float(moved[:, :middle].mean()), float(moved[:, middle:].mean())
    share = early / (early + late) if early + late > 0 else 0.0
    return share if share > 1e-5 else 0.0


def affine(subject: Subject, sample: Sample, head: HeadKind | None) -> bool | None:
    """f(ax + by) - f(0) = a (f(x) - f(0)) + b (f(y) - f(0)), eval mode, parameters drawn anew; a
    squashing head is undone first (log-odds). None for inputs that are no numbers."""
    if not all(isinstance(x, Tensor) and x.is_floating_point() for x in sample.inputs):
        return None
    module, own = subject.restore().eval(), torch.Generator().manual_seed(3)
    pool, few = normal_pool(module, own), sample.rows(8 if sample.num_rows > 8 else 2)
    found: list[bool] = []
    for scale in (1.0, 0.5, 1.0, 0.5):
        draw_parameters(module, own, pool, smaller=scale)
        verdict = _is_affine(module, few, head, own)
        found += [verdict] if verdict is not None else []
        if verdict is False or len(found) == 2:
            break
    return all(found) if found else None


def _is_affine(
    module: nn.Module, sample: Sample, head: HeadKind | None, own: torch.Generator
) -> bool | None:
    """One test on random inputs; None where all outputs are lost or zero."""
    x = [torch.randn(i.shape, generator=own).to(i) for i in sample.inputs]
    y = [torch.randn(i.shape, generator=own).to(i) for i in sample.inputs]

    def outputs(*inputs: Tensor) -> Tensor:
        return _unsquashed(_run(module, _with(sample, inputs)), head)

    zero = outputs(*(torch.zeros_like(i) for i in x))
    mixed = outputs(*(0.7 * a - 0.4 * b for a, b in zip(x, y, strict=True)))
    expected = 0.7 * (outputs(*x) - zero) - 0.4 * (outputs(*y) - zero)
    good = torch.isfinite(expected) & torch.isfinite(mixed) & (expected.abs() < 1e6)
    if not bool(good.any()):
        return None
    size = float(expected[good].abs().mean())
    if size == 0.0:
        return None
    return float(((mixed - zero) - expected)[good].abs().mean()) < AFFINE * size


def _with(sample: Sample, inputs: tuple[Tensor, ...]) -> Sample:
    return Sample(inputs=inputs, targets=sample.targets, names=sample.names)


def _unsquashed(outputs: Tensor, head: HeadKind | None) -> Tensor:
    """Log-odds of a squashing head; NaN where it was so saturated that they are lost."""
    lost = torch.full_like(outputs, math.nan)
    match head:
        case "sigmoid":
            return torch.where((outputs > 1e-4) & (outputs < 1 - 1e-4), outputs.logit(), lost)
        case "tanh":
            return torch.where(outputs.abs() < 1 - 1e-4, outputs.atanh(), lost)
        case "softmax" | "log_softmax":
            logs = outputs if head == "log_softmax" else outputs.log()
            axis = 1 if logs.ndim != 3 else 2
            centred = logs - logs.mean(axis, keepdim=True)
            return torch.where((logs > math.log(1e-30)).all(axis, True), centred, lost)
    return outputs
