"""Everything said has words, in both languages, and the words can be filled."""

import ast
import re
from string import Formatter

import pytest
from contract_source import calls, files, place

from trainwright.core import words as catalogue
from trainwright.core.words import LANGUAGES, known_codes

ENGLISH = known_codes("en")


def template(language: str, code: str) -> str:
    return catalogue._catalogue(language)[code]


def placeholders(text: str) -> set[str]:
    return {name.split(".")[0].split("[")[0] for _, name, _, _ in Formatter().parse(text) if name}


def code_of(node: ast.expr) -> str | None:
    """A regular expression for the code that an expression gives; None for a variable."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return re.escape(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(
            re.escape(str(part.value)) if isinstance(part, ast.Constant) else r"[\w.-]+"
            for part in node.values
        )
    if isinstance(node, ast.IfExp):
        return "|".join(filter(None, (code_of(node.body), code_of(node.orelse)))) or None
    return None


def said():
    """(place, pattern, names of the values given or None, prefix) of each Notice and each say."""
    for path in files():
        for call in calls(path, "Notice"):
            keywords = {k.arg: k.value for k in call.keywords}
            pattern = code_of(keywords["code"]) if "code" in keywords else None
            values = keywords.get("values")
            names: set[str] | None = set() if values is None else None
            if isinstance(values, ast.Dict) and all(
                isinstance(k, ast.Constant) for k in values.keys
            ):
                names = {str(k.value) for k in values.keys if isinstance(k, ast.Constant)}
            if pattern is not None:
                yield f"{place(path)}:{call.lineno}", rf"notice\.({pattern})", names
        for call in calls(path, "say"):
            pattern = code_of(call.args[0]) if call.args else None
            open_ended = any(k.arg is None for k in call.keywords)
            names = None if open_ended else {str(k.arg) for k in call.keywords}
            if pattern is not None:
                yield f"{place(path)}:{call.lineno}", pattern, names


SAID = sorted(said(), key=lambda s: (s[0], s[1]))


def test_there_is_much_to_say():
    assert len(SAID) > 100


@pytest.mark.parametrize("language", [name for name in LANGUAGES if name != "en"])
def test_both_languages_have_the_same_codes(language):
    # The English lines of knobs and of rules' pages stand in the code: tests/contract/test_knobs.py,
    # tests/report/test_report_rule_words.py
    ours = {c for c in known_codes(language) if not c.startswith(("knob", "rule_page."))}
    assert ours == ENGLISH


@pytest.mark.parametrize("language", [name for name in LANGUAGES if name != "en"])
def test_both_languages_fill_in_the_same_values(language):
    differing = {
        code: (placeholders(template("en", code)), placeholders(template(language, code)))
        for code in ENGLISH & known_codes(language)
        if placeholders(template("en", code)) != placeholders(template(language, code))
    }
    assert not differing


def test_everything_said_has_words():
    missing = {
        where: pattern
        for where, pattern, _ in SAID
        if not any(re.fullmatch(pattern, code) for code in ENGLISH)
    }
    assert not missing


def test_the_words_ask_for_no_value_that_is_not_given():
    unfilled = {
        f"{where} {code}": asked - names
        for where, pattern, names in SAID
        if names is not None and r"[\w.-]+" not in pattern  # a family of codes: see its caller
        for code in ENGLISH
        if re.fullmatch(pattern, code) and (asked := placeholders(template("en", code))) - names
    }
    assert not unfilled


def test_the_chinese_words_are_traditional_and_not_english():
    """A few characters that only the simplified script has, and sentences left untranslated."""
    simplified = set("这为们时数务训练验证报误过达运错长问么样实现")
    wrong = {
        code: text
        for code in known_codes("zh-Hant")
        if set(text := template("zh-Hant", code)) & simplified
    }
    assert not wrong
    same = {
        code
        for code in ENGLISH
        if len(template("en", code).split()) > 4
        and ".metric_source." not in code  # authors and titles stay as they were published
        and template("en", code) == template("zh-Hant", code)
    }
    assert not same
