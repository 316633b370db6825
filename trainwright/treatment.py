"""Does a change help? What a Python user calls: `tw.compare`, two recipes on the same seeds."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainwright import recipe as recipes
from trainwright.core.errors import TrainwrightError, shown
from trainwright.core.phrases import phrase
from trainwright.recipe import Recipe

if TYPE_CHECKING:
    from trainwright.remedy.proof import Comparison


def compare(
    a: Recipe | str | Path,
    b: Recipe | str | Path,
    *,
    seeds: int = 5,
    metric: str | None = None,
    budget: str | None = None,
    first_seed: int = 0,
    finding: str = "",
    processes: int | None = None,
    quiet: bool = False,
    allow_code: bool = False,
) -> Comparison:
    """Trains both recipes on the same seeds (same split, same order, the same start where shapes
    allow) and says whether `b` is better than `a` on held-out examples, by how much, how sure.

    Pairs of runs are added until the answer is clear, at most `seeds`. `metric` is one of the
    task's (accuracy or r2 when left out); `budget` replaces both recipes' own; `finding` is a
    rule's code that `b` is meant to close. Raises TrainwrightError when neither can be trained.
    """
    from trainwright.remedy.arms import compare_recipes
    from trainwright.report.comparison import progress

    arms = [_recipe(part, budget) for part in (a, b)]
    with progress(sys.stderr, runs=2 * seeds, quiet=quiet) as tell:
        return compare_recipes(
            arms[0], arms[1], seeds=seeds, metric=metric, first_seed=first_seed, finding=finding,
            processes=processes, allow_code=allow_code, tell=tell, names=_names(a, b),
        )  # fmt: skip


def _recipe(part: Any, budget: str | None) -> Recipe:
    if not isinstance(part, Recipe | str | Path):
        raise TrainwrightError(
            phrase("{value} is no recipe", value=shown(type(part).__name__)),
            allowed=phrase("a Recipe, or the path of one in TOML"),
            do=phrase("tw.Recipe(...), or `trainwright recipe new SOURCE` for a file"),
        )
    made = part if isinstance(part, Recipe) else recipes.load(part)
    if budget is None:
        return made
    return recipes.edit(made, {"budget": budget}).model_copy(update={"live": made.live})


def _names(a: Any, b: Any) -> tuple[str, str]:
    """What the two sides are called: their files' names, where they have one each."""
    names = [Path(part).name if isinstance(part, str | Path) else "" for part in (a, b)]
    if "" in names or names[0] == names[1]:
        return "before", "after"
    return names[0], names[1]
