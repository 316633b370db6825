"""trainwright heal: diagnose, try remedies, keep what helps, prove it."""

from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from trainwright.cli import options
from trainwright.cli.output import console, print_json, refuse_place
from trainwright.cli.page import Page, can_be_written, write_page
from trainwright.core.words import say

Save = Annotated[str | None, Parameter(name="--save", help=say("option.save"))]


def heal(
    what: Annotated[str, Parameter(name="WHAT", help=say("option.healed"))],
    /,
    *,
    budget: Annotated[str | None, Parameter(name="--budget", help=say("option.heal_budget"))]
    = None,
    seeds: Annotated[int, Parameter(name="--seeds", help=say("option.proof_seeds"))] = 3,
    without: Annotated[
        tuple[str, ...], Parameter(name="--without", help=say("option.without"), negative="")
    ] = (),
    target: options.Target = None,
    save: Save = None,
    report: Page = None,
    strict: Annotated[
        bool, Parameter(name="--strict", help=say("option.strict_heal"), negative="")
    ] = False,
    store: options.Store = "./trainwright.db",
    allow_code: options.AllowCode = False,
    json: options.Json = False,
) -> int:  # fmt: skip
    from trainwright import treatment
    from trainwright.edit.catalogue import edit_named
    from trainwright.report.healing import healing_card, plain
    from trainwright.report.healing_page import render_healing

    options.not_negative("--seeds", seeds)
    left_out = [edit_named(name).name for name in without]
    for place, option in ((save, "--save"), (report, "--report")):
        can_be_written(place, option)
    found = treatment.heal(
        _subject(what, target), budget=budget, seeds=seeds, without=left_out, store=store,
        quiet=json, allow_code=allow_code,
    )  # fmt: skip
    if json:
        print_json(plain(found.record))
    else:
        console().print(healing_card(found.record))
    if save is not None:
        _save(found.recipe, save, quiet=json)
    write_page(lambda: render_healing(found.record, title=what), report, quiet=json)
    return 1 if strict and found.state == "stuck" else 0


def _subject(what: str, target: str | None) -> Any:
    """What is healed; with a column to predict, the recipe of that file or data."""
    from trainwright.cli.recipe_words import recipe_from_words

    if target is None:
        return what
    file = what if what.endswith(".toml") else None
    return recipe_from_words(None if file else what, file, None, target=target)


def _save(recipe: Any, place: str, *, quiet: bool) -> None:
    from trainwright.recipe import render

    with refuse_place(place, option="--save"):
        Path(place).write_text(render(recipe, only_changed=True), encoding="utf-8")
    if not quiet:
        console().print(say("healing.saved", place=place), markup=False)
