"""What does somebody's script train? torch's global hooks show its outermost network, its loss and
its optimisers the first time that they are used; from then on a Watch looks."""

import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

from trainwright.core.diagnosis import Diagnosis, Unseen
from trainwright.core.phrases import phrase


class Discovery:
    """Finds out by itself what a script trains. `install` once torch is there, `diagnose` at the
    end. `budget` as in `tw.watch`; readings go to the file `trail` as they come."""

    def __init__(self, *, budget: float, trail: Path | None = None) -> None:
        self._budget, self._trail = budget, trail
        self._depth = 0
        self._roots: list[Any] = []
        self._tried: list[Any] = []  # optimisers, those that turned out to be of another model too
        self._loss: Any = None
        self._handles: list[Any] = []
        self._failed: dict[str, str] = {}  # what we could not do -> why; never the script's trouble
        self.watch: Any = None

    def install(self) -> None:
        """Puts the global hooks in place; torch has just been imported."""
        from torch.nn.modules import module
        from torch.optim.optimizer import register_optimizer_step_pre_hook

        enter, leave = self._safe("network", self._enter), self._safe("loss", self._leave)
        self._handles = [
            module.register_module_forward_pre_hook(enter),
            module.register_module_forward_hook(leave, always_call=True),
        ]
        register_optimizer_step_pre_hook(self._safe("optimizer", self._step))

    # --- hooks ----------------------------------------------------------------------------------

    def _safe(self, name: str, hook: Callable[..., None]) -> Callable[..., None]:
        """The hook; what it raises is kept, and the script goes on."""

        def safe(*given: Any) -> None:
            try:
                hook(*given)
            except Exception as error:
                why = str(error).split("\n", 1)[0] or type(error).__name__
                self._failed.setdefault(name, why)

        return safe

    def _enter(self, module: Any, inputs: Any) -> None:
        import torch

        self._depth += 1
        if self._depth > 1 or not torch.is_grad_enabled() or not module.training:
            return
        if self.watch is not None and self.watch.watcher.num_steps:
            self._end_search()  # no optimiser took that step
            return
        trains = any(p.requires_grad for p in module.parameters())
        if trains and all(module is not root for root in self._roots):
            self._roots.append(module)
            self._look()

    def _leave(self, module: Any, inputs: Any, output: Any) -> None:
        import torch

        self._depth = max(0, self._depth - 1)
        if self._depth or self._loss is not None or self.watch is None:
            return
        scalar = isinstance(output, torch.Tensor) and output.dim() == 0 and output.requires_grad
        if scalar and next(module.parameters(), None) is None:
            self._loss = module
            self.watch.adopt_loss(module)

    def _step(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        if self.watch is None:
            return  # a closure calls the network inside the step
        if all(optimizer is not known for known in self._tried):
            self._tried.append(optimizer)
            self.watch.adopt(optimizer)
        self._end_search()

    def _end_search(self) -> None:
        """What is trained is known: calls of modules need no global hook any more."""
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def _look(self) -> None:
        """Watches all outermost networks seen so far."""
        from trainwright.run.attach import Watch

        if self.watch is not None:
            self.watch.watcher.detach()
        self.watch = Watch(
            list(self._roots), None, loss=self._loss, budget=self._budget, trail=self._trail
        )
        self.watch.attach()

    # --- afterwards -----------------------------------------------------------------------------

    def diagnose(self) -> Diagnosis:
        """The verdict, or why there can be none."""
        failed = tuple(Unseen(code="", missing=n, reason=r) for n, r in self._failed.items())
        if self.watch is None:
            reason = phrase("no network was called in training mode with gradients on")
            return Diagnosis(unseen=(Unseen(code="", missing="training", reason=reason), *failed))
        self.watch.watcher.detach()
        found: Diagnosis = self.watch.diagnose()
        return replace(found, unseen=(*failed, *found.unseen))


class AfterImport(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Calls `then` when `name` has been imported by somebody else; put first on sys.meta_path. So a
    script decides itself when torch is loaded, and under which environment."""

    def __init__(self, name: str, then: Callable[[], None]) -> None:
        self._name, self._then = name, then
        self._real: Any = None

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != self._name:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        if spec is None or spec.loader is None:
            return spec
        self._real, spec.loader = spec.loader, self
        return spec

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        return self._real.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        if module.__spec__ is not None:
            module.__spec__.loader = self._real
        self._real.exec_module(module)
        self._then()
