"""Which exams are about the loss? Head and criterion repaired, penalties off, and whether a tiny
step down the gradient lowers it."""

import math
from dataclasses import replace

import torch
from torch import Tensor, nn

from trainwright.check.sample import Sample
from trainwright.core.phrases import phrase
from trainwright.edit.loop import loss_of, take_step
from trainwright.edit.program import Program
from trainwright.exam.arms import answer_of, compared
from trainwright.exam.data import edited
from trainwright.exam.exam import Answer, Likelihood, Question, Terms, not_here

TINY = 1e-3  # of the loss that a step is to take away: the loss is straight that near [assumed]
AS_TOLD = 0.1  # of the predicted fall that must come [assumed]


def penalty_off(program: Program, terms: Terms) -> Answer:
    """No penalty and no weight decay."""
    decay = float(program.optimizer.settings.get("weight_decay") or 0.0)
    if not program.habits.penalties and not decay:
        raise not_here("penalty_off", phrase("it has neither a penalty nor weight decay"))
    plan = program.optimizer.turned(weight_decay=0.0) if decay else program.optimizer
    bare = replace(program.turned(penalties=()), optimizer=plan)
    return answer_of(program, compared(program, bare, terms))


def tiny_step_downhill(program: Program, terms: Terms) -> Answer:
    """From a fresh start: a step of TINY of the loss along minus the gradient, and one along the
    loop's own update made as small, on the batch that they were computed from.

    Both must take away at least AS_TOLD of what the gradient predicts.
    """
    batch = program.few()
    model, optimizer = _started(program, terms.seed)
    start = [p.detach().clone() for p in model.parameters()]
    loss = _loss(program, model, batch, terms.seed)
    gradients = torch.autograd.grad(loss, [p for p in model.parameters() if p.requires_grad],
                                    allow_unused=True)  # fmt: skip
    slopes = iter(gradients)
    gradient = [_or_zero(next(slopes), p) if p.requires_grad else torch.zeros_like(p)
                for p in model.parameters()]  # fmt: skip
    before = float(loss.detach())
    length = sum(float((g.double() ** 2).sum()) for g in gradient)
    values: dict[str, float | str] = {"loss": before, "gradient": math.sqrt(length)}
    if not math.isfinite(before + length) or length == 0:
        return Answer(verdict="no", values={**values, "fell": 0.0, "own_fell": 0.0})
    fell = _fall(program, model, start, [-g for g in gradient], gradient, batch, terms.seed)
    _put(model, start)
    take_step(program, model, optimizer, iter(lambda: batch, None))
    update = [p.detach() - s for p, s in zip(model.parameters(), start, strict=True)]
    own = _fall(program, model, start, update, gradient, batch, terms.seed)
    good = fell >= AS_TOLD and own >= AS_TOLD
    return Answer(verdict="yes" if good else "no", values={**values, "fell": fell, "own_fell": own})


def _or_zero(gradient: Tensor | None, parameter: Tensor) -> Tensor:
    return torch.zeros_like(parameter) if gradient is None else gradient


def _started(program: Program, seed: int) -> tuple[nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(seed)
    model, optimizer = program.start(seed)
    model.train(program.habits.trains)
    return model, optimizer


def _fall(
    program: Program, model: nn.Module, start: list[Tensor], direction: list[Tensor],
    gradient: list[Tensor], batch: Sample, seed: int,
) -> float:  # fmt: skip
    """The fall of the loss along `direction` over the fall that its size promises downhill: 1 where
    the loss is straight, negative where it rises, 0 where nothing moves."""
    slope = sum(float((g.double() * d.double()).sum())
                for g, d in zip(gradient, direction, strict=True))  # fmt: skip
    before = float(_loss(program, _put(model, start), batch, seed).detach())
    if slope == 0 or not math.isfinite(slope):
        return 0.0
    scale = TINY * max(abs(before), 1e-6) / abs(slope)
    moved = [s + scale * d for s, d in zip(start, direction, strict=True)]
    after = float(_loss(program, _put(model, moved), batch, seed).detach())
    return (before - after) / (scale * abs(slope))


def _put(model: nn.Module, values: list[Tensor]) -> nn.Module:
    with torch.no_grad():
        for parameter, value in zip(model.parameters(), values, strict=True):
            parameter.copy_(value)
    return model


def _loss(program: Program, model: nn.Module, batch: Sample, seed: int) -> Tensor:
    """With the same dropout each time."""
    torch.manual_seed(seed)
    return loss_of(program, model, batch)


QUESTIONS = (
    Question(name="repaired_head", work=edited("repaired_head", "pair_head_and_loss"), trainings=4,
             about={"L301": Likelihood(0.78, 0.09, 5, 12), "L302": Likelihood(0.95, 0.23, 7, 7),
                    "L303": Likelihood(0.54, 0.19, 7, 10)}),
    Question(name="penalty_off", work=penalty_off, trainings=4,
             about={"L307": Likelihood(0.95, 0.53, 7, 4), "M209": Likelihood(0.92, 0.06, 11, 0)}),
    Question(name="tiny_step_downhill", work=tiny_step_downhill, steps=8,
             about={"A407": Likelihood(0.2, 0.99, 7, 9), "L306": Likelihood(0.13, 0.98, 7, 4),
                    "A414": Likelihood(0.1, 0.99, 0, 6), "A411": Likelihood(0.5, 0.61, 0, 9)}),
)  # fmt: skip
