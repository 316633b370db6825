"""What happens in somebody's training run? A watcher tied to a model and its optimisers by hooks:
it counts steps, chooses which to look at closely, and keeps what it saw."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
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
    Hook,
    call_seconds,
    check_models,
    check_optimizer,
    claim,
    frames_compiled,
    hook_seconds,
    is_compiled,
    release,
    wraps_compiled,
)
from trainwright.watch.budget import Purse, looks_odd
from trainwright.watch.flight import RING, Flight
from trainwright.watch.probes.layers import Layers
from trainwright.watch.probes.probe import Activity
from trainwright.watch.probes.weights import Norms, Slot, slots_of
from trainwright.watch.probes.window import Window
from trainwright.watch.record import LossBuffer, Noise, Recorder
from trainwright.watch.sampled import SampledStep

LOSS_BLOCK = 256  # losses are moved together [measured: 0.2 us a step]
SNAPSHOT_SECONDS = 5.0
SMALL_BYTES = 4_000_000  # weights that are copied at attachment, in about a millisecond
COPY_BYTES_PER_SECOND = 2e9  # [assumed] for the price of a snapshot


class RowBatch(Protocol):
    """What our own loop tells of a batch."""

    @property
    def rows(self) -> Tensor: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptBatch:
    """One of the first batches, copied: what the model got and gave, and what the loss compared
    it with, where that was seen."""

    step: int
    inputs: tuple[Any, ...]
    named: Mapping[str, Any] = field(default_factory=dict)
    outputs: Tensor | None = None
    targets: Tensor | None = None


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
        self._purse = Purse(budget)
        self._recorder = Recorder(sink)
        self._activity, self._noise, self._norms = Activity(), Noise(), Norms()
        self.flight = Flight()
        self._unseen: dict[str, str] = {}
        self._window = Window(self._layers, self._complain)
        self._handles: dict[str, Any] = {}
        self._sampling: SampledStep | None = None
        self._kept: list[KeptBatch] = []
        self._room = sample_bytes
        self._batch: tuple[tuple[Any, ...], Mapping[str, Any]] | None = None
        self._attached = self._own = self._second = self._told = False
        self._root_called = self._open_early = False
        self._costs: dict[str, float] = {}
        self._losses = LossBuffer(self._recorder)
        self._last_sampled = -1
        self._next = self._wake = 1
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
        self._calibrate()
        self._purse.begin(began)
        roots = [m for m in self._models if not self._compiled or wraps_compiled(m)]
        for number, root in enumerate(roots):
            hook = self._guard("flight recorder", self._forward_begins)
            self._handles[f"root{number}"] = root.register_forward_pre_hook(hook, with_kwargs=True)
        self._roots = roots
        if isinstance(self._criterion, nn.Module):
            hook = self._guard("loss", self._criterion_ran)
            self._handles["criterion"] = self._criterion.register_forward_hook(hook)
        self._price()
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
        for handle in self._handles.values():
            handle.remove()
        self._handles.clear()
        release(self._models)
        try:
            self._losses.flush()
            self._recorder.flush()
        except Exception as error:
            self._complain("loss", error)
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

    def loss(self, value: Tensor | float) -> None:
        """This step's loss, where it is computed by a bare function; once told, it is what counts."""
        if not self._told:
            self._told = True
            self._drop("criterion")
        self._losses.pending.append(value.detach() if isinstance(value, Tensor) else float(value))

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
            self._drop("counter")
            for number in range(len(self._roots)):
                self._drop(f"root{number}")
            self.flight.clear()
        if batches:
            self.flight.note_rows(self.num_steps + 1, [b.rows for b in batches])
        self._losses.pending.append(loss)
        sampling = self._sampling
        if sampling is not None:
            sampling.rate = rate
            self._safely("update", sampling.own_update)
        self._stepped()

    def history(self) -> History:
        """Everything so far."""
        self._losses.flush()
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
        return tuple(self._kept)

    @property
    def unseen(self) -> Mapping[str, str]:
        """What could not be seen, and why."""
        return self._unseen | self._recorder.unseen

    # each step ---------------------------------------------------------------------------------

    def _stepped(self, *_: Any) -> None:
        """After each step of the first optimiser. Between samples this is all that happens."""
        self.num_steps += 1
        losses = self._losses
        if len(losses.pending) != len(losses.steps):
            losses.close_step(self.num_steps)
        if self._sampling is not None:
            self._safely("sampled step", self._finish)
        else:
            self._last_end = now = perf_counter()
            self._purse.ends.append(now)
        if self.num_steps >= self._wake:
            self._safely("sampling", self._wake_up)

    def _criterion_ran(self, module: nn.Module, args: Sequence[Any], out: Any) -> None:
        if isinstance(out, Tensor) and out.requires_grad:
            self._losses.pending.append(out.detach())
            sampling = self._sampling
            if (
                sampling is not None
                and len(args) > 1
                and isinstance(args[0], Tensor)
                and isinstance(args[1], Tensor)
            ):
                name = sampling.probe.pair[0] if sampling.probe.pair is not None else ""
                if not name:
                    sampling.probe.pair = (name, args[0].detach(), args[1].detach())

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
                self._batch = self._copied(args, named)
        self._window.active = was
        if not self._window.is_open and not self._no_layers:
            self._open_window(sampling)
        sampling.direct += perf_counter() - began

    # sampled steps ------------------------------------------------------------------------------

    def _begin_steps(self) -> None:
        hook = self._guard("steps", self._stepped)
        self._handles["counter"] = self._optimizers[0].register_step_post_hook(hook)
        self._cuda = any(p.is_cuda for p in self._layers.parameters)
        self._bytes = sum(p.numel() * p.element_size() for p in self._layers.parameters)
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
        sampling.probe.complain = self._complain
        sampling.install(self._roots, self._guard, first=self._optimizers[0])
        if "root0" not in self._handles:
            for root in self._roots:
                hook = self._guard("flight recorder", self._forward_begins)
                sampling.keep(root.register_forward_pre_hook(hook, with_kwargs=True))
        if (
            "criterion" not in self._handles
            and isinstance(self._criterion, nn.Module)
            and not self._told
        ):
            hook = self._guard("loss", self._criterion_ran)
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
            self._unseen["layers"] = phrase(
                "another mode of torch was active: layers were not seen on some steps"
            )

    def _window_away(self) -> None:
        if not self._window.close():
            self._unseen["layers"] = phrase(
                "steps and forwards run in different threads: layers are not seen"
            )
            self._no_layers = self._unseen["layers"]

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
            self._keep(sampling)
            if looks_odd([*self._recorder.losses.recent, numbers["loss"]]):
                self._purse.alarm()
            if not self._losses.steps and numbers["loss"] == numbers["loss"]:
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
            self._unseen["layers"] = self._no_layers
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
        self._economise()
        self._set_wake()

    def _set_wake(self) -> None:
        block = LOSS_BLOCK if self._handles.get("criterion") or self._told or self._own else 10**9
        self._wake = min(self._next - 1, self.num_steps + block)

    def _wake_up(self) -> None:
        """Not each step: move losses, and arm the next step if it is one to sample."""
        began = perf_counter()
        if len(self._losses.steps) >= LOSS_BLOCK:
            if self._cuda:
                self._losses.pack()
            elif self._losses.flush() and looks_odd(self._recorder.losses.recent):
                self._purse.alarm()
                self._next = self.num_steps + 1
            self._purse.pay(perf_counter() - began)
        if self.num_steps + 1 >= self._next:
            free = self._purse.in_opening or self._second
            if free or self._purse.affordable(began, self.num_steps):
                self._arm()
                self._wake = self.num_steps + 1  # `_finish` plans on
                return
            self._next = self._purse.next_step(self.num_steps, began)
        self._set_wake()

    def _economise(self) -> None:
        """Drops what each step pays for when that alone would use the budget up."""
        usual = self._purse.usual_seconds()
        if usual is None or self._own:
            return
        allowed = self._purse.share * usual
        if "root0" in self._handles and self._costs["root"] > 0.25 * allowed:
            for number in range(len(self._roots)):
                self._drop(f"root{number}")
            self._unseen["flight recorder"] = phrase(
                "steps are so short that only sampled batches are kept"
            )
        if "criterion" in self._handles and self._costs["criterion"] > 0.6 * allowed:
            self._drop("criterion")
            self._unseen["loss"] = phrase(
                "steps are so short that the loss is read on sampled steps only"
            )

    def _drop(self, name: str) -> None:
        """Takes one lasting hook away, and its share out of each step's cost."""
        handle = self._handles.pop(name, None)
        if handle is not None:
            handle.remove()
            self._price()

    def _price(self) -> None:
        """What each step costs from here on; earlier steps keep their price."""
        parts = [
            c
            for n, c in self._costs.items()
            if n == "steps" or (n == "root" and "root0" in self._handles) or n in self._handles
        ]
        now = sum(parts)
        self._purse.spent += (self._purse.each - now) * self.num_steps
        self._purse.each = now

    def _calibrate(self) -> None:
        ends: list[float] = []
        self._costs["root"], self._costs["criterion"] = hook_seconds()
        self._costs["steps"] = 2 * call_seconds(lambda: ends.append(perf_counter() + len(ends)))

    # odds and ends of safety --------------------------------------------------------------------

    def _take(self, optimizer: Optimizer) -> None:
        slots, holds_some = slots_of([*self._optimizers, optimizer], self._layers)
        check_optimizer(optimizer, holds_some)
        self._optimizers.append(optimizer)
        self._slots = slots

    def _copied(
        self, args: tuple[Any, ...], named: Mapping[str, Any]
    ) -> tuple[tuple[Any, ...], Mapping[str, Any]] | None:
        size = sum(
            t.numel() * t.element_size() for t in [*args, *named.values()] if isinstance(t, Tensor)
        )
        if size > self._room:
            return None
        self._room -= size
        copies = [
            a.detach().clone() if isinstance(a, Tensor) else a for a in [*args, *named.values()]
        ]
        return tuple(copies[: len(args)]), dict(zip(named, copies[len(args) :], strict=True))

    def _keep(self, sampling: SampledStep) -> None:
        batch, self._batch = self._batch, None
        if batch is None:
            return
        outputs = sampling.probe.root_outputs[-1] if sampling.probe.root_outputs else None
        targets = sampling.probe.pair[2] if sampling.probe.pair is not None else None
        self._kept.append(
            KeptBatch(
                step=sampling.step,
                inputs=batch[0],
                named=batch[1],
                outputs=outputs,
                targets=targets,
            )
        )

    def _guard(self, name: str, function: Callable[..., None]) -> Hook:
        """A hook whose failure becomes an entry of `unseen` and nothing else."""

        def guarded(*args: Any) -> None:
            try:
                function(*args)
            except Exception as error:
                self._complain(name, error)

        return Hook(guarded)

    def _safely(self, name: str, function: Callable[[], None]) -> None:
        try:
            function()
        except Exception as error:
            self._complain(name, error)

    def _complain(self, name: str, error: Exception) -> None:
        self._unseen.setdefault(name, f"{type(error).__name__}: {error}"[:200])
