"""Which examples could there be beside those that are there? Mixtures of two, and noisy copies,
made anew in each batch."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from trainwright.core.phrases import phrase
from trainwright.edit.edit import Context, Edit, habit, refused
from trainwright.edit.program import Program, mapped_inputs

MIXTURE = 0.4  # of the beta distribution of shares [paper: arXiv:1710.09412, section 3.4]
NOISE = 0.3  # of the inputs' spread; 0.1 to 0.5 are usual [assumed]


def augmented_loss(program: Program, model: nn.Module, batch: Any) -> Tensor:
    """The criterion on a batch as the habits augment it, with its graph. Draws from torch's own
    generator.

    Noise of `jitter` standard deviations of the batch's inputs (Bishop 1995, Neural Computation 7);
    `mixup` mixes each example with another one of the batch, and their losses alike: x' = s x_i +
    (1 - s) x_j, loss s l(x', y_i) + (1 - s) l(x', y_j), s ~ Beta(mixup, mixup) (Zhang et al. 2018,
    arXiv:1710.09412, equation 1, for losses that are linear in the targets).
    """
    habits = program.habits
    if habits.jitter:
        batch = mapped_inputs(batch, lambda x: x + habits.jitter * x.std() * torch.randn_like(x))
    if not habits.mixup or batch.num_rows < 2:
        return program.loss(batch.call(model), batch.targets)
    share = float(torch.distributions.Beta(habits.mixup, habits.mixup).sample())
    order = torch.randperm(batch.num_rows)
    other = batch.pick(np.asarray(order))
    mixed = mapped_inputs(batch, lambda x: share * x + (1 - share) * x[order])
    outputs = mixed.call(model)
    own, others = program.loss(outputs, batch.targets), program.loss(outputs, other.targets)
    return share * own + (1 - share) * others


def _with_numbers(name: str, *lines: str, **habits: Any) -> Any:
    """A habit of programs whose inputs are one tensor of real numbers."""
    turn = habit(name, *lines, **habits)

    def checked(program: Program, context: Context) -> Program:
        inputs = program.train.inputs
        if len(inputs) != 1 or not isinstance(inputs[0], Tensor) or (
            not inputs[0].is_floating_point()
        ):  # fmt: skip
            raise refused(name, phrase("the inputs are no real numbers"))
        return turn(program, context)

    return checked


def edits() -> tuple[Edit, ...]:
    """All of this file; reasons are spoken when they are asked for."""
    knob = phrase("set data.augment")
    mixup = _with_numbers(
        "mixup",
        f"share, order = numpy.random.beta({MIXTURE}, {MIXTURE}), torch.randperm(len(X))",
        "outputs = model(share * X + (1 - share) * X[order])",
        "loss = share * criterion(outputs, y) + (1 - share) * criterion(outputs, y[order])",
        mixup=MIXTURE,
    )
    noise = _with_numbers(
        "add_noise", f"X = X + {NOISE} * X.std() * torch.randn_like(X)  # while training",
        jitter=NOISE,
    )  # fmt: skip
    return (
        Edit(name="mixup", program=mixup, instead=knob),
        Edit(name="add_noise", program=noise, instead=knob),
    )
