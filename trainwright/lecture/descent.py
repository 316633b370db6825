"""How many examples must plain descent read until the training loss is down to a target? Each batch
size at the rate that serves it best, by steps of our own loop."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from trainwright.lecture.training import PLAIN_DESCENT, ready, recipe_of
from trainwright.run.assemble import Assembly

# A small network on real digits: a step costs a tenth of a millisecond, and the loss can reach 0.
DIGITS: Mapping[str, Any] = {
    **PLAIN_DESCENT, "data.source": "sklearn:digits", "model.name": "mlp", "model.depth": 1,
    "model.width": 64, "loss.name": "cross_entropy",
}  # fmt: skip
RATES = (0.3, 1.0, 2.0, 0.1, 0.5, 1.4, 2.8, 0.7, 0.2, 0.14, 0.06, 0.03)  # likeliest first, so that
# the rest are given up sooner; from steps too small to divergence [measured: seeds 100, 101]
LOOK_EXAMPLES = 160  # read between two looks at the loss on all training rows [assumed]
HOPELESS = 3.0  # times the first loss: it will not come back in time [assumed]


@dataclass(frozen=True, slots=True, kw_only=True)
class Descent:
    """One way down: `examples` read, at a multiple of the batch size, when the loss on all training
    rows was at the target for the first time; None when `most` were not enough. `read` and `loss`
    are the course [look]."""

    rate: float
    batch_size: int
    examples: int | None
    read: tuple[float, ...]
    loss: tuple[float, ...]


class Course:
    """Descents from the same start on the same rows: one seed's network, split and order."""

    def __init__(self, assembly: Assembly) -> None:
        self.assembly = assembly
        self.rows = next(assembly.prepared.train.batches(len(assembly.prepared.train)))
        self._start = {n: t.clone() for n, t in assembly.module.state_dict().items()}

    def back_to_start(self) -> None:
        self.assembly.module.load_state_dict(self._start)

    @torch.no_grad()
    def loss(self) -> float:
        """Mean loss on all training rows with the weights as they are."""
        outputs = self.assembly.module(*self.rows.inputs)
        return float(self.assembly.objective(outputs, self.rows.target))

    def descend(
        self, batch_size: int, rate: float, *, target: float, most: int, look: int = LOOK_EXAMPLES
    ) -> Descent:
        """From the start until the target, or until `most` examples are read or all is lost; the
        loss on all training rows is looked at each `look` examples."""
        self.back_to_start()
        size = min(batch_size, len(self.rows.target))
        feed = self.assembly.prepared.train.feed(self.assembly.order, size)
        every = max(1, look // size)
        read, loss = [0.0], [self.loss()]
        reached: int | None = None
        for step in range(1, most // size + 1):
            value = self.assembly.step((next(feed),), rate, check=True)
            if step % every:
                continue
            read.append(float(step * size))
            loss.append(self.loss() if math.isfinite(float(value)) else math.inf)
            if loss[-1] <= target:
                reached = step * size
                break
            if not loss[-1] <= HOPELESS * loss[0]:
                break
        return Descent(rate=rate, batch_size=size, examples=reached, read=tuple(read),
                       loss=tuple(loss))  # fmt: skip

    def quickest(
        self, batch_size: int, *, target: float, most: int, rates: Sequence[float] = RATES
    ) -> Descent:
        """The descent that reads fewest examples, over all rates; each further rate is given up
        once it has read as many as the best did. Where none arrives: the lowest end."""
        best: Descent | None = None
        for rate in rates:
            bound = most if best is None or best.examples is None else best.examples - 1
            tried = self.descend(batch_size, rate, target=target, most=bound)
            if best is None or tried.examples is not None or (
                best.examples is None and tried.loss[-1] < best.loss[-1]
            ):  # fmt: skip
                best = tried
        assert best is not None, "there are rates"
        return best


def flat_gradient(assembly: Assembly, inputs: tuple[Tensor, ...], target: Tensor) -> Tensor:
    """Gradient of the mean loss on these examples as one vector [weight], float64."""
    parameters = [p for p in assembly.module.parameters() if p.requires_grad]
    loss = assembly.objective(assembly.module(*inputs), target)
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss, parameters)]).double()


def course_of(seed: int, settings: Mapping[str, Any] = DIGITS):
    """`with course_of(seed) as assembly: Course(assembly)`."""
    return ready(recipe_of(settings, seed))
