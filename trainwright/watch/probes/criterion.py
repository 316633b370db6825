"""Which function of torch was called as the loss? One that got the outputs of a root, as they were
or flattened; it can be called again on outputs as the root gives them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True, slots=True, kw_only=True)
class LossCall:
    """One call: the function's name and settings, and which memory its outputs lay in."""

    name: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    place: int = 0
    num_outputs: int = 0
    dims: int = 0  # axes of the outputs that it got

    def is_on(self, root_output: Tensor) -> bool:
        """It got this output of a root, or a view of all of it."""
        return root_output.data_ptr() == self.place and root_output.numel() == self.num_outputs

    def __call__(self, outputs: Tensor, target: Tensor) -> Tensor:
        """The loss; outputs [batch, time, class_] and targets [batch, time] are flattened where
        the call got them flat, as in language models."""
        if self.dims == 2 and not target.is_floating_point():
            return self._function(outputs.reshape(-1, outputs.shape[-1]), target.reshape(-1))
        return self._function(outputs, target)

    def _function(self, outputs: Tensor, target: Tensor) -> Tensor:
        return getattr(functional, self.name)(outputs, target, **self.settings)


@dataclass(frozen=True, slots=True, kw_only=True)
class Flattening:
    """A criterion that the user's loop calls on flattened outputs and targets."""

    criterion: Callable[..., Tensor]

    def __call__(self, outputs: Tensor, target: Tensor) -> Tensor:
        """Outputs [batch, time, class_] and targets [batch, time]."""
        return self.criterion(outputs.reshape(-1, outputs.shape[-1]), target.reshape(-1))


def by_example(target: Tensor | None, root_output: Tensor | None) -> Tensor | None:
    """Targets [batch * time] of outputs [batch, time, class_] as [batch, time]."""
    if target is None or root_output is None or root_output.dim() != 3 or target.dim() != 1:
        return target
    B, T, _ = root_output.shape
    return target.reshape(B, T) if target.numel() == B * T else target
