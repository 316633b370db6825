"""A server may be away, refuse, or break in the middle; each is said, what was kept stays."""

import sys

import pytest
from sqlalchemy import event
from store_contract import reading, record, steps

from trainwright.core.errors import StoreError
from trainwright.store.open import open_store


def refused(url: str, *, match: str) -> StoreError:
    with pytest.raises(StoreError, match=match) as error:
        open_store(url)
    assert error.value.do
    assert "[SQL" not in str(error.value)
    assert "secret" not in str(error.value)
    return error.value


def test_a_server_that_is_down_is_said_without_the_password():
    error = refused("postgresql://me:secret@127.0.0.1:1/db", match="does not answer")
    assert "127.0.0.1:1" in error.what


def test_a_database_that_is_not_there_is_said(postgres_url):
    refused(postgres_url.replace("/postgres?", "/nothing?"), match="no such database")


def test_a_user_that_is_not_known_is_said(postgres_url):
    refused(postgres_url.replace("postgres:@", "stranger:secret@"), match="refuses this user")


@pytest.mark.parametrize("url", ["postgresql://me:secret@host:port/db", "postgresql://[::1/secret"])
def test_a_url_that_cannot_be_read_is_not_repeated(url):
    refused(url, match="cannot be read")


@pytest.mark.parametrize("scheme", ["postgres", "postgresql+psycopg", "POSTGRESQL"])
def test_other_spellings_of_the_scheme_open_the_same(postgres_url, scheme):
    with open_store(postgres_url) as store:
        store.create_run(record())
    with open_store(scheme + postgres_url.removeprefix("postgresql")) as store:
        assert store.run("swift-otter-12")


def test_without_psycopg_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    assert "trainwright[postgres]" in refused("postgresql://host/db", match="psycopg").do


def test_a_connection_that_breaks_in_the_middle_of_a_write_leaves_no_half(postgres_url):
    import psycopg

    with open_store(postgres_url) as store, psycopg.connect(postgres_url, autocommit=True) as other:
        store.create_run(record())
        store.append("swift-otter-12", [reading(1)])
        armed = [True]

        @event.listens_for(store._writer, "before_cursor_execute")
        def cut(connection, cursor, statement, *_):
            if armed and "INSERT INTO trainwright_readings" in statement:
                armed.clear()
                pid = cursor.connection.info.backend_pid
                other.execute("SELECT pg_terminate_backend(%s, 5000)", (pid,))

        with pytest.raises(StoreError, match="does not answer"):
            store.append("swift-otter-12", [reading(2), reading(3)])
        assert steps(store) == [1]
        store.append("swift-otter-12", [reading(2)])  # the next one connects anew
        assert steps(store) == [1, 2]


@pytest.mark.parametrize("sees", [True, False])
def test_a_user_who_may_make_no_tables_is_told_so(postgres_url, sees):
    import psycopg

    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("CREATE ROLE guest LOGIN")
        if sees:
            connection.execute("GRANT USAGE ON SCHEMA public TO guest")
        refused(postgres_url.replace("postgres:@", "guest:@"), match="does not let this user")
        connection.execute("DROP OWNED BY guest")
        connection.execute("DROP ROLE guest")


def test_a_run_locked_for_long_is_said(postgres_url):
    import psycopg

    options = "&options=-c%20lock_timeout%3D100"
    with open_store(postgres_url + options) as store, psycopg.connect(postgres_url) as other:
        store.create_run(record())
        other.execute("SELECT 1 FROM trainwright_runs FOR UPDATE")
        with pytest.raises(StoreError, match="locked by another process"):
            store.append("swift-otter-12", [reading(1)])
        other.rollback()
        store.append("swift-otter-12", [reading(1)])
