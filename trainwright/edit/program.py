"""What is trained, when somebody hands over a network instead of a recipe? Live parts that can be
built anew from a seed, and the habits of the loop around them: one frozen value, which edits
change by making another."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from trainwright.check.sample import Criterion, Sample, first_tensor
from trainwright.core.facts import Facts
from trainwright.edit.optimizer import OptimizerPlan

Change = Callable[[nn.Module, Sample], Any]  # a surgery: what it does to a fresh network
Decode = Callable[[Tensor], Tensor]


def unchanged(outputs: Tensor) -> Tensor:
    """Outputs are on the scale of the user's targets already."""
    return outputs


@dataclass(frozen=True, slots=True, kw_only=True)
class Penalty:
    """`l1 * sum |w| + l2 * sum w^2` of one parameter, added to the loss."""

    parameter: str
    l1: float = 0.0
    l2: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Habits:
    """How the loop goes. `most_steps` and `seconds` end it early; `clears` is zero_grad before
    each backward, `trains` model.train() before steps, `judges` model.eval() before judging;
    `mixup` and `jitter` are those of `edit.augment`."""

    batch_size: int
    epochs: int
    most_steps: int | None = None
    seconds: float | None = None
    shuffle: bool = True
    balanced: bool = False  # draw every class equally often, with replacement
    clears: bool = True
    trains: bool = True
    judges: bool = True
    accumulate: int = 1
    clip_norm: float | None = None
    warmup_steps: int = 0
    schedule: Literal["constant", "cosine"] = "constant"
    penalties: tuple[Penalty, ...] = ()
    keeps_best: bool = False
    mixup: float = 0.0
    jitter: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """One edit that was applied: its name, the values in its sentence, and the lines that a user
    would change in their own code."""

    name: str
    values: dict[str, Any] = field(default_factory=dict)
    lines: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A training program. `train` and `valid` are whole data sets as the network takes them now;
    `judged` are held-out inputs (as the network takes them) with the user's own targets, and
    `decode` maps outputs to the scale of those, so that every edit is judged alike.

    `facts` are those of the program as it was given: they say how its answers are to be scored.
    """

    make_model: Callable[[int], nn.Module]
    loss: Criterion
    optimizer: OptimizerPlan
    train: Sample
    judged: Sample
    habits: Habits
    facts: Facts
    valid: Sample | None = None
    changes: tuple[Change, ...] = ()
    decode: Decode = unchanged
    done: tuple[Done, ...] = ()

    @property
    def num_steps(self) -> int:
        """Steps that the loop takes if no clock ends it."""
        habits = self.habits
        batches = -(-self.train.num_rows // habits.batch_size) * habits.epochs
        planned = -(-batches // habits.accumulate)  # a step may reach into the next epoch
        return planned if habits.most_steps is None else min(planned, habits.most_steps)

    def start(self, seed: int) -> tuple[nn.Module, Optimizer]:
        """A fresh network and its optimiser, alike for the same seed."""
        model = self.make_model(seed)
        self.change(model, self.changes, seed)
        return model, self.optimizer.build(model)

    def change(self, model: nn.Module, changes: tuple[Change, ...], seed: int) -> list[Any]:
        """Makes the changes, in this order, with what they draw decided by the seed alone; what
        each of them returns."""
        few = self.few()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return [change(model, few) for change in changes]

    def few(self) -> Sample:
        """Some training rows, for dry runs."""
        return self.train.rows(min(64, max(2, self.habits.batch_size)))

    def turned(self, **habits: Any) -> "Program":
        """The same program with other habits."""
        return replace(self, habits=replace(self.habits, **habits))

    def after(self, done: Done, **parts: Any) -> "Program":
        """The program with an edit applied."""
        return replace(self, done=(*self.done, done), **parts)


class Decoded(nn.Module):
    """A network whose outputs are on the scale of the user's targets."""

    def __init__(self, module: nn.Module, decode: Decode) -> None:
        super().__init__()
        self.module, self.decode = module, decode

    def forward(self, *inputs: Any, **named: Any) -> Tensor:
        """[example, ...] of the inner network's first output, decoded."""
        outputs = first_tensor(self.module(*inputs, **named))
        assert outputs is not None, "the network returned no tensor"
        return self.decode(outputs)


def mapped_inputs(sample: Sample, change: Callable[[Tensor], Tensor]) -> Sample:
    """The sample with its first floating-point input changed."""
    at = next((i for i, part in enumerate(sample.inputs)
               if isinstance(part, Tensor) and part.is_floating_point()), None)  # fmt: skip
    if at is None:
        return sample
    inputs = list(sample.inputs)
    with torch.no_grad():
        inputs[at] = change(inputs[at])
    return replace(sample, inputs=tuple(inputs))


def mapped_targets(sample: Sample, change: Callable[[Tensor], Tensor]) -> Sample:
    """The sample with its targets changed."""
    with torch.no_grad():
        return replace(sample, targets=change(sample.targets))
