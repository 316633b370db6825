"""Which words does a person read? Codes and values go in, a sentence in the reader's language comes
out. The sentences live in `trainwright/locales/<language>/*.toml`."""

import tomllib
from collections.abc import Mapping
from functools import cache
from typing import Any

from trainwright.core.errors import nearest, shown
from trainwright.core.phrases import FOLDER, LANGUAGES, language, use_language
from trainwright.core.records import Notice

__all__ = [
    "LANGUAGES",
    "known_codes",
    "language",
    "line",
    "said_in",
    "say",
    "say_notice",
    "use_language",
]


def say(code: str, /, **values: Any) -> str:
    """The sentence for `code`, e.g. say("run.finished", steps=100).

    Values are made safe for a terminal. A sentence missing in another language falls back to
    English; one missing in English is our own mistake.
    """
    template = _catalogue(language()).get(code) or _catalogue("en").get(code)
    assert template is not None, f"no words for {code}; near: {nearest(code, _catalogue('en'))}"
    return template.format_map({key: _plain(value) for key, value in values.items()})


def line(code: str, english: str) -> str:
    """What stands for `english`, a line of the code itself, in the language spoken; nothing is
    filled in. A line missing in that language stays English."""
    return _catalogue(language()).get(code, english)


def said_in(spoken: str, code: str) -> str | None:
    """The words for `code` in the language `spoken`, whatever is spoken now; nothing is filled in.
    None where that language has none."""
    return _catalogue(spoken).get(code)


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


@cache
def _catalogue(language: str) -> Mapping[str, str]:
    words: dict[str, str] = {}
    for path in sorted((FOLDER / language).glob("*.toml")):
        _flatten(tomllib.loads(path.read_text(encoding="utf-8")), "", words)
    return words


def _flatten(tree: Mapping[str, Any], prefix: str, into: dict[str, str]) -> None:
    for key, value in tree.items():
        if isinstance(value, dict):
            _flatten(value, f"{prefix}{key}.", into)
        else:
            assert f"{prefix}{key}" not in into, f"words for {prefix}{key} are written twice"
            into[f"{prefix}{key}"] = str(value)
