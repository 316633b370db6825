"""Which hooks stay between samples, and what do they cost each step? The counter, the criterion's
and the roots'; those that a budget cannot bear are taken away."""

from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Any

from torch import nn
from torch.optim import Optimizer

from trainwright.core.phrases import phrase
from trainwright.watch.attach import Guard, call_seconds, hook_seconds
from trainwright.watch.budget import Purse

ROOT_SHARE = 0.1  # of the budget that each step may use for the flight recorder [assumed]
CRITERION_SHARE = 0.6  # and for every step's loss [assumed]


class LastingHooks:
    """The hooks by name, `root`, `criterion`, `counter`, with their price on the purse."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._handles: dict[str, list[Any]] = {}
        self.costs: dict[str, float] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._handles

    def calibrate(self) -> None:
        """Measures in about a millisecond what each kind costs here."""
        ends: list[float] = []
        self.costs["root"], self.costs["criterion"] = hook_seconds()
        self.costs["counter"] = 2 * call_seconds(lambda: ends.append(perf_counter() + len(ends)))

    def add_roots(self, roots: Sequence[nn.Module], function: Callable[..., None]) -> None:
        """Before each forward of a root."""
        hook = self._guard.hook("flight recorder", function)
        handles = [r.register_forward_pre_hook(hook, with_kwargs=True) for r in roots]
        if handles:
            self._handles["root"] = handles

    def add_criterion(self, criterion: nn.Module, function: Callable[..., None]) -> None:
        """After each call of the criterion."""
        hook = self._guard.hook("loss", function)
        self._handles["criterion"] = [criterion.register_forward_hook(hook)]

    def add_counter(self, optimizer: Optimizer, function: Callable[..., None]) -> None:
        """After each step of the first optimiser."""
        hook = self._guard.hook("steps", function)
        self._handles["counter"] = [optimizer.register_step_post_hook(hook)]

    def drop(self, purse: Purse, name: str, num_steps: int) -> None:
        """Takes one away, and its share out of each step's price."""
        for handle in self._handles.pop(name, []):
            handle.remove()
        self.price(purse, num_steps)

    def remove(self) -> None:
        """Takes all away."""
        for handles in self._handles.values():
            for handle in handles:
                handle.remove()
        self._handles.clear()

    def price(self, purse: Purse, num_steps: int) -> None:
        """What each step costs from here on; earlier ones keep their price."""
        now = sum(self.costs.get(name, 0.0) for name in self._handles)
        purse.spent += (purse.each - now) * num_steps
        purse.each = now

    def economise(self, purse: Purse, num_steps: int) -> None:
        """Drops what would use the budget up between samples alone."""
        usual = purse.usual_seconds()
        if usual is None:
            return
        allowed = purse.share * usual
        if "root" in self and self.costs["root"] > ROOT_SHARE * allowed:
            self.drop(purse, "root", num_steps)
            self._guard.unseen["flight recorder"] = phrase(
                "steps are so short that only sampled batches are kept"
            )
        if "criterion" in self and self.costs["criterion"] > CRITERION_SHARE * allowed:
            self.drop(purse, "criterion", num_steps)
            self._guard.unseen["loss"] = phrase(
                "steps are so short that the loss is read on sampled steps only"
            )
