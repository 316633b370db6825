"""What does the loop minimise, and what do outputs mean? One object that turns outputs and targets
into a loss, into one loss per example, and outputs into predictions."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from trainwright.core.records import Notice
from trainwright.core.task import Pairing

Formula = Callable[[Tensor, Tensor], Tensor]
OneOutput = Float[Tensor, " batch"] | Float[Tensor, "batch 1"]
Outputs = Float[Tensor, " batch"] | Float[Tensor, "batch output"]
Predicted = Float[Tensor, " batch"] | Float[Tensor, "batch class_"]  # binary: two columns
MemberOutputs = Float[Tensor, "batch member output"]
Target = Int[Tensor, " batch"] | Float[Tensor, " batch"] | Float[Tensor, "batch target"]
Losses = Float[Tensor, ""] | Float[Tensor, " batch"]  # the mean, or one for each example


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """A loss with its link function.

    `mean(outputs, target)` is the scalar that is differentiated, `each` gives [batch], `link`
    turns outputs [batch, output] into predictions. Outputs [batch, member, output] are those of a
    model with several members (`model.members`): every member is trained on its own loss, and
    predictions are averaged. `pairing` is None for own losses.
    """

    mean: Formula
    each: Formula
    link: Callable[[Tensor], Tensor]
    pairing: Pairing | None
    needs_raw_target: bool = False
    notices: tuple[Notice, ...] = ()

    def __call__(self, outputs: Outputs | MemberOutputs, target: Target) -> Float[Tensor, ""]:
        """Scalar loss of a batch."""
        if outputs.dim() == 3:
            return self.mean(outputs.flatten(0, 1), _for_members(target, outputs.shape[1]))
        return self.mean(outputs, target)

    def per_example(
        self, outputs: Outputs | MemberOutputs, target: Target
    ) -> Float[Tensor, " batch"]:
        """[batch]; their mean is the scalar loss (under class weights: over a whole epoch, where
        the weights average 1)."""
        if outputs.dim() == 3:
            members = outputs.shape[1]
            losses = self.each(outputs.flatten(0, 1), _for_members(target, members))
            return losses.reshape(-1, members).mean(dim=1)
        return self.each(outputs, target)

    def predict(self, outputs: Outputs | MemberOutputs) -> Predicted:
        """Class probabilities [batch, class_] (binary: two columns), or numbers [batch] or
        [batch, target]; float32 at least."""
        outputs = outputs.detach()
        if outputs.dtype in (torch.float16, torch.bfloat16):
            outputs = outputs.float()
        if outputs.dim() == 3:
            each = self.link(outputs.flatten(0, 1))
            return each.unflatten(0, outputs.shape[:2]).mean(dim=1)
        return self.link(outputs)

    def to(self, device: torch.device | str) -> "Objective":
        """The same objective with its weights on `device`."""
        return replace(self, mean=_moved(self.mean, device), each=_moved(self.each, device))


def _for_members(target: Tensor, members: int) -> Tensor:
    return target.repeat_interleave(members, dim=0)


def _moved(formula: Any, device: torch.device | str) -> Any:
    if isinstance(formula, nn.Module):
        return formula.to(device)
    if isinstance(formula, partial):
        moved = {
            key: value.to(device) if isinstance(value, Tensor) else _moved(value, device)
            for key, value in formula.keywords.items()
        }
        return partial(formula.func, *formula.args, **moved)
    return formula


# Links: what an output means.


def softmax(outputs: Float[Tensor, "batch class_"]) -> Float[Tensor, "batch class_"]:
    """Probabilities exp(z_c) / sum_k exp(z_k), [batch, class_]."""
    return outputs.softmax(dim=1)


def sigmoid_of_one(outputs: OneOutput) -> Float[Tensor, "batch 2"]:
    """One logit [batch, 1] or [batch] as two columns (1 - p, p)."""
    logit = outputs.reshape(-1)
    return torch.stack([(-logit).sigmoid(), logit.sigmoid()], dim=1)


def sigmoid_of_each(outputs: Float[Tensor, "batch class_"]) -> Float[Tensor, "batch class_"]:
    """An independent probability for each label, [batch, class_]."""
    return outputs.sigmoid()


def shares_of_one(outputs: OneOutput) -> Float[Tensor, "batch 2"]:
    """An output that already is a probability, clipped to [0, 1], as two columns."""
    share = outputs.reshape(-1).clamp(0, 1)
    return torch.stack([1 - share, share], dim=1)


def shares(outputs: Float[Tensor, "batch class_"]) -> Float[Tensor, "batch class_"]:
    """Outputs that already are probabilities: clipped at 0 and divided by their sum; all
    classes alike where the sum is 0."""
    clipped = outputs.clamp(min=0)
    total = clipped.sum(dim=1, keepdim=True)
    return torch.where(total > 0, clipped / total.clamp(min=1e-12), 1 / outputs.shape[1])


def clipped(outputs: Float[Tensor, "batch class_"]) -> Float[Tensor, "batch class_"]:
    """Independent outputs that already are probabilities, clipped to [0, 1]."""
    return outputs.clamp(0, 1)


def numbers(outputs: Outputs) -> Outputs:
    """Numbers as they are: [batch, 1] becomes [batch]."""
    return outputs.squeeze(1) if outputs.dim() == 2 else outputs


def rates(outputs: Outputs) -> Outputs:
    """Expected counts exp(z) from log rates."""
    return numbers(outputs).exp()
