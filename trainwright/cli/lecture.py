"""trainwright lecture: does the lecture hold, measured here?"""

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from trainwright.cli import options
from trainwright.cli.mistakes import RUN_FAILED
from trainwright.cli.output import console, print_json, refuse_place
from trainwright.cli.page import can_be_written, write_page
from trainwright.core.claims import ClaimNews, ClaimResult
from trainwright.core.words import say

FOLDER = "trainwright-lecture"  # where results are kept, in the folder that one stands in
ALL = "all"


def lecture(
    *claims: Annotated[str, Parameter(name="CLAIM", help=say("option.claims"))],
    report: Annotated[str | None, Parameter(name="--report", help=say("option.lecture_report"))]
    = None,
    fresh: Annotated[bool, Parameter(name="--fresh", negative="", help=say("option.fresh"))]
    = False,
    store_folder: Annotated[
        str, Parameter(name="--store-folder", help=say("option.lecture_folder"))
    ] = FOLDER,
    store: options.AnyStore = None,
    json: options.Json = False,
) -> int:  # fmt: skip
    from trainwright.lecture import kept
    from trainwright.lecture.all import run_all
    from trainwright.lecture.catalogue import CLAIMS, claim
    from trainwright.report.lecture import measuring, plain, title

    folder = Path(store_folder)
    can_be_written(report, "--report")
    if not claims:
        before = {code: kept.load(folder, one) for code, one in CLAIMS.items()}
        found = {code: one for code, one in before.items() if one is not None}
        return _listed(list(CLAIMS), found, report, json=json)
    every = any(word.lower() == ALL for word in claims)
    asked = list(CLAIMS.values()) if every else [claim(word) for word in claims]
    news: list[ClaimNews] = []
    with (
        refuse_place(store_folder, option="--store-folder"),
        measuring(sys.stderr, claims=len(asked), quiet=json) as tell,
    ):

        def hear(one: ClaimNews) -> None:
            tell(one)
            if one.result is not None or one.reason:
                news.append(one)

        found = run_all(asked, folder=folder, fresh=fresh, tell=hear)
    reasons = {one.claim: one.reason for one in news if one.reason}
    if json:
        print_json([*(plain(one) for one in found.values()),
                    *({"claim": code, "title": title(code), "error": reason}
                      for code, reason in reasons.items())])  # fmt: skip
    else:
        _show(found, {one.claim for one in news if one.kept}, every=every)
    _write(list(found.values()), report, quiet=json)
    return RUN_FAILED if reasons else 0


def _listed(
    codes: list[str], found: dict[str, ClaimResult], report: str | None, *, json: bool
) -> int:
    """Every claim, and what is kept of it."""
    from trainwright.report.lecture import claims_table, plain, title

    if json:
        nothing = {"verdict": None, "effect": None, "interval": None, "n": 0, "seconds": None}
        empty = {code: {"claim": code, **nothing, "title": title(code)} for code in codes}
        print_json([plain(found[code]) if code in found else empty[code] for code in codes])
    else:
        console().print(claims_table(codes, found))
    _write(list(found.values()), report, quiet=json)
    return 0


def _show(found: dict[str, ClaimResult], before: set[str], *, every: bool) -> None:
    from trainwright.report.lecture import claim_card, claims_table

    if every:
        console().print(claims_table(list(found), found))
        return
    for code, one in found.items():
        console().print(claim_card(one, kept=code in before))


def _write(results: list[ClaimResult], report: str | None, *, quiet: bool) -> None:
    from trainwright.lecture.catalogue import CLAIMS
    from trainwright.report.lecture_page import render_lecture

    sources = {code: one.source for code, one in CLAIMS.items()}
    write_page(lambda: render_lecture(results, sources=sources), report, quiet=quiet)
