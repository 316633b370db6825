"""trainwright compare: is the second recipe better than the first?"""

from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from trainwright.cli import options
from trainwright.cli.output import console, print_json
from trainwright.cli.page import Page, can_be_written, write_page
from trainwright.core.words import say

if TYPE_CHECKING:
    from trainwright.remedy.proof import Comparison


def compare(
    first: Annotated[str, Parameter(name="FIRST", help=say("option.first_recipe"))],
    second: Annotated[str, Parameter(name="SECOND", help=say("option.second_recipe"))],
    /,
    *,
    seeds: Annotated[int, Parameter(name="--seeds", help=say("option.seeds"))] = 5,
    metric: Annotated[str | None, Parameter(name="--metric", help=say("option.metric"))] = None,
    budget: options.Budget = None,
    report: Page = None,
    allow_code: options.AllowCode = False,
    json: options.Json = False,
) -> int:
    from trainwright import treatment

    can_be_written(report, "--report")
    found = treatment.compare(
        first, second, seeds=seeds, metric=metric, budget=budget, allow_code=allow_code, quiet=json
    )
    show(found, report, json=json)
    return 0


def show(found: "Comparison", report: str | None, *, json: bool) -> None:
    """What a comparison came to: a card, or an object; and its page, if one was asked for."""
    from trainwright.report.comparison import comparison_card, plain
    from trainwright.report.comparison_page import render_comparison

    if json:
        print_json(plain(found))
    else:
        console().print(comparison_card(found))
    write_page(lambda: render_comparison(found), report, quiet=json)
