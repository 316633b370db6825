"""What happens in somebody's training run? A watcher tied to a model and its optimisers by hooks:
it counts steps, chooses which to look at closely, and keeps what it saw."""

from collections.abc import Callable, Mapping, Sequence
from time import perf_counter
from types import TracebackType
from typing import Any, Protocol, Self

from torch import Tensor, nn
from torch.optim import Optimizer

from trainwright.core.history import History
from trainwright.core.phrases import phrase
from trainwright.store.contract import Reading
from trainwright.watch.attach import check_loss, check_models, claim, release
from trainwright.watch.budget import Purse
from trainwright.watch.course import Course
from trainwright.watch.flight import Flight, KeptBatch, Opening
from trainwright.watch.probes.criterion import LossCall
from trainwright.watch.record import Recorder
from trainwright.watch.share import SHARE, check_share


class RowBatch(Protocol):
    """What our own loop tells of a batch."""

    @property
    def rows(self) -> Tensor: ...


class Watcher:
    """Watches `model` (one or several) while `optimizer` (one, several, or None: weights are moved
    by hand, or one is adopted later) trains it, at no more than `budget` as a share of time.

    `loss`: the criterion; a module's outputs are collected each step. `sink` gets readings as
    they come. The first optimiser's steps are the run's steps. `sample_bytes` caps the opening's
    copied batches. Enter or `attach` to begin. Raises TrainwrightError for a model without
    parameters, a foreign optimiser, or a model that is watched already.
    """

    def __init__(
        self,
        model: nn.Module | Sequence[nn.Module],
        optimizer: Optimizer | Sequence[Optimizer] | None,
        *,
        loss: Callable[..., Any] | None = None,
        budget: float = SHARE,
        sink: Callable[[Sequence[Reading]], None] | None = None,
        sample_bytes: int = 8_000_000,
    ) -> None:
        self._models = [model] if isinstance(model, nn.Module) else list(model)
        check_models(self._models)
        check_share(budget)
        check_loss(loss)
        given: list[Any] = [] if optimizer is None else [optimizer]
        if isinstance(optimizer, Sequence):
            given = list(optimizer)
        self._purse, self._recorder = Purse(budget), Recorder(sink)
        self._opening = Opening(sample_bytes)
        self._course = Course(self._models, loss, self._purse, self._recorder, self._opening)
        for one in given:
            self._course.take(one)
        self._attached = False
        self._stopped: float | None = None

    def __enter__(self) -> Self:
        return self.attach()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.detach()

    def attach(self) -> Self:
        """Begin. Raises TrainwrightError when one of the models is watched already."""
        claim(self._models)
        self._attached, self._stopped = True, None
        self._course.begin()
        return self

    def detach(self) -> None:
        """End: no hook, no mode, no attribute is left behind; the record stays."""
        if not self._attached:
            return
        self._attached = False
        self._stopped = perf_counter()
        self._course.end()
        release(self._models)
        self._recorder.flush()
        self._stopped = perf_counter()

    def adopt(self, optimizer: Optimizer) -> None:
        """An optimiser that was made later; the first one counts the steps."""
        if not any(optimizer is o for o in self._course.optimizers):
            self._course.take(optimizer)

    def adopt_loss(self, loss: nn.Module) -> None:
        """Takes this module for the criterion from here on."""
        self._course.take_loss(loss)

    def loss(self, value: Tensor | float) -> None:
        """This step's loss, where a bare function computes it; once told, it is what counts."""
        self._course.tell_loss(value)

    def train(self, **metrics: float) -> None:
        """Training metrics at the end of an epoch."""
        self._recorder.tell("train", self.num_steps, {n: float(v) for n, v in metrics.items()})

    def valid(self, **metrics: float) -> None:
        """Validation metrics, whenever they were measured."""
        self._recorder.tell("valid", self.num_steps, {n: float(v) for n, v in metrics.items()})

    def after_step(self, loss: Tensor, rate: float, batches: Sequence[RowBatch] = ()) -> None:
        """For our own loop, which steps without torch's hooks: all optimisers have moved."""
        self._course.own_step(loss, rate, [b.rows for b in batches])

    def history(self) -> History:
        """Everything so far."""
        course = self._course
        course.flush()
        if self.num_steps == 0 and course.optimizers and len(course.losses.pending) > 3:
            course.guard.unseen["optimizer_step"] = phrase(
                "the optimiser took no step, though losses were computed"
            )
        if self.num_steps == 0 and not course.optimizers:
            course.guard.unseen["optimizer"] = phrase(
                "no torch optimiser took a step, and no weight moved by hand"
            )
        history = self._recorder.history(
            self.layers, num_steps=self.num_steps, overhead=self.overhead
        )
        history.unseen.update(self.unseen)  # pyright: ignore[reportAttributeAccessIssue]
        return history

    @property
    def num_steps(self) -> int:
        """Steps of the first optimiser so far, and those by hand before there was one."""
        return self._course.num_steps

    @property
    def flight(self) -> Flight:
        """Last batches, random states, a copy of the weights."""
        return self._course.flight

    @property
    def found_loss(self) -> LossCall | None:
        """The function of torch that was called on the model's outputs as a loss."""
        return self._course.found_loss

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the layers in order of execution."""
        return tuple(self._course.layers.names)

    @property
    def overhead(self) -> float:
        """The share of the time since attachment that watching took."""
        return self._purse.share_spent(self._stopped or perf_counter(), self.num_steps)

    @property
    def kept(self) -> tuple[KeptBatch, ...]:
        """The first batches, copied."""
        return tuple(self._opening.kept)

    @property
    def unseen(self) -> Mapping[str, str]:
        """What could not be seen, and why."""
        return self._course.guard.unseen | self._recorder.unseen
