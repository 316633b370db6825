"""What would right and wrong outputs look like? Outputs made by hand in the shape of the model's,
from the real targets, to be fed to a criterion; and what kind of targets those are."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from trainwright.check.pairing.head import class_axis
from trainwright.core.facts import TargetKind, TaskKind

MOST_CODED = 20  # classes of a single output's integer targets; more are counts [assumed]
TINY = 1e-6  # probability of the classes that are neither right nor the wrong one in question


def target_kind(targets: Any, outputs: tuple[int, ...] | None = None) -> TargetKind:
    """Indices, one-hot rows, 0/1, -1/+1 or numbers: from the values and the outputs' shape."""
    if not isinstance(targets, Tensor) or not targets.numel():
        return "real"
    values = targets.detach().double().reshape(-1)
    values = values[torch.isfinite(values)]
    whole = not targets.is_floating_point() and not targets.is_complex()
    single = outputs is not None and (len(outputs) < 2 or outputs[1:] == (1,))
    two = bool(((values == 0) | (values == 1)).all())
    if bool(((values == 1) | (values == -1)).all()) and bool((values == -1).any()):
        return "plus_minus_one"
    columns = (targets.ndim >= 2 and targets.shape[-1] > 1) or targets.ndim == 4
    numbered = (
        values.numel() and bool((values == values.round()).all()) and float(values.min()) >= 0
    )
    coded = (numbered and outputs is not None and len(outputs) == 2 and targets.ndim == 1
             and float(values.max()) < outputs[1])  # fmt: skip
    if coded and not single:
        return "indices"  # class numbers, be they stored as floats
    if whole and not single and targets.dtype != torch.bool and _lacks_axis(targets, outputs):
        return "indices"
    if columns and (outputs is None or targets.shape == outputs):
        axis = class_axis(tuple(targets.shape), targets) or targets.ndim - 1
        sums = targets.detach().double().sum(axis)
        shares = bool((values >= 0).all()) and bool((values <= 1).all())
        if shares and targets.shape[axis] > 1 and bool(((sums - 1).abs() < 1e-4).all()):
            return "one_hot"
    if two:
        return "multi_hot" if columns else "zero_one"
    if whole and values.numel() and float(values.min()) == 0 and _coded(values):
        return "indices"
    return "real"


def _lacks_axis(targets: Tensor, outputs: tuple[int, ...] | None) -> bool:
    """Index targets have one axis less than the outputs (or are one column, wrongly)."""
    if outputs is None:
        return targets.ndim == 1
    return targets.ndim == len(outputs) - 1 or targets.shape[1:] == (1,) or (
        targets.ndim == 1 and len(outputs) == 2)  # fmt: skip


def _coded(values: Tensor) -> bool:
    """0 .. K-1 without a gap, each at least twice on average."""
    found = torch.unique(values)
    return (len(found) == int(found.max()) + 1 and 2 < len(found) <= MOST_CODED
            and 2 * len(found) <= values.numel())  # fmt: skip


def task_of(kind: TargetKind, targets: Any) -> TaskKind:
    """The task that such targets stand for."""
    if kind == "indices":
        return "sequence" if isinstance(targets, Tensor) and targets.ndim == 2 and (
            targets.shape[1] > 1) else "multiclass"  # fmt: skip
    tasks: dict[TargetKind, TaskKind] = {
        "one_hot": "multiclass", "multi_hot": "multilabel", "zero_one": "binary",
        "plus_minus_one": "binary", "real": "regression"}  # fmt: skip
    return tasks[kind]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """Outputs made by hand for one batch, in double precision.

    `truth` [shape of outputs]: 1 at right classes, 0 elsewhere (None for numbers); `values`: the
    targets in the shape of the outputs, where that exists; `axis`: over classes.
    """

    shape: tuple[int, ...]
    targets: Any
    kind: TargetKind
    axis: int | None
    truth: Tensor | None
    values: Tensor | None

    @property
    def num_classes(self) -> int:
        return 1 if self.axis is None else self.shape[self.axis]

    @property
    def exclusive(self) -> bool:
        """One class per example."""
        return self.kind in ("indices", "one_hot") and self.num_classes > 1

    def probabilities(self, right: float) -> Tensor:
        """The right class has probability `right`, and one wrong class nearly all the rest."""
        assert self.truth is not None
        if not self.exclusive or self.axis is None:
            return self.truth * right + (1 - self.truth) * (1 - right)
        wrong = self.truth.roll(1, self.axis)
        if self.num_classes == 2:
            return self.truth * right + wrong * (1 - right)
        tiny = min(TINY, (1 - right) / self.num_classes)
        rest = 1 - right - tiny * (self.num_classes - 2)
        return self.truth * right + wrong * rest + (1 - self.truth) * (1 - wrong) * tiny

    def logits(self, size: float) -> Tensor:
        """+size at the right class, -size elsewhere; a negative size inverts (exclusive classes:
        +|size| at one wrong class)."""
        assert self.truth is not None
        truth = self.truth
        if size < 0 and self.exclusive and self.axis is not None:
            truth, size = truth.roll(1, self.axis), -size
        return (2 * truth - 1) * size

    def doubled(self) -> Any:
        """Floating-point targets in double precision, others as they are."""
        return _double(self.targets)

    def middle(self, *, seed: int = 0, low: float = 0.3, high: float = 0.7) -> Tensor:
        """Outputs without meaning, inside (0, 1)."""
        own = torch.Generator().manual_seed(seed)
        found = torch.rand(self.shape, generator=own, dtype=torch.float64) * (high - low) + low
        return found.to(_device(self.targets))


def _double(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.double() if value.is_floating_point() else value
    if isinstance(value, dict):
        return {k: _double(v) for k, v in value.items()}
    return tuple(map(_double, value)) if isinstance(value, (tuple, list)) else value


def _device(value: Any) -> torch.device:
    if isinstance(value, Tensor):
        return value.device
    if isinstance(value, (tuple, list)) and value:
        return _device(value[0])
    return torch.device("cpu")


def answers_for(targets: Any, shape: tuple[int, ...]) -> Answers:
    """What can be made by hand for these targets and outputs of this shape."""
    kind = target_kind(targets, shape)
    axis = class_axis(shape, targets)
    truth = values = None
    if isinstance(targets, Tensor):
        if kind == "indices":
            single = targets.numel() == torch.Size(shape).numel()
            truth = None if single else _one_hot(targets, shape, axis)
            if single:  # class numbers against one output: taken for numbers
                values = targets.double().reshape(shape)
        elif targets.numel() == torch.Size(shape).numel():
            values = targets.double().reshape(shape)
            truth = None if kind == "real" else (values > 0.5).double()
            if kind == "one_hot" and axis is not None:  # shares: the largest is the right one
                truth = torch.zeros_like(values).scatter_(axis, values.argmax(axis, True), 1.0)
    return Answers(shape=shape, targets=targets, kind=kind, axis=axis, truth=truth, values=values)


def _one_hot(targets: Tensor, shape: tuple[int, ...], axis: int | None) -> Tensor | None:
    """Index targets spread over the class axis; nothing at indices that are no class."""
    if axis is None or shape[axis] < 1:
        return None
    expected = shape[:axis] + shape[axis + 1 :]
    if targets.numel() != torch.Size(expected).numel():
        return None
    index = targets.long().reshape(expected).unsqueeze(axis)
    good = (index >= 0) & (index < shape[axis])
    zeros = torch.zeros(shape, dtype=torch.float64, device=targets.device)
    return zeros.scatter_(axis, index.clamp(0, shape[axis] - 1), good.double())
