"""What does the criterion want to be fed, and what does it do with it? It is fed outputs made by
hand: right, wrong, shifted, doubled, permuted. A user's own function is judged like torch's."""

import copy
import math
from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn

from trainwright.check.pairing.answers import Answers, answers_for
from trainwright.check.pairing.ranges import (
    finite_everywhere,
    lowest_constant,
    lowest_free,
    lowest_in_head,
)
from trainwright.check.sample import Criterion, replace_first
from trainwright.core.facts import Expects, Family, HeadFacts, LossFacts, TargetKind

LOG_SHARE = 0.05  # of the loss, that a tenth of the right probability adds: squared errors give
# 0.02, a logarithm 0.3 or more [measured: tests/check/test_criterion.py]
SAME = 1e-7  # relative, of losses in double precision


class Judge:
    """The criterion as a function of the first output tensor alone: other outputs as the model gave
    them, precision as wanted; NaN where it raises."""

    def __init__(self, criterion: Criterion, raw: Any, first: Tensor, targets: Any) -> None:
        self.raw, self.first, self.targets = raw, first, targets
        self._single: Criterion = _copied(criterion)
        self._double: Criterion = self._single
        self.whole_structure = raw is not first
        if isinstance(self._single, nn.Module) and self._single is not criterion:
            self._double = copy.deepcopy(self._single).double()
        self.error: Exception | None = None

    def loss(self, outputs: Tensor, targets: Any = None) -> Tensor:
        """The loss as the criterion returns it. Raises what the criterion raises."""
        targets = self.targets if targets is None else targets
        criterion = self._double if outputs.dtype == torch.float64 else self._single
        if self.whole_structure:
            try:
                return criterion(replace_first(self.raw, self.first, outputs), targets)
            except Exception:
                found = criterion(outputs, targets)
                self.whole_structure = False
                return found
        return criterion(outputs, targets)

    def tensor(self, outputs: Tensor, targets: Any = None) -> Tensor:
        """A scalar: the mean where several losses come back."""
        found = self.loss(outputs, targets)
        if not isinstance(found, Tensor):
            return torch.as_tensor(float(found))
        return found if found.ndim == 0 else found.mean()

    def __call__(self, outputs: Tensor | None, targets: Any = None) -> float:
        """A number; NaN where the criterion cannot take these outputs."""
        if outputs is None:
            return math.nan
        try:
            return float(self.tensor(outputs, targets).detach())
        except Exception as error:
            self.error = error
            return math.nan

    def gradient(self, outputs: Tensor, targets: Any = None) -> Tensor | None:
        """Of the loss by these outputs; None where there is none."""
        outputs = outputs.detach().clone().requires_grad_()
        try:
            with torch.enable_grad():
                loss = self.tensor(outputs, targets)
                if not loss.requires_grad:
                    return None
                return torch.autograd.grad(loss, outputs, allow_unused=True)[0]
        except Exception as error:
            self.error = error
            return None


def _copied(criterion: Criterion) -> Criterion:
    if isinstance(criterion, nn.Module):
        try:
            return copy.deepcopy(criterion)
        except Exception:  # whatever a foreign __deepcopy__ raises
            return criterion
    return criterion


def loss_facts(
    criterion: Criterion, raw: Any, first: Tensor, targets: Any, head: HeadFacts | None = None, *,
    more: Tensor | None = None,
) -> LossFacts:  # fmt: skip
    """Probe `criterion` on one batch: `raw` is what the model returned, with the tensor `first`.

    `more` targets: outputs made by hand need no model, and the prior of a few rows says little.
    """
    own = Judge(criterion, raw, first, targets)
    try:
        given = own.loss(first.detach())
    except Exception as error:
        return LossFacts(error=f"{type(error).__name__}: {error}")
    scalar = given.ndim == 0 if isinstance(given, Tensor) else isinstance(given, (int, float))
    initial, shape = own(first.detach()), tuple(first.shape)
    if more is not None and raw is first and shape[0] not in shape[1:]:
        raw = first = first.new_zeros((len(more), *shape[1:]))
        targets, factor = more, len(more) / shape[0]
    else:
        factor = 1.0
    answers = answers_for(targets, tuple(first.shape))
    single = Judge(criterion, raw, first, targets)
    judge = Judge(criterion, raw, first, answers.doubled())
    if not math.isfinite(judge(answers.middle())):
        judge = _Narrow(criterion, raw, first, targets)
    expects, family, falls = _character(judge, answers)
    exclusive = _exclusive(judge, answers)
    one_right = family == "hinge" and answers.kind == "indices"
    if answers.num_classes > 1 and (one_right or expects == "log_probabilities"):
        exclusive = True
    search, reduction = falls is not False, _reduction(judge, answers)
    perfect = lowest_free(judge, answers, expects, search=search)
    initial *= factor if reduction == "sum" else 1.0
    return LossFacts(
        expects=expects, family=family, exclusive=exclusive, falls_when_right_rises=falls,
        target_kind=_takes(judge, answers, expects, family, exclusive), scalar=scalar,
        reduction=reduction, broadcasts=_broadcasts(judge, answers, tuple(first.shape)),
        differentiable=_differentiable(judge, answers, own),
        nonfinite_at=finite_everywhere(single, answers, head),
        initial=initial if math.isfinite(initial) else None,
        prior=lowest_constant(judge, answers, expects, exclusive, search=search),
        perfect=perfect,
        reachable=lowest_in_head(judge, answers, expects, head, perfect) if search else None,
    )  # fmt: skip


class _Narrow(Judge):
    """For criteria that take single precision only."""

    def tensor(self, outputs: Tensor, targets: Any = None) -> Tensor:
        return super().tensor(outputs.float(), targets).double()


def _character(
    judge: Judge, answers: Answers
) -> tuple[Expects | None, Family | None, bool | None]:  # fmt: skip
    """(what it expects, its family, whether it falls when the right answer rises)."""
    if answers.truth is None:
        return _of_numbers(judge, answers)
    right = [judge(answers.probabilities(0.99)), judge(answers.logits(1.0))]
    wrong = [judge(answers.probabilities(0.01)), judge(answers.logits(-1.0))]
    pairs = [(r, w) for r, w in zip(right, wrong, strict=True) if _finite(r, w) and r != w]
    falls = None if not pairs else all(r < w for r, w in pairs) or pairs[0][0] < pairs[0][1]
    sign = -1.0 if falls is False else 1.0

    def loss(outputs: Tensor | None) -> float:
        return sign * judge(outputs)

    if _quadratic(loss, answers):
        return "values", "squared", falls
    if _straight(loss, answers):
        return "log_probabilities", "cross_entropy", falls
    shifted = _same(loss(answers.middle() + 0.2), loss(answers.middle()))
    if shifted and answers.axis is not None and (falls is not None or answers.num_classes == 1):
        flat = _flat_when_right(judge, answers) and answers.num_classes > 1
        return ("margins", "hinge", falls) if flat else ("logits", "cross_entropy", falls)
    tenth, hundredth = loss(answers.probabilities(0.01)), loss(answers.probabilities(0.001))
    steep = _finite(tenth, hundredth) and hundredth - tenth > LOG_SHARE * abs(tenth)
    if steep and loss(answers.probabilities(0.99)) < tenth - 0.5 * abs(tenth):
        return "probabilities", _log_family(judge, answers), falls
    return (*_by_far_outputs(judge, loss, answers), falls)


def _by_far_outputs(
    judge: Judge, loss: Callable[[Tensor | None], float], answers: Answers
) -> tuple[Expects | None, Family | None]:
    """Hinge, logistic or absolute: by slopes far from zero; else by where the least loss is."""
    if _flat_when_right(judge, answers):
        return "margins", "hinge"
    far = [loss(answers.logits(-k)) for k in (10.0, 20.0, 30.0)]
    near = loss(answers.logits(8.0))
    growing = _finite(*far) and far[1] > far[0] and abs(far[2] - 2 * far[1] + far[0]) < 0.1 * (
        far[1] - far[0])  # fmt: skip
    values = loss(answers.values if answers.values is not None else answers.truth)
    if growing and _finite(near) and near < far[0] / 2 and not values < near:
        return "logits", "binary_cross_entropy"
    if growing and _finite(values) and values < near:
        return "values", "absolute"
    perfect = [loss(answers.probabilities(1 - 1e-4)), near]
    wrong = loss(answers.probabilities(0.01))
    level = [loss(answers.logits(k)) for k in (20.0, 40.0)]
    if _same(level[0], level[1], 1e-4) and near < perfect[0]:
        return "logits", "other"
    if _finite(perfect[0], wrong) and perfect[0] < wrong - 0.9 * abs(wrong - loss(
            answers.probabilities(0.5))):  # fmt: skip
        return "probabilities", "other"
    return ("logits", "other") if _finite(perfect[1]) else (None, "other")


def _of_numbers(
    judge: Judge, answers: Answers
) -> tuple[Expects | None, Family | None, bool | None]:  # fmt: skip
    """The same where targets are numbers."""
    falls, scale = None, 1.0
    values = answers.values
    if values is not None:
        scale = float(values.std(unbiased=False)) or 1.0
        at, off = judge(values), judge(values + scale * (answers.middle() + 0.5))
        falls = at < off if _finite(at, off) and at != off else None
    sign = -1.0 if falls is False else 1.0

    def loss(outputs: Tensor | None) -> float:
        return sign * judge(outputs)

    if _quadratic(loss, answers):
        return "values", "squared", falls
    if answers.num_classes > 1 and _same(loss(answers.middle() + 0.2), loss(answers.middle())):
        return "logits", "cross_entropy", falls
    low = [loss(torch.full_like(answers.middle(), v)) for v in (1e-2, 1e-3)]
    high = [loss(torch.full_like(answers.middle(), 1 - v)) for v in (1e-2, 1e-3)]
    steep = [_finite(*e) and abs(e[1] - e[0]) > LOG_SHARE * abs(e[0]) for e in (low, high)]
    if all(steep) and values is not None:
        return "probabilities", "binary_cross_entropy", falls
    if values is not None:
        far = [[loss(values + s * k * scale) for k in (20, 40, 60)] for s in (-1, 1)]
        if all(_finite(*f) and f[1] > f[0] and abs(f[2] - 2 * f[1] + f[0]) < 0.02 * (f[1] - f[0])
               for f in far) and loss(values) < min(far[0][0], far[1][0]):  # fmt: skip
            lowest = all(loss(values) <= loss(values + s * 0.1 * scale) for s in (-1, 1))
            return "values", "absolute" if lowest else "other", falls
    return "values" if values is not None else None, "other", falls


def _finite(*numbers: float) -> bool:
    return all(map(math.isfinite, numbers))


def _same(a: float, b: float, tolerance: float = SAME) -> bool:
    return _finite(a, b) and abs(a - b) <= tolerance * max(abs(a), abs(b), 1e-3)


def _quadratic(loss: Callable[[Tensor | None], float], answers: Answers) -> bool:
    """Third differences vanish and second ones are equal, here and far away (in a direction that
    is no common shift, along which cross-entropy is constant)."""
    base, seconds = answers.middle(), []
    along, aside = (10 * (answers.middle(seed=s) - 0.5) for s in (1, 2))
    for start in (base, base + aside, base - 2 * aside):
        f = [loss(start + t * along) for t in (-1.5, -0.5, 0.5, 1.5)]
        if not _finite(*f):
            return False
        scale = max(abs(f[0] - 2 * f[1] + f[2]), 1e-12)
        if abs(f[3] - 3 * f[2] + 3 * f[1] - f[0]) > 1e-4 * scale + 1e-9 * max(map(abs, f)):
            return False
        seconds.append(f[0] - f[1] - f[2] + f[3])
    return abs(seconds[0]) > 1e-9 and all(_same(s, seconds[0], 1e-4) for s in seconds[1:])


def _straight(loss: Callable[[Tensor | None], float], answers: Answers) -> bool:
    """A linear function of the outputs that is not constant."""
    base = answers.middle()
    along = answers.middle(seed=1) - 0.5
    f = [loss(base + t * along) for t in (-10.0, 0.0, 10.0)]
    return _finite(*f) and f[0] != f[2] and abs(f[0] - 2 * f[1] + f[2]) < 1e-6 * abs(f[2] - f[0])


def _flat_when_right(judge: Judge, answers: Answers) -> bool:
    """Beyond a margin nothing is left to gain: the gradient is exactly zero. And before it is."""
    slopes = [judge.gradient(answers.logits(k)) for k in (3.0, 6.0)]
    before = judge.gradient(answers.logits(-0.5))
    if before is None or any(s is None for s in slopes) or not bool(before.any()):
        return False
    return not any(bool(s.any()) for s in slopes if s is not None) and _same(
        judge(answers.logits(3.0)), judge(answers.logits(6.0)))  # fmt: skip


def _log_family(judge: Judge, answers: Answers) -> Family:
    """Cross-entropy looks at the right class only; binary cross-entropy at every output."""
    return "cross_entropy" if _exclusive(judge, answers) else "binary_cross_entropy"


def _exclusive(judge: Judge, answers: Answers) -> bool | None:
    """Does a wrong class's output matter to the gradient of the right one (or not at all)?"""
    if answers.axis is None or answers.num_classes < 2:
        return False
    truth = answers.truth
    if truth is None:
        return _same(judge(answers.middle() + 0.2), judge(answers.middle()))
    base = answers.middle()
    slope = judge.gradient(base)
    if slope is None:
        return None
    size = float(slope.abs().max())
    if size == 0.0 or float((slope * (1 - truth)).abs().max()) < 1e-9 * size:
        return None if size == 0.0 else True
    moved = judge.gradient(base + 0.1 * (1 - truth))
    if moved is None:
        return None
    return float(((moved - slope) * truth).abs().max()) > 1e-6 * size


def _takes(
    judge: Judge, answers: Answers, expects: Expects | None, family: Family | None,
    exclusive: bool | None,
) -> TargetKind | None:  # fmt: skip
    """The kind of targets that the criterion means."""
    if answers.kind == "indices" and answers.truth is not None:
        return "indices"
    if family in ("squared", "absolute") or answers.truth is None:
        return "real" if family in ("squared", "absolute") else None
    targets, base = answers.doubled(), answers.middle()
    if family is None or judge(base) == judge(answers.middle(seed=2)):
        return None
    if expects in ("margins", "logits") and isinstance(targets, Tensor):
        ones, zeros = torch.ones_like(targets), torch.zeros_like(targets)
        if not targets.is_floating_point():
            return answers.kind
        if _same(judge(base, ones), judge(-base, -ones)):
            return "plus_minus_one"
        if answers.num_classes == 1 and _same(judge(base, ones), judge(-base, zeros)):
            return "zero_one"
    if answers.num_classes == 1:
        return "zero_one"
    return "one_hot" if exclusive else "multi_hot"


def _reduction(judge: Judge, answers: Answers) -> Literal["mean", "sum", "other"] | None:
    """What a batch that is doubled does to the loss."""
    once, targets = answers.middle(), answers.doubled()
    if not isinstance(targets, Tensor):
        return None
    if judge.whole_structure:
        return None
    one = judge(once, targets)
    two = judge(torch.cat([once, once]), torch.cat([targets, targets]))
    if not _finite(one, two) or one == 0.0:
        return None
    return "mean" if _same(two, one, 1e-5) else "sum" if _same(two, 2 * one, 1e-5) else "other"


def _broadcasts(judge: Judge, answers: Answers, shape: tuple[int, ...]) -> bool:
    """One target entry steers several outputs although there is one output per target, and outputs
    equal to the targets are not the least loss."""
    targets = answers.doubled()
    if not isinstance(targets, Tensor) or not targets.is_floating_point():
        return False
    if tuple(targets.shape) == shape or targets.numel() != torch.Size(shape).numel():
        return False
    if targets.numel() < 2 or answers.values is None:
        return False
    base = answers.middle()
    low, high = float(targets.min()) - 2, float(targets.max()) + 2
    slopes = []
    for value in (low, high):
        changed = targets.clone()
        changed.view(-1)[0] = value
        slopes.append(judge.gradient(base, changed))
    if slopes[0] is None or slopes[1] is None:
        return False
    moved = (slopes[0] - slopes[1]).abs() > 1e-9
    own = judge(answers.values)
    other = judge(answers.values.reshape(-1).flip(0).reshape(shape))
    nothing = judge(answers.values + 2 * (1 + abs(high - low)))
    least = not _finite(own, nothing) or own < 1e-6 * abs(nothing)
    return int(moved.sum()) > 1 and not least and _finite(other)


def _differentiable(judge: Judge, answers: Answers, own: Judge) -> bool:
    """Some outputs get a gradient that is not zero."""
    slopes = [judge.gradient(o) for o in (answers.middle(), 4 * answers.middle() - 2)]
    slopes.append(own.gradient(own.first))
    if all(s is None for s in slopes):
        return False
    return any(bool(s.any()) for s in slopes if s is not None) or answers.num_classes == 1
