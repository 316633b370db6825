"""What does a remedy change, promise and cost, and who can apply it? Its page, from the words and
from the edit itself, for `explain` and the generated documentation."""

from dataclasses import dataclass

from trainwright.core.words import say
from trainwright.report import rule_pages
from trainwright.report import rule_words as words
from trainwright.report.phrases import words_for


@dataclass(frozen=True, slots=True, kw_only=True)
class RemedyPage:
    """A remedy in the language spoken. `recipe` and `program` are why it cannot be applied to a
    recipe, and to a live network, empty where it can; `rules` are the codes that name it."""

    name: str
    room: str
    does: str
    expect: str
    cost: str
    needs: str
    recipe: str
    program: str
    rules: tuple[str, ...]
    source: str


def remedy_pages() -> list[RemedyPage]:
    """Every remedy, in the order of the catalogue."""
    from trainwright.edit.catalogue import rooms

    rules = rule_pages.rule_pages()
    return [
        RemedyPage(
            name=edit.name, room=room, does=words.remedy_words(edit.name),
            expect=say(f"remedies.{edit.name}.expect"), cost=say(f"remedies.{edit.name}.cost"),
            needs=say(f"remedies.{edit.name}.needs"),
            recipe="" if edit.knobs is not None else edit.instead,
            program="" if edit.program is not None else edit.instead,
            rules=tuple(rule.code for rule in rules if edit.name in rule.remedies),
            source=words_for(f"remedies.{edit.name}.source", ""),
        )
        for room, edits in rooms().items()
        for edit in edits
    ]  # fmt: skip


def remedy_page(name: str) -> RemedyPage:
    """The page of one that is there."""
    return next(page for page in remedy_pages() if page.name == name)


def spoken_rows(page: RemedyPage) -> list[tuple[str, str]]:
    """Heading and text of all that the page says beside what the remedy does."""
    keys = ("expect", "cost", "needs")
    rows = [(say(f"explain.remedy.{key}"), getattr(page, key)) for key in keys]
    for key, does in (("recipe", "turns"), ("program", "changes")):
        reason = getattr(page, key)
        said = say("explain.remedy.by_hand", reason=reason) if reason else ""
        rows.append((say(f"explain.remedy.{key}"), said or say(f"explain.remedy.{does}")))
    named = [f"{code} {words.rule_name(code)}" for code in page.rules]
    rows.append((say("explain.remedy.undo"), say("explain.remedy.undo_said")))
    rows.append((say("explain.remedy.findings"), "\n".join(named)))
    rows.append((say("rule.heading.source"), page.source))
    return [(heading, text) for heading, text in rows if text]


def list_rows() -> list[tuple[str, str]]:
    """Every remedy in one line, below the name of its room."""
    rows: list[tuple[str, str]] = []
    room = ""
    for page in remedy_pages():
        if page.room != room:
            room = page.room
            rows.append((say(f"rule.room.{room}").upper(), ""))
        rows.append((page.name, page.does))
    return rows


def by_hand(code: str, *, of_recipe: bool) -> list[str]:
    """The remedies of a rule that only a person can apply to a recipe, or to a network of one's
    own."""
    return [page.name for page in remedy_pages()
            if code in page.rules and (page.recipe if of_recipe else page.program)]  # fmt: skip
