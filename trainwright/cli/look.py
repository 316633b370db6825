"""trainwright runs, show, report, explain: look at what was recorded."""

from typing import Annotated

from cyclopts import Parameter

from trainwright.cli import options
from trainwright.cli.output import console, print_json
from trainwright.core.words import say


def runs(
    *,
    store: options.Store = "./trainwright.db",
    limit: Annotated[int, Parameter(name="--limit", help=say("option.limit"))] = 50,
    json: options.Json = False,
) -> int:
    from trainwright.report.plain import row_object
    from trainwright.report.terminal import runs_table
    from trainwright.store.open import open_store

    options.not_negative("--limit", limit)
    rows = open_store(store, create=False).runs(limit=limit)
    if json:
        print_json([row_object(row) for row in rows])
    else:
        console().print(runs_table(rows))
    return 0


def show(
    run: options.RunName,
    /,
    *,
    store: options.Store = "./trainwright.db",
    json: options.Json = False,
) -> int:
    from trainwright.report.plain import show_object
    from trainwright.report.terminal import run_details
    from trainwright.store.open import open_store

    record = open_store(store, create=False).run(run)
    if json:
        print_json(show_object(record))
    else:
        console().print(run_details(record))
    return 0


def report(
    run: options.RunName,
    /,
    *,
    out: options.Out = None,
    store: options.Store = "./trainwright.db",
    json: options.Json = False,
) -> int:
    from trainwright.api import load

    place = load(run, store=store).report(out)
    if json:
        print_json({"run": run, "report": str(place)})
    else:
        console().print(say("report.written", place=str(place)), markup=False)
    return 0


def explain(
    topic: Annotated[str, Parameter(name="TOPIC", help=say("option.topic"))],
    /,
    *,
    store: options.AnyStore = None,
    json: options.Json = False,
) -> int:
    from trainwright import recipe as recipes
    from trainwright.report.explain import explain as explanation_of

    found = explanation_of(topic, recipes.knobs())
    if json:
        print_json(found.to_plain())
    else:
        console().print(found)
    return 0
