"""What may go? Checkpoints beyond those to be kept, and artefacts that no row refers to."""

import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from trainwright.core.errors import LeaseHeld, RunNotFound
from trainwright.store.contract import Checkpoint, CheckpointKind, Store

# The two newest, so that a damaged last one leaves another; "final" and "replay" are results.
KEEP_CHECKPOINTS: Mapping[CheckpointKind, int] = MappingProxyType({"latest": 2, "best": 1})
# An artefact is put before the row that refers to it; a writer takes seconds between [assumed].
GRACE_SECONDS = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepReport:
    """What a sweep removed, or would remove. `busy`: runs left alone, being written just now."""

    dry_run: bool
    checkpoints: tuple[Checkpoint, ...]
    artefacts: tuple[str, ...]
    num_bytes: int
    busy: tuple[str, ...] = ()


def sweep(
    store: Store,
    *,
    keep_checkpoints: Mapping[CheckpointKind, int] = KEEP_CHECKPOINTS,
    older_than_seconds: float | None = None,
    grace_seconds: float = GRACE_SECONDS,
    dry_run: bool = False,
) -> SweepReport:
    """Keep, of each run, the newest `keep_checkpoints[kind]` of each kind (a kind not named: all);
    `older_than_seconds` spares younger ones. Artefacts without a row go when they are older than
    `grace_seconds` (of unknown age: never), and what killed writers left unfinished."""
    now, gone, busy = time.time(), [], set()
    for checkpoint in _surplus(store.checkpoints(), keep_checkpoints):
        if older_than_seconds is not None and now - checkpoint.created < older_than_seconds:
            continue
        if not dry_run:
            try:
                store.delete_checkpoint(checkpoint)
            except LeaseHeld:
                busy.add(checkpoint.run_id)
                continue
            except RunNotFound:
                pass  # deleted meanwhile, by someone else
        gone.append(checkpoint)
    # What lies there is listed before the rows are read again: whatever gets a row in between
    # is then either too young or referred to.
    stored = store.artefacts.stored()
    removed = {checkpoint.id for checkpoint in gone}
    referred = {
        digest
        for checkpoint in store.checkpoints()
        if checkpoint.id not in removed
        for digest in checkpoint.files.values()
    }
    orphans = [
        one
        for one in stored
        if one.digest not in referred
        and one.modified is not None
        and now - one.modified >= grace_seconds
    ]
    if not dry_run:
        for one in orphans:
            store.artefacts.delete(one.digest)
    unfinished = store.artefacts.clear_unfinished(older_than_seconds=grace_seconds, dry_run=dry_run)
    return SweepReport(
        dry_run=dry_run,
        checkpoints=tuple(gone),
        artefacts=tuple(one.digest for one in orphans),
        num_bytes=sum(one.num_bytes for one in orphans) + unfinished,
        busy=tuple(sorted(busy)),
    )


def _surplus(
    newest_first: list[Checkpoint], keep: Mapping[CheckpointKind, int]
) -> list[Checkpoint]:
    seen: dict[tuple[str, str], int] = defaultdict(int)
    surplus = []
    for checkpoint in newest_first:
        key = (checkpoint.run_id, checkpoint.kind)
        seen[key] += 1
        if checkpoint.kind in keep and seen[key] > keep[checkpoint.kind]:
            surplus.append(checkpoint)
    return surplus
