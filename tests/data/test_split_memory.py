"""Examples in memory: any batch can be the first, and the feed costs microseconds."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trainwright.core.records import Signature
from trainwright.core.seeds import derive
from trainwright.core.task import Task
from trainwright.data.batch import Batch
from trainwright.data.memory import MemoryExamples


class Shuffled:
    def __init__(self, num: int, seed: int) -> None:
        self.num, self.seed = num, seed

    def epoch(self, number: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(derive(self.seed, "order", number))
        return torch.randperm(self.num, generator=generator)


def make(num: int, **fields: object) -> MemoryExamples:
    return MemoryExamples(
        signature=Signature(kind="features", shape=(2,), names=("a", "b")),
        task=Task(kind="regression"),
        inputs=(torch.arange(num * 2).reshape(num, 2).float(),),
        target=torch.arange(num).float(),
        **fields,  # pyright: ignore[reportArgumentType]
    )


def take(examples: MemoryExamples, batch_size: int, start: int, count: int) -> list[Batch]:
    feed = examples.feed(Shuffled(len(examples), 5), batch_size, start)
    return [next(feed) for _ in range(count)]


def jitter(inputs: tuple[torch.Tensor, ...], generator: torch.Generator):
    return (inputs[0] + torch.rand(inputs[0].shape, generator=generator),)


@settings(deadline=None, max_examples=40)
@given(
    num=st.integers(1, 300), batch_size=st.integers(1, 64), start=st.integers(0, 40),
    augmented=st.booleans(),
)  # fmt: skip
def test_a_feed_entered_anywhere_equals_the_uninterrupted_one_to_the_bit(
    num, batch_size, start, augmented
):
    examples = make(
        num,
        augment=jitter if augmented else None,
        transform=lambda inputs: (inputs[0] * 0.1 + 0.3,),
    )
    whole = take(examples, batch_size, 0, start + 5)[start:]
    for expected, resumed in zip(whole, take(examples, batch_size, start, 5), strict=True):
        assert torch.equal(expected.inputs[0], resumed.inputs[0])
        assert torch.equal(expected.target, resumed.target)
        assert torch.equal(expected.rows, resumed.rows)


@given(num=st.integers(1, 200), batch_size=st.integers(1, 64))
def test_an_epoch_visits_no_row_twice_and_leaves_out_less_than_a_batch(num, batch_size):
    examples = make(num)
    steps = max(1, num // batch_size)
    rows = torch.cat([batch.rows for batch in take(examples, batch_size, 0, steps)])
    assert len(set(rows.tolist())) == len(rows) == min(num, steps * batch_size)


def test_rows_say_which_examples_a_batch_holds():
    examples = make(100)
    for batch in take(examples, 8, 3, 30):
        assert torch.equal(batch.target, examples.target[batch.rows])
        assert torch.equal(batch.inputs[0], examples.inputs[0][batch.rows])


def test_batches_give_each_example_once_in_order_without_augmentation():
    examples = make(10, augment=jitter)
    batches = list(examples.batches(4))
    assert [len(batch.rows) for batch in batches] == [4, 4, 2]
    assert torch.equal(torch.cat([batch.inputs[0] for batch in batches]), examples.inputs[0])


def test_an_example_is_shown_by_the_names_of_its_features():
    assert dict(make(3).show(1).content) == {"a": "2", "b": "3"}


@pytest.mark.parametrize("batch_size", [1, 1000])
def test_batch_sizes_from_one_to_more_than_all(batch_size):
    assert take(make(7), batch_size, 0, 3)[2].target.shape[0] == min(7, batch_size)


def test_examples_are_picked_by_position_without_augmentation():
    examples = make(10, augment=jitter)
    batch = examples.pick(torch.tensor([7, 0, 3]))
    assert batch.rows.tolist() == [7, 0, 3]
    assert torch.equal(batch.inputs[0], examples.inputs[0][[7, 0, 3]])
    assert torch.equal(batch.target, examples.target[[7, 0, 3]])
