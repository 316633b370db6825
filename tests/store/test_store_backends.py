"""Memory, SQLite and a real PostgreSQL keep the same promise."""

import pytest
from store_contract import StoreContract

from trainwright.store.open import open_store


class TestMemoryStore(StoreContract):
    @pytest.fixture
    def store(self):
        with open_store(None) as store:
            yield store


class TestSqliteStore(StoreContract):
    @pytest.fixture
    def store(self, sqlite_path):
        with open_store(sqlite_path) as store:
            yield store


class TestPostgresStore(StoreContract):
    @pytest.fixture
    def store(self, postgres_url, tmp_path):
        with open_store(f"{postgres_url}&artefacts={tmp_path}/files") as store:
            yield store
