"""What would settle a finding, and why something was not seen, is said in the reader's language."""

import ast
import re
from pathlib import Path

import pytest

from trainwright.core.diagnosis import Unseen
from trainwright.core.words import known_codes, said_in, use_language
from trainwright.diagnose.catalogue import RULES
from trainwright.report import rule_words as words
from trainwright.report.rule_pages import exam_names, exam_words, rule_page, spoken_sections

PACKAGE = Path(words.__file__).parents[1]
EXAMS = {name for rule in RULES.values() for name in exam_names(rule_page(rule).sections["exams"])}


def test_every_exam_that_a_rule_names_has_words_and_no_other_has():
    assert len(EXAMS) > 40
    written = {c.removeprefix("exam.") for c in known_codes("en") if c.startswith("exam.")}
    assert written == EXAMS | {"none"}


@pytest.mark.parametrize("code", RULES)
def test_a_rules_page_says_its_exams_in_chinese(code):
    use_language("zh-Hant")
    exams = rule_page(RULES[code]).sections["exams"]
    said = exam_words(exams)
    assert said in [text for _, text in spoken_sections(rule_page(RULES[code]))]
    assert re.search(r"[一-鿿]", said)
    assert not any(name in said for name in exam_names(exams))


def test_a_rule_that_is_certain_needs_no_exam():
    assert exam_words("none, it is certain.") == "nothing: it is certain"
    assert exam_words("half_width, more_data.") == "half the width; more examples"
    assert exam_words("one_of_tomorrow.") == "one of tomorrow"


def missing_names() -> set[str]:
    """What the package may say that it did not see: literal keys of `unseen`, names of probes."""
    found: set[str] = set()
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Subscript) and ast.unparse(node.value).endswith("unseen"):
                found |= literal(node.slice)
            elif isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                if called.endswith(
                    ("guard.safely", "guard.hook", "tries.run", "unseen.setdefault")
                ):
                    found |= literal(node.args[0])
                if called == "tried":
                    found |= {f"model.{name}" for name in literal(node.args[0])}
                if called.endswith(("CannotTell", "Unseen")):
                    found |= {
                        n for k in node.keywords if k.arg == "missing" for n in literal(k.value)
                    }
    return found


def literal(node: ast.AST) -> set[str]:
    return {node.value} if isinstance(node, ast.Constant) and isinstance(node.value, str) else set()


def test_whatever_may_be_missing_has_a_name_in_both_languages():
    names = missing_names()
    assert len(names) > 25
    for language in ("en", "zh-Hant"):
        use_language(language)
        bare = {n for n in names if words.missing_name(n) == n.replace("_", " ").replace(".", " ")
                and said_in("en", f"reading.of_{n}.name") is None
                and said_in("en", f"reading.{n}.name") is None}  # fmt: skip
        assert not bare


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        ("this run was not watched", "這次訓練沒有被監看"),
        ("ValueError: no tensor among the inputs", "ValueError: 輸入裡沒有張量"),
        ("RuntimeError: mat1 {and} mat2", "RuntimeError: mat1 {and} mat2"),
        ("3 of 24 draws in 0.25 s", "3 of 24 draws in 0.25 s"),
        ("", ""),
    ],
)
def test_a_reason_that_was_kept_in_english_is_translated_where_it_is_shown(reason, said):
    assert words.reason_words(reason) == reason
    use_language("zh-Hant")
    assert words.reason_words(reason) == said
    (line,) = words.unseen_groups([Unseen(code="", missing="watch", reason=reason)])
    assert line == "訓練中的讀數" + (f"：{said}" if said else "")
