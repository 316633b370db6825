"""What did each backward pass of an accumulated step add to the gradient? Squared norms of the
micro-batches' gradients and of their sum; a step of one pass costs nothing here."""

from collections.abc import Sequence

from torch import Tensor

from trainwright.watch.noise import NO_PARTS, Parts, from_microbatches
from trainwright.watch.probes.collect import Collector
from trainwright.watch.probes.weights import Fetched, norms_of, total

MAX_PASSES = 8  # of one step are told apart; each costs a copy of the gradient [assumed]


class MicroBatches:
    """The backward passes of one sampled step, told by the probe.

    They are micro-batches when each followed one forward of the model: a step that sums several
    losses, or trains on several forwards, has none. `parameters`: those whose gradient they add
    to; none where it is not clear whose they are.
    """

    def __init__(self, parameters: Sequence[Tensor]) -> None:
        self._parameters = parameters
        self._held: list[Tensor | None] = []
        self._whole: list[Tensor] = []  # norms of the gradient after the last pass looked at
        self._given: list[int] = []  # examples of the forwards since the last pass
        self._sizes: list[int] = []
        self._num_passes = 0
        self._told_apart = bool(parameters)

    def forward(self, num_examples: int) -> None:
        """A forward of the model begins; 0 where the number of examples is not known."""
        self._given.append(num_examples)

    def before_pass(self, collector: Collector) -> None:
        """A backward pass begins: from the second on, what it will add to is copied."""
        if not self._told_apart or not 0 < self._num_passes < MAX_PASSES:
            return
        gradients = [p.grad for p in self._parameters]
        if any(g is not None and g.is_sparse for g in gradients):
            self._told_apart = False
            return
        self._held = [None if g is None else g.detach().clone() for g in gradients]
        if self._num_passes == 1:
            first = norms_of([h for h in self._held if h is not None])
            collector.put_all("micro", first, [0] * len(first))

    def after_pass(self, collector: Collector) -> None:
        """It is through."""
        number, given = self._num_passes, self._given
        self._num_passes, self._given = number + 1, []
        self._told_apart = self._told_apart and len(given) == 1 and given[0] > 0
        if not self._told_apart or number >= MAX_PASSES:
            return
        self._sizes += given
        if number:
            now = [(p.grad.detach(), h) for p, h in zip(self._parameters, self._held, strict=True)
                   if p.grad is not None]  # fmt: skip
            added = norms_of([g if h is None else g - h for g, h in now])
            collector.put_all("micro", added, [number] * len(added))
            self._whole = norms_of([g for g, _ in now])

    def put(self, collector: Collector) -> None:
        """The step is over."""
        if self._told_apart:
            collector.put_all("micro_whole", self._whole, [-1] * len(self._whole))

    def parts(self, fetched: Fetched) -> Parts:
        """The step's estimates, of the gradient as backward left it, a scaler's factor divided out;
        NaN where it had no micro-batches, or began on an old gradient."""
        if not self._told_apart or "micro_whole" not in fetched or total(fetched, "stale", 1) > 0:
            return NO_PARTS
        squares = [0.0] * len(self._sizes)
        for number, norm in fetched["micro"]:
            squares[number] += norm**2
        whole = total(fetched, "micro_whole", 2)
        parts = from_microbatches(squares, whole, self._sizes, self._num_passes)
        factor = total(fetched, "unscaled_by", 1)
        return Parts(*(part * factor**2 for part in parts)) if factor > 0 else parts
