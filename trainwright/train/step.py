"""What is one step? Batches in, weights moved, loss out: theta <- theta - rate * gradient, as one
object, so that a compiled step can take its place."""

import math
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from trainwright.algorithm.average import Average
from trainwright.algorithm.precision import Precision
from trainwright.algorithm.update import Update
from trainwright.core.errors import ModelError
from trainwright.core.phrases import phrase
from trainwright.data.batch import Batch
from trainwright.loss.objective import Objective
from trainwright.model.own import first_output


@runtime_checkable
class Step(Protocol):
    """Moves the weights by one step; returns the mean loss over the batches, detached.

    With `check`, a loss that is not finite is returned *before* any weight has moved.
    """

    def __call__(
        self, batches: Sequence[Batch], rate: float, *, check: bool
    ) -> Float[Tensor, ""]: ...


class EagerStep:
    """The step as PyTorch runs it, operation by operation."""

    def __init__(
        self,
        *,
        module: nn.Module,
        objective: Objective,
        update: Update,
        precision: Precision,
        average: Average | None,
        device: torch.device,
    ) -> None:
        self._module, self._objective, self._update = module, objective, update
        self._precision, self._average = precision, average
        self._parameters = [p for p in module.parameters() if p.requires_grad]
        self._moves = device if device.type != "cpu" else None
        self._mixed = precision.dtype is not None

    def __call__(self, batches: Sequence[Batch], rate: float, *, check: bool) -> Float[Tensor, ""]:
        for parameter in self._parameters:
            parameter.grad = None
        total = self._gradients(batches[0], len(batches))
        for batch in batches[1:]:
            total = total + self._gradients(batch, len(batches))
        if check and not math.isfinite(total.item()):
            return total
        self._update(rate)
        if self._average is not None:
            self._average.update()
        return total

    def _gradients(self, batch: Batch, share: int) -> Float[Tensor, ""]:
        """Adds a share of the batch's gradient; returns the same share of its loss, detached.

        Batches of one step are equally long, so that the mean of their means is the mean over all
        examples: accumulating k batches equals one batch k times as long.
        """
        inputs, target = batch.inputs, batch.target
        if self._moves is not None:
            inputs = tuple(part.to(self._moves, non_blocking=True) for part in inputs)
            target = target.to(self._moves, non_blocking=True)
        if self._mixed:
            with self._precision.autocast():
                loss = self._objective(first_output(self._module(*inputs)), target)
        else:
            loss = self._objective(first_output(self._module(*inputs)), target)
        if not loss.requires_grad:
            raise _without_gradient()
        if share > 1:
            loss = loss / share
        self._precision.backward(loss)
        return loss.detach()


def _without_gradient() -> ModelError:
    return ModelError(
        phrase("no gradient leads from the loss to the weights: an operation on the way cuts it"),
        allowed=phrase("network and loss of operations that can be differentiated"),
        do=phrase(
            "look for argmax, round, detach, item or numpy on the way and take soft ones instead; "
            "or write algorithm.optimizer = 'evolution', which asks for no gradient"
        ),
    )
