"""What do hooks do to a module's outputs? Classes at the top of a module, so that an edited model
is copied, pickled and compiled like any other; parts are looked up by name when they are called."""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.hooks import RemovableHandle

from trainwright.check.sample import first_tensor


def leave(x: Tensor) -> Tensor:
    """Nothing."""
    return x


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A non-linearity as function, as module, and as it is written in code."""

    function: Callable[[Tensor], Tensor]
    module: type[nn.Module]
    code: str


ACTIVATIONS: Mapping[str, Choice] = {
    name: Choice(function=function, module=module, code=f"torch.nn.{module.__name__}()")
    for name, function, module in (
        ("relu", F.relu, nn.ReLU),
        ("leaky_relu", F.leaky_relu, nn.LeakyReLU),
        ("elu", F.elu, nn.ELU),
        ("selu", F.selu, nn.SELU),
        ("gelu", F.gelu, nn.GELU),
        ("silu", F.silu, nn.SiLU),
        ("mish", F.mish, nn.Mish),
        ("tanh", torch.tanh, nn.Tanh),
        ("sigmoid", torch.sigmoid, nn.Sigmoid),
        ("softplus", F.softplus, nn.Softplus),
        ("identity", leave, nn.Identity),
    )
}


class Hook:
    """A forward hook that knows its own handle: torch counts handles anew in each process, and a
    pickled handle tells it which numbers are taken."""

    def __init__(self) -> None:
        self.handle: RemovableHandle | None = None


class Then(Hook):
    """Applies the module's own child `child` to its first output tensor."""

    def __init__(self, child: str) -> None:
        super().__init__()
        self.child = child

    def __call__(self, module: nn.Module, inputs: Any, output: Any) -> Any:
        return on_first(output, getattr(module, self.child))


class AddInput(Hook):
    """output + input, where their shapes agree in this call; the input may be named."""

    def __call__(self, module: nn.Module, inputs: Any, named: Any, output: Any) -> Any:
        given = first_tensor([*inputs, *named.values()])
        made = first_tensor(output)
        if given is None or made is None or given.shape != made.shape:
            return output
        return on_first(output, given.add)


class Ranged(Hook):
    """The first output tensor brought into [low, high]: low + (high - low) sigmoid(z), or with one
    end only, low + softplus(z) and high - softplus(-z)."""

    def __init__(self, low: float | None, high: float | None) -> None:
        super().__init__()
        self.low, self.high = low, high

    def __call__(self, module: nn.Module, inputs: Any, output: Any) -> Any:
        return on_first(output, self.squashed)

    def squashed(self, z: Tensor) -> Tensor:
        """Source: the usual links of bounded outputs."""
        if self.low is not None and self.high is not None:
            return self.low + (self.high - self.low) * torch.sigmoid(z)
        if self.low is not None:
            return self.low + F.softplus(z)
        return z if self.high is None else self.high - F.softplus(-z)


def on_first(value: Any, function: Callable[[Tensor], Tensor]) -> Any:
    """`value` with its first tensor replaced by what `function` makes of it; all else is kept."""
    first = first_tensor(value)
    return value if first is None else _replaced(value, first, function(first))


def _replaced(value: Any, old: Tensor, new: Tensor) -> Any:
    if value is old:
        return new
    if isinstance(value, (tuple, list)):
        items = [_replaced(v, old, new) for v in value]
        made = getattr(value, "_make", None)  # a named tuple, as packed sequences are
        return made(items) if made is not None else type(value)(items)
    if isinstance(value, Mapping):
        changed: Any = dict(value) if type(value) is dict else copy.copy(value)
        for key, held in value.items():
            if (other := _replaced(held, old, new)) is not held:
                changed[key] = other
        return changed
    if getattr(value, "logits", None) is old:
        outputs: Any = copy.copy(value)
        outputs.logits = new
        return outputs
    return value


class InsteadActivation:
    """Stands as `forward` of an activation's module and applies another. Where the module works in
    place, so does this: callers may rely on the tensor they gave."""

    def __init__(self, name: str, *, in_place: bool) -> None:
        self.name, self.in_place = name, in_place

    def __call__(self, input: Tensor, *_: Any, **__: Any) -> Tensor:
        new = ACTIVATIONS[self.name].function
        return written_over(input, new) if self.in_place else new(input)


class InsteadNorm:
    """Stands as `forward` of a batch norm and normalises each example by itself, over `groups`
    groups of channels, with the batch norm's own scale and shift: no parameter is new."""

    def __init__(self, module: nn.Module, groups: int) -> None:
        self.module, self.groups = module, groups

    def __call__(self, input: Tensor) -> Tensor:
        m: Any = self.module
        x = input[None] if input.ndim == 1 else input
        return F.group_norm(x, self.groups, m.weight, m.bias, m.eps).view_as(input)


def written_over(x: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor:
    """`function` in place; the gradient is that of the values before."""
    return x if function is leave else x.copy_(function(x.clone()))


class OnChannels(nn.Module):
    """A norm of [example, channel, …] applied where the channels lie on axis `axis`."""

    def __init__(self, norm: nn.Module, axis: int) -> None:
        super().__init__()
        self.norm, self.axis = norm, axis

    def forward(self, x: Tensor) -> Tensor:
        axis = self.axis % x.ndim
        if isinstance(self.norm, (nn.RMSNorm, nn.LayerNorm)):
            return self.norm(x.movedim(axis, -1)).movedim(-1, axis)
        if axis == x.ndim - 1:  # each position is an example
            return self.norm(x.reshape(-1, x.shape[-1])).view(x.shape)
        return self.norm(x.movedim(axis, 1)).movedim(1, axis)


class Residual(nn.Module):
    """f(x) + x, where their shapes agree; the permanent form of AddInput."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, *inputs: Any, **named: Any) -> Tensor:
        made, given = self.layer(*inputs, **named), first_tensor([*inputs, *named.values()])
        return made if given is None or given.shape != made.shape else made + given
