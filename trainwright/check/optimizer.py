"""What does the optimiser hold, and how is it set? Which of the model's parameters it misses, and
which of its parameters are another model's."""

from collections.abc import Sequence

from torch import nn
from torch.optim import Optimizer

from trainwright.core.facts import OptimizerFacts


def optimizer_facts(
    model: nn.Module, optimizers: Optimizer | Sequence[Optimizer]
) -> OptimizerFacts:
    """Settings are those of the first group of the first optimiser."""
    several = [optimizers] if isinstance(optimizers, Optimizer) else list(optimizers)
    names = {id(p): n for n, p in model.named_parameters()}
    held = [p for o in several for g in o.param_groups for p in g["params"]]
    times: dict[int, int] = {}
    for parameter in held:
        times[id(parameter)] = times.get(id(parameter), 0) + 1
    group = several[0].param_groups[0]
    betas, momentum = group.get("betas"), group.get("momentum")
    return OptimizerFacts(
        name=type(several[0]).__name__, learning_rate=float(group["lr"]),
        momentum=None if momentum is None else float(momentum),
        betas=(float(betas[0]), float(betas[1])) if betas is not None else None,
        eps=float(group["eps"]) if group.get("eps") is not None else None,
        weight_decay=float(group.get("weight_decay") or 0.0),
        maximize=bool(group.get("maximize", False)),
        missing=tuple(n for n, p in model.named_parameters()
                      if p.requires_grad and id(p) not in times),
        foreign=sum(i not in names for i in times),
        twice=tuple(n for i, n in names.items() if times.get(i, 0) > 1),
    )  # fmt: skip
