"""What does every store promise? The records it hands out and the methods that memory, SQLite and
PostgreSQL all have; `tests/store/store_contract.py` is this promise as tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol, Self, runtime_checkable

from trainwright.core.records import RunRecord, RunState

if TYPE_CHECKING:
    import numpy as np

CheckpointKind = Literal["latest", "best", "final", "replay"]
LEASE_SECONDS = 30.0  # a dead writer on another machine is waited for this long [assumed]


class RunRow(NamedTuple):
    """One line of a listing. Times are Unix seconds; the metric is the run's headline, if any.

    A tuple, unlike our other records: 10,000 of these are made in 5 ms instead of 25 [measured].
    """

    id: str
    state: RunState
    created: float
    updated: float
    recipe_hash: str
    steps: int
    metric_name: str | None = None
    metric_split: str | None = None
    metric_value: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Headline:
    """The one metric that a listing shows beside a run. A value of NaN is kept as no value."""

    name: str
    split: str
    value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What was measured at one step: numbers or float arrays by name.

    `kind` is a short word of the caller's, as train, valid, progress. Values come back as float
    and as read-only float64 arrays of the same shape; NaN (with its bits) and infinity survive.
    """

    step: int
    kind: str
    values: Mapping[str, np.ndarray | float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A state of a run that can be gone back to: file name -> digest of the artefact."""

    id: int
    run_id: str
    step: int
    kind: CheckpointKind
    files: Mapping[str, str]
    created: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """The right to write one run. `token` proves it; `expires` is in the store's own clock."""

    run_id: str
    token: str
    owner: str
    seconds: float
    expires: float


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredArtefact:
    """One artefact as it lies in its folder; `modified` is Unix seconds, None when unknown."""

    digest: str
    num_bytes: int
    modified: float | None


@runtime_checkable
class Artefacts(Protocol):
    """Bytes found again by their sha256. Every method raises StoreError when it cannot."""

    def put(self, data: bytes) -> str:
        """Keep `data`, safe from power loss when this returns; its sha256 in hex."""
        ...

    def get(self, digest: str) -> bytes:
        """The bytes. Raises StoreError when they are missing, or no longer hash to `digest`."""
        ...

    def has(self, digest: str) -> bool:
        """Is something kept under `digest`? (It may still be damaged: `get` checks.)"""
        ...

    def delete(self, digest: str) -> None:
        """Forget the bytes; nothing happens when there are none."""
        ...

    def sizes(self) -> dict[str, int]:
        """Bytes by digest, of everything kept."""
        ...

    def stored(self) -> list[StoredArtefact]:
        """Everything kept, with sizes and times."""
        ...

    def clear_unfinished(self, *, older_than_seconds: float, dry_run: bool = False) -> int:
        """Remove what writers killed in the middle left behind; how many bytes that is."""
        ...


@runtime_checkable
class Store(Protocol):
    """Runs with their history, checkpoints and artefacts. More methods than our protocols have
    elsewhere: it is the one door to the database.

    Any number of threads and processes may read while one writes. Writing methods take
    `lease`; without it they use the lease that this very store object claimed, if it did, and
    otherwise demand that no living writer holds one. They raise LeaseHeld when the lease was lost
    to another, RunNotFound for an unknown run, StoreError when the database cannot; each call is
    one transaction: done wholly or not at all. Writing with a lease extends it.
    """

    @property
    def place(self) -> str:
        """Where this store is, in words fit for a message (no passwords)."""
        ...

    @property
    def artefacts(self) -> Artefacts:
        """Where checkpoints' files are kept."""
        ...

    def create_run(self, record: RunRecord) -> None:
        """A new run. Raises StoreError when its id is taken or is no fit name."""
        ...

    def save_run(
        self, record: RunRecord, *, headline: Headline | None = None, lease: Lease | None = None
    ) -> None:
        """Replace the record, and what a listing shows of it. No headline: the last one stays."""
        ...

    def run(self, run_id: str) -> RunRecord:
        """The record; the beginning of an id will do when only one run begins so.

        Raises RunNotFound, with near names or with the runs that begin so.
        """
        ...

    def runs(self, *, limit: int | None = None, state: RunState | None = None) -> list[RunRow]:
        """Newest first. Reads narrow columns only, never a whole record."""
        ...

    def delete_run(self, run_id: str, *, lease: Lease | None = None) -> None:
        """Forget a run, its history and its checkpoints; artefacts wait for retention."""
        ...

    def append(
        self, run_id: str, readings: Sequence[Reading], *, lease: Lease | None = None
    ) -> None:
        """Add to the history, in this order, in one transaction."""
        ...

    def readings(
        self, run_id: str, *, after: int = 0, kind: str | None = None, limit: int | None = None
    ) -> tuple[list[Reading], int]:
        """The history after cursor `after` (0: from the start), and the cursor to ask with next.

        Cursors of a run only grow, also over `truncate_readings`: a reader that sees the step go
        back has met a resume and drops what it has of later steps.
        """
        ...

    def truncate_readings(
        self, run_id: str, *, after_step: int, lease: Lease | None = None
    ) -> None:
        """Drop the history later than `after_step`, so that a resume does not double it."""
        ...

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
        """Note a checkpoint whose artefacts are already put. `created` is now by default."""
        ...

    def checkpoints(
        self, run_id: str | None = None, kind: CheckpointKind | None = None
    ) -> list[Checkpoint]:
        """Newest first; of every run when `run_id` is None."""
        ...

    def delete_checkpoint(self, checkpoint: Checkpoint, *, lease: Lease | None = None) -> None:
        """Forget one checkpoint; its artefacts wait for retention."""
        ...

    def claim(
        self, run_id: str, *, owner: str | None = None, seconds: float = LEASE_SECONDS
    ) -> Lease:
        """Become the run's one writer for `seconds`, extended by each write and by `renew`.

        Raises LeaseHeld when another holds an unexpired lease, unless that was a process on this
        machine that has died: then its lease is taken over at once.
        """
        ...

    def renew(self, lease: Lease) -> Lease:
        """The same lease with its time begun anew. Raises LeaseHeld when another has taken it."""
        ...

    def release(self, lease: Lease) -> None:
        """Give the run free; nothing happens when the lease is no longer ours."""
        ...

    def close(self) -> None:
        """Release what this store object claimed, and the connections; may be called twice."""
        ...

    def __enter__(self) -> Self: ...
    def __exit__(self, *exception: object) -> None: ...
