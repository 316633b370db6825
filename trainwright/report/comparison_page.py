"""What did two arms come to, for someone who was not there? The page of a comparison: scores by
seed, the difference with its interval, the finding, and the cost."""

import math
from importlib.metadata import version

from trainwright.core.task import LOWER_IS_BETTER
from trainwright.core.words import language, say
from trainwright.remedy.proof import Comparison
from trainwright.report import comparison, figures
from trainwright.report.markup import Child, Html, join, table, tag
from trainwright.report.page import head, made_by
from trainwright.report.phrases import metric_name
from trainwright.report.rule_words import rule_name
from trainwright.report.sections import definitions
from trainwright.report.terminal import tame

KINDS = {"cured": "worth_it", "helped": "worth_it", "worse": "not_worth_it"}


def render_comparison(found: Comparison) -> str:
    """The whole page, in the language spoken."""
    first, second = (tame(arm.name) for arm in found.arms)
    said = say("compare_page.title", first=first, second=second)
    body = tag(
        "body",
        tag("header", tag("h1", said)),
        tag("main", tag("section", compared(found), id="comparison")),
        made_by(version("trainwright")),
    )
    return "<!doctype html>\n" + tag("html", head(said), body, lang=language())


def compared(found: Comparison) -> Html:
    """Verdict, pictures, numbers, and every pair."""
    verdict = tag("p", tag("span", comparison.verdict_words(found), class_="mark"),
                  class_=f"verdict {KINDS.get(found.verdict, 'plain')}")  # fmt: skip
    first, second = (arm.name for arm in found.arms)
    heads: list[Child] = [say("compare.seed"), first, second, say("compare.difference")]
    rows: list[list[Child]] = [list(row) for row in comparison.pair_rows(found)]
    if found.finding:
        heads += [f"{found.finding}: {first}", f"{found.finding}: {second}"]
        for row, outcomes in zip(rows, _pairs(found), strict=True):
            row += [say("compare_page.open" if found.finding in one.open else "compare_page.closed")
                    for one in outcomes]  # fmt: skip
    pairs = table(heads, rows, numeric={0, 1, 2, 3})
    return join(verdict, _pictures(found), definitions(_facts(found)),
                tag("h3", say("compare_page.pairs")), pairs,
                *(tag("p", tame(note), class_="note") for note in found.notes))  # fmt: skip


def _facts(found: Comparison) -> list[tuple[str, str]]:
    facts = [(say("compare_page.effect"), comparison.effect_words(found))]
    low, high = found.bootstrap
    if math.isfinite(low):
        said = say("compare_page.bootstrap_value", low=f"{low:+.4f}", high=f"{high:+.4f}")
        facts.append((say("compare_page.bootstrap"), said))
    if found.finding:
        name = f"{comparison.finding_words(found)} ({rule_name(found.finding)})"
        facts.append((say("compare_page.finding"), name))
    looks = say("compare_page.looks_value", looks=found.looks)
    return [*facts, (say("compare_page.looks"), looks),
            (say("compare_page.cost"), comparison.cost_words(found))]  # fmt: skip


def _pairs(found: Comparison) -> list[tuple]:
    return list(zip(*(arm.outcomes for arm in found.arms), strict=True))


def _pictures(found: Comparison) -> Html:
    sign = -1.0 if found.metric in LOWER_IS_BETTER else 1.0
    pairs = comparison.scores(found)
    values = [b - a for a, b in pairs]
    ends = tag("div", *(tag("span", arm.name) for arm in found.arms), class_="axis ends")
    said = (say("compare_page.scores_about"), comparison.counted_words(found))
    about = " ".join(said).strip().replace("。 ", "。")
    signed = [(sign * a, sign * b) for a, b in pairs]
    return tag(
        "div",
        _figure("compare_page.scores", figures.paired("scores-by-seed", signed), ends, about),
        _figure("compare_page.differences",
                figures.differences("differences", values, found.interval),
                tag("div", metric_name(found.metric), class_="axis across"), ""),
        class_="plots",
    )  # fmt: skip


def _figure(title: str, drawn: Html, below: Html, about: str) -> Html:
    caption = tag("figcaption", tag("strong", say(title)),
                  tag("span", about, class_="soft") if about else None)  # fmt: skip
    return tag("figure", caption, drawn, below, class_="plot")
