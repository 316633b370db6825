"""Batches of files come ahead of the loop, the same from memory, workers or none, entered at any
batch; processes end when they are told to."""

import itertools
import os
import signal
import time

import numpy as np
import psutil
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from trainwright.core.errors import DataError
from trainwright.core.records import Signature
from trainwright.core.task import Task
from trainwright.data.batch import steps_per_epoch
from trainwright.data.media import workers
from trainwright.data.media.augment import build_augment
from trainwright.data.media.encoder import Scaling
from trainwright.data.media.image import ImageForm
from trainwright.data.media.workers import FileExamples, num_workers, read_all
from trainwright.data.memory import MemoryExamples

FORM = ImageForm(channels=3, height=12, width=12)
SCALING = Scaling(unit=255.0, mean=(0.5, 0.4, 0.3), sd=(0.2, 0.3, 0.4))
NUM = 23


class Shuffle:
    def __init__(self, num=NUM, seed=7):
        self.num, self.seed = num, seed

    def epoch(self, number):
        return torch.randperm(self.num, generator=torch.Generator().manual_seed(number))


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    random = np.random.default_rng(0)
    found = []
    for index in range(NUM):
        path = folder / f"{index}.png"
        Image.fromarray(random.integers(0, 256, (12, 12, 3), dtype=np.uint8)).save(path)
        found.append(str(path))
    return tuple(found)


def from_files(paths, num, *, names=("crop", "flip")):
    return FileExamples(
        signature=Signature(kind="image", shape=FORM.shape),
        task=Task(kind="multiclass", classes=("a", "b")),
        paths=paths,
        form=FORM,
        target=torch.arange(len(paths)) % 2,
        workers=num,
        transform=SCALING,
        augment=build_augment(names, "image"),
    )


def from_memory(paths):
    return MemoryExamples(
        signature=Signature(kind="image", shape=FORM.shape),
        task=Task(kind="multiclass", classes=("a", "b")),
        inputs=(read_all(paths, FORM, keep=True, workers=0).raw,),
        target=torch.arange(len(paths)) % 2,
        transform=SCALING,
        augment=build_augment(("crop", "flip"), "image"),
    )


def take(examples, count, batch_size=4, start=0):
    feed = examples.feed(Shuffle(), batch_size, start)
    batches = [next(feed) for _ in range(count)]
    examples.close()
    return batches


def assert_equal(some, others):
    assert len(some) == len(others)
    for one, other in zip(some, others, strict=True):
        assert torch.equal(one.rows, other.rows)
        assert torch.equal(one.inputs[0], other.inputs[0])
        assert torch.equal(one.target, other.target)


def test_memory_loop_and_worker_give_the_same_augmented_batches(paths):
    loop = take(from_files(paths, 0), 14)
    assert_equal(loop, take(from_files(paths, 2), 14))
    assert_equal(loop, take(from_memory(paths), 14))


@settings(max_examples=10, deadline=None)
@given(start=st.integers(0, 14), batch_size=st.sampled_from([1, 4, 23, 64]))
def test_a_feed_entered_anywhere_goes_on_as_the_whole_one(paths, start, batch_size):
    for examples in (from_files(paths, 0), from_memory(paths)):
        whole = take(examples, start + 3, batch_size)
        assert_equal(whole[start:], take(examples, 3, batch_size, start))


@pytest.mark.parametrize("start", [1, 6, 13])
def test_a_worker_feed_entered_anywhere_goes_on_as_the_whole_one(paths, start):
    whole = take(from_files(paths, 1), start + 3)
    assert_equal(whole[start:], take(from_files(paths, 1), 3, start=start))


def test_an_epoch_visits_the_orders_rows_without_the_incomplete_batch(paths):
    steps = steps_per_epoch(NUM, 4)
    rows = torch.cat([batch.rows for batch in take(from_files(paths, 1), steps)])
    assert torch.equal(rows, Shuffle().epoch(0)[: steps * 4])


def test_evaluation_sees_every_example_once_unchanged_and_again(paths):
    examples = from_files(paths, 1)
    for _ in range(2):
        batches = list(examples.batches(10))
        assert [len(batch.rows) for batch in batches] == [10, 10, 3]
        assert torch.equal(torch.cat([batch.rows for batch in batches]), torch.arange(NUM))
        raw = read_all(paths, FORM, keep=True, workers=0).raw
        assert torch.equal(batches[0].inputs[0], SCALING((raw[:10],))[0])
    assert torch.equal(examples.targets(), torch.arange(NUM) % 2)


@pytest.mark.parametrize("workers", [0, 1])
def test_files_are_picked_by_position_as_they_are_in_memory(paths, workers):
    where = torch.tensor([5, 2, 20])
    assert_equal([from_files(paths, workers).pick(where)], [from_memory(paths).pick(where)])


def test_training_and_evaluation_may_run_side_by_side(paths):
    examples = from_files(paths, 1)
    feed = examples.feed(Shuffle(), 4)
    first = next(feed)
    assert len(list(examples.batches(8))) == 3
    assert_equal([first, next(feed)], take(from_files(paths, 0), 2))
    examples.close()


def children():
    return psutil.Process().children(recursive=True)


def test_close_ends_every_process_and_is_harmless_twice(paths):
    before = len(children())
    examples = from_files(paths, 2)
    feeds = [examples.feed(Shuffle(), 4), examples.batches(4)]
    for feed in feeds:
        next(feed)
    assert len(children()) == before + 4
    examples.close()
    assert len(children()) == before
    examples.close()


def test_a_feed_that_is_dropped_takes_its_processes_along(paths):
    before = len(children())
    feed = from_files(paths, 1).feed(Shuffle(), 4)
    next(feed)
    del feed
    assert len(children()) == before


def test_the_loops_own_random_numbers_are_left_alone(paths):
    before = torch.random.get_rng_state()
    take(from_files(paths, 1), 2)
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_workers_leave_signals_to_the_loop(paths, number):
    before = set(children())
    examples = from_files(paths, 1)
    feed = examples.feed(Shuffle(), 4)
    batches = [next(feed)]
    for child in set(children()) - before:
        os.kill(child.pid, number)
    time.sleep(0.1)
    batches += [next(feed) for _ in range(12)]
    assert_equal(batches, take(from_files(paths, 0), 13))
    examples.close()


def test_a_worker_that_dies_is_a_data_error_that_says_what_to_do(paths):
    before = set(children())
    examples = from_files(paths, 1)
    feed = examples.feed(Shuffle(), 4)
    next(feed)
    for child in set(children()) - before:
        os.kill(child.pid, signal.SIGKILL)
    time.sleep(0.1)  # nothing is raised here, in the middle of a step
    with pytest.raises(DataError, match=r"data\.workers = 0"):
        list(itertools.islice(feed, 100))
    assert set(children()) == before


@pytest.mark.parametrize("num", [0, 1])
def test_a_file_that_vanishes_in_training_is_named(tmp_path, num):
    found = []
    for index in range(8):
        path = tmp_path / f"{index}.png"
        Image.new("RGB", (12, 12)).save(path)
        found.append(str(path))
    examples = from_files(tuple(found), num)
    os.remove(found[3])
    with pytest.raises(DataError, match=r"3\.png"):
        list(examples.batches(4))


def test_reading_all_collects_failures_hashes_and_progress(tmp_path, paths, monkeypatch):
    monkeypatch.setattr(workers, "FEW_FILES", 1)
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"nothing")
    named = [*paths[:3], str(bad), paths[0], str(tmp_path / "none.png")]
    told = []
    for count in (0, 2):
        done = read_all(named, FORM, keep=True, workers=count, tell=lambda *p: told.append(p))
        assert [failure.position for failure in done.failures] == [3, 5]
        assert done.raw.shape == (6, *FORM.shape)
        assert (done.raw[3] == 0).all()
        assert done.hashes[0] == done.hashes[4]
        assert len(set(done.hashes.tolist())) == 5
        assert (told[0], told[-1]) == (("files", 0, 6), ("files", 6, 6))
        told.clear()
    assert read_all(named, FORM, keep=False, workers=0).raw is None


def test_workers_are_one_per_spare_core_unless_said(monkeypatch):
    monkeypatch.setattr(workers, "num_cores", lambda: 4)
    assert num_workers("auto") == 3
    assert num_workers(0) == 0
    monkeypatch.setattr(workers, "num_cores", lambda: 1)
    assert num_workers("auto") == 1
