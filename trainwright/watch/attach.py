"""How is a watcher tied to the user's objects? Hooks that survive a copy as empty ones, what fits,
what is compiled, and what a hook costs here."""

import sys
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Any
from weakref import WeakSet

import torch
from torch import nn
from torch.optim import Optimizer

from trainwright.core.errors import TrainwrightError
from trainwright.core.phrases import phrase

CALIBRATION_CALLS = 100  # 0.3 ms in all
_watched: WeakSet[nn.Module] = WeakSet()


class Hook:
    """What torch calls; it cannot raise. A deep copy or a pickle of it does nothing: a copy of a
    watched model is an ordinary model."""

    __slots__ = ("__weakref__", "complain", "function", "name")

    def __init__(
        self,
        function: Callable[..., None] | None = None,
        name: str = "",
        complain: Callable[[str, Exception], None] | None = None,
    ) -> None:
        self.function, self.name, self.complain = function, name, complain

    def __call__(self, *args: Any) -> None:
        try:
            if self.function is not None:
                self.function(*args)
        except Exception as error:
            if self.complain is not None:
                self.complain(self.name, error)

    def __deepcopy__(self, memo: Any) -> "Hook":
        return Hook()

    def __reduce__(self) -> tuple[type["Hook"], tuple[()]]:
        return (Hook, ())


class Guard:
    """Whatever of ours fails becomes an entry of `unseen`, once, and nothing else."""

    def __init__(self) -> None:
        self.unseen: dict[str, str] = {}

    def hook(self, name: str, function: Callable[..., None]) -> Hook:
        """A hook of that name."""
        return Hook(function, name, self.complain)

    def safely(self, name: str, function: Callable[[], None]) -> None:
        """Calls it; a failure is noted."""
        try:
            function()
        except Exception as error:
            self.complain(name, error)

    def complain(self, name: str, error: Exception) -> None:
        """Notes why `name` is not seen."""
        self.unseen.setdefault(name, f"{type(error).__name__}: {error}"[:200])


def claim(models: Sequence[nn.Module]) -> None:
    """Marks the models as watched. Raises TrainwrightError when one is already."""
    if any(m in _watched for m in models):
        raise TrainwrightError(
            phrase("this model is watched already"),
            allowed=phrase("one watch at a time for each model"),
            do=phrase("leave the outer watch first, or use that one"),
        )
    _watched.update(models)


def release(models: Sequence[nn.Module]) -> None:
    """They may be watched again."""
    for model in models:
        _watched.discard(model)


def check_models(models: Sequence[nn.Module]) -> None:
    """Raises TrainwrightError for what is no module, or has nothing to train."""
    for model in models:
        if not isinstance(model, nn.Module):
            raise TrainwrightError(
                phrase("watch got a {kind} as model", kind=type(model).__name__),
                allowed=phrase("a torch.nn.Module, or several in a list"),
                do=phrase("give the module whose parameters the optimiser holds"),
            )
    if not models or not any(True for m in models for _ in m.parameters()):
        raise TrainwrightError(
            phrase("the model has no parameters, so there is nothing to watch"),
            allowed=phrase("a module with parameters"),
            do=phrase("give the module that is trained"),
        )


def check_optimizer(optimizer: Any, holds_some: Callable[[Optimizer], bool]) -> None:
    """Raises TrainwrightError for what is no optimiser, or one of quite another model."""
    if not isinstance(optimizer, Optimizer):
        raise TrainwrightError(
            phrase("watch got a {kind} as optimiser", kind=type(optimizer).__name__),
            allowed=phrase("a torch.optim.Optimizer, several in a list, or None"),
            do=phrase("give the optimiser whose step the loop calls"),
        )
    if not holds_some(optimizer):
        raise TrainwrightError(
            phrase("the optimiser holds none of the model's parameters"),
            allowed=phrase("an optimiser made from the parameters of the model that is watched"),
            do=phrase("build it as {example}", example="optim.SGD(model.parameters(), lr=…)"),
        )


def check_loss(loss: Any) -> None:
    """Raises TrainwrightError for what cannot be called as a criterion."""
    if loss is not None and not callable(loss):
        raise TrainwrightError(
            phrase("watch got a {kind} as loss", kind=type(loss).__name__),
            allowed=phrase("a criterion that is called with outputs and targets, or None"),
            do=phrase("give the object itself, as {example}", example="nn.CrossEntropyLoss()"),
        )


def is_compiled(model: nn.Module) -> bool:
    """Whether torch.compile has this model or a part of it in hand."""
    if "torch._dynamo" not in sys.modules:
        return False
    wrapped = torch._dynamo.eval_frame.OptimizedModule  # pyright: ignore[reportAttributeAccessIssue]
    return any(
        isinstance(m, wrapped) or getattr(m, "_compiled_call_impl", None) is not None
        for m in model.modules()
    )


def wraps_compiled(model: nn.Module) -> bool:
    """Whether it is torch.compile's own wrapper, whose hooks run outside the compiled code."""
    if "torch._dynamo" not in sys.modules:
        return False
    return isinstance(model, torch._dynamo.eval_frame.OptimizedModule)  # pyright: ignore[reportAttributeAccessIssue]


def frames_compiled() -> int:
    """How many functions torch.compile has translated in this process."""
    dynamo = sys.modules.get("torch._dynamo.utils")
    return 0 if dynamo is None else int(dynamo.counters["frames"].get("total", 0))


def hook_seconds() -> tuple[float, float]:
    """What a pre-hook, and a hook that appends the detached output, cost a module call here."""
    module, value = nn.Identity(), torch.zeros(())
    kept: list[Any] = []

    def measure() -> float:
        best = float("inf")
        for _ in range(3):
            began = perf_counter()
            for _ in range(CALIBRATION_CALLS // 3):
                module(value)
            best = min(best, perf_counter() - began)
        return best / (CALIBRATION_CALLS // 3)

    plain = measure()
    handle = module.register_forward_pre_hook(
        Hook(lambda _m, args, named: kept.append(args)), with_kwargs=True
    )
    before = measure()
    handle.remove()
    handle = module.register_forward_hook(Hook(lambda _m, _a, out: kept.append(out.detach())))
    after = measure()
    handle.remove()
    return max(before - plain, 0.0), max(after - plain, 0.0)


def call_seconds(function: Callable[..., None]) -> float:
    """What one call of `function` costs through a hook, the best of three short runs: a bare call
    is a third of it [measured: 0.06 against 0.21 us; within a step of 500 us a hook that only
    counts costs 3-7 us]."""
    hook, best = Hook(function), float("inf")
    for _ in range(3):
        began = perf_counter()
        for _ in range(CALIBRATION_CALLS // 3):
            hook(None, None, None)
        best = min(best, perf_counter() - began)
    return best / (CALIBRATION_CALLS // 3)
