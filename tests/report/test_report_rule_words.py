"""Every finding has words: names, sentences, numbers, in both languages and whatever a record holds."""

import ast
import re
from dataclasses import fields, replace
from pathlib import Path

import pytest
from diagnosis_records import rate, sick, static, three
from hypothesis import given
from hypothesis import strategies as st

from trainwright.core import facts as facts_records
from trainwright.core.diagnosis import Evidence, Finding, Unseen
from trainwright.core.history import LAYER_READINGS, STEP_READINGS
from trainwright.core.words import known_codes, said_in, use_language
from trainwright.diagnose.catalogue import RULES
from trainwright.report import rule_words as words
from trainwright.report.rule_pages import docstring_sections, reading_codes, rule_page, rule_pages

ENGLISH = known_codes("en")
DIAGNOSE = Path(words.__file__).parents[1] / "diagnose"


def calls(name: str):
    for path in sorted(DIAGNOSE.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == name:
                yield node


def literals(node: ast.AST) -> list[str]:
    return [
        n.value for n in ast.walk(node) if isinstance(n, ast.Constant) and isinstance(n.value, str)
    ]


@pytest.mark.parametrize("code", RULES)
def test_a_rule_has_a_name_a_sentence_and_what_would_refute_it(code):
    assert {f"rule.{code}.{part}" for part in ("name", "what", "refuted")} <= ENGLISH


@pytest.mark.parametrize("code", RULES)
def test_a_rules_docstring_has_every_heading(code):
    sections = docstring_sections(RULES[code].function.__doc__ or "")
    assert set(sections) == {
        "looks_like", "why_it_harms", "look_alikes", "exams", "remedies", "source",
    }  # fmt: skip
    assert all(sections.values())


@pytest.mark.parametrize("code", RULES)
def test_a_rules_docstring_is_said_in_chinese_with_the_same_rules_and_numbers(code):
    english = rule_page(RULES[code]).sections
    for key in ("looks_like", "why_it_harms", "look_alikes"):
        chinese = said_in("zh-Hant", f"rule_page.{code}.{key}")
        assert chinese, f"locales/zh-Hant/rule_pages.toml lacks {code} {key}"
        for value in re.findall(r"[DMLA]\d{3}|\b\d[\d.e-]*\d\b|∂h_i[^ ]*", english[key]):
            assert value in chinese, (code, key, value)


def test_no_chinese_page_is_of_a_rule_that_is_gone():
    pages = {code for code in known_codes("zh-Hant") if code.startswith("rule_page.")}
    keys = ("looks_like", "why_it_harms", "look_alikes")
    assert pages == {f"rule_page.{code}.{key}" for code in RULES for key in keys}


def test_no_words_are_of_a_rule_that_is_gone():
    named = {code.split(".")[1] for code in ENGLISH if re.match(r"rule\.[A-Z]\d{3}\.", code)}
    assert named == set(RULES)


def test_every_remedy_that_a_rule_names_has_words():
    named = {
        text
        for call in calls("found")
        for keyword in call.keywords
        if keyword.arg == "remedies"
        for text in literals(keyword.value)
    }
    named |= {name for page in rule_pages() for name in page.remedies}
    assert len(named) > 40
    assert {name for name in named if f"remedy.{name}" not in ENGLISH} == set()


def test_every_kind_that_a_rule_names_has_words():
    missing = {
        (call.args[0].value, keyword.value.value)
        for call in calls("found")
        for keyword in call.keywords
        if keyword.arg == "kind"
        and isinstance(keyword.value, ast.Constant)
        and isinstance(call.args[0], ast.Constant)
        and f"rule.{call.args[0].value}.kind.{keyword.value.value}" not in ENGLISH
    }
    assert missing == set()


def test_every_reading_that_is_evidence_has_a_name():
    named = {call.args[0].value for call in calls("seen") if isinstance(call.args[0], ast.Constant)}
    assert len(named) > 40
    assert {name for name in named if f"reading.{name}.name" not in ENGLISH} == set()


@pytest.mark.parametrize("name", [*LAYER_READINGS, *STEP_READINGS])
def test_every_reading_of_a_history_has_a_name_and_an_explanation(name):
    assert {f"reading.{name}.name", f"reading.{name}.what"} <= ENGLISH


def test_no_words_are_of_a_fact_that_is_gone():
    """`inputs.sd` is a field of InputFacts, or evidence that a rule computes from several."""
    groups = {
        "inputs": facts_records.InputFacts, "targets": facts_records.TargetFacts,
        "head": facts_records.HeadFacts, "layer": facts_records.LayerFacts,
        "model": facts_records.ModelFacts, "optimizer": facts_records.OptimizerFacts,
        "score": facts_records.ScoreFacts,
    }  # fmt: skip
    computed = {text for call in calls("seen") for text in literals(call.args[0])}
    gone = {
        code
        for code in reading_codes()
        if (group := groups.get(code.partition(".")[0])) is not None
        and code.partition(".")[2] not in {f.name for f in fields(group)}
        and code not in computed
    }
    assert gone == set()


def test_the_words_of_a_finding_are_those_of_its_kind():
    assert "squashed twice" in words.sentence(static())
    assert "squashed twice" not in words.sentence(replace(static(), kind="unheard_of"))
    assert words.sentence(replace(static(), code="Z999", name="odd_thing")) == (
        "odd thing: double softmax"
    )


@pytest.mark.parametrize(
    ("confidence", "word"),
    [(0.995, "virtually certain"), (0.93, "very likely"), (0.897, "very likely"), (0.7, "likely"),
     (0.5, "more likely than not"), (0.31, "possible")],
)  # fmt: skip
def test_confidence_is_said_in_the_words_of_the_climate_panel(confidence, word):
    assert words.confidence_word(confidence) == word


def test_nothing_is_said_to_be_certain_by_a_hundred_per_cent():
    assert words.percent(1.0) == "99 %"


@given(st.lists(st.integers(0, 500), min_size=1, max_size=6))
def test_a_chain_goes_forward_in_time(steps):
    seen = tuple(Evidence(reading="loss", value=float(s), step=s) for s in steps)
    below = replace(rate(), since_step=7)
    chain = words.chain(replace(rate(), evidence=seen, consequences=(below,)))
    assert [event.step for event in chain] == sorted(event.step for event in chain)
    assert {event.step for event in chain} >= set(steps)


def test_the_chain_joins_cause_and_consequence():
    lines = [event.line for event in words.chain(rate())]
    assert lines == [
        "step 3: update/weight 0.8 in fc1",
        "step 5: dead units 97 % in fc1",
        "step 9: loss NaN",
    ]


def test_the_strongest_evidence_is_the_one_farthest_from_its_threshold():
    near = Evidence(reading="a", value=0.2, threshold=0.1)
    far = Evidence(reading="b", value=1e-6, threshold=1e-3)
    none = Evidence(reading="c", value=5.0)
    finding = replace(rate(), evidence=(none, near, far))
    assert words.strongest(finding) is far
    infinite = Evidence(reading="d", value=float("inf"), threshold=1.0)
    assert words.strongest(replace(finding, evidence=(far, infinite))) is infinite
    assert words.strongest(replace(finding, evidence=())) is None


@pytest.mark.parametrize(
    ("reading", "value", "said"),
    [("dead_share", 0.97, "97 %"), ("update_ratio", 0.8, "0.8"), ("inputs.high", 255.0, "255"),
     ("loss", float("nan"), "NaN"), ("loss", "nan", "NaN"), ("loss", -1.0, "−1"),
     ("loss.broadcasts", 1.0, "yes"), ("gradient_norm", 1.23456e-7, "1.2e-07"),
     ("head.range", "0 to 1", "0 to 1"), ("inputs.spread", 300.0, "300"),
     ("inputs.spread", 12345678.0, "12,345,678")],
)  # fmt: skip
def test_a_value_is_said_in_the_unit_of_its_reading(reading, value, said):
    assert words.value_words(reading, value) == said


def test_what_was_missing_is_said_once_with_the_rules_that_lacked_it():
    unseen = [
        Unseen(code="A404", missing="noise_scale"),
        Unseen(code="A404", missing="noise_scale"),
        Unseen(code="", missing="noise_scale", reason="no micro-batches"),
        Unseen(code="D101", missing="inputs"),
        Unseen(code="", missing="targets", reason="the loader gave none"),
    ]
    assert words.unseen_groups(unseen) == [
        "gradient noise scale (A404): no micro-batches",
        "facts of the targets: the loader gave none",
        "facts of the inputs (D101)",
    ]


def test_long_lists_are_shortened():
    assert words.layer_list([f"fc{i}" for i in range(10)]) == "fc0, fc1, fc2, and 7 more"
    assert words.layer_list(["a", "b"]) == "a, b"
    assert words.short("x" * 100).startswith("…")
    assert len(words.short("x" * 100)) == words.LONGEST_NAME


@pytest.mark.parametrize("language", ["en", "zh-Hant"])
def test_the_rules_page_is_in_the_language_spoken(language):
    use_language(language)
    page = rule_page(RULES["A401"])
    assert page.title == {"en": "learning rate too high", "zh-Hant": "學習率太高"}[language]
    assert words.other_names("A401") == [
        {"zh-Hant": "learning rate too high", "en": "學習率太高"}[language]
    ]
    assert page.remedies[0] == "lower_learning_rate"


@given(st.text(max_size=40), st.text(max_size=40))
def test_whatever_a_record_holds_has_words(text, name):
    finding = Finding(
        code=text, name=name, severity=text, confidence=0.7, kind=name, where=(text,), line=name,
        evidence=(Evidence(reading=text, value=name, where=text, threshold=text, step=3),),
        values={"{": text}, remedies=(text,), consequences=(static(),),
    )  # fmt: skip
    for said in (
        words.sentence(finding), words.refutation(finding), words.place(finding),
        words.evidence_words(finding.evidence[0]), words.remedy_line(text),
        *(event.line for event in words.chain(finding)),
    ):  # fmt: skip
        assert all(c.isprintable() or c == "\u3000" for c in said)


def test_the_synthetic_diagnoses_are_of_rules_that_exist():
    found = (*sick().findings, *three().findings, *three().possible)
    assert {one.code for one in found} <= set(RULES)
    assert all(RULES[one.code].name == one.name for one in found)
