"""What did the lecture's claims come to? One HTML page that holds everything and loads nothing: the
verdicts, and for each claim its sentence, rule, pictures and numbers."""

from collections.abc import Mapping, Sequence
from importlib.metadata import version

from trainwright.core.claims import ClaimResult
from trainwright.core.words import language, say
from trainwright.report import format as show
from trainwright.report.lecture import (
    effect_name,
    effect_words,
    note_words,
    number,
    other_titles,
    reading_words,
    title,
)
from trainwright.report.markup import Child, Html, table, tag
from trainwright.report.page import head, made_by
from trainwright.report.pictures import captioned
from trainwright.report.sections import definitions

KINDS = {"holds": "worth_it", "differs": "not_worth_it", "undecided": "plain"}


def render_lecture(results: Sequence[ClaimResult], *, sources: Mapping[str, str]) -> str:
    """The page of these results in their order, in the language spoken; `sources` says by code
    where a claim's method is from."""
    said = say("lecture.page_title")
    body = tag(
        "body",
        tag("header", tag("h1", said), tag("p", say("lecture.about"), class_="about")),
        tag("main", tag("section", tag("h2", say("lecture.index")), _index(results), id="index"),
            *(_claim(one, sources.get(one.claim, "")) for one in results)),
        made_by(version("trainwright")),
    )  # fmt: skip
    return "<!doctype html>\n" + tag("html", head(said), body, lang=language())


def _index(results: Sequence[ClaimResult]) -> Html:
    if not results:
        return tag("p", say("lecture.nothing"))
    head: list[Child] = [
        say(f"lecture.head.{name}")
        for name in ("code", "title", "verdict", "effect", "interval", "n", "seconds")
    ]
    return table(head, [_row(one) for one in results], numeric={3, 4, 5, 6}, kind="claims")


def _row(one: ClaimResult) -> list[Child]:
    measured = one.measured
    low, high = measured.interval
    return [
        tag("a", one.claim, href=f"#{one.claim}"), title(one.claim),
        tag("strong", say(f"lecture.verdict.{measured.verdict}")), number(measured.effect),
        f"{number(low)} … {number(high)}", str(measured.n), show.seconds(one.seconds),
    ]  # fmt: skip


def _claim(one: ClaimResult, source: str) -> Html:
    code, measured = one.claim, one.measured
    others = [tag("span", f" {name}", class_="soft") for name in other_titles(code)]
    facts = [
        (effect_name(code), effect_words(measured)),
        (say("lecture.head.rule"), say(f"lecture.{code}.rule")),
        *((say("lecture.head.note"), note_words(note)) for note in measured.notes),
        *([(say("lecture.head.source"), source)] if source else []),
        (say("lecture.head.seconds"),
         say("lecture.made", seconds=show.seconds(one.seconds), device=one.device)),
    ]  # fmt: skip
    verdict = tag(
        "p", tag("span", say(f"lecture.verdict_long.{measured.verdict}"), class_="mark"), " ",
        reading_words(one), class_=f"verdict {KINDS[measured.verdict]}",
    )  # fmt: skip
    drawn = [captioned(f"{code}-{at}", picture) for at, picture in enumerate(measured.pictures)]
    return tag(
        "section",
        tag("h2", tag("code", code), title(code), *others),
        tag("blockquote", say(f"lecture.{code}.sentence")),
        verdict,
        tag("div", *drawn, class_="plots") if drawn else None,
        definitions(facts),
        id=code,
        class_="claim",
    )
