"""A streamed table: bounded memory, any batch first, and the same understanding as in memory."""

import tracemalloc

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trainwright.core.seeds import derive
from trainwright.data.batch import Prepared
from trainwright.data.knobs import DataKnobs
from trainwright.data.prepare import encoder_from_record, prepare
from trainwright.data.table import spool
from trainwright.data.table.spool import Spool, SpooledExamples

NUM = 3000


class Shuffled:
    def __init__(self, num: int, seed: int, uniform: bool) -> None:
        self.num, self.seed, self.uniform = num, seed, uniform

    def epoch(self, number: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(derive(self.seed, "order", number))
        return torch.randperm(self.num, generator=generator)


class Rare:
    """Draws the first row half of the time."""

    seed = 4

    def __init__(self, num: int) -> None:
        self.num = num

    def epoch(self, number: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(derive(self.seed, number))
        drawn = torch.randint(0, self.num, (self.num,), generator=generator)
        return torch.where(torch.rand(self.num, generator=generator) < 0.5, 0, drawn)


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> str:
    random = np.random.default_rng(0)
    frame = pl.DataFrame({
        "x": random.standard_normal(NUM), "z": random.integers(0, 50, NUM).astype(float) ** 2,
        "gaps": [None if v < -1 else v for v in random.standard_normal(NUM)],
        "word": random.choice(["a", "b", "c"], NUM),
        "code": random.choice([f"c{i}" for i in range(30)], NUM),
        "target": random.choice(["no", "yes"], NUM, p=[0.8, 0.2]),
    })  # fmt: skip
    frame = frame.with_columns(x=pl.when(pl.int_range(NUM) < 40).then(1.5).otherwise(pl.col("x")))
    where = str(tmp_path_factory.mktemp("stream") / "t.parquet")
    frame.write_parquet(where, row_group_size=500)
    return where


@pytest.fixture(scope="module")
def streamed(path):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spool, "BLOCK_ROWS", 128)
        prepared = prepare(path, DataKnobs(stream=True, shuffle_rows=400), seed=0)
        yield prepared
        prepared.close()
        prepared.close()


@settings(max_examples=40, deadline=None)
@given(
    start=st.integers(0, 150), batch_size=st.sampled_from([1, 7, 64, 500, 5000]),
    kind=st.sampled_from(["uniform", "positions", "weighted"]),
)  # fmt: skip
def test_a_stream_entered_at_any_batch_equals_the_uninterrupted_one(
    streamed, start, batch_size, kind
):
    train = streamed.train
    start = start if batch_size < 500 else start % 9
    order = Rare(len(train)) if kind == "weighted" else Shuffled(len(train), 7, kind == "uniform")
    whole, entered = train.feed(order, batch_size), train.feed(order, batch_size, start)
    for _ in range(start):
        next(whole)
    for _ in range(3):
        expected, found = next(whole), next(entered)
        assert torch.equal(expected.rows, found.rows)
        assert torch.equal(expected.target, found.target)
        for a, b in zip(expected.inputs, found.inputs, strict=True):
            assert torch.equal(a, b)


@pytest.mark.parametrize("uniform", [True, False])
def test_an_epoch_visits_each_row_once_in_another_order_each_time(streamed, uniform):
    train = streamed.train
    steps = len(train) // 32
    feed = train.feed(Shuffled(len(train), 1, uniform), 32)
    epochs = [torch.cat([next(feed).rows for _ in range(steps)]) for _ in range(2)]
    for rows in epochs:
        assert len(set(rows.tolist())) == steps * 32
    assert not torch.equal(*epochs)
    moved = (epochs[0][1:] - epochs[0][:-1]).abs().float().mean()
    assert moved > 50, "rows that were neighbours still are"


def test_a_weighted_order_keeps_its_weights_in_a_stream(streamed):
    train = streamed.train
    feed = train.feed(Rare(len(train)), 50)
    rows = torch.cat([next(feed).rows for _ in range(len(train) // 50)])
    assert 0.4 < float((rows == 0).float().mean()) < 0.6


def test_batches_of_a_feed_hold_the_rows_they_name(streamed):
    everything = list(streamed.train.batches(100))
    for index in range(2):
        column = torch.cat([batch.inputs[index] for batch in everything])
        for batch, _ in zip(streamed.train.feed(Shuffled(len(column), 2, True), 64), range(40)):  # noqa: B905
            assert torch.equal(column[batch.rows], batch.inputs[index])
            assert torch.equal(streamed.train.targets()[batch.rows], batch.target)


def test_a_streamed_table_is_understood_as_the_same_table_in_memory(path, streamed):
    memory = prepare(path, DataKnobs(stream=False), seed=0)
    assert streamed.train.signature == memory.train.signature
    assert streamed.understanding.task == memory.understanding.task
    for one, other in zip(
        streamed.understanding.columns, memory.understanding.columns, strict=True
    ):
        assert (one.name, one.role, one.reason.code) == (other.name, other.role, other.reason.code)
    for name, count in memory.understanding.num_examples.items():
        assert abs(streamed.understanding.num_examples[name] - count) < 0.05 * NUM


def test_statistics_of_a_stream_are_those_of_its_training_rows(path, streamed):
    rows = [streamed.train.show(i).row for i in range(len(streamed.train))]
    values = pl.read_parquet(path)["x"].to_numpy()[rows]
    numbers = prepare(
        path, DataKnobs(stream=True, scale="standardise"), seed=0
    ).encoder.to_record()["numbers"]
    place = numbers["names"].index("x")  # pyright: ignore[reportIndexIssue,reportArgumentType]
    assert numbers["centre"][place] == pytest.approx(values.mean(), rel=1e-12)  # pyright: ignore[reportIndexIssue,reportArgumentType]
    assert numbers["spread"][place] == pytest.approx(values.std(), rel=1e-12)  # pyright: ignore[reportIndexIssue,reportArgumentType]


def test_equal_rows_of_a_stream_fall_into_one_split(tmp_path):
    frame = pl.DataFrame({"x": [i % 60 for i in range(600)], "target": [0, 1, 1] * 200})
    frame.write_parquet(tmp_path / "t.parquet")
    prepared = prepare(str(tmp_path / "t.parquet"), DataKnobs(stream=True), seed=0)
    sides = [
        {int(split.show(i).content["x"]) for i in range(len(split))} for split in splits(prepared)
    ]
    assert len(sides) == 3
    assert sum(map(len, sides)) == 60


def test_rows_on_disk_are_picked_by_position(streamed):
    whole = next(iter(streamed.train.batches(NUM)))
    where = torch.tensor([11, 0, 7])
    batch = streamed.train.pick(where)
    assert torch.equal(batch.rows, where)
    assert torch.equal(batch.target, whole.target[where])
    for picked, every in zip(batch.inputs, whole.inputs, strict=True):
        assert torch.equal(picked, every[where])


def splits(prepared: Prepared):
    return [s for s in (prepared.train, prepared.valid, prepared.test) if s is not None]


def test_an_encoder_of_a_stream_encodes_its_own_rows_to_the_same_bits(path, streamed):
    encoder = encoder_from_record(streamed.encoder.to_record())
    anew = next(iter(encoder.encode(path, with_target=True).batches(NUM)))
    trained = next(iter(streamed.train.batches(NUM)))
    rows = [streamed.train.show(i).row for i in range(len(streamed.train))]
    for a, b in zip(anew.inputs, trained.inputs, strict=True):
        assert torch.equal(a[rows], b)


def test_regression_streams_standardise_the_target(tmp_path):
    frame = pl.DataFrame({"x": np.arange(900.0), "target": np.arange(900.0) * 3 + 0.5})
    frame.write_csv(tmp_path / "t.csv")
    prepared = prepare(str(tmp_path / "t.csv"), DataKnobs(stream=True), seed=0)
    targets = prepared.train.targets()
    assert abs(float(targets.mean())) < 1e-5
    assert prepared.encoder.decode(targets.numpy()).max() > 2000


def test_whole_numbers_written_as_text_are_the_same_classes_as_in_memory(tmp_path):
    rows = "".join(f"{i * 0.5},{i % 3}.0\n" for i in range(300))
    (tmp_path / "t.csv").write_text("x,target\n" + rows)
    for stream in (False, True):
        prepared = prepare(str(tmp_path / "t.csv"), DataKnobs(stream=stream), seed=0)
        assert prepared.understanding.task.classes == ("0", "1", "2")
        assert sum(prepared.understanding.class_counts.values()) == len(prepared.train)


def test_a_table_over_the_memory_limit_is_streamed_by_itself(path):
    knobs = DataKnobs(memory_limit=1 << 16)
    prepared = prepare(path, knobs, seed=0)
    assert isinstance(prepared.train, SpooledExamples)
    assert "stream_blocks" in {notice.code for notice in prepared.understanding.notices}


def test_feeding_holds_a_few_blocks_and_not_the_table(monkeypatch):
    monkeypatch.setattr(spool, "BLOCK_ROWS", 256)
    store = Spool(64, 0, torch.zeros(1))
    for first in range(0, 65_536, 4096):
        rows = np.arange(first, first + 4096)
        store.append([torch.zeros(4096, 64)], torch.zeros(4096), rows)
    from trainwright.core.records import Signature
    from trainwright.core.task import Task

    examples = SpooledExamples(
        signature=Signature(kind="features", shape=(64,)), task=Task(kind="regression"),
        spool=store, shuffle_rows=1024,
    )  # fmt: skip
    feed = examples.feed(Shuffled(len(examples), 1, True), 64)
    next(feed)
    tracemalloc.start()
    for _ in range(1000):
        next(feed)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    examples.close()
    assert peak < 3 << 20, "the whole split is 17 MB"


def test_each_pass_over_the_rows_is_told_to_its_end(path):
    told = []
    prepare(path, DataKnobs(stream=True), seed=0, tell=lambda *now: told.append(now)).close()
    stages = ("rows_sampled", "rows_counted", "rows_encoded")
    assert list(dict.fromkeys(stage for stage, _, _ in told)) == list(stages)
    for stage in stages:
        mine = [(done, total) for name, done, total in told if name == stage]
        assert mine[0] == (0, None if stage == "rows_sampled" else NUM)
        assert mine[-1] == (NUM, NUM)
        assert [done for done, _ in mine] == sorted(done for done, _ in mine)
