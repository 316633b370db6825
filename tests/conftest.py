"""Every test begins in English, whatever the machine speaks, and leaves the language as it was."""

import pytest
from hypothesis import settings

from trainwright.core.words import language, use_language

# A shared machine may be slow for a moment: a test's time is no property of the program.
# `make test` asks the same examples each time; `make test-all` looks for new ones.
settings.register_profile("repeatable", deadline=None, derandomize=True)
settings.register_profile("search", deadline=None)
settings.load_profile("repeatable")


@pytest.fixture(autouse=True)
def english_first(monkeypatch):
    monkeypatch.setenv("LC_ALL", "C.UTF-8")  # for the commands that a test starts
    before = language()
    use_language("en")
    yield
    use_language(before)
