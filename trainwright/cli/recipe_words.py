"""How do a command's words become a recipe? A file if named, then the flags, then every --set."""

from collections.abc import Sequence
from typing import Any

from trainwright import recipe as recipes
from trainwright.recipe import Recipe


def recipe_from_words(
    source: str | None,
    file: str | None,
    settings: Sequence[str] | None,
    *,
    target: str | None = None,
    seed: int | None = None,
    budget: str | None = None,
) -> Recipe:
    """The recipe that a command line stands for; all problems are raised at once."""
    base = recipes.load(file) if file else Recipe()
    flags: dict[str, Any] = {
        "data.source": source, "data.target": target, "seed": seed, "budget": budget,
    }  # fmt: skip
    given = {path: value for path, value in flags.items() if value is not None}
    return recipes.edit_all(base, given, settings or ())
