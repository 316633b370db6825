"""trainwright fit, resume: train, and go on training."""

from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from trainwright.cli import options
from trainwright.cli.output import console, error_console, print_json
from trainwright.core.words import say

if TYPE_CHECKING:
    from trainwright.api import Run

EXIT_CODES = {"finished": 0, "failed": 3, "interrupted": 130}


def fit(
    source: options.Source,
    /,
    *,
    target: options.Target = None,
    recipe: options.RecipeFile = None,
    settings: options.Settings = None,
    store: options.Store = "./trainwright.db",
    name: Annotated[str | None, Parameter(name="--name", help=say("option.name"))] = None,
    seed: options.Seed = None,
    budget: options.Budget = None,
    watch: Annotated[bool, Parameter(name="--watch", help=say("option.watching"))] = True,
    allow_code: options.AllowCode = False,
    json: options.Json = False,
) -> int:
    from trainwright.api import start
    from trainwright.cli.recipe_words import recipe_from_words
    from trainwright.store.open import open_store

    made = recipe_from_words(source, recipe, settings, target=target, seed=seed, budget=budget)
    opened = open_store(store)
    run = start(
        made, opened, name=name, listener=_listener(json), allow_code=allow_code, keeps=True,
        command=_command(), watch=watch,
    )  # fmt: skip
    return _end(run, store, json)


def resume(
    run: options.RunName,
    /,
    *,
    store: options.Store = "./trainwright.db",
    allow_code: options.AllowCode = False,
    json: options.Json = False,
) -> int:
    from trainwright import api

    ended = api.resume(run, store=store, allow_code=allow_code, listener=_listener(json))
    return _end(ended, store, json)


def _end(run: "Run", store: str, json: bool) -> int:
    from trainwright.doctor import diagnose
    from trainwright.report.diagnosis import box
    from trainwright.report.plain import show_object
    from trainwright.report.terminal import summary

    if json:
        found = diagnose(run).to_json() if run.record.facts is not None else None
        print_json({"event": "finished", **show_object(run.record), "diagnosis": found})
    else:
        console().print(summary(run.record, run.readings(), record_at=store))
        if run.record.facts is not None:
            console().print(box(diagnose(run), title=run.id))
    return EXIT_CODES.get(run.state, 0)


def _listener(json: bool):
    from trainwright.report.live import json_listener, listener_for

    return json_listener(print_json) if json else listener_for(error_console())


def _command() -> str:
    """The command as typed, for the report's "repeat this"."""
    import shlex
    import sys

    return shlex.join(["trainwright", *sys.argv[1:]])
