"""Rules are pure, documented, silent on the healthy, and never silenced by a worse reading."""

import ast
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from case_builder import changed, healthy_facts, healthy_history, layer, read, with_loss
from hypothesis import given
from hypothesis import strategies as st

import trainwright
from trainwright.core.errors import TrainwrightError
from trainwright.core.facts import Facts
from trainwright.diagnose.case import Case
from trainwright.diagnose.catalogue import RULES, rule
from trainwright.diagnose.judge import judge

HEADINGS = ("Looks like:", "Why it harms:", "Look-alikes:", "Exams:", "Remedies:", "Source:")
FOLDER = Path(trainwright.__file__).parent / "diagnose"


@pytest.mark.parametrize("code", RULES)
def test_a_rule_is_documented_under_its_headings(code):
    text = RULES[code].function.__doc__
    assert text.startswith(f"{code}: ")
    places = [text.index(heading) for heading in HEADINGS]
    assert places == sorted(places)


@pytest.mark.parametrize("code", RULES)
def test_a_rule_that_knows_nothing_finds_nothing(code):
    answer = RULES[code].function(Case(facts=Facts(), history=judge_nothing()))
    assert not hasattr(answer, "confidence")


def judge_nothing():
    from trainwright.core.history import History

    return History()


def test_the_healthy_program_is_healthy_before_and_after_training():
    assert judge(healthy_facts()).healthy
    found = judge(healthy_facts(), healthy_history())
    assert found.healthy
    assert not found.possible
    assert found.overhead == 0.015


def test_every_threshold_says_where_it_comes_from():
    bare = []
    for path in sorted(FOLDER.glob("*.py")):
        source = path.read_text(encoding="utf-8")
        lines = source.splitlines()
        for node in ast.parse(source).body:
            constant = isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
            if constant and isinstance(node.value.value, (int, float)):
                near = " ".join(lines[node.lineno - 1 : node.lineno + 1])
                words = re.search(r"\[(paper|measured|assumed|source)|#", near)
                if not words:
                    bare.append(f"{path.name}:{node.lineno}")
    assert not bare


def test_an_unknown_code_is_answered_with_a_near_one():
    with pytest.raises(TrainwrightError, match="A401"):
        rule("A4O1")
    assert rule("learning_rate_too_high").code == "A401"
    assert rule("a401").code == "A401"


def test_a_rule_that_fails_stops_nothing_and_is_reported():
    broken = changed(healthy_facts(), "inputs", mean="many")
    found = judge(broken, healthy_history())
    assert [u.code for u in found.unseen if u.missing == "rule"] == ["D101"]


def codes(facts, history=None, mute=()):
    return [f.code for f in judge(facts, history, mute=mute).findings]


# --- one sick program a rule; the healthy twin is the program above ---------------------------

BAD = {"train": 0.3, "valid": 0.3, "recalls": (0.9, 0.1, 0.1, 0.1)}


def sick(**score):
    return changed(healthy_facts(), "score", **(BAD | score))


def flat(level=1.386, steps=600):
    return level + 0.01 * np.random.default_rng(1).standard_normal(steps)


def test_probabilities_in_a_loss_for_logits_are_named():
    facts = changed(sick(), "head", kind="softmax", low=0.0, high=1.0)
    assert codes(facts)[0] == "L301"
    assert judge(facts).findings[0].kind == "double_softmax"


def test_a_head_that_cannot_reach_its_targets_is_named_before_the_first_step():
    facts = healthy_facts()
    facts = changed(
        facts,
        "targets",
        kind="real",
        task="regression",
        counts=(),
        mean=2.0,
        sd=2.0,
        low=0.0,
        high=9.0,
    )
    facts = changed(facts, "head", kind="sigmoid", low=0.0, high=1.0, num_outputs=1)
    facts = changed(facts, "loss", expects="values", family="squared", prior=4.0, reachable=3.0)
    assert codes(facts) == ["L302"]


def test_a_rate_that_rewrites_layers_is_the_cause_of_the_dead_units_behind_it():
    history = read(healthy_history(), "update_norm", 8.0)
    history = read(
        history, "dead_share", np.where(history.steps > 5, 0.99, 0.02)[:, None] * [1, 1, 1, 0]
    )
    history = with_loss(history, np.concatenate([[1.4, 9, 30, 12, 6], flat(steps=595)]))
    facts = changed(sick(), "optimizer", name="SGD", learning_rate=5.0, eps=None, betas=None)
    found = judge(facts, history)
    assert found.findings[0].code == "A401"
    assert "M202" in [c.code for c in found.findings[0].consequences]


def test_a_rate_too_low_is_told_from_a_finished_run():
    slow = with_loss(read(healthy_history(), "update_norm", 1e-5), np.linspace(1.38, 1.30, 600))
    assert "A402" in codes(sick(), slow)
    assert judge(
        healthy_facts(), slow
    ).healthy  # the same readings, but the model is as good as any


def test_leftover_gradients_are_named():
    assert codes(sick(), read(healthy_history(), "stale_gradient", 1.0))[0] == "A406"


def test_updates_along_the_gradient_are_named():
    assert codes(sick(), read(healthy_history(), "update_along_gradient", -0.9))[0] == "A407"


def test_equal_rows_are_named_unless_they_start_a_residual_branch():
    layers = healthy_facts().model.layers
    equal = (layers[0], layer("fc2", rows_equal=True, constant=True), *layers[2:])
    assert codes(changed(sick(), "model", layers=equal)) == ["M206"]
    zero = (layers[0], replace(equal[1], residual_start=True), *layers[2:])
    assert codes(changed(healthy_facts(), "model", layers=zero)) == []


def test_a_fading_gradient_is_named_with_its_gain():
    fading = 10.0 ** np.array([-6.0, -4.0, -2.0, 0.0])
    found = judge(sick(), with_loss(read(healthy_history(), "output_gradient", fading), flat()))
    assert found.findings[0].code == "M204"
    assert found.findings[0].values["gain"] == pytest.approx(0.01, rel=0.01)


def test_labels_that_no_neighbour_confirms_are_unrelated():
    facts = changed(
        sick(reference=0.26, train=0.9, valid=0.25), "targets", neighbour_agreement=0.25
    )
    assert codes(facts, healthy_history())[0] == "D105"


def test_a_muted_code_is_not_named_and_the_mute_is_told():
    facts = changed(sick(), "head", kind="softmax")
    found = judge(facts, mute=["L301"])
    assert "L301" not in [f.code for f in found.findings]
    assert found.muted == ("L301",)


def test_at_most_three_causes_are_named():
    facts = changed(sick(), "head", kind="softmax")
    facts = changed(facts, "inputs", nonfinite_rows=3, overlap_share=0.9)
    facts = changed(facts, "model", mixes_examples=0.5, sees_future=0.5, unregistered=("a",))
    found = judge(facts)
    assert len(found.findings) == 3
    assert len(found.possible) >= 2


# --- a worse reading never silences a rule ----------------------------------------------------


def confidence(code, facts, history=None):
    found = judge(facts, history)
    every = [*found.findings, *(c for f in found.findings for c in f.consequences), *found.possible]
    return max((f.confidence for f in every if f.code == code), default=0.0)


@given(share=st.floats(0.5, 1.0), more=st.floats(0.0, 0.5))
def test_more_dead_units_never_lower_the_confidence(share, more):
    worse = min(1.0, share + more)
    history = healthy_history()
    row = np.array([1.0, 1.0, 1.0, 0.0])
    low = confidence("M202", sick(), read(history, "dead_share", share * row))
    high = confidence("M202", sick(), read(history, "dead_share", worse * row))
    assert high >= low - 1e-9


@given(size=st.floats(11, 1e4), factor=st.floats(1, 1e3))
def test_larger_inputs_never_lower_the_confidence(size, factor):
    low = confidence("D101", changed(healthy_facts(), "inputs", sd=size))
    high = confidence("D101", changed(healthy_facts(), "inputs", sd=size * factor))
    assert high >= low - 1e-9


@given(valid=st.floats(0.25, 0.94), worse=st.floats(0, 0.5))
def test_a_worse_score_never_excuses_a_wrong_pair(valid, worse):
    def of(score):
        facts = changed(healthy_facts(), "head", kind="softmax")
        return confidence("L301", changed(facts, "score", valid=score), healthy_history())

    assert of(max(0.0, valid - worse)) >= of(valid) - 1e-9
