"""Which hooks stay between samples, and what do they cost each step? The counter, the criterion's
and the roots'; those that a budget cannot bear are taken away."""

from collections.abc import Callable, Sequence
from typing import Any

from torch import nn
from torch.autograd.graph import Node
from torch.optim import Optimizer

from trainwright.core.phrases import phrase
from trainwright.watch.attach import Guard, call_seconds, hook_seconds
from trainwright.watch.budget import Purse

# A hook within a training step costs more than in a tight loop, whose code and data stay in the
# cache [measured: the criterion's 20-50 against 1.8 us, the roots' with its ring of batches 20-28
# against 1.2, the counter 1 against 0.1, in a step of 630 us; Xeon, torch 2.13, a busy machine].
COLD = 22.0
EARLY_STEPS = 100  # whose losses are all read: most first NaNs are there [assumed]
NEVER = 10**12
ROOT_SHARE = 0.25  # of the budget that each step may use for the flight recorder [assumed]
CRITERION_SHARE = 0.3  # and for losses [assumed]
ALWAYS = 0.8  # losses of so many steps or more are read on all [assumed]
BURST_STEPS = 16  # losses are read in runs of so many steps, when not on all


class LastingHooks:
    """The hooks by name, `root`, `criterion`, `counter`, with their price on the purse.

    `duty` is the share of steps on which the criterion's hook is there; `turn` puts it in place
    and takes it away in turn, next at step `turn_at`.
    """

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._handles: dict[str, list[Any]] = {}
        self._criterion: tuple[nn.Module, Callable[..., None]] | None = None
        self.costs: dict[str, float] = {}
        self._roots: tuple[Sequence[nn.Module], Callable[..., None]] = ((), lambda *_: None)
        self.keeps_roots = False  # they count the steps
        self.duty = 1.0
        self.turn_at = NEVER

    def __contains__(self, name: str) -> bool:
        return name in self._handles

    def calibrate(self) -> None:
        """Measures in about a millisecond what each kind costs here."""
        root, criterion = hook_seconds()
        counter = call_seconds(_Counter().step_over)
        self.costs = {"root": COLD * root, "criterion": COLD * criterion, "counter": COLD * counter}
        self.costs["own"] = 2 * self.costs["counter"]  # our own loop calls instead
        self.costs["passes"] = 1.5 * self.costs["counter"]  # [measured: 6 us beside 4.5]

    def add_roots(self, roots: Sequence[nn.Module], function: Callable[..., None]) -> None:
        """Before each forward of a root."""
        self._roots = (roots, function)
        hook = self._guard.hook("flight recorder", function)
        handles = [r.register_forward_pre_hook(hook, with_kwargs=True) for r in roots]
        if handles:
            self._handles["root"] = handles

    def add_criterion(self, criterion: nn.Module, function: Callable[..., None]) -> None:
        """After each call of the criterion."""
        hook = self._guard.hook("loss", function)
        self._handles["criterion"] = [criterion.register_forward_hook(hook)]
        self._criterion = (criterion, function)

    def add_counter(self, optimizer: Optimizer, function: Callable[..., None]) -> None:
        """After each step of the first optimiser."""
        hook = self._guard.hook("steps", function)
        self._handles["counter"] = [optimizer.register_step_post_hook(hook)]

    def add_passes(self, node: Node, function: Callable[..., None]) -> None:
        """After each backward pass through this node, which the caller keeps alive."""
        self._handles["passes"] = [node.register_hook(self._guard.hook("steps", function))]
        self.keeps_roots = False

    def forget_passes(self) -> None:
        """Neither passes nor forwards count the steps any more."""
        self._remove("passes")
        self.keeps_roots = False

    def keep_roots(self) -> None:
        """Forwards count the steps, and no passes: the roots' hooks stay, whatever they cost."""
        self._remove("passes")
        self.keeps_roots = True
        if "root" not in self:
            self.add_roots(*self._roots)

    def drop(self, purse: Purse, name: str, num_steps: int) -> None:
        """Takes one away, and its share out of each step's price."""
        self._remove(name)
        if name == "criterion":
            self._criterion, self.duty, self.turn_at = None, 1.0, NEVER
        self.price(purse, num_steps)

    def _remove(self, name: str) -> None:
        for handle in self._handles.pop(name, []):
            handle.remove()

    def call_each_step(self, purse: Purse) -> None:
        """Our own loop calls each step: no hook, and yet a price."""
        self._handles["own"] = []
        self.price(purse, 0)

    def remove(self) -> None:
        """Takes all away."""
        for handles in self._handles.values():
            for handle in handles:
                handle.remove()
        self._handles.clear()

    def price(self, purse: Purse, num_steps: int) -> None:
        """What each step costs from here on; earlier ones keep their price."""
        now = sum(self.costs.get(name, 0.0) for name in self._handles if name != "criterion")
        now += self.duty * self.costs.get("criterion", 0.0) if self._criterion is not None else 0.0
        purse.spent += (purse.each - now) * num_steps
        purse.each = now

    def economise(self, purse: Purse, num_steps: int) -> None:
        """Drops what would use the budget up between samples alone."""
        usual = purse.usual_seconds()
        if usual is None:
            return
        if num_steps < EARLY_STEPS:
            self.turn_at = EARLY_STEPS  # to be asked again then
            return
        allowed = purse.share * usual
        if "root" in self and not self.keeps_roots and self.costs["root"] > ROOT_SHARE * allowed:
            self.drop(purse, "root", num_steps)
            self._guard.unseen["flight recorder"] = phrase(
                "steps are so short that only sampled batches are kept"
            )
        if self._criterion is not None and self.duty == 1.0:
            duty = CRITERION_SHARE * allowed / max(self.costs["criterion"], 1e-9)
            if duty < ALWAYS:
                self.duty, self.turn_at = duty, num_steps + BURST_STEPS
                self.price(purse, num_steps)
                self._guard.unseen["loss of every step"] = phrase(
                    "steps are so short that the loss is read on {share} of them",
                    share=f"{duty:.0%}",
                )

    def turn(self, num_steps: int) -> None:
        """Puts the criterion's hook in place, or takes it away, when it is time."""
        if num_steps < self.turn_at:
            return
        if self.duty == 1.0 or self._criterion is None:
            self.turn_at = NEVER  # it was only to judge prices once
            return
        handles = self._handles.pop("criterion", None)
        if handles is None:
            self.add_criterion(*self._criterion)
            self.turn_at = num_steps + BURST_STEPS
        else:
            for handle in handles:
                handle.remove()
            self.turn_at = num_steps + round(BURST_STEPS * (1 / self.duty - 1))


class _Counter:
    """What the counter does on a plain step, to be timed: it counts, and looks at the rate."""

    def __init__(self) -> None:
        self.groups: list[dict[str, float]] = [{"lr": 0.1}]
        self.seen, self.num_steps, self.quiet_until = self.groups[0]["lr"], 0, 10**9

    def step_over(self, *_: Any) -> None:
        step = self.num_steps = self.num_steps + 1
        rate = self.groups[0].get("lr")
        if rate is not self.seen:
            self.seen = 0.0
        if step < self.quiet_until:
            return
