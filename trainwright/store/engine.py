"""How is the database reached, and what do its errors mean? Engines for SQLite and PostgreSQL, and
every failure of theirs in our three parts."""

import re
import sqlite3
import time
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from trainwright.core.errors import StoreError, shown
from trainwright.core.phrases import phrase

BUSY_SECONDS = 5.0  # another writer's transaction takes milliseconds; this is a hang [assumed]
CONNECT_SECONDS = 10  # a server that does not answer by then is down [assumed]
_RETRY_SECONDS = 0.02
# What a database raises; UnicodeDecodeError is how sqlite3 meets text in a damaged file.
FAULTS = (SQLAlchemyError, sqlite3.Error, UnicodeDecodeError)


def sqlite_engine(path: Path, *, busy_seconds: float = BUSY_SECONDS) -> Engine:
    """One file in WAL mode: readers never wait for the writer. synchronous=NORMAL loses the last
    commits at a power cut, never the file's soundness. Source: sqlite.org/wal.html."""
    engine = create_engine(URL.create("sqlite", database=str(path)))

    @event.listens_for(engine, "connect")
    def _prepare(connection: sqlite3.Connection, _: Any) -> None:
        connection.isolation_level = None  # transactions begin where we say, below
        connection.execute(f"PRAGMA busy_timeout = {round(busy_seconds * 1000)}")
        connection.execute("PRAGMA synchronous = NORMAL")  # first: entering WAL then syncs less
        _enter_wal(connection, busy_seconds)
        connection.execute("PRAGMA foreign_keys = ON")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        # A writer takes the lock at once: a transaction that first reads and then writes could
        # otherwise meet another writer in between, and would fail without waiting.
        writes = connection.get_execution_options().get("writes")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def postgres_engine(url: URL) -> Engine:
    """A server. Connections are tried before use, so that a restart of the server costs one error
    at most. As with SQLite, the last commits may be lost when the server itself loses power, never
    its soundness: a history is not worth waiting for the server's disk at each step.
    Raises ImportError without psycopg. Source: PostgreSQL manual, "Asynchronous Commit"."""
    query = {"connect_timeout": str(CONNECT_SECONDS), **url.query}
    engine = create_engine(url.set(query=query), pool_pre_ping=True)

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _: Any) -> None:
        connection.execute("SET synchronous_commit TO off")
        connection.commit()

    return engine


def writing(engine: Engine) -> Engine:
    """The same connections, for transactions that write."""
    return engine.execution_options(writes=True)


def explain(error: Exception, place: str) -> StoreError:
    """What the user can do about an error of the database. No text of SQLAlchemy's is passed on."""
    if isinstance(error, UnicodeDecodeError):
        return _damaged(place)
    cause = (error.orig or error) if isinstance(error, DBAPIError) else error
    if isinstance(cause, sqlite3.Error):
        return _explain_sqlite(cause, place)
    if isinstance(error, (SQLAlchemyError, OSError)):
        return _explain_postgres(cause, place)
    raise error


def _enter_wal(connection: sqlite3.Connection, busy_seconds: float) -> None:
    """SQLite does not wait by itself when two processes change a new file's mode at once."""
    give_up = time.monotonic() + busy_seconds
    while True:
        try:
            if connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
                connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if _code(error) != sqlite3.SQLITE_BUSY or time.monotonic() > give_up:
                raise
            time.sleep(_RETRY_SECONDS)


def _code(error: sqlite3.Error) -> int:
    """The primary result code: extended codes keep it in their low byte."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def _explain_sqlite(error: sqlite3.Error, place: str) -> StoreError:
    match _code(error):
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return StoreError(
                phrase("{place} is locked by another process", place=place),
                allowed=phrase("a lock is waited for up to {seconds:g} s", seconds=BUSY_SECONDS),
                do=phrase("end the process that keeps it open (a database browser?), then repeat"),
            )
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_PERM | sqlite3.SQLITE_AUTH:
            return StoreError(
                phrase("{place} may not be written", place=place),
                allowed=phrase("a file that may be written, in a folder that may be written"),
                do=phrase("change its permissions, or name another store with --store"),
            )
        case sqlite3.SQLITE_CANTOPEN:
            return StoreError(
                phrase("{place} cannot be opened or created", place=place),
                allowed=phrase("a file that may be written, in a folder that may be written"),
                do=phrase("check the path and its permissions, or name another store with --store"),
            )
        case sqlite3.SQLITE_NOTADB:
            return StoreError(
                phrase("{place} is a file, but not a database", place=place),
                allowed=phrase("a SQLite file, or a path where there is no file yet"),
                do=phrase("name another store with --store; this file was left as it is"),
            )
        case sqlite3.SQLITE_CORRUPT:
            return _damaged(place)
        case sqlite3.SQLITE_FULL:
            return StoreError(
                phrase("the disk is full: {place} could not be written", place=place),
                allowed=phrase("free space beside the store"),
                do=phrase(
                    "make space, or remove old checkpoints; then `trainwright resume` the run"
                ),
            )
        case sqlite3.SQLITE_IOERR:
            return StoreError(
                phrase(
                    "{place} could not be read or written: the disk answers with an error",
                    place=place,
                ),
                do=phrase("check the disk and its free space, or name another store with --store"),
            )
    return _unknown(error, place)


def _damaged(place: str) -> StoreError:
    return StoreError(
        phrase("{place} is a damaged database", place=place),
        allowed=phrase("a sound SQLite file"),
        do=phrase("put back a copy, or save what can be read with `sqlite3 FILE .recover`"),
    )


def _explain_postgres(error: BaseException, place: str) -> StoreError:
    state, text = getattr(error, "sqlstate", None) or "", str(error)
    if state.startswith("53"):  # insufficient resources: 53100 disk full, 53300 connections
        return StoreError(
            phrase("the server of {place} has no space or connections left", place=place),
            do=phrase("make room on the server, then `trainwright resume` the run"),
        )
    if state.startswith("28") or re.search(r"authentication failed|no password|role .* not", text):
        return StoreError(
            phrase("{place} refuses this user", place=place),
            allowed="postgresql://USER:PASSWORD@HOST:PORT/DATABASE",
            do=phrase("check user and password"),
        )
    if state == "3D000" or ("database" in text and "does not exist" in text):
        return StoreError(
            phrase("{place}: the server has no such database", place=place),
            do=phrase("create it with `createdb NAME`, or name another one"),
        )
    if state in ("42501", "3F000"):  # no right; no schema that one may see
        return StoreError(
            phrase("{place} does not let this user create or write tables", place=place),
            do=phrase("ask for the right to create tables in this database"),
        )
    if state in ("55P03", "57014", "40001", "40P01"):  # lock, timeout, serialisation, deadlock
        return StoreError(
            phrase("{place} is locked by another process", place=place),
            do=phrase("wait a moment, then repeat the command"),
        )
    if not state or state.startswith(("08", "57P")):
        return StoreError(
            phrase(
                "{place} does not answer: the server is down, or the connection broke", place=place
            ),
            allowed=phrase("a running PostgreSQL server that this machine can reach"),
            do=phrase("start it or check host and port; what was written before is kept"),
        )
    return _unknown(error, place)


def _unknown(error: BaseException, place: str) -> StoreError:
    first_line = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return StoreError(
        phrase(
            "{place} answered with an error: {first_line}",
            place=place,
            first_line=shown(first_line),
        ),
        do=phrase("repeat the command; if it stays so, name another store with --store"),
    )
