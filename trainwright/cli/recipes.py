"""trainwright recipe new, check, schema: write a recipe from data, find every mistake in one."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from trainwright import recipe as recipes
from trainwright.cli import options
from trainwright.cli.output import console, error_console, print_json, refuse_place, write_text
from trainwright.core.errors import RecipeError
from trainwright.core.words import say


def new(
    source: options.Source,
    /,
    *,
    target: options.Target = None,
    settings: options.Settings = None,
    out: options.Out = None,
    store: options.AnyStore = None,
    json: options.Json = False,
) -> int:
    from trainwright.cli.recipe_words import recipe_from_words
    from trainwright.report.live import listener_for
    from trainwright.report.terminal import columns_table
    from trainwright.run.assemble import prepare_data
    from trainwright.run.messages import Teller, nobody

    made = recipe_from_words(source, None, settings, target=target)
    with Teller(nobody if json else listener_for(error_console())) as tell:
        prepared = prepare_data(made, one_tensor=False, tell=tell)
    prepared.close()
    understood = prepared.understanding
    if made.data.target is None and understood.columns:
        made = recipes.edit(made, {"data.target": understood.task.target})
    text = recipes.render(made, comments=True)
    if json:
        print_json({"recipe": recipes.to_plain(made), "toml": text})
        return 0
    if understood.columns:
        error_console().print(columns_table(understood))
    if out is None:
        write_text(text)
        return 0
    with refuse_place(out):
        Path(out).write_text(text, encoding="utf-8")
    console().print(say("recipe.written", place=out), markup=False)
    return 0


def check(
    recipe: Annotated[str, Parameter(name="RECIPE", help=say("option.recipe"))],
    /,
    *,
    settings: options.Settings = None,
    store: options.AnyStore = None,
    json: options.Json = False,
) -> int:
    try:
        made = recipes.edit_all(recipes.load(recipe), {}, settings or ())
    except RecipeError as error:
        if not json:
            raise
        print_json(
            {
                "ok": False,
                "problems": [
                    {"path": p.path, "what": p.what, "allowed": p.allowed, "do": p.do}
                    for p in error.problems
                ],
            }
        )
        return error.exit_code
    changed = recipes.diff(recipes.Recipe(), made)
    if json:
        print_json({"ok": True, "problems": [], "recipe_hash": recipes.recipe_hash(made)})
    else:
        console().print(
            say("recipe.sound", hash=recipes.recipe_hash(made), changed=len(changed)), markup=False
        )
    return 0


def schema(
    *, out: options.Out = None, store: options.AnyStore = None, json: options.Json = False
) -> int:
    """The schema is JSON with and without --json."""
    from json import dumps

    text = dumps(recipes.schema(), indent=2)
    if out is None:
        write_text(text + "\n")
        return 0
    with refuse_place(out):
        Path(out).write_text(text + "\n", encoding="utf-8")
    return 0
