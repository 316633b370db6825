"""Which store does a URL mean? None is memory; a path or sqlite:/// a file; postgresql:// a server.
Databases are imported only when one is opened."""

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from trainwright.core.errors import (
    RunNotFound,
    StoreError,
    StoreNotFound,
    did_you_mean,
    shown,
    system_reason,
)
from trainwright.core.phrases import phrase
from trainwright.store.artefacts import FolderArtefacts, UrlArtefacts
from trainwright.store.memory import MemoryStore
from trainwright.store.names import file_for_run, is_path

if TYPE_CHECKING:
    from trainwright.core.records import RunRecord
    from trainwright.store.contract import Artefacts, Store

DEFAULT_URL = "./trainwright.db"
_SCHEMES = ("sqlite", "postgresql", "postgres", "postgresql+psycopg")


def open_store(url: str | Path | None, *, create: bool = True) -> "Store":
    """The store at `url`; made when there is none, unless `create` is False.

    `?artefacts=FOLDER_OR_URL` says where large files go: by default into `X.files/` beside a file
    X.db, and into `./trainwright.files/` for a server. Raises StoreError.
    """
    if url is None:
        return MemoryStore()
    if isinstance(url, Path):
        return _open_file(str(url), None, create)
    scheme, separator, rest = url.partition("://")
    if not separator or not re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]*", scheme):
        return _open_file(url, None, create)
    scheme = scheme.lower()
    if scheme not in _SCHEMES:
        raise StoreError(
            phrase("{scheme} is no kind of store", scheme=shown(scheme)),
            allowed=_allowed(),
            do=did_you_mean(scheme, _SCHEMES),
        )
    if scheme != "sqlite":
        return _open_server(url)
    path, _, query = rest.partition("?")
    if path in ("", "/", "/:memory:"):
        return MemoryStore()
    if not path.startswith("/"):
        raise StoreError(
            phrase("{url} has two slashes where a path needs three", url=shown(url)),
            allowed=_allowed(),
            do=phrase("write {url}", url="sqlite:///" + shown(path)[1:-1]),
        )
    return _open_file(path[1:], dict(parse_qsl(query)).get("artefacts"), create)


def open_run(run_id: str, url: str | Path, *, allowed: str) -> "tuple[Store, RunRecord]":
    """The store at `url`, which is not made, and the run of that name in it. `allowed` is what the
    caller takes, said of a file in the place of a run.

    Raises RunNotFound, and StoreError for a store that is there and cannot be read.
    """
    try:
        opened = open_store(url, create=False)
        return opened, opened.run(run_id)
    except (RunNotFound, StoreNotFound) as error:
        if is_path(run_id):
            raise file_for_run(run_id, allowed=allowed) from None
        if isinstance(error, RunNotFound):
            raise
        raise RunNotFound(
            phrase("{what}, and so no run {run}", what=error.what, run=shown(run_id)),
            allowed=error.allowed,
            do=error.do,
        ) from None


def _open_file(name: str, artefacts: str | None, create: bool) -> "Store":
    if not name or "\0" in name:
        raise StoreError(
            phrase("the store has no name"), allowed=_allowed(), do=phrase("name a file")
        )
    path = Path(os.path.abspath(os.path.expanduser(name)))
    place = shown(name)
    if os.path.isdir(path):  # Path.is_dir raises where a folder above may not be entered
        raise StoreError(
            phrase("{place} is a folder", place=place),
            allowed=_allowed(),
            do=phrase("name a file in it, as {name}/trainwright.db", name=name),
        )
    if not create and not os.path.exists(path):
        raise StoreNotFound(
            phrase("there is no store at {place}", place=place),
            allowed=_allowed(),
            do=phrase("train a run first, or name the store with --store"),
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(
            phrase(
                "the folder of {place} cannot be made: {reason}",
                place=place,
                reason=system_reason(error),
            ),
            allowed=phrase("a file that may be written, in a folder that may be written"),
            do=phrase("check the path and its permissions, or name another store with --store"),
        ) from error
    from trainwright.store.engine import sqlite_engine
    from trainwright.store.sql import SqlStore

    beside = path.with_suffix(".files") if path.suffix else path.with_name(path.name + ".files")
    return SqlStore(
        sqlite_engine(path), place=place, artefacts=_artefacts(artefacts) or FolderArtefacts(beside)
    )


def _open_server(text: str) -> "Store":
    from sqlalchemy import make_url
    from sqlalchemy.exc import SQLAlchemyError

    from trainwright.store.engine import postgres_engine
    from trainwright.store.sql import SqlStore

    try:
        url = make_url(text)
    except (SQLAlchemyError, ValueError) as error:
        raise StoreError(  # the text is not shown: it may hold a password
            phrase("the store's URL cannot be read"),
            allowed=_allowed(),
            do=phrase("escape odd characters as %40"),
        ) from error
    artefacts = url.query.get("artefacts")
    url = url.set(drivername="postgresql+psycopg").difference_update_query(["artefacts"])
    host = url.host or url.query.get("host") or "localhost"
    place = shown(f"postgresql://{host}{f':{url.port}' if url.port else ''}/{url.database or ''}")
    try:
        engine = postgres_engine(url)
    except ImportError as error:
        raise StoreError(
            phrase("{place} needs the package psycopg, which is not installed", place=place),
            do=phrase("pip install trainwright[postgres]"),
        ) from error
    folder = artefacts if isinstance(artefacts, str) else None
    beside = FolderArtefacts(Path.cwd() / "trainwright.files")
    return SqlStore(engine, place=place, artefacts=_artefacts(folder) or beside)


def _artefacts(where: str | None) -> "Artefacts | None":
    """A folder by its path or file://, anything else by fsspec."""
    if not where:
        return None
    scheme, separator, rest = where.partition("://")
    if separator and scheme.lower() not in ("file", "local"):
        return UrlArtefacts(where)
    return FolderArtefacts(Path(os.path.abspath(os.path.expanduser(rest if separator else where))))


def _allowed() -> str:
    return phrase(
        "a path as ./trainwright.db, sqlite:///PATH, or postgresql://USER:PASSWORD@HOST/DATABASE"
    )
