"""How do examples held in memory become batches? Tensors indexed on the fly, many batches at a
gather, without a DataLoader."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from jaxtyping import Int64
from torch import Tensor

from trainwright.core.records import Notice, Signature
from trainwright.core.seeds import derive
from trainwright.core.task import Task
from trainwright.data.batch import Batch, Inputs, Order, Shown, Targets, steps_per_epoch

GATHER_BYTES = 4 << 20  # one gather stays within a CPU's cache [assumed]
GATHER_BATCHES = 64  # beyond this a gather's fixed cost is below 1 % of a batch's [measured]

Augment = Callable[[Inputs, torch.Generator], Inputs]
Transform = Callable[[Inputs], Inputs]


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryExamples:
    """One split as tensors, examples first.

    `transform` turns stored inputs into what the model sees (uint8 pixels -> scaled floats); it
    must act on each example alone. `augment` changes transformed training batches. `shower`
    renders the example at a position for people.
    """

    signature: Signature
    task: Task
    inputs: Inputs
    target: Targets
    notices: tuple[Notice, ...] = ()
    transform: Transform | None = None
    augment: Augment | None = None
    shower: Callable[[int], Shown] | None = None

    def __len__(self) -> int:
        return self.target.shape[0]

    def feed(self, order: Order, batch_size: int, start: int = 0) -> Iterator[Batch]:
        """See `Examples.feed`. Gathers begin at fixed batches of an epoch, wherever one starts,
        so that a resumed run computes the same bits."""
        size = min(batch_size, len(self))
        per_epoch = steps_per_epoch(len(self), batch_size)
        per_gather = self._batches_per_gather(size)
        epoch, first = divmod(start, per_epoch)
        while True:
            positions = order.epoch(epoch)[: per_epoch * size].to(self.target.device)
            assert positions.shape[0] == per_epoch * size, (positions.shape, per_epoch, size)
            for begin in range(first - first % per_gather, per_epoch, per_gather):
                rows = positions[begin * size : (begin + per_gather) * size]
                skipped = max(0, first - begin)
                number = epoch * per_epoch + begin + skipped
                yield from self._cut(rows, size, skipped, order.seed, number)
            epoch, first = epoch + 1, 0

    def batches(self, batch_size: int) -> Iterator[Batch]:
        """See `Examples.batches`; without a transform these are views, nothing is copied."""
        for begin in range(0, len(self), batch_size):
            end = min(begin + batch_size, len(self))
            inputs = tuple(stored[begin:end] for stored in self.inputs)
            yield Batch(
                inputs=self.transform(inputs) if self.transform else inputs,
                target=self.target[begin:end],
                rows=torch.arange(begin, end, device=self.target.device),
            )

    def pick(self, positions: Int64[Tensor, " batch"]) -> Batch:
        """See `Examples.pick`."""
        rows = positions.to(self.target.device)
        inputs = tuple(stored.index_select(0, rows) for stored in self.inputs)
        inputs = self.transform(inputs) if self.transform else inputs
        return Batch(inputs=inputs, target=self.target.index_select(0, rows), rows=rows)

    def targets(self) -> Targets:
        return self.target

    def show(self, position: int) -> Shown:
        if self.shower is not None:
            return self.shower(position)
        first = self.inputs[0][position].flatten()[:8].tolist()
        names = self.signature.names or tuple(f"input {i + 1}" for i in range(len(first)))
        cells = {name: f"{value:g}" for name, value in zip(names, first, strict=False)}
        return Shown(row=position, content=cells)

    def close(self) -> None:
        """Nothing is open."""

    def to(self, device: torch.device | str) -> "MemoryExamples":
        """The same examples on another device."""
        inputs = tuple(stored.to(device) for stored in self.inputs)
        return replace(self, inputs=inputs, target=self.target.to(device))

    def _cut(
        self, rows: Int64[Tensor, " example"], size: int, skipped: int, seed: int, number: int
    ) -> Iterator[Batch]:
        """The batches of one gather, from `skipped` on; the first is batch `number`."""
        inputs = tuple(stored.index_select(0, rows) for stored in self.inputs)
        if self.transform is not None:
            inputs = self.transform(inputs)
        parts = zip(*(part.split(size)[skipped:] for part in inputs), strict=True)
        targets = self.target.index_select(0, rows).split(size)[skipped:]
        for batch, target, where in zip(parts, targets, rows.split(size)[skipped:], strict=True):
            seen = batch
            if self.augment is not None:
                generator = torch.Generator().manual_seed(derive(seed, "augment", number))
                seen = self.augment(batch, generator)
            yield Batch(inputs=seen, target=target, rows=where)
            number += 1

    def _batches_per_gather(self, size: int) -> int:
        example = sum(s[:1].numel() * s.element_size() for s in (*self.inputs, self.target))
        return max(1, min(GATHER_BATCHES, GATHER_BYTES // max(1, example * size)))
