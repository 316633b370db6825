"""Only what nobody needs goes."""

import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from store_contract import record

from trainwright.store.memory import MemoryStore
from trainwright.store.open import open_store
from trainwright.store.retention import KEEP_CHECKPOINTS, sweep


def checkpoint(store, run, step, kind, content: bytes, created=None):
    files = {"weights": store.artefacts.put(content)}
    return store.save_checkpoint(run, step=step, kind=kind, files=files, created=created)


@pytest.fixture(params=["memory", "sqlite"])
def store(request, sqlite_path):
    with open_store(None if request.param == "memory" else sqlite_path) as store:
        store.create_run(record())
        yield store


RUN = "swift-otter-12"


def test_of_each_kind_the_newest_stay_and_results_stay_always(store):
    made = [
        checkpoint(store, RUN, step, kind, f"{kind} {step}".encode())
        for step in range(4)
        for kind in ("latest", "best", "final", "replay")
    ]
    report = sweep(store, grace_seconds=0)
    left = store.checkpoints(RUN)
    assert [(c.kind, c.step) for c in left if c.kind == "latest"] == [("latest", 3), ("latest", 2)]
    assert [(c.kind, c.step) for c in left if c.kind == "best"] == [("best", 3)]
    assert sum(c.kind in ("final", "replay") for c in left) == 8
    assert {c.id for c in report.checkpoints} == {c.id for c in made} - {c.id for c in left}
    assert {d for c in left for d in c.files.values()} == set(store.artefacts.sizes())
    assert len(report.artefacts) == 5
    assert report.num_bytes == 2 * len("latest 0") + 3 * len("best 0")


def test_a_dry_run_tells_the_same_and_removes_nothing(store):
    for step in range(4):
        checkpoint(store, RUN, step, "latest", b"weights %d" % step)
    before = (store.checkpoints(), store.artefacts.sizes())
    told = sweep(store, grace_seconds=0, dry_run=True)
    assert (store.checkpoints(), store.artefacts.sizes()) == before
    done = sweep(store, grace_seconds=0)
    assert (told.checkpoints, set(told.artefacts), told.num_bytes) == (
        done.checkpoints,
        set(done.artefacts),
        done.num_bytes,
    )
    assert len(done.checkpoints) == 2
    assert sweep(store, grace_seconds=0).checkpoints == ()


def test_an_artefact_that_a_kept_checkpoint_shares_stays(store):
    for step in range(4):
        checkpoint(store, RUN, step, "latest", b"the same weights")
    sweep(store, grace_seconds=0)
    assert store.artefacts.get(store.checkpoints()[0].files["weights"]) == b"the same weights"


def test_artefacts_of_a_deleted_run_go(store):
    checkpoint(store, RUN, 1, "final", b"weights")
    store.delete_run(RUN)
    assert len(sweep(store, grace_seconds=0).artefacts) == 1
    assert store.artefacts.sizes() == {}


def test_what_was_just_put_waits_for_its_row(store):
    digest = store.artefacts.put(b"weights of a checkpoint being saved")
    assert sweep(store).artefacts == ()
    assert store.artefacts.has(digest)


def test_young_checkpoints_are_spared_when_asked(store):
    for step in range(4):
        checkpoint(store, RUN, step, "latest", b"old", created=1000.0)
    for step in range(4, 8):
        checkpoint(store, RUN, step, "latest", b"new")
    sweep(store, older_than_seconds=3600)
    assert [c.step for c in store.checkpoints()] == [7, 6, 5, 4]


def test_a_run_being_written_is_left_to_its_writer(sqlite_path):
    with open_store(sqlite_path) as writer, open_store(sqlite_path) as store:
        writer.create_run(record())
        writer.claim(RUN)
        for step in range(4):
            checkpoint(writer, RUN, step, "latest", b"weights %d" % step)
        report = sweep(store, grace_seconds=0)
        assert report.busy == (RUN,)
        assert report.checkpoints == ()
        assert len(store.artefacts.sizes()) == 4


def test_leftovers_of_killed_writers_are_counted_and_cleared(sqlite_path):
    with open_store(sqlite_path) as store:
        digest = store.artefacts.put(b"weights")
        left = store.artefacts.folder / digest[:2] / ".unfinished-1-a"
        left.write_bytes(b"12345")
        os.utime(left, (1, 1))
        assert sweep(store).num_bytes == 5
        assert not left.exists()


rows = st.lists(
    st.tuples(
        st.sampled_from("ab"), st.sampled_from(["latest", "best", "final"]), st.binary(max_size=1)
    ),
    max_size=12,
)


@settings(deadline=None)
@given(rows=rows, latest=st.integers(0, 3), best=st.integers(0, 3))
def test_after_a_sweep_every_row_has_its_artefact_and_every_artefact_its_row(rows, latest, best):
    store = MemoryStore()
    for name in "ab":
        store.create_run(record(name))
    for step, (run, kind, content) in enumerate(rows):
        checkpoint(store, run, step, kind, content)
    sweep(store, keep_checkpoints={"latest": latest, "best": best}, grace_seconds=0)
    left = store.checkpoints()
    assert {d for c in left for d in c.files.values()} == set(store.artefacts.sizes())
    for name in "ab":
        for kind, keep in (("latest", latest), ("best", best)):
            made = [s for s, (run, k, _) in enumerate(rows) if (run, k) == (name, kind)]
            kept = [c.step for c in left if (c.run_id, c.kind) == (name, kind)]
            assert kept == made[::-1][:keep]


def test_two_of_the_latest_are_kept_so_that_a_damaged_one_leaves_another():
    assert KEEP_CHECKPOINTS["latest"] >= 2
