"""Which language is spoken, and what is an English sentence called in it? As in gettext, the
sentence stands in the code, where it is read; `locales/<language>/errors/*.toml` translate it."""

import locale
import os
import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

LANGUAGES = ("en", "zh-Hant")
FOLDER = Path(__file__).parent.parent / "locales"
_chosen: list[str] = []


def use_language(language: str | None) -> None:
    """Speak `language` from here on; None asks the environment (LC_ALL, LC_MESSAGES, LANG)."""
    _chosen[:] = [language if language in LANGUAGES else _from_environment()]


def language() -> str:
    """The language spoken now."""
    if not _chosen:
        use_language(None)
    return _chosen[0]


def phrase(template: str, /, **values: Any) -> str:
    """`template`, an English sentence, in the language spoken now, `values` filled in as given.

    phrase("{path} has no rows", path=shown(path)); foreign values are made safe by the caller. A
    literal brace is doubled. A sentence without translation stays English.
    """
    spoken = language()
    sentence = template if spoken == "en" else translations(spoken).get(template, template)
    return sentence.format_map(values)


@cache
def translations(language: str) -> Mapping[str, str]:
    """English sentence -> its translation; empty for English, for which nothing is read."""
    found: dict[str, str] = {}
    for path in sorted((FOLDER / language / "errors").glob("*.toml")):
        table = tomllib.loads(path.read_text(encoding="utf-8"))
        assert not (twice := found.keys() & table.keys()), f"translated twice: {twice}"
        found |= table
    return found


def _from_environment() -> str:
    names = (os.environ.get(n) for n in ("LC_ALL", "LC_MESSAGES", "LANG"))
    first = next((n for n in names if n), None) or (locale.getlocale()[0] or "")
    chinese = first.replace("-", "_").lower()
    return "zh-Hant" if chinese.startswith(("zh_tw", "zh_hk", "zh_mo", "zh_hant")) else "en"
