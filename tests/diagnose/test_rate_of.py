"""What a watched program's curve says of its rate is told where nothing refutes it, and accuses
nobody."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
from case_builder import changed, healthy_facts, healthy_history, read, with_loss
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from trainwright.core.diagnosis import Diagnosis, Regime
from trainwright.core.facts import Facts
from trainwright.core.history import Curve, History
from trainwright.core.records import from_plain
from trainwright.diagnose.case import Case
from trainwright.diagnose.judge import judge
from trainwright.diagnose.regime import MOVED, rate_of, regime

STEPS = np.arange(1, 401)
NOISE = 1 + 0.02 * np.random.default_rng(0).normal(size=400)
SLOW = 1.386 * np.exp(-STEPS / 4000) * NOISE
BURST = np.where(STEPS < 20, 1.386, 0.4) * NOISE + 6 * np.exp(-((STEPS - 8) ** 2) / 20)
LEARNED = 1.386 * np.exp(-STEPS / 40) * NOISE


def unlearned() -> Facts:
    """A program that has not reached what can be had."""
    return changed(healthy_facts(), "score", train=0.5, valid=0.5)


def told(curve, facts=None, history=None) -> Regime | None:
    seen = with_loss(history or healthy_history(400), curve)
    return rate_of(Case(facts=facts if facts is not None else unlearned(), history=seen))


def name_of(found: Regime | None) -> str | None:
    return found.regime if found is not None else None


@pytest.mark.parametrize(
    ("curve", "expected"), [(SLOW, "too_low"), (BURST, "high"), (LEARNED, "good")]
)
def test_the_curve_of_a_program_that_has_not_learned_is_told(curve, expected):
    assert name_of(told(curve)) == expected
    assert name_of(told(curve, Facts())) == expected, "nothing else was seen"


@pytest.mark.parametrize("curve", [SLOW, BURST])
def test_a_program_that_has_what_can_be_had_is_not_suspected(curve):
    assert told(curve, healthy_facts()) is None


def test_weights_that_are_rewritten_are_not_moved_too_slowly():
    history = healthy_history(400)
    fast = read(history, "update_norm", 2 * MOVED * 8.0)
    usual = read(history, "update_norm", 0.5 * MOVED * 8.0)
    assert told(SLOW, history=fast) is None
    assert name_of(told(SLOW, history=usual)) == "too_low"
    assert name_of(told(BURST, history=fast)) == "high"


@pytest.mark.parametrize(
    "kept", [STEPS <= 200, STEPS > 150, (STEPS <= 60) | (STEPS % 10 == 0), STEPS % 20 == 0]
)
def test_a_curve_with_gaps_is_not_told(kept):
    whole = with_loss(healthy_history(400), SLOW)
    gaps = replace(whole, loss=Curve(steps=STEPS[kept], values=SLOW[kept]))
    assert rate_of(Case(facts=unlearned(), history=gaps)) is None


def test_a_curve_that_is_thinned_evenly_is_told_alike():
    whole = with_loss(healthy_history(400), SLOW)
    thinned = replace(whole, loss=Curve(steps=STEPS[::4], values=SLOW[::4]))
    assert name_of(rate_of(Case(facts=unlearned(), history=thinned))) == "too_low"


def test_the_step_at_which_the_loss_left_the_numbers_is_told():
    curve = np.where(STEPS < 120, LEARNED, np.nan)
    found = told(curve)
    assert found is not None
    assert found.regime == "diverging"
    assert found.evidence[0].step == 120
    ended = replace(with_loss(healthy_history(400), LEARNED), first_nonfinite=401)
    last = rate_of(Case(facts=unlearned(), history=ended))
    assert last is not None
    assert last.evidence[0].step == 401
    rates = np.where(STEPS < 100, 0.01, 1.0)
    assert regime(curve, None, rates) == found, "also where a warm-up is left aside"


def test_losses_are_counted_from_those_of_perfect_answers():
    smoothed = changed(unlearned(), "loss", perfect=0.5)
    plain, lifted = told(LEARNED), told(LEARNED + 0.5, smoothed)
    assert plain is not None
    assert lifted is not None
    assert lifted.evidence[0].value == pytest.approx(plain.evidence[0].value, rel=1e-6)
    assert name_of(told(LEARNED + 0.5)) == "good"
    assert told(LEARNED - 0.5) is None, "a loss below that of perfect answers has another floor"
    assert told(LEARNED, changed(unlearned(), "loss", perfect=0.9)) is None
    assert name_of(told(LEARNED, changed(unlearned(), "loss", perfect=1e-4))) == "good"


def test_steps_of_a_decayed_rate_are_left_aside():
    curve = np.where(STEPS < 300, 4 * np.exp(-STEPS / 90) + 0.1, 0.32) * NOISE
    flat = healthy_history(400)
    decayed = replace(flat, train={"learning_rate": Curve(
        steps=np.array([1, 300]), values=np.array([1e-2, 1e-4]))})  # fmt: skip
    assert name_of(told(curve, history=flat)) == "good"
    assert name_of(told(curve, history=decayed)) == "too_low"


@pytest.mark.parametrize(
    ("curve", "rule", "other"), [(SLOW, "A402", "A401"), (BURST, "A401", "A402")]
)
def test_who_mutes_the_rule_does_not_hear_of_the_rate(curve, rule, other):
    history = with_loss(healthy_history(400), curve)
    assert judge(unlearned(), history, mute=[other]).rate is not None
    assert judge(unlearned(), history, mute=[rule]).rate is None


@pytest.mark.parametrize("curve", [SLOW, BURST, LEARNED])
def test_the_rate_changes_nothing_else_of_a_diagnosis(curve, monkeypatch):
    history = with_loss(healthy_history(400), curve)
    with_rate = judge(unlearned(), history)
    assert with_rate.rate is not None
    monkeypatch.setitem(judge.__globals__, "rate_of", lambda case: None)
    assert judge(unlearned(), history) == replace(with_rate, rate=None)


def test_a_machine_hears_of_it_and_a_record_without_it_is_read():
    found = judge(unlearned(), with_loss(healthy_history(400), SLOW)).to_json()
    assert set(found["rate"]) == {"regime", "confidence", "evidence"}
    assert found["rate"]["regime"] == "too_low"
    assert found["rate"]["evidence"][0]["reading"] == "loss.opening"
    assert judge(healthy_facts()).to_json()["rate"] is None
    kept = {key: found[key] for key in found if key not in ("healthy", "rate")}
    before = from_plain(Diagnosis, kept)
    assert before.rate is None
    again = from_plain(Diagnosis, {**kept, "rate": found["rate"]})
    assert again.to_json() == found


@settings(max_examples=100, deadline=None)
@given(
    values=arrays(float, st.integers(0, 90), elements=st.floats(allow_nan=False, width=64)),
    perfect=st.none() | st.floats(),
)
def test_no_curve_makes_it_fail_or_warn(values, perfect):
    facts = changed(unlearned(), "loss", perfect=perfect)
    history = with_loss(healthy_history(40), values)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = rate_of(Case(facts=facts, history=history))
    assert found is None or all(one.reading for one in found.evidence)


def test_a_program_that_was_not_trained_has_no_rate():
    assert rate_of(Case(facts=healthy_facts(), history=History())) is None
