"""How do gradients become new weights? Penalties, clipping, decay, the optimisers' step and the
proximal step, in this order, as one call."""

from typing import Any

from torch import nn
from torch.optim import Optimizer

from trainwright.algorithm.gradient import GradientWork
from trainwright.algorithm.knobs import AlgorithmKnobs
from trainwright.algorithm.optimizer import stepper
from trainwright.algorithm.precision import Precision


class Update:
    """Moves a module's weights by the gradients that its parameters hold.

    update = Update(knobs, module, optimizers, precision)
    precision.backward(loss)
    update(rate)
    """

    def __init__(
        self,
        knobs: AlgorithmKnobs,
        module: nn.Module,
        optimizers: tuple[Optimizer, ...],
        precision: Precision,
    ) -> None:
        self._gradient = GradientWork(knobs, module)
        self._optimizers = optimizers
        self._precision = precision
        self._step_all = stepper(optimizers)
        self._rate = 0.0

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """The groups of all optimisers."""
        return [group for optimizer in self._optimizers for group in optimizer.param_groups]

    def __call__(self, rate: float) -> None:
        """One step at `rate`; left out when a float16 gradient overflowed."""
        self._rate = rate
        for group in self.param_groups:
            group["lr"] = rate
        self._precision.move(self)

    def before_step(self) -> None:
        """What is done to the gradients."""
        self._gradient.before_step()

    def step(self) -> None:
        """What is done to the weights."""
        self._gradient.decay(self._rate)
        self._step_all()
        self._gradient.after_step(self._rate)
