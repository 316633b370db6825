"""C40: every knob, finding and number has a reason, a reason that is none is not counted, and what
is said of readings is what the rules do."""

import ast
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from trainwright import recipe as recipes
from trainwright.core.claims import ClaimResult
from trainwright.core.knob import Knobs, knob, knobs_of
from trainwright.core.phrases import use_language
from trainwright.core.words import known_codes
from trainwright.diagnose import catalogue
from trainwright.diagnose.catalogue import RULES
from trainwright.lecture.claim import Pace
from trainwright.lecture.reasons import answers, judged, measure_c40, reasons_of, strongest
from trainwright.report.explain import explain
from trainwright.report.lecture import reading_words
from trainwright.report.reading_reasons import RULES_OF, SOURCES
from trainwright.report.rule_pages import reading_codes


class Mute(Knobs):
    """A knob that gives no reason."""

    mystery: float = knob(0.5, "A number out of nowhere.", why="it felt right", gt=0)


def test_all_that_explain_knows_has_a_reason():
    found = measure_c40(Pace())
    assert found.verdict == "holds", found.values["which"]
    assert found.effect == 1.0
    assert found.interval == (1.0, 1.0)
    kinds = sum(float(found.values[kind]) for kind in ("paper", "measured", "assumed"))
    assert found.n == found.values["asked"] == kinds
    assert found.values["knob"] == len(recipes.knobs())
    assert found.values["finding"] == len(RULES)
    assert float(found.values["number"]) > 100


def test_one_knob_without_a_reason_breaks_it():
    found = judged(answers([*recipes.knobs(), *knobs_of(Mute, "mute.")]))
    assert found.verdict == "differs"
    assert found.values["which"] == "mute.mystery"
    assert found.effect == pytest.approx(1 - 1 / found.n)


@pytest.mark.parametrize("topic", ["M204", "accuracy", "update_ratio"])
def test_so_does_a_finding_or_a_number_without_one(topic):
    def forgets(asked, knobs):
        said = explain(asked, knobs)
        return replace(said, source="", more=()) if said.topic == topic else said

    found = judged(answers(recipes.knobs(), forgets))
    assert found.verdict == "differs"
    assert found.values["which"] == topic


@pytest.mark.parametrize(
    ("source", "kinds"),
    [
        ("", set()),
        ("torch's defaults", set()),
        ("paper: He et al. 2016, arXiv:1512.03385", {"paper"}),
        ("paper: A 2015; B 2016; assumed", {"paper", "assumed"}),
        ("measured: benchmarks/quality_cpu2_2026-11-25.md", {"measured"}),
        ("lecture, underfitting; [assumed] thresholds.", {"paper", "assumed"}),
        ("[measured: counted].", {"measured"}),
        ("it was assumedly so", set()),
    ],
)
def test_only_what_is_dated_or_marked_is_a_reason(source, kinds):
    assert reasons_of(source) == kinds


def test_a_paper_is_stronger_than_a_measurement_and_that_than_an_assumption():
    by_topic = {one.topic: strongest(one) for one in answers(recipes.knobs())}
    assert by_topic["model.depth"] == "paper"
    assert by_topic["budget"] == "measured"
    assert by_topic["data.valid_fraction"] == "assumed"


def test_a_reading_has_a_rule_or_a_source_of_its_own_and_none_is_of_a_reading_that_is_gone():
    assert {*RULES_OF, *SOURCES} == set(reading_codes())
    assert not set(RULES_OF) & set(SOURCES)
    assert {rule for rules in RULES_OF.values() for rule in rules} <= set(RULES)


@cache
def functions() -> dict[str, list[ast.FunctionDef]]:
    found: dict[str, list[ast.FunctionDef]] = {}
    for path in sorted(Path(catalogue.__file__).parent.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef):
                found.setdefault(node.name, []).append(node)
    return found


@cache
def names_within(function: str) -> frozenset[str]:
    """Attributes and last parts of strings in the function and in all that it calls."""
    names: set[str] = set()
    waiting, seen = [function], set()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        for node in (n for one in functions().get(name, []) for n in ast.walk(one)):
            said = ""
            if isinstance(node, ast.Attribute):
                said = node.attr
            elif isinstance(node, ast.Name):
                said = node.id
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                said = node.value.rpartition(".")[2]
            names.add(said)
            waiting.append(said)
    return frozenset(names)


@pytest.mark.parametrize("code", sorted(RULES_OF))
def test_the_rules_named_for_a_reading_do_look_at_it(code):
    last = code.rpartition(".")[2]
    blind = [rule for rule in RULES_OF[code]
             if last not in names_within(RULES[rule].function.__name__)]  # fmt: skip
    assert not blind


@pytest.mark.parametrize("spoken", ["en", "zh-Hant"])
def test_a_reading_names_its_rules_and_their_source(spoken):
    use_language(spoken)
    try:
        said = explain("targets.imbalance", [])
        assert "D107" in said.why
        assert said.source == "D107: [assumed] thresholds; Buda et al. 2018"
        found = measure_c40(Pace())
        assert found.verdict == "holds"
        result = ClaimResult(claim="C40", measured=found, seconds=1.0, device="")
        assert str(found.n) in reading_words(result)
    finally:
        use_language("en")
    (picture,) = found.pictures
    codes = {picture.x, picture.y, *picture.names, *(series.name for series in picture.series)}
    assert codes <= known_codes(spoken)
    assert all(series.x == (1.0, 2.0, 3.0) for series in picture.series), "a place for each name"
