"""What several tests of runs need: a store of their own, and rules that are asked at every step."""

import pytest

from trainwright.run import execute, observe


@pytest.fixture
def url(tmp_path):
    return str(tmp_path / "runs.db")


@pytest.fixture
def at_once(monkeypatch):
    monkeypatch.setattr(observe, "LOOK_SECONDS", 0.0)
    monkeypatch.setattr(execute, "FLUSH_SECONDS", 0.0)
