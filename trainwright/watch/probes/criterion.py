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
            return Flattening(criterion=self._function)(outputs, target)
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


def by_example(
    target: Tensor | None, output: Tensor | None, inputs: Tensor | None
) -> Tensor | None:
    """Targets [batch * time], as language models flatten them, as [batch, time]: as the outputs
    [batch, time, class_] have it, else by the number of inputs."""
    if target is None or not target.dim():
        return target
    shape = tuple(output.shape[:2]) if output is not None and output.dim() == 3 else ()
    if shape and target.shape == (shape[0] * shape[1],):
        return target.reshape(shape)
    B, N = len(inputs) if inputs is not None and inputs.dim() else 0, len(target)
    flattened = B > 0 and N > B and N % B == 0
    return target.reshape(B, N // B, *target.shape[1:]) if flattened else target
