"""Which edits are there? One table by name, made of the four rooms' own."""

from collections.abc import Mapping

from trainwright.core.errors import TrainwrightError, did_you_mean, shown
from trainwright.core.phrases import phrase
from trainwright.edit import algorithm, data, loss, model
from trainwright.edit.edit import Edit


def edits() -> Mapping[str, Edit]:
    """Every edit by name."""
    return {edit.name: edit for room in (data, model, loss, algorithm) for edit in room.edits()}


def edit_named(name: str) -> Edit:
    """Raises TrainwrightError with near names."""
    table = edits()
    found = table.get(name.strip())
    if found is None:
        raise TrainwrightError(
            phrase("there is no remedy {name}", name=shown(name)),
            allowed=", ".join(table),
            do=did_you_mean(name, table) or phrase("`trainwright explain CODE` names remedies"),
        )
    return found
