"""Which words does a person read? Codes and values go in, a sentence in the reader's language comes
out. The sentences live in `trainwright/locales/<language>/*.toml`."""

import locale
import os
import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from trainwright.core.errors import nearest, shown
from trainwright.core.records import Notice

LANGUAGES = ("en", "zh-Hant")
_FOLDER = Path(__file__).parent.parent / "locales"
_chosen: list[str] = []


def use_language(language: str | None) -> None:
    """Speak `language` from here on; None asks the environment (LC_ALL, LC_MESSAGES, LANG)."""
    _chosen[:] = [language if language in LANGUAGES else _from_environment()]


def language() -> str:
    """The language spoken now."""
    if not _chosen:
        use_language(None)
    return _chosen[0]


def say(code: str, /, **values: Any) -> str:
    """The sentence for `code`, e.g. say("run.finished", steps=100).

    Values are made safe for a terminal. A sentence missing in another language falls back to
    English; one missing in English is our own mistake.
    """
    template = _catalogue(language()).get(code) or _catalogue("en").get(code)
    assert template is not None, f"no words for {code}; near: {nearest(code, _catalogue('en'))}"
    return template.format_map({key: _plain(value) for key, value in values.items()})


def say_notice(notice: Notice) -> str:
    """A notice in words: its code is looked up under `notice.`."""
    return say(f"notice.{notice.code}", **notice.values)


def known_codes(language: str = "en") -> frozenset[str]:
    """Every code that has words in `language`."""
    return frozenset(_catalogue(language))


def _plain(value: Any) -> Any:
    if isinstance(value, (int, float)) or value is None:
        return value
    if isinstance(value, (list, tuple)):
        return ", ".join(str(_plain(item)) for item in value)
    return shown(str(value))[1:-1]


def _from_environment() -> str:
    names = (os.environ.get(n) for n in ("LC_ALL", "LC_MESSAGES", "LANG"))
    first = next((n for n in names if n), None) or (locale.getlocale()[0] or "")
    chinese = first.replace("-", "_").lower()
    return "zh-Hant" if chinese.startswith(("zh_tw", "zh_hk", "zh_mo", "zh_hant")) else "en"


@cache
def _catalogue(language: str) -> Mapping[str, str]:
    words: dict[str, str] = {}
    for path in sorted((_FOLDER / language).glob("*.toml")):
        _flatten(tomllib.loads(path.read_text(encoding="utf-8")), "", words)
    return words


def _flatten(tree: Mapping[str, Any], prefix: str, into: dict[str, str]) -> None:
    for key, value in tree.items():
        if isinstance(value, dict):
            _flatten(value, f"{prefix}{key}.", into)
        else:
            assert f"{prefix}{key}" not in into, f"words for {prefix}{key} are written twice"
            into[f"{prefix}{key}"] = str(value)
