"""What is a clinic program? Ordinary PyTorch objects and somebody's plain loop, rebuilt bit for bit
from a seed; healthy, or with one fault planted in it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from clinic.score import Score, skill_of_classes

VALIDATIONS = 10  # per run: as often as a user's epochs in a run of this length


class Observer(Protocol):
    """What a watcher may be told from inside the loop; `watch` has both methods."""

    def loss(self, value: Tensor) -> None: ...
    def valid(self, *, loss: float, **metrics: float) -> None: ...


class Silent:
    """An observer that looks away."""

    def loss(self, value: Tensor) -> None:
        """Nothing is kept."""

    def valid(self, *, loss: float, **metrics: float) -> None:
        """Nothing is kept."""


@dataclass(slots=True, kw_only=True)
class Built:
    """The objects of one program, fresh from a seed; plants change them before training.

    X, Xv [example, …] inputs; y, yv targets as the loss takes them. `truth` are the inputs and
    targets of clean test data on which harm is judged, where the user's own validation is spoilt
    by the fault; None: the validation data. `body` does one step.
    """

    model: nn.Module
    loss: Callable[[Any, Tensor], Tensor]
    optimizer: torch.optim.Optimizer
    X: Tensor
    y: Tensor
    Xv: Tensor
    yv: Tensor
    batch_size: int
    steps: int
    seed: int = 0
    body: "Body | None" = None
    score: Score = skill_of_classes
    metric: str = "accuracy"
    truth: tuple[Tensor, Tensor] | None = None
    scheduler: Any = None
    scheduler_per: str = "step"
    shuffle: bool = True
    trains_in: str = "train"  # mode of the model while it trains, and while it is validated
    validates_in: str = "eval"

    def batches(self, generator: torch.Generator) -> Iterator[Tensor]:
        """Row numbers of one epoch; the last batch may be smaller."""
        count = len(self.X)
        order = torch.randperm(count, generator=generator) if self.shuffle else torch.arange(count)
        yield from order.split(self.batch_size)


Body = Callable[[Built, Tensor, Tensor, int], Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """One program of the clinic.

    `fault` is the rule code of what was planted, None in a healthy one; `accepted` are other codes
    that are as right an answer. `twin` names the same program without the fault. `learns` is the
    skill (0 = constant answer, 1 = perfect) that a healthy one must exceed. `harm` says whether
    `score` can show the fault's harm: not where the fault flatters the score, for instance.
    """

    name: str
    family: str
    make: Callable[[int], Built]
    fault: str | None = None
    kind: str = ""
    accepted: tuple[str, ...] = ()
    twin: str | None = None
    learns: float = 0.2
    harm: bool = True

    def build(self, seed: int = 0) -> Built:
        """The same objects, to the bit, for the same seed; the global generator is left alone."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return replace(self.make(seed), seed=seed)

    def right(self, code: str) -> bool:
        """Whether `code` names what was planted."""
        return self.fault is not None and code in (self.fault, *self.accepted)


def plain_step(built: Built, x: Tensor, y: Tensor, step: int) -> Tensor:
    """Clear, forward, backward, update: the four lines of every tutorial."""
    built.optimizer.zero_grad()
    loss = built.loss(built.model(x), y)
    loss.backward()
    built.optimizer.step()
    return loss


def train(built: Built, observer: Observer | None = None) -> None:
    """The user's loop: epochs of batches until `steps` steps are done, validation now and then."""
    observer = observer or Silent()
    body = built.body or plain_step
    torch.manual_seed(built.seed)
    generator = torch.Generator().manual_seed(built.seed)
    every = max(1, built.steps // VALIDATIONS)
    step = 0
    set_mode(built.model, built.trains_in)
    while step < built.steps:
        for rows in built.batches(generator):
            loss = body(built, built.X[rows], built.y[rows], step)
            if not isinstance(built.loss, nn.Module):
                observer.loss(loss.detach())
            if built.scheduler is not None and built.scheduler_per == "step":
                built.scheduler.step()
            step += 1
            if step % every == 0:
                validate(built, observer)
            if step == built.steps:
                break
        if built.scheduler is not None and built.scheduler_per == "epoch":
            built.scheduler.step()


def validate(built: Built, observer: Observer) -> None:
    """Loss and score on the validation data, told to the observer; back to training mode."""
    set_mode(built.model, built.validates_in)
    with torch.no_grad():
        outputs = built.model(built.Xv)
        loss = float(built.loss(outputs, built.yv))
    observer.valid(loss=loss, **{built.metric: built.score(outputs, built.yv).raw})
    set_mode(built.model, built.trains_in)


def skill(built: Built) -> float:
    """How well the model answers clean data: 0 as the best constant answer, 1 perfectly."""
    x, y = built.truth or (built.Xv, built.yv)
    set_mode(built.model, built.validates_in)
    with torch.no_grad():
        return built.score(built.model(x), y).skill


def set_mode(model: nn.Module, mode: str) -> None:
    """Train or eval mode, by word."""
    model.train(mode == "train")
