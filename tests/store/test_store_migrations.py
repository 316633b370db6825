"""Old stores are brought up, new ones left alone, and only one process does it."""

import sqlite3

import pytest
from sqlalchemy import inspect
from store_contract import reading, record, steps

from trainwright.core.errors import StoreError
from trainwright.store import migrations, schema
from trainwright.store.migrations import MIGRATIONS, Migration
from trainwright.store.open import open_store

OPEN = """
import sys
from trainwright.store.open import open_store
print("ready", flush=True)
input()
open_store(sys.argv[1]).close()
"""


@pytest.fixture(params=["sqlite", "postgres"])
def url(request, sqlite_path):
    if request.param == "sqlite":
        return f"sqlite:///{sqlite_path}"
    return request.getfixturevalue("postgres_url")


def with_next_migration(monkeypatch, *statements: str) -> None:
    following = Migration(number=len(MIGRATIONS) + 1, name="a note", statements=statements)
    newer = (*MIGRATIONS, following)
    monkeypatch.setattr(migrations.migrate, "__defaults__", (newer,))


def test_numbers_are_consecutive_from_one():
    assert [one.number for one in MIGRATIONS] == list(range(1, len(MIGRATIONS) + 1))


def test_an_older_store_is_brought_up_with_its_runs(url, monkeypatch):
    with open_store(url) as store:
        store.create_run(record(steps=7))
        store.append("swift-otter-12", [reading(1)])
    with_next_migration(
        monkeypatch, "ALTER TABLE trainwright_runs ADD COLUMN note TEXT NOT NULL DEFAULT 'none'"
    )
    for _ in range(2):  # the second time there is nothing to do
        with open_store(url) as store:
            assert store.run("swift-otter-12").steps == 7
            assert steps(store) == [1]
            with store._reader.connect() as connection:
                note = connection.exec_driver_sql("SELECT note FROM trainwright_runs").scalar()
                assert note == "none"
                assert migrations.version(connection) == len(MIGRATIONS) + 1


def test_a_migration_that_fails_leaves_the_store_as_it_was(url, monkeypatch):
    with open_store(url) as store:
        store.create_run(record())
    with monkeypatch.context() as patch:
        with_next_migration(
            patch, "ALTER TABLE trainwright_runs ADD COLUMN note TEXT", "ALTER TABLE nobody DROP x"
        )
        with pytest.raises(StoreError):
            open_store(url)
    with open_store(url) as store:
        columns = {
            column["name"] for column in inspect(store._reader).get_columns("trainwright_runs")
        }
        assert "note" not in columns
        assert store.run("swift-otter-12")


def test_a_store_of_a_newer_program_is_refused_and_left_alone(url, monkeypatch):
    with monkeypatch.context() as patch:
        with_next_migration(patch, "ALTER TABLE trainwright_runs ADD COLUMN note TEXT")
        open_store(url).close()
    with pytest.raises(StoreError, match="newer trainwright") as error:
        open_store(url)
    assert "pip install --upgrade" in error.value.do


def test_the_tables_are_those_that_queries_are_built_from(url):
    with open_store(url) as store:
        found = inspect(store._reader)
        for table in schema.metadata.tables.values():
            columns = {column["name"]: column for column in found.get_columns(table.name)}
            assert list(columns) == [column.name for column in table.columns]
            for column in table.columns:
                if not column.primary_key:
                    assert columns[column.name]["nullable"] == column.nullable, column
        ours = {name for name in found.get_table_names() if name.startswith("trainwright_")}
        assert ours == {*schema.metadata.tables, "trainwright_migrations"}


def test_many_processes_may_open_a_new_store_at_once(url, python):
    processes = [python(OPEN, url) for _ in range(3)]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()
    assert [process.wait(30) for process in processes] == [0] * 3
    with open_store(url) as store, store._reader.connect() as connection:
        assert migrations.version(connection) == len(MIGRATIONS)


def test_tables_of_others_in_the_same_file_are_left_alone(sqlite_path):
    with sqlite3.connect(sqlite_path) as connection:
        connection.execute("CREATE TABLE trials (number INTEGER)")
        connection.execute("INSERT INTO trials VALUES (42)")
    connection.close()
    with open_store(sqlite_path) as store:
        store.create_run(record())
        with store._reader.connect() as connection:
            assert connection.exec_driver_sql("SELECT number FROM trials").scalar() == 42
