"""What does the loop read? Batches of examples from one split, in an order that can be entered at
any point, so that a resumed run sees what the uninterrupted one would have seen."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32, Int64, Shaped
from torch import Tensor

from trainwright.core.records import Notice, Signature, Understanding
from trainwright.core.task import Task

Inputs = tuple[Shaped[Tensor, "batch ..."], ...]
Targets = Int64[Tensor, " batch"] | Float32[Tensor, " batch"] | Float32[Tensor, "batch target"]
Values = Shaped[np.ndarray, " row"] | Shaped[np.ndarray, "row target"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Some examples of one split.

    `inputs`: what the model is called with, `model(*inputs)`, batch first.
    `target`: classes int64 [batch]; several labels float32 [batch, class_]; numbers float32
    [batch] or [batch, target], standardised when the encoder standardises.
    `rows`: positions within the split.
    """

    inputs: Inputs
    target: Targets
    rows: Int64[Tensor, " batch"]


@runtime_checkable
class Order(Protocol):
    """Which examples an epoch visits: a pure function of `seed` and the epoch's number.

    An order that visits each example once, shuffled, may also say `uniform = True`: a split on
    disk then shuffles in blocks by `seed` and does not ask for positions of all its rows.
    """

    @property
    def seed(self) -> int: ...

    def epoch(self, number: int) -> Int64[Tensor, " example"]:
        """Positions within the split."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """One example for people: row number in the source, text cells, media as `type;base64,…`."""

    row: int
    content: Mapping[str, str]
    media: str | None = None


@runtime_checkable
class Examples(Protocol):
    """One split, wherever it lives (memory, files, a stream)."""

    @property
    def signature(self) -> Signature: ...

    @property
    def task(self) -> Task: ...

    @property
    def notices(self) -> tuple[Notice, ...]:
        """What was done to these examples in particular."""
        ...

    def __len__(self) -> int: ...

    def feed(self, order: Order, batch_size: int, start: int = 0) -> Iterator[Batch]:
        """Endless training batches from batch number `start`, counted over all epochs.

        An epoch has max(1, len // batch_size) batches: the incomplete last one is left out (other
        rows each epoch); fewer examples than batch_size make one batch of all. Augmentation is
        seeded by derive(order.seed, "augment", number of the batch).
        """
        ...

    def batches(self, batch_size: int) -> Iterator[Batch]:
        """Each example once, in order, without augmentation; the last batch may be smaller."""
        ...

    def pick(self, positions: Int64[Tensor, " batch"]) -> Batch:
        """The examples at these positions, without augmentation."""
        ...

    def targets(self) -> Targets:
        """The targets of all examples, as in `Batch.target`."""
        ...

    def show(self, position: int) -> Shown:
        """The example at `position` as a person would look at it."""
        ...

    def close(self) -> None:
        """Ends worker processes and closes files; harmless when called twice."""
        ...


@runtime_checkable
class Encoder(Protocol):
    """Everything fitted on the training rows, enough to encode new data in the same way."""

    @property
    def task(self) -> Task: ...

    def encode(self, source: object, *, with_target: bool) -> Examples:
        """New data as examples (absent targets are zeros); what was done is in `.notices`."""
        ...

    def decode(self, values: Values) -> Values:
        """Predicted numbers back in the user's own unit; for classes, the values themselves."""
        ...

    def to_record(self) -> dict[str, object]:
        """Plain JSON-able values from which `encoder_from_record` makes an equal encoder."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A source, understood, split and encoded."""

    train: Examples
    valid: Examples | None
    test: Examples | None
    understanding: Understanding
    encoder: Encoder

    def close(self) -> None:
        for split in (self.train, self.valid, self.test):
            if split is not None:
                split.close()


def steps_per_epoch(num_examples: int, batch_size: int) -> int:
    """Training batches in one epoch, see `Examples.feed`."""
    return max(1, num_examples // batch_size)
