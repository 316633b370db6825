"""What happens in somebody's training run? A watcher tied to a model and its optimisers by hooks:
it counts steps, chooses which to look at closely, and keeps what it saw."""

import math
from collections.abc import Callable, Mapping, Sequence
from time import perf_counter
from types import TracebackType
from typing import Any, Protocol, Self

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from trainwright.core.errors import TrainwrightError
from trainwright.core.history import History
from trainwright.core.phrases import phrase
from trainwright.store.contract import Reading
from trainwright.watch.attach import (
    Guard,
    check_models,
    check_optimizer,
    claim,
    frames_compiled,
    is_compiled,
    release,
    wraps_compiled,
)
from trainwright.watch.budget import Purse, looks_odd, odd_above
from trainwright.watch.flight import RING, Flight, KeptBatch, Opening
from trainwright.watch.lasting import LastingHooks
from trainwright.watch.probes.collect import Activity
from trainwright.watch.probes.criterion import LossCall, by_example
from trainwright.watch.probes.layers import Layers
from trainwright.watch.probes.weights import Norms, Slot, slots_of
from trainwright.watch.probes.window import Window
from trainwright.watch.record import LossBuffer, Noise, Recorder
from trainwright.watch.sampled import SampledStep

LOSS_BLOCK = 256  # losses are moved together [measured: 0.2 us a step]
TIMED_STEPS = 16  # plain steps after a sample that are timed, to compare sampled ones with
SNAPSHOT_SECONDS = 5.0
SMALL_BYTES = 4_000_000  # weights that are copied at attachment, in about a millisecond
COPY_BYTES_PER_SECOND = 2e9  # [assumed] for the price of a snapshot


class RowBatch(Protocol):
    """What our own loop tells of a batch."""

    @property
    def rows(self) -> Tensor: ...


class Watcher:
    """Watches `model` (one or several) while `optimizer` (one, several, or None: adopted later)
    trains it, at no more than `budget` as a share of time.

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
        budget: float = 0.02,
        sink: Callable[[Sequence[Reading]], None] | None = None,
        sample_bytes: int = 8_000_000,
    ) -> None:
        self._models = [model] if isinstance(model, nn.Module) else list(model)
        check_models(self._models)
        if not 0 < budget <= 1:
            raise TrainwrightError(
                phrase("budget is {budget}", budget=budget),
                allowed=phrase("a share of time above 0, at most 1"),
                do=phrase("leave it out (0.02), or write for example {example}", example=0.05),
            )
        given = [optimizer] if isinstance(optimizer, Optimizer) else list(optimizer or [])
        self._layers = Layers(self._models)
        self._slots: list[Slot] = []
        self._optimizers: list[Optimizer] = []
        for one in given:
            self._take(one)
        self._criterion = loss
        self.found_loss: LossCall | None = None  # what torch function got the outputs as a loss
        self._purse = Purse(budget)
        self._recorder = Recorder(sink)
        self._activity, self._noise, self._norms = Activity(), Noise(), Norms()
        self.flight = Flight()
        self._opening = Opening(sample_bytes)
        self._guard = Guard()
        self._lasting = LastingHooks(self._guard)
        self._window = Window(self._layers, self._guard.complain)
        self._sampling: SampledStep | None = None
        self._attached = self._own = self._second = self._told = False
        self._root_called = self._open_early = False
        self._cuda = any(p.is_cuda for p in self._layers.parameters)
        self._bytes = sum(p.numel() * p.element_size() for p in self._layers.parameters)
        self._losses = LossBuffer(self._recorder)
        self._odd_above = math.inf  # a loss beyond this is looked at at once
        self._last_sampled = -1
        self._next = self._wake = 1
        self._quiet_until, self._timed = 0, False
        self._last_end = self._last_snapshot = 0.0
        self._stopped: float | None = None
        self.num_steps = 0

    # what the user calls ----------------------------------------------------------------------

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
        began = perf_counter()
        self._attached, self._stopped = True, None
        self._compiled = any(is_compiled(m) for m in self._models)
        self._frames = frames_compiled()
        self._lasting.calibrate()
        self._purse.begin(began)
        self._roots = [m for m in self._models if not self._compiled or wraps_compiled(m)]
        self._lasting.add_roots(self._roots, self._forward_begins)
        if isinstance(self._criterion, nn.Module):
            self._lasting.add_criterion(self._criterion, self._criterion_ran)
        self._no_layers = (
            phrase("the model is compiled: its layers are seen by their weights only")
            if self._compiled
            else ""
        )
        self._last_end = perf_counter()
        if self._optimizers:
            self._begin_steps()
        self._purse.pay(perf_counter() - began)
        return self

    def detach(self) -> None:
        """End: no hook, no mode, no attribute is left behind; the record stays."""
        if not self._attached:
            return
        self._attached = False
        self._stopped = perf_counter()
        self._window_away()
        if self._sampling is not None:
            self._sampling.remove()
            self._sampling = None
        self._lasting.remove()
        release(self._models)
        try:
            self._losses.close_steps(self.num_steps)
            self._losses.flush()
            self._recorder.flush()
        except Exception as error:
            self._guard.complain("loss", error)
        for slot in self._slots:
            slot.forget()
        self._stopped = perf_counter()

    def adopt(self, optimizer: Optimizer) -> None:
        """An optimiser that was made later; the first one counts the steps."""
        if any(optimizer is o for o in self._optimizers):
            return
        self._take(optimizer)
        if self._attached and len(self._optimizers) == 1:
            self._begin_steps()

    def adopt_loss(self, loss: nn.Module) -> None:
        """Takes this module for the criterion from here on."""
        self._criterion = loss
        if self._attached and not self._told and "criterion" not in self._lasting:
            self._lasting.add_criterion(loss, self._criterion_ran)
            self._lasting.price(self._purse, self.num_steps)

    def loss(self, value: Tensor | float) -> None:
        """This step's loss, where a bare function computes it; once told, it is what counts."""
        if not self._told:
            self._told = True
            self._lasting.drop(self._purse, "criterion", self.num_steps)
        self._note_loss(value)

    def train(self, **metrics: float) -> None:
        """Training metrics at the end of an epoch."""
        self._recorder.tell("train", self.num_steps, {n: float(v) for n, v in metrics.items()})

    def valid(self, **metrics: float) -> None:
        """Validation metrics, whenever they were measured."""
        self._recorder.tell("valid", self.num_steps, {n: float(v) for n, v in metrics.items()})

    def after_step(self, loss: Tensor, rate: float, batches: Sequence[RowBatch] = ()) -> None:
        """For our own loop, which steps without torch's hooks: all optimisers have moved."""
        if not self._own:
            self._own = True
            for name in ("counter", "root"):
                self._lasting.drop(self._purse, name, self.num_steps)
            self._lasting.call_each_step(self._purse)
            self.flight.clear()
        if batches:
            self.flight.note_rows(self.num_steps + 1, [b.rows for b in batches])
        self._note_loss(loss)
        sampling = self._sampling
        if sampling is not None:
            sampling.rate = rate
            self._guard.safely("update", sampling.own_update)
        self._stepped()

    def history(self) -> History:
        """Everything so far."""
        self._losses.close_steps(self.num_steps)
        self._losses.flush()
        if self.num_steps == 0 and self._optimizers and len(self._losses.pending) > 3:
            self._guard.unseen["optimizer_step"] = phrase(
                "the optimiser took no step, though losses were computed"
            )
        history = self._recorder.history(
            self.layers, num_steps=self.num_steps, overhead=self.overhead
        )
        history.unseen.update(self.unseen)  # pyright: ignore[reportAttributeAccessIssue]
        return history

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the layers in order of execution."""
        return tuple(self._layers.names)

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
        return self._guard.unseen | self._recorder.unseen

    # each step ---------------------------------------------------------------------------------

    def _stepped(self, *_: Any) -> None:
        """After each step of the first optimiser; but for the steps that follow a sample, where
        plain steps are timed, it returns at once until there is something to do."""
        step = self.num_steps = self.num_steps + 1
        if step < self._quiet_until:
            return
        self._losses.close_steps(step)
        if self._sampling is not None:
            self._guard.safely("sampled step", self._finish)
            self._timed = False
        else:
            self._last_end = now = perf_counter()
            if not self._timed:
                self._purse.ends.append(now)
                self._timed = len(self._purse.ends) > TIMED_STEPS
        if step >= self._wake:
            self._guard.safely("sampling", self._wake_up)
        self._quiet_until = self._wake if self._timed else 0

    def _note_loss(self, loss: Tensor | float) -> None:
        """Numbers at once where that needs no waiting; tensors of other devices stay tensors."""
        if isinstance(loss, Tensor):
            if not loss.is_cpu or loss.numel() != 1:
                self._losses.pending.append(loss.detach())
                return
            loss = loss.item()
        self._losses.pending.append(loss)
        if not -math.inf < loss <= self._odd_above:
            self._look_at(loss)

    def _look_at(self, loss: float) -> None:
        """A loss beyond those before it, or one that is not finite, for the first time."""
        finite = math.isfinite(loss)
        self._quiet_until = 0
        if finite or self._recorder.losses.first_nonfinite is None:
            self._wake = 0
        if not finite and not self.flight.frozen:
            self._guard.safely("snapshot", self._freeze)  # the weights that made it are there

    def _freeze(self) -> None:
        self.flight.freeze(self.num_steps, self._models)

    def _criterion_ran(self, module: nn.Module, args: Sequence[Any], out: Any) -> None:
        if isinstance(out, Tensor) and out.requires_grad:
            if len(args) > 1:
                self.flight.target = (self.num_steps + 1, args[1])
            if out.is_cpu and out.dim() == 0:  # `_note_loss`, a call less
                loss = out.item()
                self._losses.pending.append(loss)
                if not -math.inf < loss <= self._odd_above:
                    self._look_at(loss)
            else:
                self._note_loss(out)
            sampling = self._sampling
            if sampling is not None and len(args) > 1 and sampling.probe.pair is None:
                sampling.probe.own_pair(args[0], args[1])

    def _forward_begins(
        self, module: nn.Module, args: tuple[Any, ...], named: Mapping[str, Any]
    ) -> None:
        if not torch.is_grad_enabled():
            return
        flight = self.flight
        flight.ring[flight.position % RING] = (self.num_steps + 1, args, named)
        flight.position += 1
        if self._sampling is not None:
            self._sampled_forward(self._sampling, args, named)

    def _sampled_forward(
        self, sampling: SampledStep, args: tuple[Any, ...], named: Mapping[str, Any]
    ) -> None:
        began = perf_counter()
        was, self._window.active = self._window.active, False
        first = sampling.seconds_forward is None
        sampling.forward_begins([*args, *named.values()])
        self._root_called = True
        if first:
            self.flight.note_random(sampling.step, cuda=self._cuda)
            if self._purse.in_opening and not self._own:
                self._opening.take(args, named)
        self._window.active = was
        if not self._window.is_open and not self._no_layers:
            self._open_window(sampling)
        sampling.direct += perf_counter() - began

    # sampled steps ------------------------------------------------------------------------------

    def _begin_steps(self) -> None:
        self._lasting.add_counter(self._optimizers[0], self._stepped)
        self._lasting.price(self._purse, self.num_steps)
        if self._bytes <= SMALL_BYTES:
            self.flight.take_snapshot(self.num_steps, self._models)
        self._last_snapshot = perf_counter()
        self._arm()

    def _arm(self) -> None:
        """The next step is sampled."""
        began = perf_counter()
        sampling = SampledStep(
            self.num_steps + 1,
            self._layers,
            self._activity,
            self._window,
            self._slots,
            began=self._last_end,
            last_sampled=self._last_sampled,
        )
        sampling.probe.complain = self._guard.complain
        sampling.install(self._roots, self._guard.hook, first=self._optimizers[0])
        if "root" not in self._lasting:
            for root in self._roots:
                hook = self._guard.hook("flight recorder", self._forward_begins)
                sampling.keep(root.register_forward_pre_hook(hook, with_kwargs=True))
        if (
            "criterion" not in self._lasting
            and isinstance(self._criterion, nn.Module)
            and not self._told
        ):
            hook = self._guard.hook("loss", self._criterion_ran)
            sampling.keep(self._criterion.register_forward_hook(hook))
        if self._own or self.num_steps == 0:
            for slot in self._slots:
                slot.keep_weights()
        self._sampling = sampling
        # nobody knows yet whether the root itself will be called
        if (self._open_early or self.num_steps == 0) and not self._no_layers:
            self._open_window(sampling)
        sampling.direct += perf_counter() - began

    def _open_window(self, sampling: SampledStep) -> None:
        if not self._window.open(sampling.probe):
            self._guard.unseen["layers"] = phrase(
                "another mode of torch was active: layers were not seen on some steps"
            )

    def _window_away(self) -> None:
        if not self._window.close():
            self._guard.unseen["layers"] = phrase(
                "steps and forwards run in different threads: layers are not seen"
            )
            self._no_layers = self._guard.unseen["layers"]

    def _finish(self) -> None:
        """The sampled step is over: read, record, settle the bill, plan the next."""
        began = perf_counter()
        sampling, self._sampling = self._sampling, None
        assert sampling is not None, "only called on a sampled step"
        try:
            sampling.seconds_end = began
            sampling.remove()
            self._window_away()
            if not self._own:
                sampling.updated(self._slots[0])
                sampling.rate = float(self._optimizers[0].param_groups[0].get("lr", float("nan")))
            with torch.no_grad():
                layer, numbers = sampling.finish(
                    self._losses.of_step(self.num_steps), self._noise, self._norms
                )
            self._recorder.sample(self.num_steps, layer, numbers)
            pair, outputs = sampling.probe.pair, sampling.probe.root_outputs
            output, call = outputs[-1] if outputs else None, sampling.probe.loss_call
            if self.found_loss is None and call is not None and output is not None:
                self.found_loss = call if call.is_on(output) else None
            self._opening.close(
                sampling.step, output, by_example(pair[2] if pair else None, output)
            )
            if looks_odd([*self._recorder.losses.recent, numbers["loss"]]):
                self._purse.alarm()
            if not self._losses.steps and sampling.loss_seen:
                self._recorder.add_losses([self.num_steps], [numbers["loss"]])
            self._after_sample(sampling)
        finally:
            self._last_sampled = self.num_steps
            self._last_end = ended = perf_counter()
            direct = sampling.direct + ended - began
            self._purse.settle(began=sampling.began, ended=ended, direct=direct)
            self._plan(ended)

    def _after_sample(self, sampling: SampledStep) -> None:
        """What is learned from the first samples, and the snapshot when it is due and paid for."""
        self.flight.keep_within()
        if not self._root_called and not self._own:
            self._open_early = True
        if not self._compiled and not self._no_layers and frames_compiled() > self._frames:
            self._no_layers = phrase(
                "parts of the program are compiled: layers are seen by their weights only"
            )
        if self._no_layers:
            self._guard.unseen["layers"] = self._no_layers
        now = perf_counter()
        price = self._bytes / COPY_BYTES_PER_SECOND
        if (
            now - self._last_snapshot > SNAPSHOT_SECONDS
            and self._purse.balance(now, self.num_steps) > 2 * price
        ):
            self.flight.take_snapshot(self.num_steps, self._models)
            self._last_snapshot = now

    def _plan(self, now: float) -> None:
        step = self.num_steps
        opening = self._purse.in_opening
        if not opening and not self._second:
            self._second, self._next = True, step + 1
        else:
            self._second = False
            self._next = self._purse.next_step(step, now)
        self._set_wake()

    def _set_wake(self) -> None:
        self._lasting.economise(self._purse, self.num_steps)
        block = LOSS_BLOCK if "criterion" in self._lasting or self._told or self._own else 10**9
        if not self._purse.knows_usual:  # as soon as plain steps were seen, prices are judged
            block = 8
        self._wake = min(self._next - 1, self.num_steps + block, self._lasting.turn_at)

    def _wake_up(self) -> None:
        """Not each step: move losses, and arm the next step if it is one to sample."""
        began = perf_counter()
        odd = self._wake == 0
        self._lasting.turn(self.num_steps)
        if odd or len(self._losses.steps) >= LOSS_BLOCK:
            if self._cuda:
                self._losses.pack()
            elif self._losses.flush() and (odd or looks_odd(self._recorder.losses.recent)):
                self._purse.alarm()
                self._next = self.num_steps + 1
            # after an alarm the next may come with the next block
            self._odd_above = math.inf if odd else odd_above(self._recorder.losses.recent)
            self._purse.pay(perf_counter() - began)
        if self.num_steps + 1 >= self._next:
            free = self._purse.in_opening or self._second
            if free or self._purse.affordable(began, self.num_steps):
                self._arm()
                self._wake = self.num_steps + 1  # `_finish` plans on
                return
            self._next = self._purse.next_step(self.num_steps, began)
        self._set_wake()

    def _take(self, optimizer: Optimizer) -> None:
        check_optimizer(optimizer, self._layers.holds_some)
        slots = slots_of([*self._optimizers, optimizer], self._layers)
        self._optimizers.append(optimizer)
        self._slots = slots
