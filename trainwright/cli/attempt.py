"""trainwright try: does one remedy help this run?"""

from typing import Annotated

from cyclopts import Parameter

from trainwright.cli import options
from trainwright.cli.page import Page, can_be_written
from trainwright.cli.prove import show
from trainwright.core.words import say


def attempt(
    run: options.RunName,
    remedy: Annotated[str, Parameter(name="REMEDY", help=say("option.remedy"))],
    /,
    *,
    seeds: Annotated[int, Parameter(name="--seeds", help=say("option.seeds"))] = 5,
    budget: options.Budget = None,
    report: Page = None,
    store: options.Store = "./trainwright.db",
    allow_code: options.AllowCode = False,
    json: options.Json = False,
) -> int:
    from trainwright import treatment

    can_be_written(report, "--report")
    found = treatment.try_remedy(
        run, remedy, seeds, store=store, budget=budget, quiet=json, allow_code=allow_code
    )
    show(found, report, json=json)
    return 0
