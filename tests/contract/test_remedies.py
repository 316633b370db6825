"""Every remedy is explained in both languages: what it does, promises and costs, and when it fits."""

import pytest

from trainwright.core.words import LANGUAGES, known_codes, said_in, use_language
from trainwright.edit.catalogue import edits
from trainwright.report.explain import explain
from trainwright.report.remedy_pages import remedy_pages
from trainwright.report.rule_pages import remedy_codes, rule_pages

NAMES = tuple(edits())
KEYS = ("expect", "cost", "needs")


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_edit_has_all_words(language: str) -> None:
    wanted = {f"remedy.{name}" for name in NAMES}
    wanted |= {f"remedies.{name}.{key}" for name in NAMES for key in KEYS}
    assert {code for code in wanted if not said_in(language, code)} == set()


def test_no_words_are_of_an_edit_that_is_gone() -> None:
    told = {code.split(".")[1] for code in known_codes("en") if code.startswith("remedies.")}
    assert told == set(NAMES) == set(remedy_codes())


def test_every_remedy_that_a_rule_names_is_an_edit() -> None:
    named = {name for page in rule_pages() for name in page.remedies}
    assert len(named) > 40
    assert named - set(NAMES) == set()


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_an_edit_cannot_be_applied_to_has_a_reason_in_words(language: str) -> None:
    use_language(language)
    silent = {
        edit.name for edit in edits().values()
        if (edit.knobs is None or edit.program is None) and not edit.instead
    }  # fmt: skip
    assert silent == set()
    use_language("en")
    english = {edit.name: edit.instead for edit in edits().values() if edit.instead}
    use_language("zh-Hant")
    assert [n for n, reason in english.items() if edits()[n].instead == reason] == []


def test_a_page_says_who_can_apply_it_and_which_rules_name_it() -> None:
    pages = {page.name: page for page in remedy_pages()}
    lower = pages["lower_learning_rate"]
    assert (lower.recipe, lower.program) == ("", "")
    assert "A401" in lower.rules
    assert (pages["deepen"].recipe, pages["deepen"].program) == ("", "")
    assert "yours to mend" in pages["mask_future"].program
    assert "before any data" in pages["reinitialise_lsuv"].recipe
    assert "in the file" in pages["drop_rows"].recipe
    assert pages["drop_rows"].program == ""
    assert pages["fix_axis"].recipe
    assert pages["fix_axis"].program


@pytest.mark.parametrize("language", LANGUAGES)
def test_explain_prints_all_of_it(language: str) -> None:
    use_language(language)
    for page in remedy_pages():
        found = explain(page.name, [])
        said = dict(found.more)
        assert found.kind == "remedy"
        assert found.what == page.does
        assert {page.expect, page.cost, page.needs} <= set(said.values())
        assert all(said.values())
        rules = [text for text in said.values() if all(code in text for code in page.rules)]
        assert not page.rules or rules


def test_explain_lists_every_remedy_by_room() -> None:
    rows = explain("remedies", []).more
    rooms = [heading for heading, text in rows if not text]
    assert rooms == ["DATA", "MODEL", "LOSS FUNCTION", "LEARNING ALGORITHM"]
    assert [heading for heading, text in rows if text] == list(NAMES)
