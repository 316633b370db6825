"""How does a run lie in a database? The store on SQLite and PostgreSQL, by one code."""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Self

from sqlalchemy import Connection, Engine, bindparam, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from trainwright.core.errors import StoreError, shown
from trainwright.core.phrases import phrase
from trainwright.core.records import RunRecord, RunState, from_plain, to_plain
from trainwright.store import schema
from trainwright.store.contract import (
    LEASE_SECONDS,
    Artefacts,
    Checkpoint,
    CheckpointKind,
    Headline,
    Lease,
    Reading,
    RunRow,
)
from trainwright.store.engine import FAULTS, explain, writing
from trainwright.store.lease import (
    Holding,
    Writer,
    give_up,
    held_error,
    is_living,
    lost_error,
    new_holding,
)
from trainwright.store.migrations import migrate
from trainwright.store.names import check_name, is_fit, meant_run, name_taken, run_not_found
from trainwright.store.packing import layout_key, pack, unpack
from trainwright.store.schema import checkpoints, layouts, leases, readings, records, runs

_ROWS = select(*(runs.c[name] for name in RunRow._fields)).order_by(
    runs.c.created.desc(), runs.c.number.desc()
)
_IDS = select(runs.c.id).order_by(runs.c.created.desc(), runs.c.number.desc())
_BODY = select(records.c.body).where(records.c.run == bindparam("run"))
# Not joined with the look at the lease: PostgreSQL would then show the lease as it was before the
# lock was waited for. NO KEY UPDATE lets rows that refer to the run be inserted meanwhile.
_LOCK = select(runs.c.number).where(runs.c.id == bindparam("run")).with_for_update(key_share=True)
_EXTEND = update(leases).where(leases.c.run == bindparam("of")).values(expires=bindparam("until"))


class SqlStore:
    """Runs in a database. Opened by `store/open.py`, which chooses engine and artefacts."""

    def __init__(self, engine: Engine, *, place: str, artefacts: Artefacts) -> None:
        self.place, self.artefacts = place, artefacts
        self._reader, self._writer = engine, writing(engine)
        self._held: dict[str, Lease] = {}
        dialect = engine.dialect.name
        self._door, self._locks_rows = _door(dialect), dialect == "postgresql"
        self._add_layout = _insert_once(dialect)
        try:
            migrate(self._reader, self._writer, place)
        except FAULTS as error:
            engine.dispose()
            raise explain(error, place) from error
        except StoreError:
            engine.dispose()
            raise

    def create_run(self, record: RunRecord) -> None:
        check_name(record.id)
        with self._writing() as connection:
            try:
                connection.execute(insert(runs), _columns_of(record))
            except IntegrityError as error:
                raise name_taken(record.id, self.place) from error
            connection.execute(insert(records), {"run": record.id, "body": _body_of(record)})

    def save_run(
        self, record: RunRecord, *, headline: Headline | None = None, lease: Lease | None = None
    ) -> None:
        values = _columns_of(record)
        if headline:
            values |= {"metric_name": headline.name, "metric_split": headline.split}
            values["metric_value"] = None if headline.value != headline.value else headline.value
        body = _body_of(record)
        with self._writing(record.id, lease) as connection:
            connection.execute(update(runs).where(runs.c.id == record.id).values(values))
            connection.execute(update(records).where(records.c.run == record.id).values(body=body))

    def run(self, run_id: str) -> RunRecord:
        with self._reading() as connection:
            # No database takes every string: no NUL, no lone surrogate.
            asked = {"run": run_id if is_fit(run_id) else ""}
            body = connection.execute(_BODY, asked).scalar()
            if body is None:
                ids = list(connection.execute(_IDS).scalars())
                run_id = meant_run(run_id, ids, self.place)
                body = connection.execute(_BODY, {"run": run_id}).scalar()
        try:
            return from_plain(RunRecord, json.loads(body or ""))
        except ValueError as error:
            raise StoreError(
                phrase(
                    "the record of run {run} in {place} is damaged",
                    run=shown(run_id),
                    place=self.place,
                ),
                do=phrase("put back a copy of the store; other runs are not touched by this"),
            ) from error

    def runs(self, *, limit: int | None = None, state: RunState | None = None) -> list[RunRow]:
        query = _ROWS if state is None else _ROWS.where(runs.c.state == state)
        with self._reading() as connection:
            rows = connection.execute(query.limit(limit)).all()
        return [RunRow._make(row) for row in rows]

    def delete_run(self, run_id: str, *, lease: Lease | None = None) -> None:
        with self._writing(run_id, lease) as connection:
            # The rest goes by ON DELETE CASCADE; readings first, or each layout would look for its
            # own among them.
            connection.execute(delete(readings).where(readings.c.run == run_id))
            connection.execute(delete(runs).where(runs.c.id == run_id))
        self._held.pop(run_id, None)

    def append(
        self, run_id: str, readings: Sequence[Reading], *, lease: Lease | None = None
    ) -> None:
        if not readings:
            return
        rows, shapes = _packed(run_id, readings)
        with self._writing(run_id, lease) as connection:
            connection.execute(self._add_layout, shapes)
            connection.execute(insert(schema.readings), rows)

    def readings(
        self, run_id: str, *, after: int = 0, kind: str | None = None, limit: int | None = None
    ) -> tuple[list[Reading], int]:
        query = (
            select(readings.c.id, readings.c.step, readings.c.kind, layouts.c.names)
            .add_columns(readings.c.packed)
            .join(
                layouts, (layouts.c.run == readings.c.run) & (layouts.c.layout == readings.c.layout)
            )
            .where(readings.c.run == run_id, readings.c.id > after)
            .order_by(readings.c.id)
        )
        if kind is not None:
            query = query.where(readings.c.kind == kind)
        with self._reading() as connection:
            rows = connection.execute(query.limit(limit)).all()
            if not rows:
                self._demand(connection, run_id)
        try:
            found = [Reading(step=r[1], kind=r[2], values=unpack(r[3], r[4])) for r in rows]
        except ValueError as error:
            raise StoreError(
                phrase(
                    "the history of run {run} in {place} is damaged: {error}",
                    run=shown(run_id),
                    place=self.place,
                    error=error,
                ),
                do=phrase("put back a copy of the store; other runs are not touched by this"),
            ) from error
        return found, rows[-1][0] if rows else after

    def truncate_readings(
        self, run_id: str, *, after_step: int, lease: Lease | None = None
    ) -> None:
        with self._writing(run_id, lease) as connection:
            connection.execute(
                delete(readings).where(readings.c.run == run_id, readings.c.step > after_step)
            )

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
        created = time.time() if created is None else created
        row = {"run": run_id, "step": step, "kind": kind, "created": created}
        with self._writing(run_id, lease) as connection:
            result = connection.execute(
                insert(checkpoints), row | {"files": json.dumps(dict(files))}
            )
            assert result.inserted_primary_key is not None
            number = int(result.inserted_primary_key[0])
        return Checkpoint(
            id=number, run_id=run_id, step=step, kind=kind, files=dict(files), created=created
        )

    def checkpoints(
        self, run_id: str | None = None, kind: CheckpointKind | None = None
    ) -> list[Checkpoint]:
        query = select(checkpoints).order_by(checkpoints.c.id.desc())
        if run_id is not None:
            query = query.where(checkpoints.c.run == run_id)
        if kind is not None:
            query = query.where(checkpoints.c.kind == kind)
        with self._reading() as connection:
            rows = connection.execute(query).mappings().all()
            if not rows and run_id is not None:
                self._demand(connection, run_id)
        return [_checkpoint(row) for row in rows]

    def delete_checkpoint(self, checkpoint: Checkpoint, *, lease: Lease | None = None) -> None:
        with self._writing(checkpoint.run_id, lease) as connection:
            connection.execute(delete(checkpoints).where(checkpoints.c.id == checkpoint.id))

    def claim(
        self, run_id: str, *, owner: str | None = None, seconds: float = LEASE_SECONDS
    ) -> Lease:
        with self._writing() as connection:
            holding, now = self._enter(connection, run_id)
            if holding and is_living(holding, now):
                raise held_error(run_id, holding, now)
            taken = new_holding(owner, seconds, now)
            connection.execute(delete(leases).where(leases.c.run == run_id))
            connection.execute(insert(leases), _columns_of_holding(run_id, taken))
        self._held[run_id] = taken.lease(run_id)
        return self._held[run_id]

    def renew(self, lease: Lease) -> Lease:
        with self._writing() as connection:
            holding, now = self._enter(connection, lease.run_id)
            if holding is None or holding.token != lease.token:
                raise lost_error(lease.run_id)
            renewed = holding.renewed(now)
            connection.execute(_EXTEND, {"of": lease.run_id, "until": renewed.expires})
        return renewed.lease(lease.run_id)

    def release(self, lease: Lease) -> None:
        give_up(lease.token)  # known in this process even when a full disk takes no word of it
        self._held.pop(lease.run_id, None)
        with self._writing() as connection:
            connection.execute(
                delete(leases).where(leases.c.run == lease.run_id, leases.c.token == lease.token)
            )

    def close(self) -> None:
        for lease in list(self._held.values()):
            with suppress(StoreError):  # it then runs out by itself
                self.release(lease)
        self._held.clear()
        self._reader.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        try:
            with self._reader.connect() as connection:
                yield connection
        except FAULTS as error:
            raise explain(error, self.place) from error

    @contextmanager
    def _writing(
        self, run_id: str | None = None, lease: Lease | None = None
    ) -> Iterator[Connection]:
        """One transaction; with `run_id` the caller may write that run, or this raises."""
        try:
            with self._writer.begin() as connection:
                if run_id is not None:
                    self._admit(connection, run_id, lease)
                yield connection
        except FAULTS as error:
            raise explain(error, self.place) from error

    def _admit(self, connection: Connection, run_id: str, lease: Lease | None) -> None:
        holding, now = self._enter(connection, run_id)
        lease = lease or self._held.get(run_id)
        if lease is None:
            if holding and is_living(holding, now):
                raise held_error(run_id, holding, now)
        elif holding is None or holding.token != lease.token:
            raise lost_error(run_id)
        elif holding.expires - now < holding.seconds / 2:  # not at each write: it costs one too
            connection.execute(_EXTEND, {"of": run_id, "until": holding.renewed(now).expires})

    def _enter(self, connection: Connection, run_id: str) -> tuple[Holding | None, float]:
        """Who holds the run, and the time; no other writer enters until our transaction ends."""
        if self._locks_rows:  # a writing transaction of SQLite has the whole file locked
            connection.execute(_LOCK, {"run": run_id})
        row = connection.execute(self._door, {"run": run_id}).first()
        if row is None:
            raise run_not_found(run_id, list(connection.execute(_IDS).scalars()), self.place)
        now, token, owner, machine, pid, started, seconds, expires = tuple(row)
        if token is None:
            return None, now
        writer = Writer(machine=machine, pid=pid, started=started)
        holding = Holding(token=token, owner=owner, writer=writer, seconds=seconds, expires=expires)
        return holding, now

    def _demand(self, connection: Connection, run_id: str) -> None:
        if connection.execute(select(runs.c.number).where(runs.c.id == run_id)).first() is None:
            raise run_not_found(run_id, list(connection.execute(_IDS).scalars()), self.place)


def _door(dialect: str) -> Any:
    """The one row that every writer of a run looks at before it writes."""
    return (
        select(
            schema.now(dialect), leases.c.token, leases.c.owner, leases.c.machine, leases.c.pid,
            leases.c.started, leases.c.seconds, leases.c.expires,
        )
        .select_from(runs.outerjoin(leases, leases.c.run == runs.c.id))
        .where(runs.c.id == bindparam("run"))
    )  # fmt: skip


def _insert_once(dialect: str) -> Any:
    """INSERT of a layout, silent when it is there already."""
    if dialect == "postgresql":
        from sqlalchemy.dialects import postgresql

        return postgresql.insert(layouts).on_conflict_do_nothing()
    from sqlalchemy.dialects import sqlite

    return sqlite.insert(layouts).on_conflict_do_nothing()


def _packed(
    run_id: str, readings: Sequence[Reading]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    rows, shapes = [], {}
    for one in readings:
        names, blob = pack(one.values)
        key = layout_key(names)
        shapes[key] = {"run": run_id, "layout": key, "names": names}
        row = {"run": run_id, "step": one.step, "kind": one.kind, "layout": key, "packed": blob}
        rows.append(row)
    return rows, list(shapes.values())


def _columns_of(record: RunRecord) -> dict[str, Any]:
    return {
        "id": record.id,
        "state": record.state,
        "created": record.created,
        "updated": time.time(),
        "recipe_hash": record.recipe_hash,
        "steps": record.steps,
    }


def _columns_of_holding(run_id: str, holding: Holding) -> dict[str, Any]:
    return {
        "run": run_id,
        "token": holding.token,
        "owner": holding.owner,
        "machine": holding.writer.machine,
        "pid": holding.writer.pid,
        "started": holding.writer.started,
        "seconds": holding.seconds,
        "expires": holding.expires,
    }


def _body_of(record: RunRecord) -> str:
    """JSON in ASCII: NUL and half surrogates, which PostgreSQL's text refuses, are escaped."""
    return json.dumps(to_plain(record), separators=(",", ":"))


def _checkpoint(row: Mapping[Any, Any]) -> Checkpoint:
    return Checkpoint(
        id=row["id"],
        run_id=row["run"],
        step=row["step"],
        kind=row["kind"],
        files=json.loads(row["files"]),
        created=row["created"],
    )
