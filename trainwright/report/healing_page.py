"""How was it healed, for someone who was not there? One HTML page: the verdict, what to change, the
proof, the findings before and after, and everything that was tried."""

from collections.abc import Collection, Sequence
from importlib.metadata import version

from trainwright.core.words import language, say
from trainwright.recipe import Recipe, diff
from trainwright.remedy.heal import Healing
from trainwright.remedy.search import Step
from trainwright.report import format as show
from trainwright.report import remedy_tree as trees
from trainwright.report.comparison_page import compared
from trainwright.report.exam_page import exam_section
from trainwright.report.findings import with_code
from trainwright.report.healing import (
    hand_lines,
    lines_title,
    score_words,
    state_words,
    times_words,
)
from trainwright.report.markup import Child, Html, join, table, tag
from trainwright.report.page import head, made_by
from trainwright.report.rule_words import remedy_words, rule_name
from trainwright.report.terminal import tame

KINDS = {"healthy": "worth_it", "improved": "worth_it", "stuck": "not_worth_it",
         "left alone": "worth_it"}  # fmt: skip


def render_healing(found: Healing, *, title: str = "") -> str:
    """The whole page, in the language spoken; `title` is what was healed."""
    said = " · ".join(filter(None, (say("healing.page_title"), tame(title))))
    wanted: tuple[tuple[str, str, Html | None], ...] = (
        ("diff", say("healing.head.diff"), _diff(found)),
        ("proof", say("healing.head.proven"), _proof(found)),
        ("findings", say("healing.head.before_after"), _before_after(found)),
        ("search", say("healing.head.search"), _search(found)),
        ("exams", say("healing.head.asked"), _exams(found)),
    )
    there = [(name, heading, content) for name, heading, content in wanted if content]
    links = [tag("a", heading, href=f"#{name}") for name, heading, _ in there]
    body = tag(
        "body",
        tag("header", tag("h1", said), _verdict(found),
            *(tag("p", tame(note), class_="note") for note in found.notes)),
        tag("nav", *links, aria_label=say("report.contents")),
        tag("main", *(tag("section", tag("h2", heading), content, id=name)
                      for name, heading, content in there)),
        made_by(version("trainwright")),
    )  # fmt: skip
    return "<!doctype html>\n" + tag("html", head(said), body, lang=language())


def _verdict(found: Healing) -> Html:
    took = say("healing.took", seconds=show.seconds(found.seconds))
    mark = tag("span", state_words(found), class_="mark")
    kind = f"verdict {KINDS[found.state]}"
    return tag("p", mark, " ", f"{score_words(found)} · {took}", class_=kind)


def _diff(found: Healing) -> Html | None:
    """The remedies that were kept, and what changes: knobs as old and new, or lines of code."""
    if not found.done:
        return None
    kept = [
        tag(
            "li",
            tag("code", tame(remedy)),
            " ",
            with_code(remedy_words(remedy)),
            times_words(times),
        )
        for remedy, times in trees.kept_remedies(found)
    ]
    return join(
        tag("ul", *kept, class_="remedies"),
        tag("h3", say(lines_title(found))),
        tag("pre", tag("code", *_changed_lines(found)), class_="diff"),
    )


def _changed_lines(found: Healing) -> list[Html]:
    if isinstance(found.target, Recipe) and isinstance(found.before, Recipe):
        return [_line(f"{sign} {path} = {value}", kind)
                for path, old, new in diff(found.before, found.target)
                for sign, value, kind in (("-", old, "gone"), ("+", new, "new"))
                if value is not None]  # fmt: skip
    return [_line(f"+ {line}", "new") for line in found.lines]


def _line(text: str, kind: str) -> Html:
    return tag("span", f"{tame(text)}\n", class_=kind)


def _proof(found: Healing) -> Html | None:
    if found.proof is None:
        return None
    about = tag("p", say("healing.about.proof"), class_="about")
    return join(about, compared(found.proof))


def _before_after(found: Healing) -> Html | None:
    """Each code that was named in the first run or is named in the healed one."""
    before, after = found.steps[0].open, found.open
    codes = list(dict.fromkeys((*before, *after)))
    if not codes:
        return None
    heads: list[Child] = [say(f"healing.head.{n}") for n in ("code", "finding", "before", "after")]
    rows: list[list[Child]] = [
        [tag("code", code), rule_name(code), *(_state(code, side) for side in (before, after))]
        for code in codes
    ]
    about = tag("p", say("healing.about.before_after"), class_="about")
    by_hand = [tag("li", with_code(line)) for line in hand_lines(found)]
    return join(about, table(heads, rows, numeric=set()), tag("ul", *by_hand) if by_hand else None)


def _state(code: str, named: Collection[str]) -> Html:
    is_open = code in named
    word = say("compare_page.open" if is_open else "compare_page.closed")
    return tag("span", word, class_="grade serious" if is_open else "soft")


def _search(found: Healing) -> Html | None:
    if len(found.steps) < 2:
        return None
    kept = {one.number for one in trees.kept_path(found)}
    return join(
        tag("p", say("healing.about.search"), class_="about"),
        tag("ul", _branch(found.steps[0], found.steps, kept), class_="tree"),
    )


def _exams(found: Healing) -> Html | None:
    return join(*map(exam_section, found.exams)) if found.exams else None


def _branch(step: Step, steps: Sequence[Step], kept: Collection[int]) -> Html:
    """The step's line, and below it what was tried on it."""
    below = trees.children(step, steps)
    kind = step.judged.replace(" ", "-") + (" kept" if step.number in kept else "")
    parts = (trees.step_asked(step), trees.step_open(step))
    said = tag(
        "span", tag("span", trees.SIGNS[step.judged], class_="sign"), " ",
        tag("span", trees.step_name(step), class_="name", title=_titled(step)),
        f"  {trees.step_result(step, steps)}",
        *(tag("span", f"  {part}", class_="soft") for part in parts if part),
        class_=kind,
    )  # fmt: skip
    return tag("li", said, tag("ul", *(_branch(one, steps, kept) for one in below)) if below
               else None)  # fmt: skip


def _titled(step: Step) -> str | None:
    """What its remedies do, for who rests the pointer on it."""
    return " ".join(filter(None, map(remedy_words, step.remedies))) or None
