"""trainwright try: does one remedy help this run?"""

from typing import Annotated

from cyclopts import Parameter

from trainwright.cli import options
from trainwright.cli.heal import Page, can_be_written, write_page
from trainwright.cli.output import console, print_json
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
    from trainwright.report.comparison import comparison_card, plain
    from trainwright.report.comparison_page import render_comparison

    can_be_written(report, "--report")
    found = treatment.try_remedy(
        run, remedy, seeds, store=store, budget=budget, quiet=json, allow_code=allow_code
    )
    if json:
        print_json(plain(found))
    else:
        console().print(comparison_card(found))
    write_page(lambda: render_comparison(found), report, quiet=json)
    return 0
