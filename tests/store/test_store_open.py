"""Every URL opens what it says, and whatever cannot be opened says why and what to do."""

import json
import os
import sqlite3
import subprocess
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import event
from store_contract import reading, record, steps

from trainwright.core.errors import StoreError
from trainwright.store import engine
from trainwright.store.artefacts import FolderArtefacts, UrlArtefacts
from trainwright.store.memory import MemoryStore
from trainwright.store.open import open_store

AS_USER = """
import json, os, sys
from trainwright.core.errors import StoreError
from trainwright.core.records import RunRecord
from trainwright.store.open import open_store
open_store(sys.argv[2]).close()  # imports what the other user may not be allowed to read
if len(sys.argv) > 3:
    os.setgid(int(sys.argv[3]))
    os.setuid(int(sys.argv[3]))
try:
    with open_store(sys.argv[1]) as store:
        store.create_run(RunRecord(id="new"))
    print(json.dumps(["written", "", ""]))
except StoreError as error:
    print(json.dumps([error.what, error.allowed, error.do]))
"""
NOBODY = 65534


def refused(url, *, match: str) -> StoreError:
    with pytest.raises(StoreError, match=match) as error:
        open_store(url)
    message = str(error.value)
    assert error.value.do, message
    assert "sqlalche" not in message.lower()
    assert "[SQL" not in message
    return error.value


# What opens


@pytest.mark.parametrize("url", [None, "sqlite://", "sqlite:///:memory:", "SQLite:///:memory:"])
def test_no_place_means_memory(url):
    assert isinstance(open_store(url), MemoryStore)


@pytest.mark.parametrize(
    "form", ["{}", "sqlite:///{}", "SQLITE:///{}", "sqlite:///{}?artefacts=elsewhere"]
)
def test_a_path_and_a_url_mean_the_same_file(tmp_path, monkeypatch, form):
    monkeypatch.chdir(tmp_path)
    for place in ("a.db", str(tmp_path / "deep" / "er" / "b.db"), "c c % é.db", "no-suffix"):
        with open_store(form.format(place)) as store:
            store.create_run(record())
        assert Path(place).is_file()
        with open_store(Path(place)) as store:
            assert store.run("swift-otter-12")


def test_moving_about_afterwards_does_not_move_the_store(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with open_store("a.db") as store:
        store.create_run(record())
        (tmp_path / "elsewhere").mkdir()
        monkeypatch.chdir(tmp_path / "elsewhere")
        store._reader.dispose()
        digest = store.artefacts.put(b"x")
        assert store.run("swift-otter-12")
    assert (tmp_path / "a.files" / digest[:2] / digest).is_file()


def test_artefacts_lie_beside_the_file_or_where_the_url_says(tmp_path):
    with open_store(tmp_path / "a.db") as store:
        assert store.artefacts.folder == tmp_path / "a.files"
    with open_store(tmp_path / "a") as store:
        assert store.artefacts.folder == tmp_path / "a.files"
    for folder in (f"{tmp_path}/big", f"file://{tmp_path}/big"):
        with open_store(f"sqlite:///{tmp_path}/a.db?artefacts={folder}") as store:
            assert isinstance(store.artefacts, FolderArtefacts)
            assert store.artefacts.folder == tmp_path / "big"
    with open_store(f"sqlite:///{tmp_path}/a.db?artefacts=memory://here") as store:
        assert isinstance(store.artefacts, UrlArtefacts)


def test_nothing_is_made_when_asked_to_make_nothing(tmp_path):
    with pytest.raises(StoreError, match="there is no store"):
        open_store(tmp_path / "deep" / "a.db", create=False)
    assert list(tmp_path.iterdir()) == []
    open_store(tmp_path / "a.db").close()
    open_store(tmp_path / "a.db", create=False).close()


def test_a_file_in_wal_mode_is_left_without_its_companions(sqlite_path):
    with open_store(sqlite_path) as store:
        store.create_run(record())
        with store._reader.connect() as connection:
            pragmas = {
                name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
                for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
            }
    assert pragmas == {
        "journal_mode": "wal",
        "synchronous": 1,
        "foreign_keys": 1,
        "busy_timeout": 1000 * engine.BUSY_SECONDS,
    }
    assert sorted(path.name for path in sqlite_path.parent.iterdir()) == ["trainwright.db"]


def test_memory_needs_no_database_and_a_file_no_orm_nor_fsspec(python, sqlite_path):
    code = """
import sys
import trainwright.store.open, trainwright.store.contract, trainwright.store.retention
heavy = {"sqlalchemy", "sqlalchemy.orm", "fsspec", "torch", "psycopg"}
print(sorted(heavy & set(sys.modules)))
trainwright.store.open.open_store(None)
print(sorted(heavy & set(sys.modules)))
with trainwright.store.open.open_store(sys.argv[1]) as store:
    store.artefacts.put(b"x")
print(sorted(heavy & set(sys.modules)))
"""
    out, _ = python(code, sqlite_path).communicate(timeout=60)
    assert out.splitlines() == ["[]", "[]", "['sqlalchemy']"]


# What does not


@pytest.mark.parametrize(
    "url", ["mysql://host/db", "sqlit:///a.db", "https://x.org/a.db", "a1+b://x"]
)
def test_an_unknown_scheme_is_named_with_the_known_ones(url):
    error = refused(url, match="no kind of store")
    assert "postgresql://" in error.allowed


def test_a_misspelt_scheme_is_guessed():
    assert "'sqlite'" in refused("sqlit:///a.db", match="'sqlit'").do


def test_two_slashes_are_one_too_few():
    assert "sqlite:///a.db" in refused("sqlite://a.db", match="two slashes").do


def test_a_folder_is_no_store(tmp_path):
    refused(tmp_path, match="is a folder")


@pytest.mark.parametrize("content", [b"a,b\n1,2\n" * 200, b"\x89PNG\r\n" * 99, b"SQLite format 4"])
def test_a_file_that_is_no_database_is_refused_and_left_alone(sqlite_path, content):
    sqlite_path.write_bytes(content)
    refused(sqlite_path, match="not a database")
    assert sqlite_path.read_bytes() == content


def test_an_empty_file_becomes_a_store(sqlite_path):
    sqlite_path.touch()
    with open_store(sqlite_path) as store:
        store.create_run(record())


def test_a_damaged_database_is_called_so(sqlite_path):
    with open_store(sqlite_path) as store:
        for number in range(50):
            store.create_run(record(f"run-{number}", command="x" * 500))
    content = bytearray(sqlite_path.read_bytes())
    for start in range(4096, len(content), 4096):
        content[start : start + 2000] = b"\xa5" * 2000
    sqlite_path.write_bytes(content)

    def look():
        with open_store(sqlite_path) as store:
            store.runs()
            store.run("run-7")

    with pytest.raises(StoreError, match="damaged database") as error:
        look()
    assert "recover" in error.value.do


@pytest.fixture(scope="module")
def sound(tmp_path_factory) -> bytes:
    """A small store's file."""
    path = tmp_path_factory.mktemp("sound") / "a.db"
    with open_store(path) as store:
        store.create_run(record())
        store.append("swift-otter-12", [reading(1)])
    return path.read_bytes()


@settings(max_examples=60, deadline=None)
@given(start=st.floats(0, 1), noise=st.binary(min_size=1, max_size=64), cut=st.booleans())
def test_a_file_cut_or_overwritten_anywhere_opens_or_is_refused_in_words(
    tmp_path_factory, sound, start, noise, cut
):
    path, place = tmp_path_factory.mktemp("damaged") / "a.db", round(start * len(sound))
    path.write_bytes(sound[:place] + (b"" if cut else noise + sound[place + len(noise) :]))
    refusal = None
    try:
        with open_store(path) as store:
            store.runs()
            store.readings("swift-otter-12")
            store.append(store.run("swift-otter-12").id, [reading(2)])
    except StoreError as error:
        refusal = str(error)
    assert refusal is None or ("do: " in refusal and "[SQL" not in refusal)


def test_a_damaged_record_is_said_and_the_others_open(sqlite_path):
    with open_store(sqlite_path) as store:
        store.create_run(record("good"))
        store.create_run(record("bad"))
        store.append("bad", [reading(1)])
        with store._writer.begin() as connection:
            connection.exec_driver_sql("UPDATE trainwright_records SET body='{' WHERE run='bad'")
            connection.exec_driver_sql("UPDATE trainwright_readings SET packed = x'00'")
        with pytest.raises(StoreError, match=r"record of run 'bad' .* is damaged"):
            store.run("bad")
        with pytest.raises(StoreError, match=r"history of run 'bad' .* is damaged"):
            store.readings("bad")
        assert store.run("good")


def test_a_lock_is_waited_for_and_then_named(sqlite_path, monkeypatch):
    monkeypatch.setattr(engine.sqlite_engine, "__kwdefaults__", {"busy_seconds": 0.1})
    with open_store(sqlite_path) as store:
        store.create_run(record())
        other = sqlite3.connect(sqlite_path, isolation_level=None, check_same_thread=False)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match="locked by another process") as error:
            store.append("swift-otter-12", [reading(1)])
        assert error.value.do
        assert steps(store) == []  # reading goes on
        other.execute("ROLLBACK")
        store.append("swift-otter-12", [reading(1)])
    other.execute("PRAGMA journal_mode = DELETE")
    other.execute("BEGIN EXCLUSIVE")
    refused(sqlite_path, match="locked by another process")
    other.close()
    open_store(sqlite_path).close()


def test_a_short_lock_is_only_waited_for(sqlite_path):
    with open_store(sqlite_path) as store:
        store.create_run(record())
        other = sqlite3.connect(sqlite_path, isolation_level=None, check_same_thread=False)
        other.execute("BEGIN IMMEDIATE")
        timer = threading.Timer(0.2, other.execute, ("ROLLBACK",))
        timer.start()
        store.append("swift-otter-12", [reading(1)])
        timer.join()
        other.close()
        assert steps(store) == [1]


@pytest.mark.parametrize("what", ["folder of nothing", "folder of a store", "file", "no way in"])
def test_what_may_not_be_written_is_said(tmp_path, python, what):
    folder = tmp_path / "kept"
    folder.mkdir()
    path = folder / "a.db"
    if what != "folder of nothing":
        with open_store(path) as store:
            store.create_run(record())
    before = path.read_bytes() if path.exists() else None
    if before is not None:
        path.chmod(0o444)
    folder.chmod({"file": 0o777, "no way in": 0o600}.get(what, 0o555))
    user = []
    if os.geteuid() == 0:  # to root everything is writable
        user = [NOBODY]
        for parent in tmp_path.parents[:3]:  # pytest's own, closed to others
            parent.chmod(parent.stat().st_mode | 0o011)
        tmp_path.chmod(0o755)
    process = python(AS_USER, path, tmp_path / "other.db", *user)
    answer, _ = process.communicate(timeout=60)
    folder.chmod(0o755)
    what_was_wrong, allowed, do = json.loads(answer)
    assert "may not be written" in what_was_wrong or "cannot be opened" in what_was_wrong
    assert allowed
    assert do
    assert (path.read_bytes() if path.exists() else None) == before


def test_a_full_disk_stops_the_writer_and_the_store_still_opens(tmp_path):
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=600k", "none", tmp_path],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip("no right to mount a small disk")
    try:
        with open_store(tmp_path / "a.db") as store:
            store.create_run(record())
            store.append("swift-otter-12", [reading(1)])
            (tmp_path / "ballast").write_bytes(b"0" * 300_000)
            last = 1
            with pytest.raises(StoreError, match="disk is full"):  # noqa: PT012
                while last < 2000:
                    store.append("swift-otter-12", [reading(last + 1) for _ in range(50)])
                    last += 1
            assert set(steps(store)) == set(range(1, last + 1))
        (tmp_path / "ballast").unlink()
        with open_store(tmp_path / "a.db") as store:
            assert set(steps(store)) == set(range(1, last + 1))
            store.append("swift-otter-12", [reading(last + 1)])
    finally:
        subprocess.run(["umount", tmp_path], check=True)


def test_listing_ten_thousand_runs_is_one_query_on_one_narrow_table(sqlite_path):
    with open_store(sqlite_path) as store:
        store.create_run(record(command="x" * 100_000))
        asked: list[str] = []
        event.listen(
            store._reader,
            "before_cursor_execute",
            lambda connection, cursor, statement, *_: asked.append(statement),
        )
        store.runs()
        queries = [statement for statement in asked if not statement.startswith("BEGIN")]
        assert len(queries) == 1
        with store._reader.connect() as connection:
            plan = connection.exec_driver_sql(
                "EXPLAIN QUERY PLAN " + queries[0], (-1, 0)[: queries[0].count("?")]
            )
            steps_of_plan = [row[3] for row in plan]
        assert steps_of_plan == ["SCAN trainwright_runs USING INDEX trainwright_runs_newest"]
        assert "trainwright_records" not in queries[0]


# Text of others


@settings(deadline=None)
@given(url=st.from_regex(r"(sqlite|sqlit|.{0,5})(://|:///|\0).{0,20}", fullmatch=True))
def test_any_text_is_opened_or_refused_in_words_that_are_safe_to_print(url):
    message = ""
    try:
        open_store(url, create=False).close()
    except StoreError as error:
        message = str(error)
    assert message.replace("\n", "").isprintable()
