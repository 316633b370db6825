"""A living writer is left alone; a dead one is followed at once."""

import dataclasses
import os
import signal
import subprocess
import sys
import time

import pytest
from store_contract import reading, record, steps

from trainwright.core.errors import LeaseHeld, StoreError
from trainwright.store.lease import Writer, is_dead, is_living, new_holding, this_writer
from trainwright.store.open import open_store

CLAIM = """
import sys, time
from trainwright.store.open import open_store
from trainwright.store.contract import Reading
store = open_store(sys.argv[1])
store.claim("swift-otter-12", seconds=3600)
step = 0
print("claimed", flush=True)
while True:
    step += 1
    store.append("swift-otter-12", [Reading(step=step, kind="train", values={"loss": 1 / step})])
"""


@pytest.fixture(params=["sqlite", "postgres"])
def url(request, sqlite_path):
    if request.param == "sqlite":
        return f"sqlite:///{sqlite_path}"
    return request.getfixturevalue("postgres_url")


def test_a_reader_follows_and_a_writer_is_refused_until_the_other_is_killed(url, python):
    with open_store(url) as store:
        store.create_run(record())
        other = python(CLAIM, url)
        assert other.stdout.readline() == "claimed\n"
        seen, cursor, give_up = [], 0, time.monotonic() + 30
        while len(seen) < 20 and time.monotonic() < give_up:
            found, cursor = store.readings("swift-otter-12", after=cursor)
            seen += [one.step for one in found]
        assert seen[:20] == list(range(1, 21))
        for act in (
            lambda: store.claim("swift-otter-12"),
            lambda: store.append("swift-otter-12", [reading(1)]),
            lambda: store.save_run(record()),
            lambda: store.delete_run("swift-otter-12"),
        ):
            with pytest.raises(LeaseHeld, match=f"process {other.pid} of"):
                act()
        other.send_signal(signal.SIGKILL)
        give_up = time.monotonic() + 30
        while not is_dead(Writer(machine=this_writer().machine, pid=other.pid, started="")):
            assert time.monotonic() < give_up  # not waited for: a zombie is dead too
        lease = store.claim("swift-otter-12")
        last = steps(store)[-1]
        assert steps(store) == list(range(1, last + 1))  # whole transactions only
        store.append("swift-otter-12", [reading(last + 1)], lease=lease)


def test_a_writer_that_was_killed_and_reaped_is_followed_at_once(url, python):
    with open_store(url) as store:
        store.create_run(record())
        other = python(CLAIM, url)
        other.stdout.readline()
        other.kill()
        other.wait()
        assert store.claim("swift-otter-12")


def test_two_stores_in_one_process_are_two_writers(url):
    with open_store(url) as one, open_store(url) as two:
        one.create_run(record())
        one.claim("swift-otter-12")
        with pytest.raises(LeaseHeld):
            two.claim("swift-otter-12")
        one.close()
        two.claim("swift-otter-12")


def test_a_lease_is_given_up_in_this_process_though_a_full_disk_takes_no_word_of_it(
    url, monkeypatch
):
    def full(*_):
        raise StoreError("the disk is full")

    with open_store(url) as store, open_store(url) as other:
        store.create_run(record())
        lease = store.claim("swift-otter-12")
        with pytest.raises(LeaseHeld):
            other.claim("swift-otter-12")
        with monkeypatch.context() as patch:
            patch.setattr(store, "_writing", full)
            with pytest.raises(StoreError, match="full"):
                store.release(lease)
        other.claim("swift-otter-12")


def test_a_process_knows_that_it_lives():
    holding = new_holding(None, 10, now=100)
    assert is_living(holding, 109.9)
    assert not is_living(holding, 110)


def test_another_process_with_the_same_number_is_not_the_writer():
    assert is_dead(dataclasses.replace(this_writer(), started="1"))
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        other = dataclasses.replace(this_writer(), pid=process.pid)
        assert is_dead(dataclasses.replace(other, started="1"))
        assert not is_dead(
            dataclasses.replace(other, started="")
        )  # not known then: benefit of doubt
        process.communicate(b"\n")
    assert is_dead(dataclasses.replace(other, started=""))


def test_a_process_of_another_machine_is_never_called_dead():
    assert not is_dead(Writer(machine="elsewhere", pid=2**22 + 1, started="1"))


def test_the_owner_is_told_in_words_unless_given():
    assert str(os.getpid()) in new_holding(None, 1, 0).owner
    assert new_holding("the night job", 1, 0).owner == "the night job"
