"""The box says the verdict first, fits 30 lines, and obeys no text that it shows."""

import json
from dataclasses import replace

import pytest
from diagnosis_records import healthy, rate, sick, static, three
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from trainwright.core.diagnosis import Diagnosis, Evidence, Unseen
from trainwright.core.words import use_language
from trainwright.diagnose.catalogue import RULES
from trainwright.report.diagnosis import MOST_LINES, as_text, rules_table
from trainwright.report.rule_pages import rule_pages

CASES = {"sick": sick, "three": three, "healthy": healthy, "nothing": Diagnosis}


def much() -> Diagnosis:
    """More of everything than fits."""
    cause = replace(
        rate(200),
        evidence=tuple(
            Evidence(
                reading="update_ratio", value=0.1 * i, where=f"layer{i}", step=i, threshold=0.1
            )
            for i in range(1, 60)
        ),
        consequences=tuple(replace(static(), since_step=i) for i in range(30)),
        remedies=("lower_learning_rate",) * 20,
    )
    unseen = tuple(Unseen(code=code, missing=f"thing_{code}", reason="r" * 300) for code in RULES)
    return Diagnosis(
        findings=(cause,) * 3, possible=(cause,) * 9, unseen=unseen, overhead=0.5, steps=10**9,
        muted=tuple(RULES),
    )  # fmt: skip


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("width", [60, 80, 100, 200])
@pytest.mark.parametrize("language", ["en", "zh-Hant"])
def test_the_box_takes_at_most_thirty_lines_and_fits_the_width(name, width, language):
    use_language(language)
    lines = as_text(CASES[name](), title="train.py", width=width).splitlines()
    assert len(lines) <= MOST_LINES
    assert max(cell_len(line) for line in lines) <= width
    assert lines[-1].startswith("╰")


@pytest.mark.parametrize("width", [40, 60, 80, 120])
@pytest.mark.parametrize("language", ["en", "zh-Hant"])
def test_a_diagnosis_of_much_is_still_thirty_lines_and_closed(width, language):
    use_language(language)
    lines = as_text(much(), title="t" * 300, width=width).splitlines()
    assert len(lines) <= MOST_LINES
    assert lines[-1].startswith("╰")
    assert sum("A401" in line for line in lines) >= 3


def test_the_verdict_is_the_first_line():
    assert "1 cause" in as_text(sick()).splitlines()[1]
    assert "3 causes" in as_text(three()).splitlines()[1]
    assert "nothing wrong found" in as_text(healthy()).splitlines()[1]


def test_a_healthy_verdict_says_what_was_looked_at_and_how_near_another_verdict_was():
    text = as_text(healthy())
    assert "600 steps" in text
    assert f"{len(RULES) - 1} rules could decide, 1 could not" in text
    assert "A402 learning rate too low (31 %, possible)" in text
    assert "0.9 % of the time" in text


def test_a_verdict_before_the_first_step_says_so():
    assert "before the first step" in as_text(Diagnosis(findings=(static(),)))


def test_a_finding_shows_everything_that_was_promised():
    text = " ".join(as_text(sick(), width=110).replace("│", " ").split())
    for part in (
        "A401 learning rate too high", "學習率太高", "critical", "very likely, 93 %",
        "fc1, fc2, fc3", "train.py:41",
        "step 3: update/weight 0.8 in fc1 → step 5: dead units 97 % in fc1 → step 9: loss NaN",
        "threshold 0.1", "[source: CS231n]", "refuted if", "lower_learning_rate: lower the rate",
        "M202 dying units", "gradient noise scale (A404, A405): no micro-batches", "1 % of the time",
    ):  # fmt: skip
        assert part in text, part


def test_the_first_cause_keeps_the_most_detail_when_room_is_short():
    lines = as_text(three(), width=80).splitlines()
    at = [
        next(i for i, line in enumerate(lines) if f"│ {c}  " in line)
        for c in ("L301", "A401", "D101")
    ]
    assert at == sorted(at)
    assert at[1] - at[0] >= 5


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(inside=st.text(max_size=60))
def test_hostile_names_move_no_cursor_and_are_no_markup(inside):
    text = f"[bold red]{inside}\x1b[2J"
    hostile = replace(
        rate(), where=(text,), line=text, remedies=(text,),
        evidence=(Evidence(reading=text, value=text, where=text, threshold=text, provenance=text),),
    )  # fmt: skip
    said = as_text(Diagnosis(findings=(hostile,), unseen=(Unseen(code="A1", missing=text, reason=text),)),
                   title=text)  # fmt: skip
    assert "\x1b" not in said
    assert "[bold red]" in said
    assert all(c.isprintable() or c in "\n\u3000" for c in said)
    assert len(said.splitlines()) <= MOST_LINES


def test_the_json_has_the_promised_keys():
    plain = json.loads(json.dumps(sick().to_json()))
    assert set(plain) >= {"healthy", "findings", "unseen", "overhead"}
    (finding,) = plain["findings"]
    assert set(finding) >= {
        "code", "name", "severity", "confidence", "where", "since_step", "evidence",
        "consequences", "remedies",
    }  # fmt: skip
    assert set(finding["evidence"][0]) == {
        "reading", "where", "step", "value", "threshold", "provenance",
    }  # fmt: skip


@pytest.mark.parametrize("language", ["en", "zh-Hant"])
def test_the_table_of_rules_has_a_line_for_each(language):
    import io

    from rich.console import Console

    use_language(language)
    out = io.StringIO()
    Console(file=out, width=300, color_system=None).print(rules_table(rule_pages()))
    lines = out.getvalue().splitlines()
    assert len(lines) == len(RULES) + 1
    assert all(line.startswith(code) for line, code in zip(lines[1:], RULES, strict=True))
