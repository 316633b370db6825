"""Examples held in two tensors, the least that the evaluate room needs of a split."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch

from trainwright.core.records import Notice, Signature
from trainwright.core.task import Task
from trainwright.data.batch import Batch, Shown


@dataclass
class FakeExamples:
    """One split in memory; `batches_read` counts passes over it."""

    inputs: tuple[torch.Tensor, ...]
    target: torch.Tensor
    signature: Signature
    task: Task
    notices: tuple[Notice, ...] = field(default=())
    batches_read: int = 0

    def __len__(self) -> int:
        return len(self.target)

    def feed(self, order, batch_size, start=0):
        raise AssertionError("evaluation must not read training batches")

    def batches(self, batch_size: int) -> Iterator[Batch]:
        self.batches_read += 1
        for rows in torch.arange(len(self)).split(batch_size):
            inputs = tuple(part[rows] for part in self.inputs)
            yield Batch(inputs=inputs, target=self.target[rows], rows=rows)

    def pick(self, positions: torch.Tensor) -> Batch:
        inputs = tuple(part[positions] for part in self.inputs)
        return Batch(inputs=inputs, target=self.target[positions], rows=positions)

    def targets(self) -> torch.Tensor:
        return self.target

    def show(self, position: int) -> Shown:
        return Shown(row=1000 + position, content={"position": str(position)})

    def close(self) -> None:
        pass


@dataclass
class FakeEncoder:
    """Targets standardised by `mean` and `spread`."""

    task: Task
    mean: float = 0.0
    spread: float = 1.0

    def decode(self, values: np.ndarray) -> np.ndarray:
        return values * self.spread + self.mean if self.task.kind == "regression" else values

    def encode(self, source: object, *, with_target: bool) -> FakeExamples:
        raise AssertionError("evaluation must not encode")

    def to_record(self) -> dict[str, object]:
        raise AssertionError("evaluation must not write records")


@pytest.fixture
def make_examples():
    """inputs, target, task (and kind, vocabulary, cardinalities) -> Examples."""

    def make(inputs, target, task, **signature) -> FakeExamples:
        inputs = tuple(torch.as_tensor(part) for part in inputs)
        shape = tuple(inputs[0].shape[1:])
        described = Signature(**{"kind": "features", "shape": shape, **signature})
        return FakeExamples(inputs, torch.as_tensor(target), described, task)

    return make


@pytest.fixture
def make_encoder():
    return FakeEncoder
