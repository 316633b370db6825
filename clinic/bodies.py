"""What do users write between the batch and the update? Bodies of one step: sound ones (clipping,
accumulation, autocast, closures, averages, penalties) and the ones that go wrong."""

import copy

import torch
from torch import Tensor, nn

from clinic.program import Body, Built
from clinic.score import answers


def clipped(max_norm: float) -> Body:
    """Global norm clipping before the update."""

    def body(built: Built, x: Tensor, y: Tensor, step: int) -> Tensor:
        built.optimizer.zero_grad()
        loss = built.loss(built.model(x), y)
        loss.backward()
        nn.utils.clip_grad_norm_(built.model.parameters(), max_norm)
        built.optimizer.step()
        return loss

    return body


def accumulating(parts: int) -> Body:
    """The batch in `parts` micro-batches, one update."""

    def body(built: Built, x: Tensor, y: Tensor, step: int) -> Tensor:
        built.optimizer.zero_grad()
        total = torch.zeros(())
        for xs, ys in zip(x.chunk(parts), y.chunk(parts), strict=True):
            loss = built.loss(built.model(xs), ys) * (len(xs) / len(x))
            loss.backward()
            total = total + loss.detach()
        built.optimizer.step()
        return total

    return body


def autocast_step(built: Built, x: Tensor, y: Tensor, step: int) -> Tensor:
    """Forward under bfloat16 autocast."""
    built.optimizer.zero_grad()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = built.loss(built.model(x), y)
    loss.backward()
    built.optimizer.step()
    return loss


def closure_step(built: Built, x: Tensor, y: Tensor, step: int) -> Tensor:
    """LBFGS: the optimiser calls forward and backward itself."""

    def closure() -> Tensor:
        built.optimizer.zero_grad()
        loss = built.loss(built.model(x), y)
        loss.backward()
        return loss

    return built.optimizer.step(closure)  # pyright: ignore


def averaging(decay: float) -> Body:
    """An exponential average of the weights beside the trained ones."""
    average: list[nn.Module] = []

    def body(built: Built, x: Tensor, y: Tensor, step: int) -> Tensor:
        if step == 0:
            average[:] = [copy.deepcopy(built.model)]
        built.optimizer.zero_grad()
        loss = built.loss(built.model(x), y)
        loss.backward()
        built.optimizer.step()
        with torch.no_grad():
            for mean, p in zip(average[0].parameters(), built.model.parameters(), strict=True):
                mean.lerp_(p, 1 - decay)
        return loss

    return body


def penalised(weight: float, power: int = 2) -> Body:
    """The criterion plus `weight` times the sum of |w|^power over all parameters."""

    def body(built: Built, x: Tensor, y: Tensor, step: int) -> Tensor:
        built.optimizer.zero_grad()
        penalty = sum(p.abs().pow(power).sum() for p in built.model.parameters())
        loss = built.loss(built.model(x), y) + weight * penalty
        loss.backward()
        built.optimizer.step()
        return loss

    return body


def calming(weight: float) -> Body:
    """The criterion plus `weight` times the mean square of the outputs, an auxiliary term."""

    def body(built: Built, x: Tensor, y: Tensor, step: int) -> Tensor:
        built.optimizer.zero_grad()
        outputs = built.model(x)
        loss = built.loss(outputs, y) + weight * answers(outputs).square().mean()
        loss.backward()
        built.optimizer.step()
        return loss

    return body


def mixed_up(alpha: float) -> Body:
    """Mixup: convex pairs of examples, the loss as the same mixture."""

    def body(built: Built, x: Tensor, y: Tensor, step: int) -> Tensor:
        share = float(torch.distributions.Beta(alpha, alpha).sample())
        other = torch.randperm(len(x))
        built.optimizer.zero_grad()
        outputs = built.model(share * x + (1 - share) * x[other])
        loss = share * built.loss(outputs, y) + (1 - share) * built.loss(outputs, y[other])
        loss.backward()
        built.optimizer.step()
        return loss

    return body


def never_clearing(built: Built, x: Tensor, y: Tensor, step: int) -> Tensor:
    """zero_grad is forgotten: gradients add up for ever."""
    loss = built.loss(built.model(x), y)
    loss.backward()
    built.optimizer.step()
    return loss


def stepping_first(built: Built, x: Tensor, y: Tensor, step: int) -> Tensor:
    """The update comes after zero_grad and before backward: it sees no gradient."""
    built.optimizer.zero_grad()
    loss = built.loss(built.model(x), y)
    built.optimizer.step()
    loss.backward()
    return loss


def clearing_late(built: Built, x: Tensor, y: Tensor, step: int) -> Tensor:
    """zero_grad stands between backward and the update."""
    loss = built.loss(built.model(x), y)
    loss.backward()
    built.optimizer.zero_grad()
    built.optimizer.step()
    return loss


def never_stepping(built: Built, x: Tensor, y: Tensor, step: int) -> Tensor:
    """The optimiser's step is never called."""
    built.optimizer.zero_grad()
    loss = built.loss(built.model(x), y)
    loss.backward()
    return loss
