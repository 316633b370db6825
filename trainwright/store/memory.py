"""Where is a run kept that nobody asked to keep? In this process only; the same promise as the
databases', without importing any."""

import threading
import time
from collections.abc import Mapping, Sequence
from itertools import count
from typing import Self

from trainwright.core.records import RunRecord, RunState
from trainwright.store.artefacts import MemoryArtefacts
from trainwright.store.contract import (
    LEASE_SECONDS,
    Checkpoint,
    CheckpointKind,
    Headline,
    Lease,
    Reading,
    RunRow,
)
from trainwright.store.lease import Holding, held_error, is_living, lost_error, new_holding
from trainwright.store.names import check_name, meant_run, name_taken, run_not_found
from trainwright.store.packing import pack, unpack


class _Run:
    """One run's record and rows."""

    __slots__ = ("checkpoints", "headline", "holding", "number", "readings", "record", "updated")

    def __init__(self, record: RunRecord, number: int) -> None:
        self.record, self.number, self.updated = record, number, time.time()
        self.headline: Headline | None = None
        self.readings: list[tuple[int, int, str, str, bytes]] = []  # id, step, kind, layout, blob
        self.checkpoints: list[Checkpoint] = []
        self.holding: Holding | None = None


class MemoryStore:
    """A store that ends with the process."""

    def __init__(self) -> None:
        self.artefacts = MemoryArtefacts()
        self.place = "memory"
        self._runs: dict[str, _Run] = {}
        self._held: dict[str, Lease] = {}
        self._numbers, self._cursors, self._checkpoints = count(1), count(1), count(1)
        self._lock = threading.RLock()

    def create_run(self, record: RunRecord) -> None:
        check_name(record.id)
        with self._lock:
            if record.id in self._runs:
                raise name_taken(record.id, self.place)
            self._runs[record.id] = _Run(record, next(self._numbers))

    def save_run(
        self, record: RunRecord, *, headline: Headline | None = None, lease: Lease | None = None
    ) -> None:
        with self._lock:
            run = self._written(record.id, lease)
            run.record, run.updated = record, time.time()
            run.headline = headline or run.headline

    def run(self, run_id: str) -> RunRecord:
        with self._lock:
            return self._runs[meant_run(run_id, self._ids(), self.place)].record

    def runs(self, *, limit: int | None = None, state: RunState | None = None) -> list[RunRow]:
        with self._lock:
            rows = [_row(run) for run in self._newest_first() if state in (None, run.record.state)]
        return rows[:limit]

    def delete_run(self, run_id: str, *, lease: Lease | None = None) -> None:
        with self._lock:
            self._written(run_id, lease)
            del self._runs[run_id]
            self._held.pop(run_id, None)

    def append(
        self, run_id: str, readings: Sequence[Reading], *, lease: Lease | None = None
    ) -> None:
        packed = [(one.step, one.kind, *pack(one.values)) for one in readings]
        with self._lock:
            rows = self._written(run_id, lease).readings
            rows.extend((next(self._cursors), *row) for row in packed)

    def readings(
        self, run_id: str, *, after: int = 0, kind: str | None = None, limit: int | None = None
    ) -> tuple[list[Reading], int]:
        with self._lock:
            rows = [r for r in self._known(run_id).readings if r[0] > after]
        rows = [r for r in rows if kind in (None, r[2])][:limit]
        found = [Reading(step=r[1], kind=r[2], values=unpack(r[3], r[4])) for r in rows]
        return found, rows[-1][0] if rows else after

    def truncate_readings(
        self, run_id: str, *, after_step: int, lease: Lease | None = None
    ) -> None:
        with self._lock:
            run = self._written(run_id, lease)
            run.readings = [row for row in run.readings if row[1] <= after_step]

    def save_checkpoint(
        self,
        run_id: str,
        *,
        step: int,
        kind: CheckpointKind,
        files: Mapping[str, str],
        created: float | None = None,
        lease: Lease | None = None,
    ) -> Checkpoint:
        with self._lock:
            run = self._written(run_id, lease)
            checkpoint = Checkpoint(
                id=next(self._checkpoints),
                run_id=run_id,
                step=step,
                kind=kind,
                files=dict(files),
                created=time.time() if created is None else created,
            )
            run.checkpoints.append(checkpoint)
        return checkpoint

    def checkpoints(
        self, run_id: str | None = None, kind: CheckpointKind | None = None
    ) -> list[Checkpoint]:
        with self._lock:
            among = list(self._runs.values()) if run_id is None else [self._known(run_id)]
            found = [c for run in among for c in run.checkpoints if kind in (None, c.kind)]
        return sorted(found, key=lambda checkpoint: -checkpoint.id)

    def delete_checkpoint(self, checkpoint: Checkpoint, *, lease: Lease | None = None) -> None:
        with self._lock:
            run = self._written(checkpoint.run_id, lease)
            run.checkpoints = [c for c in run.checkpoints if c.id != checkpoint.id]

    def claim(
        self, run_id: str, *, owner: str | None = None, seconds: float = LEASE_SECONDS
    ) -> Lease:
        now = time.time()
        with self._lock:
            run = self._known(run_id)
            if run.holding and is_living(run.holding, now):
                raise held_error(run_id, run.holding, now)
            run.holding = new_holding(owner, seconds, now)
            lease = run.holding.lease(run_id)
            self._held[run_id] = lease
        return lease

    def renew(self, lease: Lease) -> Lease:
        with self._lock:
            run = self._written(lease.run_id, lease)
            assert run.holding
            run.holding = run.holding.renewed(time.time())
            return run.holding.lease(lease.run_id)

    def release(self, lease: Lease) -> None:
        with self._lock:
            run = self._runs.get(lease.run_id)
            if run and run.holding and run.holding.token == lease.token:
                run.holding = None
            self._held.pop(lease.run_id, None)

    def close(self) -> None:
        for lease in list(self._held.values()):
            self.release(lease)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _known(self, run_id: str) -> _Run:
        if run_id not in self._runs:
            raise run_not_found(run_id, self._ids(), self.place)
        return self._runs[run_id]

    def _written(self, run_id: str, lease: Lease | None) -> _Run:
        """The run, when the caller may write it; its lease begins anew."""
        run, now = self._known(run_id), time.time()
        lease = lease or self._held.get(run_id)
        if lease is None:
            if run.holding and is_living(run.holding, now):
                raise held_error(run_id, run.holding, now)
        elif run.holding is None or run.holding.token != lease.token:
            raise lost_error(run_id)
        else:
            run.holding = run.holding.renewed(now)
        return run

    def _newest_first(self) -> list[_Run]:
        return sorted(self._runs.values(), key=lambda run: (-run.record.created, -run.number))

    def _ids(self) -> list[str]:
        return [run.record.id for run in self._newest_first()]


def _row(run: _Run) -> RunRow:
    record, headline = run.record, run.headline
    shows = headline is not None and headline.value == headline.value
    return RunRow(
        id=record.id,
        state=record.state,
        created=record.created,
        updated=run.updated,
        recipe_hash=record.recipe_hash,
        steps=record.steps,
        metric_name=headline.name if headline else None,
        metric_split=headline.split if headline else None,
        metric_value=headline.value if headline and shows else None,
    )
