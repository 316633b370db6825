"""trainwright exam: one small experiment on a run or a recipe, or all that apply."""

import sys
from typing import Annotated

from cyclopts import Parameter

from trainwright.cli import options
from trainwright.cli.output import console, print_json
from trainwright.cli.page import Page, can_be_written, write_page
from trainwright.core.budget import parse_seconds
from trainwright.core.errors import TrainwrightError, shown
from trainwright.core.phrases import phrase
from trainwright.core.words import say


def exam(
    target: Annotated[str, Parameter(name="RUN", help=say("option.run_or_recipe"))],
    name: Annotated[str | None, Parameter(name="NAME", help=say("option.exam"))] = None,
    /,
    *,
    every: Annotated[
        bool, Parameter(name="--all", help=say("option.all_exams"), negative="")
    ] = False,
    budget: Annotated[str | None, Parameter(name="--budget", help=say("option.exam_time"))] = None,
    report: Page = None,
    store: options.Store = "./trainwright.db",
    allow_code: options.AllowCode = False,
    json: options.Json = False,
) -> int:
    from trainwright.exam.ask import asked_of
    from trainwright.exam.catalogue import EXAMS
    from trainwright.report.exam_page import render_exams
    from trainwright.report.exams import cards, plain_asked, progress

    if (name is None) == (not every):
        raise TrainwrightError(
            phrase("which exam? name one, or say --all"),
            allowed=", ".join(EXAMS),
            do=phrase("for example `trainwright exam RUN overfit_one_batch`"),
        )
    can_be_written(report, "--report")
    with progress(sys.stderr, quiet=json) as tell:
        found = asked_of(target, name, store=store, budget=_seconds(budget),
                         allow_code=allow_code, tell=tell)  # fmt: skip
    if json:
        print_json(plain_asked(found))
    else:
        console().print(cards(found))
    write_page(lambda: render_exams(found, title=target), report, quiet=json)
    return 0


def _seconds(budget: str | None) -> float | None:
    if budget is None:
        return None
    seconds = parse_seconds(budget)
    if seconds is None:
        raise TrainwrightError(
            phrase("an exam's budget is a time, not {budget}", budget=shown(budget)),
            allowed=phrase("a time, as 60s or 3min"),
            do=phrase("for example --budget 60s"),
        )
    return seconds
