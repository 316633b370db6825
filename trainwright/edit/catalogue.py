"""Which edits are there? One table by name, made of the four rooms' own."""

from collections.abc import Mapping
from difflib import get_close_matches
from functools import cache
from types import MappingProxyType

from trainwright.core.errors import TrainwrightError, did_you_mean, shown
from trainwright.core.phrases import language, phrase
from trainwright.edit import algorithm, augment, columns, data, loss, model, penalty, prior
from trainwright.edit.edit import Edit

MOST_NEAR = 5  # names that a wrong one is answered with [assumed]


def rooms() -> Mapping[str, tuple[Edit, ...]]:
    """The edits of data, model, loss and algorithm, with reasons in the language spoken now."""
    return _rooms(language())


def edits() -> Mapping[str, Edit]:
    """Every edit by name, with reasons in the language spoken now."""
    return _edits(language())


@cache
def _rooms(spoken: str) -> Mapping[str, tuple[Edit, ...]]:
    """Made once for each language, which must be the one spoken: reasons are put in words here."""
    assert spoken == language(), (spoken, language())
    return MappingProxyType({"data": (*data.edits(), *augment.edits(), *columns.edits()),
                             "model": model.edits(), "loss": (*loss.edits(), *prior.edits()),
                             "algorithm": (*algorithm.edits(), *penalty.edits())})  # fmt: skip


@cache
def _edits(spoken: str) -> Mapping[str, Edit]:
    return MappingProxyType({edit.name: edit for room in _rooms(spoken).values() for edit in room})


def edit_named(name: str) -> Edit:
    """Raises TrainwrightError with near names."""
    table = edits()
    found = table.get(name.strip())
    if found is None:
        near = _near(name, list(table))
        raise TrainwrightError(
            phrase("there is no remedy {name}", name=shown(name)),
            allowed=phrase("one of the {count} that `trainwright explain remedies` lists",
                           count=len(table)),
            do=did_you_mean(name, near) if near
            else phrase("`trainwright explain CODE` names the remedies of a finding"),
        )  # fmt: skip
    return found


def _near(name: str, names: list[str]) -> list[str]:
    """Those spelt alike, then those that share a word with it."""
    word = name.strip().lower().replace("-", "_").replace(" ", "_")
    parts = {part for part in word.split("_") if len(part) > 2}
    sharing = [each for each in names if parts & set(each.split("_"))]
    return list(dict.fromkeys([*get_close_matches(word, names), *sharing]))[:MOST_NEAR]
