"""How wrong is a predicted number? Losses for regression as formulas over outputs and targets: each
gives a scalar, or with `each=True` one value per example (the mean over its targets)."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from trainwright.loss.objective import Losses, Outputs

Numbers = Float[Tensor, " batch"] | Float[Tensor, "batch target"]


def squared(outputs: Outputs, target: Numbers, *, each: bool = False) -> Losses:
    """(y - z)^2: its minimiser is the mean. outputs [batch, 1] never broadcast on [batch]."""
    outputs = outputs.reshape(target.shape)
    if each:
        return _rows(functional.mse_loss(outputs, target, reduction="none"))
    return functional.mse_loss(outputs, target)


def absolute(outputs: Outputs, target: Numbers, *, each: bool = False) -> Losses:
    """|y - z|: its minimiser is the median."""
    outputs = outputs.reshape(target.shape)
    if each:
        return _rows(functional.l1_loss(outputs, target, reduction="none"))
    return functional.l1_loss(outputs, target)


def huber(outputs: Outputs, target: Numbers, *, delta: float, each: bool = False) -> Losses:
    """e^2 / 2 for |e| <= delta, else delta (|e| - delta / 2). Source: Huber 1964."""
    outputs = outputs.reshape(target.shape)
    if each:
        return _rows(functional.huber_loss(outputs, target, reduction="none", delta=delta))
    return functional.huber_loss(outputs, target, delta=delta)


def quantile(outputs: Outputs, target: Numbers, *, quantile: float, each: bool = False) -> Losses:
    """max(q e, (q - 1) e) with e = y - z: its minimiser is the q-quantile.

    Source: Koenker & Bassett 1978.
    """
    error = target - outputs.reshape(target.shape)
    losses = torch.maximum(quantile * error, (quantile - 1) * error)
    return _rows(losses) if each else losses.mean()


def poisson(outputs: Outputs, target: Numbers, *, each: bool = False) -> Losses:
    """exp(z) - y z, the negative log-likelihood of counts y >= 0 at rate exp(z), without ln y!."""
    outputs = outputs.reshape(target.shape)
    losses = outputs.exp() - target * outputs
    return _rows(losses) if each else losses.mean()


def _rows(losses: Numbers) -> Float[Tensor, " batch"]:
    return losses if losses.dim() == 1 else losses.flatten(1).mean(dim=1)
