"""The promise of `trainwright/store/contract.py` as tests that every store passes. A subclass gives
the fixture `store`."""

import hashlib
import math
import threading
import time

import numpy as np
import pytest

from trainwright.core.errors import LeaseHeld, RunNotFound, StoreError
from trainwright.core.records import Column as DataColumn
from trainwright.core.records import Metric, Notice, RunRecord, Signature, Understanding
from trainwright.core.task import Task
from trainwright.store.contract import Headline, Reading, Store


def record(run_id: str = "swift-otter-12", **values) -> RunRecord:
    return RunRecord(id=run_id, **({"created": time.time()} | values))


def rich_record(run_id: str = "swift-otter-12") -> RunRecord:
    column = DataColumn(name='<b>"年齡"\x1b[0m\0', role="numeric", reason=Notice(code="numbers"))
    understanding = Understanding(
        source="a.csv",
        format="csv",
        signature=Signature(kind="features", shape=(3,)),
        task=Task(kind="binary", classes=("no", "yes \ud800")),
        columns=(column,),
        class_counts={"no": 5, "yes": 7},
    )
    return record(
        run_id,
        created=1_700_000_000.123456,
        recipe={"model": {"depth": 2, "name": "mlp"}, "seed": 0},
        recipe_hash="ab" * 32,
        understanding=understanding,
        metrics={"valid": {"accuracy": Metric(value=0.9, low=0.8, high=math.inf)}},
        seconds_by_part={"train": 1.5},
    )


def reading(step: int, kind: str = "train", **values) -> Reading:
    return Reading(step=step, kind=kind, values=values or {"loss": step / 7})


def steps(store: Store, run_id: str = "swift-otter-12", **options) -> list[int]:
    return [one.step for one in store.readings(run_id, **options)[0]]


class StoreContract:
    @pytest.fixture
    def run(self, store: Store) -> str:
        store.create_run(record())
        return "swift-otter-12"

    # Runs

    def test_a_record_comes_back_as_it_was(self, store):
        store.create_run(rich_record())
        assert store.run("swift-otter-12") == rich_record()

    def test_saving_replaces_the_record_and_the_row(self, store, run):
        store.save_run(record(state="finished", steps=500, recipe_hash="cafe"))
        assert store.run(run).steps == 500
        row = store.runs()[0]
        assert (row.id, row.state, row.steps, row.recipe_hash) == (run, "finished", 500, "cafe")
        assert row.updated == pytest.approx(time.time(), abs=60)
        assert row.metric_value is None

    def test_a_headline_is_listed_and_stays_until_the_next(self, store, run):
        store.save_run(record(), headline=Headline(name="accuracy", split="valid", value=0.75))
        store.save_run(record(steps=3))
        row = store.runs()[0]
        assert (row.metric_name, row.metric_split, row.metric_value) == ("accuracy", "valid", 0.75)
        store.save_run(record(), headline=Headline(name="accuracy", split="valid", value=math.nan))
        assert store.runs()[0].metric_value is None

    def test_a_number_that_is_none_survives_in_a_record(self, store):
        store.create_run(
            record(seconds=math.nan, metrics={"test": {"loss": Metric(value=math.inf)}})
        )
        found = store.run("swift-otter-12")
        assert math.isnan(found.seconds)
        assert found.metrics["test"]["loss"].value == math.inf

    def test_a_taken_id_is_refused_and_the_first_run_kept(self, store, run):
        with pytest.raises(StoreError, match="already") as error:
            store.create_run(record(steps=9))
        assert error.value.do
        assert store.run(run).steps == 0

    @pytest.mark.parametrize(
        "name", ["", "../etc/passwd", "a b", "\x1b[31mred", "-x", ".hidden", "a\0", "a" * 81, "a/b"]
    )
    def test_an_unfit_name_is_refused(self, store, name):
        with pytest.raises(StoreError, match="name of a run") as error:
            store.create_run(record(name))
        assert "\x1b" not in str(error.value)
        assert not store.runs()

    @pytest.mark.parametrize("name", ["7", "Fraud_v2.1", "顧客流失-3", "a" * 80])
    def test_a_fit_name_is_taken(self, store, name):
        store.create_run(record(name))
        assert store.run(name).id == name

    def test_an_unknown_run_is_named_with_the_near_one(self, store, run):
        with pytest.raises(RunNotFound, match="did you mean 'swift-otter-12'"):
            store.run("swift-oter-12")

    def test_an_unknown_run_in_an_empty_store_says_that_it_is_empty(self, store):
        with pytest.raises(RunNotFound, match="no runs yet"):
            store.run("swift-otter-12")

    def test_a_beginning_is_enough_when_it_is_unique(self, store, run):
        store.create_run(record("swift-owl-3"))
        store.create_run(record("swift-owl-31"))
        assert store.run("swift-ot").id == "swift-otter-12"
        assert store.run("swift-owl-3").id == "swift-owl-3"
        with pytest.raises(RunNotFound, match=r"3 runs in .* begin with 'swift'"):
            store.run("swift")
        with pytest.raises(RunNotFound):
            store.run("")

    @pytest.mark.parametrize("wild", ["swift%", "swift_otter_12", "%", "SWIFT", "'; --"])
    def test_a_name_is_no_pattern(self, store, run, wild):
        with pytest.raises(RunNotFound):
            store.run(wild)

    def test_runs_are_listed_newest_first_by_state_and_up_to_a_limit(self, store):
        for number, state in enumerate(["finished", "failed", "finished", "running"]):
            store.create_run(record(f"run-{number}", created=100.0 + number, state=state))
        store.create_run(record("old", created=1.0))
        assert [r.id for r in store.runs()] == ["run-3", "run-2", "run-1", "run-0", "old"]
        assert [r.id for r in store.runs(limit=2)] == ["run-3", "run-2"]
        assert [r.id for r in store.runs(state="finished")] == ["run-2", "run-0"]
        assert [r.id for r in store.runs(state="finished", limit=1)] == ["run-2"]

    def test_runs_of_one_instant_are_listed_last_made_first(self, store):
        for name in "abc":
            store.create_run(record(name, created=5.0))
        assert [r.id for r in store.runs()] == ["c", "b", "a"]

    def test_a_deleted_run_takes_its_rows_along_and_frees_its_name(self, store, run):
        store.append(run, [reading(1)])
        store.save_checkpoint(run, step=1, kind="latest", files={"a": "0" * 64})
        store.create_run(record("other"))
        store.append("other", [reading(2)])
        store.delete_run(run)
        with pytest.raises(RunNotFound):
            store.run(run)
        assert store.checkpoints() == []
        assert steps(store, "other") == [2]
        store.create_run(record())
        assert steps(store) == []
        assert store.checkpoints(run) == []

    @pytest.mark.parametrize(
        "act",
        [
            lambda store: store.save_run(record("nobody")),
            lambda store: store.delete_run("nobody"),
            lambda store: store.append("nobody", [reading(1)]),
            lambda store: store.readings("nobody"),
            lambda store: store.truncate_readings("nobody", after_step=0),
            lambda store: store.save_checkpoint("nobody", step=1, kind="best", files={}),
            lambda store: store.checkpoints("nobody"),
            lambda store: store.claim("nobody"),
        ],
        ids=["save", "delete", "append", "read", "truncate", "checkpoint", "list", "claim"],
    )
    def test_every_method_says_so_when_the_run_is_unknown(self, store, run, act):
        with pytest.raises(RunNotFound, match="'nobody'"):
            act(store)

    # History

    def test_numbers_arrays_and_what_is_no_number_come_back(self, store, run):
        values = {
            "loss": 0.1,
            "count": 3,
            "nothing": math.nan,
            "endless": -math.inf,
            "per_layer": np.array([1.0, math.nan, math.inf, -0.0]),
            "table": np.arange(6, dtype=np.float32).reshape(2, 3),
            "empty": np.zeros((0, 4)),
            'odd "name"\n年': 1e-320,
        }
        store.append(run, [Reading(step=7, kind="train", values=values)])
        (found,), _ = store.readings(run)
        assert (found.step, found.kind) == (7, "train")
        assert list(found.values) == list(values)
        for name, value in values.items():
            assert np.array_equal(found.values[name], value, equal_nan=True), name
            assert np.shape(found.values[name]) == np.shape(value)
        assert isinstance(found.values["count"], float)
        assert math.copysign(1, found.values["per_layer"][3]) == -1

    def test_the_history_keeps_its_order_and_its_kinds(self, store, run):
        store.append(run, [reading(1), reading(1, "valid"), reading(2)])
        store.append(run, [reading(3), reading(3, "valid")])
        assert steps(store) == [1, 1, 2, 3, 3]
        assert steps(store, kind="valid") == [1, 3]
        assert steps(store, kind="test") == []
        assert steps(store, limit=2) == [1, 1]

    def test_a_reader_that_follows_by_cursor_sees_each_row_once(self, store, run):
        seen, cursor = [], 0
        for step in range(10):
            store.append(run, [reading(step), reading(step, "valid")])
            if step % 3 == 0:
                found, cursor = store.readings(run, after=cursor, kind="train", limit=2)
                seen += [one.step for one in found]
        while True:
            found, cursor = store.readings(run, after=cursor, kind="train", limit=2)
            if not found:
                break
            seen += [one.step for one in found]
        assert seen == list(range(10))
        assert store.readings(run, after=cursor) != ([], cursor)  # the last "valid" row is beyond
        assert store.readings(run, after=10**12) == ([], 10**12)

    def test_appending_nothing_is_nothing(self, store, run):
        store.append(run, [])
        assert store.readings(run) == ([], 0)

    def test_two_runs_do_not_mix(self, store, run):
        store.create_run(record("other"))
        for step in range(4):
            store.append(run, [reading(step)])
            store.append("other", [reading(10 * step)])
        assert steps(store) == [0, 1, 2, 3]
        assert steps(store, "other") == [0, 10, 20, 30]

    def test_a_resume_does_not_double_the_history_nor_confuse_a_reader(self, store, run):
        store.append(run, [reading(step) for step in range(10)])
        _, cursor = store.readings(run)
        store.truncate_readings(run, after_step=5)
        assert steps(store) == [0, 1, 2, 3, 4, 5]
        store.append(run, [reading(step) for step in (6, 7)])
        assert steps(store) == [0, 1, 2, 3, 4, 5, 6, 7]
        assert steps(store, after=cursor) == [6, 7]

    def test_dropping_the_newest_rows_never_gives_their_cursors_again(self, store, run):
        store.append(run, [reading(1), reading(2)])
        _, before = store.readings(run)
        store.truncate_readings(run, after_step=0)
        store.append(run, [reading(1)])
        assert store.readings(run)[1] > before

    def test_a_reading_that_cannot_be_packed_leaves_no_part_of_its_batch(self, store, run):
        with pytest.raises((TypeError, ValueError)):
            store.append(run, [reading(1), Reading(step=2, kind="train", values={"loss": "high"})])
        assert steps(store) == []

    def test_a_thread_reads_while_another_writes(self, store, run):
        seen, done = [], threading.Event()

        def follow():
            cursor = 0
            while True:
                last_round = done.is_set()
                found, cursor = store.readings(run, after=cursor)
                seen.extend(one.step for one in found)
                if last_round:
                    return

        reader = threading.Thread(target=follow)
        reader.start()
        for step in range(100):
            store.append(run, [reading(step)])
        done.set()
        reader.join(30)
        assert seen == list(range(100))

    def test_threads_may_write_different_runs_at_once(self, store):
        def write(name):
            for step in range(20):
                store.append(name, [reading(step)])

        names = [f"run-{number}" for number in range(4)]
        for name in names:
            store.create_run(record(name))
        threads = [threading.Thread(target=write, args=(name,)) for name in names]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert all(steps(store, name) == list(range(20)) for name in names)

    # Checkpoints

    def test_checkpoints_come_newest_first_with_their_files(self, store, run):
        files = {"weights.safetensors": "a" * 64, "state.json": "b" * 64}
        first = store.save_checkpoint(run, step=5, kind="latest", files=files, created=100.0)
        best = store.save_checkpoint(run, step=9, kind="best", files={})
        last = store.save_checkpoint(run, step=9, kind="latest", files=files)
        assert store.checkpoints(run) == [last, best, first]
        assert store.checkpoints(run, "latest") == [last, first]
        assert (first.files, first.created, first.step) == (files, 100.0, 5)
        assert last.created == pytest.approx(time.time(), abs=60)

    def test_a_deleted_checkpoint_is_gone_and_may_be_deleted_again(self, store, run):
        kept = store.save_checkpoint(run, step=1, kind="latest", files={})
        gone = store.save_checkpoint(run, step=2, kind="latest", files={})
        store.delete_checkpoint(gone)
        store.delete_checkpoint(gone)
        assert store.checkpoints(run) == [kept]

    def test_checkpoints_of_all_runs_can_be_listed(self, store, run):
        store.create_run(record("other"))
        one = store.save_checkpoint(run, step=1, kind="latest", files={})
        two = store.save_checkpoint("other", step=1, kind="final", files={})
        assert store.checkpoints() == [two, one]
        assert store.checkpoints(kind="final") == [two]

    # One writer

    def test_a_second_writer_is_refused_with_the_first_ones_name(self, store, run):
        store.claim(run, owner="the night job")
        with pytest.raises(LeaseHeld, match="the night job") as error:
            store.claim(run)
        assert error.value.allowed
        assert "s" in error.value.do

    def test_a_released_run_can_be_claimed_again(self, store, run):
        lease = store.claim(run)
        store.append(run, [reading(1)], lease=lease)
        store.release(lease)
        store.release(lease)
        assert store.claim(run).token != lease.token

    def test_an_expired_lease_is_taken_over_and_the_late_writer_stopped(self, store, run):
        late = store.claim(run, seconds=0.02)
        time.sleep(0.05)
        new = store.claim(run)
        for act in (
            lambda: store.append(run, [reading(1)], lease=late),
            lambda: store.save_run(record(steps=99), lease=late),
            lambda: store.save_checkpoint(run, step=1, kind="best", files={}, lease=late),
            lambda: store.truncate_readings(run, after_step=0, lease=late),
            lambda: store.delete_run(run, lease=late),
            lambda: store.renew(late),
        ):
            with pytest.raises(LeaseHeld, match="no longer writes"):
                act()
        assert steps(store) == []
        assert store.run(run).steps == 0
        store.release(late)  # not its own any more: the new one must not lose it
        store.append(run, [reading(1)], lease=new)
        assert steps(store) == [1]

    def test_an_expired_lease_that_nobody_took_still_writes_and_lives_again(self, store, run):
        lease = store.claim(run, seconds=0.3)
        time.sleep(0.35)
        store.append(run, [reading(1)], lease=lease)
        with pytest.raises(LeaseHeld):
            store.claim(run)
        assert steps(store) == [1]

    def test_renewing_begins_the_time_anew(self, store, run):
        lease = store.claim(run, seconds=60)
        time.sleep(0.01)
        again = store.renew(lease)
        assert again.expires > lease.expires
        assert (again.token, again.seconds) == (lease.token, 60)

    def test_a_lease_lost_and_free_again_does_not_write(self, store, run):
        late = store.claim(run, seconds=0.02)
        time.sleep(0.05)
        store.release(store.claim(run))
        with pytest.raises(LeaseHeld):
            store.append(run, [reading(1)], lease=late)

    def test_the_store_that_claimed_writes_without_showing_its_lease(self, store, run):
        store.claim(run)
        store.append(run, [reading(1)])
        store.save_run(record(steps=1))
        store.delete_run(run)
        assert store.runs() == []

    def test_claiming_one_run_leaves_the_others_free(self, store, run):
        store.create_run(record("other"))
        store.claim(run)
        store.claim("other")

    def test_of_many_that_claim_at_once_one_wins(self, store, run):
        won, lost = [], []
        barrier = threading.Barrier(8)

        def claim(number):
            barrier.wait()
            try:
                won.append(store.claim(run, owner=f"thread {number}"))
            except LeaseHeld:
                lost.append(number)

        threads = [threading.Thread(target=claim, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert (len(won), len(lost)) == (1, 7)

    # Artefacts

    def test_bytes_are_found_again_by_their_hash(self, store):
        digest = store.artefacts.put(b"weights")
        assert digest == hashlib.sha256(b"weights").hexdigest()
        assert store.artefacts.get(digest) == b"weights"
        assert store.artefacts.put(b"weights") == digest
        assert store.artefacts.has(digest)
        assert store.artefacts.sizes() == {digest: 7}
        store.artefacts.delete(digest)
        store.artefacts.delete(digest)
        assert not store.artefacts.has(digest)
        with pytest.raises(StoreError, match="missing"):
            store.artefacts.get(digest)

    def test_a_closed_store_may_be_closed_again(self, store, run):
        store.claim(run)
        store.close()
        store.close()
