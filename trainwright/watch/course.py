"""Which step is looked at closely, and what happens at it? The course of one watched run: losses
as they come, plain steps counted, sampled steps armed, read, paid for, and the next plan."""

import math
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from trainwright.watch.attach import Guard, check_optimizer
from trainwright.watch.budget import Purse, looks_odd, odd_above
from trainwright.watch.by_hand import ByHand
from trainwright.watch.flight import RING, Flight, Opening
from trainwright.watch.lasting import LastingHooks
from trainwright.watch.losses import LossBuffer
from trainwright.watch.noise import Noise
from trainwright.watch.probes.collect import Activity
from trainwright.watch.probes.criterion import LossCall
from trainwright.watch.probes.layers import Layers
from trainwright.watch.probes.weights import Norms, Slot, slots_of
from trainwright.watch.rates import Rates
from trainwright.watch.record import Recorder
from trainwright.watch.sampled import SampledStep
from trainwright.watch.sight import Sight
from trainwright.watch.snapshots import Snapshots

FINITE = sys.float_info.max
LOSS_BLOCK = 256  # losses are moved together [measured: 0.2 us a step]
TIMED_STEPS = 32  # plain steps after a sample that are timed; half of them are dearer than usual


class Course:
    """The run of `models` under `purse`; what it reads goes to `recorder` and `flight`.

    `begin` and `end` put hooks in place and take them away. The first optimiser taken counts the
    steps; until there is one, weights that move do. Told by hooks, or by our own loop through
    `own_step`.
    """

    def __init__(
        self,
        models: Sequence[nn.Module],
        criterion: Any,
        purse: Purse,
        recorder: Recorder,
        opening: Opening,
    ) -> None:
        self._models = models
        self.layers = Layers(models)
        self._slots: list[Slot] = []
        self.optimizers: list[Optimizer] = []
        self.criterion = criterion
        self.found_loss: LossCall | None = None  # what torch function got the outputs as a loss
        self._purse, self._recorder, self._opening = purse, recorder, opening
        self._activity, self._noise, self._norms = Activity(), Noise(), Norms()
        self.flight = Flight()
        self.guard = Guard()
        self.lasting = LastingHooks(self.guard)
        self._sight = Sight(models, self.layers, self.guard)
        self._sampling: SampledStep | None = None
        self._hand: ByHand | None = None  # while no optimiser is known
        self._roots: list[nn.Module] = []
        self._running = self._own = self._second = self._told = False
        self._root_called = self._open_early = False
        self._cuda = any(p.is_cuda for p in self.layers.parameters)
        self._snapshots = Snapshots(models, self.layers, self.flight, purse)
        self.losses, self.rates = LossBuffer(recorder), Rates(recorder)
        self._odd_above = FINITE  # a loss beyond this is looked at at once
        self.last_sampled = -1
        self._next = self._wake = 1
        self._quiet_until, self._timed = 0, False
        self._told_after = 0  # steps by which a told loss comes late
        self._last_end = 0.0
        self.num_steps = 0

    def begin(self) -> None:
        """Hooks into place; the first step is a sampled one."""
        began = perf_counter()
        self._running = True
        self.lasting.calibrate()
        self._purse.begin(began)
        self._roots = self._sight.begin()
        self.lasting.add_roots(self._roots, self._forward_begins)
        if isinstance(self.criterion, nn.Module):
            self.lasting.add_criterion(self.criterion, self._criterion_ran)
        self._last_end = perf_counter()
        self._begin_steps()
        self._purse.pay(perf_counter() - began)

    def end(self) -> None:
        """All hooks and the mode away; losses on their way are kept."""
        self._running = False
        if self._hand is not None:
            self.guard.safely("last step", self._look_by_hand)
        self._sight.shut()
        if self._sampling is not None:
            self._sampling.remove()
            self._sampling = None
        self.lasting.remove()
        self.guard.safely("loss", self.flush)
        for slot in self._slots:
            slot.forget()

    def flush(self) -> None:
        """Losses of all steps so far to the recorder."""
        self.losses.close_steps(self.num_steps)
        self.losses.flush()

    def take(self, optimizer: Optimizer) -> None:
        """One more optimiser. Raises TrainwrightError when it is of quite another model."""
        check_optimizer(optimizer, self.layers.holds_some)
        self._slots = slots_of([*self.optimizers, optimizer], self.layers)
        self.optimizers.append(optimizer)
        if self._running and len(self.optimizers) == 1:
            self._leave_hand()
            self._begin_steps()

    def take_loss(self, criterion: nn.Module) -> None:
        """Another criterion from here on."""
        self.criterion = criterion
        if self._running and not self._told and "criterion" not in self.lasting:
            self.lasting.add_criterion(criterion, self._criterion_ran)
            self.lasting.price(self._purse, self.num_steps)

    def tell_loss(self, value: Tensor | float) -> None:
        """The user says the loss, which from then on is what counts."""
        if not self._told:
            self._told, self._told_after = True, int(self.num_steps > 0)
            self.lasting.drop(self._purse, "criterion", self.num_steps)
            if self._told_after and self.last_sampled == self.num_steps:
                return  # read already, at the sampled step itself
        self._note_loss(value)

    def own_step(self, loss: Tensor, rate: float, rows: Sequence[Tensor]) -> None:
        """Our own loop has moved the weights, without torch's hooks."""
        if not self._own:
            self._own = True
            for name in ("counter", "root"):
                self.lasting.drop(self._purse, name, self.num_steps)
            self.lasting.call_each_step(self._purse)
            self.flight.clear()
        if rows:
            self.flight.note_rows(self.num_steps + 1, rows)
        self._note_loss(loss)
        sampling = self._sampling
        if sampling is not None:
            sampling.rate = rate
            self.guard.safely("update", sampling.own_update)
        self._stepped()

    # each step ---------------------------------------------------------------------------------

    def _stepped(self, *_: Any) -> None:
        """After each step of the first optimiser; but for the steps that follow a sample, where
        plain steps are timed, it returns at once until there is something to do."""
        step = self.num_steps = self.num_steps + 1
        if self.optimizers:
            rate = self.optimizers[0].param_groups[0].get("lr")
            if rate is not self.rates.seen:
                self.rates.changed(step, rate)
        if step < self._quiet_until:
            return
        self.losses.close_steps(step - self._told_after)
        if self._sampling is not None:
            self.guard.safely("sampled step", self._finish)
            self._timed = False
        else:
            self._last_end = now = perf_counter()
            if not self._timed:
                self._purse.ends.append(now)
                self._timed = len(self._purse.ends) > TIMED_STEPS
        if step >= self._wake:
            self.guard.safely("sampling", self._wake_up)
        self._quiet_until = self._wake if self._timed else 0

    def _note_loss(self, loss: Tensor | float) -> None:
        """Numbers at once where that needs no waiting; tensors of other devices stay tensors."""
        if isinstance(loss, Tensor):
            if not loss.is_cpu or loss.numel() != 1:
                self.losses.pending.append(loss.detach())
                return
            loss = loss.item()
        self.losses.pending.append(loss)
        if not -math.inf < loss <= self._odd_above:
            self._look_at(loss)

    def _look_at(self, loss: float) -> None:
        """A loss beyond those before it, or one that is not finite, for the first time."""
        finite = math.isfinite(loss)
        self._quiet_until = 0
        if finite or self._recorder.losses.first_nonfinite is None:
            self._wake = 0
        if not finite and not self.flight.frozen:
            freeze = partial(self.flight.freeze, self.num_steps, self._models)
            self.guard.safely("snapshot", freeze)  # the weights that made it are there

    def _criterion_ran(self, module: nn.Module, args: Sequence[Any], out: Any) -> None:
        if isinstance(out, Tensor) and out.requires_grad:
            if len(args) > 1:
                self.flight.target = (self.num_steps + 1, args[1])
            if out.is_cpu and out.dim() == 0:  # `_note_loss`, a call less
                loss = out.item()
                self.losses.pending.append(loss)
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
        if self._hand is not None:
            self._look_by_hand()
        flight = self.flight
        flight.ring[flight.position % RING] = (self.num_steps + 1, args, named)
        flight.position += 1
        if self._sampling is not None:
            self._sampled_forward(self._sampling, args, named)

    def _sampled_forward(
        self, sampling: SampledStep, args: tuple[Any, ...], named: Mapping[str, Any]
    ) -> None:
        began = perf_counter()
        window = self._sight.window
        was, window.active = window.active, False
        if self._hand is not None:
            self._hand.begin()
        first = sampling.seconds_forward is None
        sampling.forward_begins([*args, *named.values()])
        self._root_called = True
        if first:
            self.flight.note_random(sampling.step, cuda=self._cuda)
            if self._purse.in_opening and not self._own:
                self._opening.take(args, named)
        window.active = was
        self._sight.open(sampling.probe)
        sampling.direct += perf_counter() - began

    # sampled steps ------------------------------------------------------------------------------

    def _look_by_hand(self) -> None:
        """A forward begins, or the end: the step that goes on may be over."""
        hand, sampling, began = self._hand, self._sampling, perf_counter()
        assert hand is not None, "only asked while no optimiser is known"
        over = hand.is_over(sampled=sampling is not None)
        if sampling is not None:
            sampling.direct += perf_counter() - began
        if over:
            self._stepped()

    def _leave_hand(self) -> None:
        """An optimiser has turned up: what was going on is no step of its own."""
        hand, self._hand = self._hand, None
        sampling, self._sampling = self._sampling, None
        if sampling is not None:
            self._sight.shut()
            sampling.remove()
            self._purse.pay(sampling.direct)
            self._opening.drop()
        if hand is not None:
            hand.leave()
        if hand is not None and hand.held_elsewhere:  # its steps were parts of an accumulated one
            self._recorder.forget()
            self.losses, self.num_steps, self.last_sampled = LossBuffer(self._recorder), 0, -1

    def _begin_steps(self) -> None:
        if self.optimizers:
            self.lasting.add_counter(self.optimizers[0], self._stepped)
        else:
            self._hand = ByHand(self.layers, self.lasting, self.guard, self._stepped)
            self._slots = [self._hand.slot]
        self.lasting.price(self._purse, self.num_steps)
        self._snapshots.begin(self.num_steps)
        self._arm()

    def _arm(self) -> None:
        """The next step is sampled."""
        began = perf_counter()
        sampling = SampledStep(
            self.num_steps + 1, self.layers, self._activity, self._sight.window, self._slots,
            began=self._last_end, last_sampled=self.last_sampled,
        )  # fmt: skip
        sampling.probe.complain = self.guard.complain
        sampling.install(self._roots, self.guard.hook, first=next(iter(self.optimizers), None))
        if "root" not in self.lasting:
            for root in self._roots:
                hook = self.guard.hook("flight recorder", self._forward_begins)
                sampling.keep(root.register_forward_pre_hook(hook, with_kwargs=True))
        unheard = "criterion" not in self.lasting and not self._told
        if unheard and isinstance(self.criterion, nn.Module):
            hook = self.guard.hook("loss", self._criterion_ran)
            sampling.keep(self.criterion.register_forward_hook(hook))
        self._sampling = sampling
        if self._hand is not None:
            self._hand.arm()
        elif self._own or self.num_steps == 0:
            for slot in self._slots:
                slot.keep_weights()
        # nobody knows yet whether the root itself will be called
        if self._open_early or (self.num_steps == 0 and self._hand is None):
            self._sight.open(sampling.probe)
        sampling.direct += perf_counter() - began

    def _finish(self) -> None:
        """The sampled step is over: read, record, settle the bill, plan the next."""
        began = perf_counter()
        sampling, self._sampling = self._sampling, None
        assert sampling is not None, "only called on a sampled step"
        try:
            sampling.seconds_end = began
            sampling.remove()
            self._sight.shut()
            if self._hand is not None:
                sampling.updated_by_hand()
            elif not self._own:
                sampling.updated(self._slots[0])
                sampling.rate = float(self.optimizers[0].param_groups[0].get("lr", float("nan")))
            with torch.no_grad():
                layer, numbers = sampling.finish(
                    self.losses.of_step(self.num_steps), self._noise, self._norms
                )
            self._recorder.sample(self.num_steps, layer, numbers)
            pair, outputs = sampling.probe.pair, sampling.probe.root_outputs
            output, call = outputs[-1] if outputs else None, sampling.probe.loss_call
            if self.found_loss is None and call is not None and output is not None:
                self.found_loss = call if call.is_on(output) else None
            self._opening.close(sampling.step, output, pair[2] if pair else None)
            if looks_odd([*self._recorder.losses.recent, numbers["loss"]]):
                self._purse.alarm()
            if not self._told and not self.losses.steps and sampling.loss_seen:
                self._recorder.add_losses([self.num_steps], [numbers["loss"]])
            self._after_sample(sampling)
        finally:
            if self._hand is not None:
                self._hand.finished(sampling.probe.num_backwards)
                self.lasting.price(self._purse, self.num_steps)
            self.last_sampled = self.num_steps
            self._last_end = ended = perf_counter()
            direct = sampling.direct + ended - began
            self._purse.settle(began=sampling.began, ended=ended, direct=direct)
            self._plan(ended, alone=sampling.last_sampled != self.num_steps - 1)

    def _after_sample(self, sampling: SampledStep) -> None:
        """What is learned from the first samples, and the snapshot when it is due and paid for."""
        self.flight.keep_within()
        if not self._root_called and not self._own:
            self._open_early = True
        self._sight.sampled()
        self._snapshots.take_if_due(self.num_steps)

    def _plan(self, now: float, *, alone: bool) -> None:
        """After the opening, samples come in pairs: one gradient beside the next."""
        step = self.num_steps
        self._second = alone and not self._purse.in_opening
        self._next = step + 1 if self._second else self._purse.next_step(step, now)
        self._set_wake()

    def _set_wake(self) -> None:
        self.lasting.economise(self._purse, self.num_steps)
        block = LOSS_BLOCK if "criterion" in self.lasting or self._told or self._own else 10**9
        if not self._purse.knows_usual:  # as soon as plain steps were seen, prices are judged
            block = 8
        self._wake = min(self._next - 1, self.num_steps + block, self.lasting.turn_at)

    def _wake_up(self) -> None:
        """Not each step: move losses, and arm the next step if it is one to sample."""
        began = perf_counter()
        odd = self._wake == 0
        self.lasting.turn(self.num_steps)
        if odd or len(self.losses.steps) >= LOSS_BLOCK:
            if self._cuda:
                self.losses.pack()
            elif self.losses.flush() and (odd or looks_odd(self._recorder.losses.recent)):
                self._purse.alarm()
                self._next = self.num_steps + 1
            # after an alarm the next may come with the next block
            highest = odd_above(self._recorder.losses.recent)
            self._odd_above = FINITE if odd else min(highest, FINITE)
        if self.num_steps + 1 >= self._next:
            free = self._purse.in_opening or self._second or self._purse.grants(self._next)
            if free or self._purse.affordable(began, self.num_steps):
                self._arm()
                self._wake = self.num_steps + 1  # `_finish` plans on
                return
            self._next = self._purse.next_step(self.num_steps, began)
        self._set_wake()
        self._purse.pay(perf_counter() - began)
