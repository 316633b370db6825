"""How is a usual program put together? One record of choices (data, network, criterion, optimiser,
loop) and the function that builds it: faults change a choice, `generate` draws them."""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import nn

from clinic import bodies, score
from clinic.data import Data, load
from clinic.losses import LOSSES, OnDict, targets_for
from clinic.models import Options, Shape, network
from clinic.program import Body, Built, plain_step

BODIES: dict[str, Callable[[], Body]] = {
    "plain": lambda: plain_step,
    "clip_1": lambda: bodies.clipped(1.0),
    "clip_5": lambda: bodies.clipped(5.0),
    "clip_tiny": lambda: bodies.clipped(1e-4),
    "accumulate_4": lambda: bodies.accumulating(4),
    "autocast": lambda: bodies.autocast_step,
    "closure": lambda: bodies.closure_step,
    "average": lambda: bodies.averaging(0.99),
    "mixup": lambda: bodies.mixed_up(0.2),
    "penalty_small": lambda: bodies.penalised(1e-5),
    "penalty_squares": lambda: bodies.penalised(0.3),
    "penalty_absolute": lambda: bodies.penalised(0.03, power=1),
    "calm_small": lambda: bodies.calming(1e-3),
    "calm_large": lambda: bodies.calming(100.0),
    "never_clear": lambda: bodies.never_clearing,
    "step_first": lambda: bodies.stepping_first,
    "clear_late": lambda: bodies.clearing_late,
    "never_step": lambda: bodies.never_stepping,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """The choices of one program. `extra` are further arguments of the optimiser."""

    data: str = "digits"
    architecture: str = "mlp"
    options: Options = field(default_factory=Options)
    loss: str = "cross_entropy"
    optimizer: str = "adam"
    learning_rate: float = 1e-3
    extra: tuple[tuple[str, float | bool], ...] = ()
    schedule: str | None = None
    schedule_per: str = "step"
    body: str = "plain"
    batch_size: int = 64
    steps: int = 400
    trains_in: str = "train"
    validates_in: str = "eval"
    outputs: int | None = None  # of the head, where it is not what the data asks


OPTIMIZERS: dict[str, type[torch.optim.Optimizer]] = {
    "sgd": torch.optim.SGD,
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "rmsprop": torch.optim.RMSprop,
    "adagrad": torch.optim.Adagrad,
    "lbfgs": torch.optim.LBFGS,
}


def assemble(setting: Setting, seed: int) -> Built:
    """The objects of `setting`; the caller has seeded torch."""
    data = load(setting.data, seed)
    named = LOSSES[setting.loss]
    shape = Shape(inputs=tuple(data.X.shape[1:]), outputs=setting.outputs or data.num_outputs)
    model = network(setting.architecture, shape, setting.options)
    loss = named.make()
    if setting.architecture == "functional" and isinstance(loss, nn.Module):
        loss = OnDict(loss)
    optimizer = optimizer_of(setting, model)
    return Built(
        model=model,
        loss=loss,
        optimizer=optimizer,
        X=data.X,
        y=targets_for(named.targets, data.y, data.num_outputs),
        Xv=data.Xv,
        yv=targets_for(named.targets, data.yv, data.num_outputs),
        batch_size=min(setting.batch_size, len(data.X)),
        steps=setting.steps,
        body=BODIES[setting.body](),
        score=named.score or _score_of(data),
        metric="r2" if data.task == "numbers" else "accuracy",
        scheduler=schedule_of(setting, optimizer),
        scheduler_per=setting.schedule_per,
        trains_in=setting.trains_in,
        validates_in=setting.validates_in,
    )


def optimizer_of(setting: Setting, model: nn.Module) -> torch.optim.Optimizer:
    """The optimiser over the parameters that ask for a gradient."""
    trainable = [p for p in model.parameters() if p.requires_grad]
    kind = OPTIMIZERS[setting.optimizer]
    return kind(trainable, lr=setting.learning_rate, **dict(setting.extra))  # pyright: ignore


def schedule_of(setting: Setting, optimizer: torch.optim.Optimizer) -> object | None:
    """The learning rate schedule by name."""
    schedules = torch.optim.lr_scheduler
    match setting.schedule:
        case None:
            return None
        case "cosine":
            return schedules.CosineAnnealingLR(optimizer, setting.steps)
        case "one_cycle":
            rate = setting.learning_rate
            return schedules.OneCycleLR(optimizer, max_lr=rate, total_steps=setting.steps + 1)
        case "warmup_half":
            return schedules.LambdaLR(optimizer, lambda s: min(1, (s + 1) / (setting.steps / 2)))
        case "warmup_endless":
            return schedules.LambdaLR(optimizer, lambda s: min(1, (s + 1) / 200_000))
        case "step_tenth":  # by epoch
            return schedules.StepLR(optimizer, step_size=10, gamma=0.1)
        case "halve":  # meant once an epoch
            return schedules.StepLR(optimizer, step_size=1, gamma=0.5)
        case "exponential":
            return schedules.ExponentialLR(optimizer, gamma=0.9)
        case "starved":  # the rate is a thousandth after 3 % of the run
            cut = max(3, setting.steps // 33)
            return schedules.LambdaLR(optimizer, lambda s: 1.0 if s < cut else 1e-4)
    raise AssertionError(f"no schedule {setting.schedule!r}")


def _score_of(data: Data) -> score.Score:
    match data.task:
        case "classes":
            return score.skill_of_classes
        case "binary":
            return score.skill_of_logit
    return score.skill_of_number
