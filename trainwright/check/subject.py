"""How is a model probed without a trace? On a copy, or with weights, buffers, gradients and flags
put back; random states go on as if nothing had been drawn."""

import copy
import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from trainwright.core.errors import TrainwrightError, shown
from trainwright.core.phrases import phrase


@contextmanager
def same_random_states() -> Iterator[None]:
    """torch (CPU and CUDA), numpy and `random` go on afterwards as if nothing had been drawn."""
    on_cuda = torch.cuda.is_available() and torch.cuda.is_initialized()
    cpu, cuda = torch.get_rng_state(), torch.cuda.get_rng_state_all() if on_cuda else []
    arrays, plain = np.random.get_state(), random.getstate()
    try:
        yield
    finally:
        torch.set_rng_state(cpu)
        if on_cuda:
            torch.cuda.set_rng_state_all(cuda)
        np.random.set_state(arrays)
        random.setstate(plain)


class Subject:
    """A model to experiment on: a deep copy of the user's, or, where that cannot be made or would
    share parts with it, the user's own, put back to the last bit by `restore`.

    With `weights` (by name, of an earlier time) it has those; `close` gives the user's own back.
    """

    def __init__(self, model: nn.Module, weights: Mapping[str, Tensor] | None = None) -> None:
        self.is_copy = not _has_closures(model)
        self.module = model
        if self.is_copy:
            try:
                self.module = copy.deepcopy(model)
            except Exception:  # whatever a foreign __deepcopy__ raises
                self.is_copy = False
        self._own: list[tuple[Tensor, Tensor]] = []
        if weights is not None:
            named = {**dict(self.module.named_parameters()), **dict(self.module.named_buffers())}
            with torch.no_grad():
                for name, tensor in named.items():
                    if name in weights:
                        self._own.append((tensor, tensor.detach().clone()))
                        tensor.copy_(weights[name])
        self._modes = [(m, m.training) for m in self.module.modules()]
        tensors = [*self.module.parameters(), *self.module.buffers()]
        self._values = [(t, t.detach().clone()) for t in tensors]
        parameters = list(self.module.parameters())
        self._grads = [(p, p.grad, None if p.grad is None else p.grad.clone()) for p in parameters]
        self._trainable = [(p, p.requires_grad) for p in parameters]

    def restore(self) -> nn.Module:
        """The module as it was given; returned for use by the next probe."""
        with torch.no_grad():
            for tensor, value in self._values:
                tensor.copy_(value)
        for parameter, grad, value in self._grads:
            parameter.grad = grad
            if grad is not None and value is not None:
                with torch.no_grad():
                    grad.copy_(value)
        for parameter, flag in self._trainable:
            parameter.requires_grad_(flag)
        for module, training in self._modes:
            module.training = training
        return self.module

    def close(self) -> None:
        """The end of all experiments: the user's own weights are back."""
        self.restore()
        with torch.no_grad():
            for tensor, value in self._own:
                tensor.copy_(value)


def _has_closures(model: nn.Module) -> bool:
    """Does a module keep a function that holds other modules or tensors? A deep copy of it goes on
    calling the ones of the original."""
    for module in model.modules():
        for value in vars(module).values():
            cells = getattr(value, "__closure__", None) or ()
            for cell in cells:
                try:
                    held = cell.cell_contents
                except ValueError:  # an empty cell
                    continue
                if isinstance(held, (nn.Module, Tensor)):
                    return True
    return False


def unwrapped(model: nn.Module) -> nn.Module:
    """The module behind torch.compile or a parallel wrapper."""
    inner = getattr(model, "_orig_mod", model)
    if isinstance(inner, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
        inner = inner.module
    return inner


def sample_device(model: nn.Module) -> torch.device:
    """Where the first parameter is. Raises TrainwrightError for a model without (ready) ones."""
    parameters = list(model.parameters())
    if not parameters:
        raise TrainwrightError(
            phrase("{type} has no parameters", type=shown(type(model).__name__)),
            allowed=phrase("a torch.nn.Module with at least one parameter"),
            do=phrase("keep layers as attributes or in an nn.ModuleList, not in a plain list"),
        )
    if any(isinstance(p, nn.parameter.UninitializedParameter) for p in parameters):
        raise TrainwrightError(
            phrase("{type} has lazy layers without shapes yet", type=shown(type(model).__name__)),
            allowed=phrase("a model whose parameters have shapes"),
            do=phrase("run the model once on a batch, then check it"),
        )
    return parameters[0].device
