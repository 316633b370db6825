"""What does the loop tell those who listen? Events with the live tensors of the moment; a listener
may read them before the next step and cannot change what the loop does."""

from collections.abc import Mapping
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from trainwright.data.batch import Batch


@dataclass(frozen=True, slots=True, kw_only=True)
class Stepped:
    """The weights have moved. `loss` is the step's mean loss, detached, still on its device."""

    step: int
    loss: Float[Tensor, ""]
    rate: float
    batches: tuple[Batch, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluated:
    """The validation split was measured with the weights that would be kept; `best` says whether
    they are the best so far."""

    step: int
    metrics: Mapping[str, float]
    best: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class NonFinite:
    """The loss of `step` is not a number: the loop has ended before its update, so the weights
    are those that produced it."""

    step: int
    loss: float
    batches: tuple[Batch, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """The loop is through: `reason` is budget, clock, or early_stopping."""

    step: int
    reason: str


Event = Stepped | Evaluated | NonFinite | Ended
