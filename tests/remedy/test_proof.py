"""Verdicts are no more often wrong than allowed, and clear effects are seen."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainwright.remedy.proof import (
    Arm,
    Outcome,
    is_clear,
    level_of_look,
    looks_for,
    prove,
    spent,
    t_interval,
)


def arm(name, scores, codes=()):
    outcomes = [Outcome(seed=k, score=s, open=tuple(codes)) for k, s in enumerate(scores)]
    return Arm(name=name, outcomes=tuple(outcomes))


def sequential(first, second, most, **more):
    """As a comparison goes on: seeds are added until it is clear."""
    for look, pairs in enumerate(looks_for(most)):
        found = prove(arm("a", first[:pairs]), arm("b", second[:pairs]), metric="accuracy",
                      most=most, look=look, **more)  # fmt: skip
        if is_clear(found):
            break
    return found


@given(st.integers(1, 40))
def test_what_all_looks_spend_is_what_was_allowed(most):
    looks = looks_for(most)
    assert looks[-1] == most
    total = sum(1 - level_of_look(k, looks) for k in range(len(looks)))
    assert total == pytest.approx(0.05)


@given(st.integers(1, 40), st.integers(1, 20))
def test_a_later_look_is_paid_by_the_planned_ones(most, more):
    looks = looks_for(most, more)
    assert looks[-2:] == (most, most + more)
    total = sum(1 - level_of_look(k, looks, more=more) for k in range(len(looks)))
    assert total == pytest.approx(0.05)


def test_two_equal_arms_are_rarely_told_apart_though_more_pairs_follow():
    generator = np.random.default_rng(3)
    wrong = 0
    for _ in range(2000):
        first, second = generator.normal(0, 0.05, (2, 9))
        for look, pairs in enumerate(looks_for(3, 6)):
            found = prove(arm("a", first[:pairs]), arm("b", second[:pairs]), metric="accuracy",
                          most=3, more=6, look=look, margin=0.0)  # fmt: skip
            if is_clear(found):
                break
        wrong += found.verdict in ("helped", "worse", "cured")
    assert wrong / 2000 < 0.05 + 2 * math.sqrt(0.05 * 0.95 / 2000)


def test_what_fails_at_most_seeds_alone_is_seen_to_help_with_more_pairs():
    before = [0.1, 0.95, 0.1, 0.1, 0.95, 0.1, 0.1, 0.1, 0.1]
    after = [0.96] * 9
    three = prove(arm("a", before[:3]), arm("b", after[:3]), metric="accuracy", most=3, more=6,
                  look=0)  # fmt: skip
    nine = prove(arm("a", before), arm("b", after), metric="accuracy", most=3, more=6, look=1)
    assert (three.verdict, nine.verdict) == ("undecided", "helped")


def test_little_is_spent_early():
    assert spent(0.6) == pytest.approx(0.0114, abs=2e-4)
    assert spent(1.0) == pytest.approx(0.05)


@pytest.mark.parametrize("most", [3, 5, 9])
def test_two_equal_arms_are_told_apart_in_at_most_five_percent(most):
    generator = np.random.default_rng(most)
    wrong = 0
    for _ in range(2000):
        noise = generator.normal(0, 0.05, (2, most))
        wrong += sequential(*noise, most, margin=0.0).verdict in ("helped", "worse", "cured")
    assert wrong / 2000 < 0.05 + 2 * math.sqrt(0.05 * 0.95 / 2000)


def test_an_effect_of_three_deviations_is_nearly_always_seen_with_five_pairs():
    generator = np.random.default_rng(1)
    hits = 0
    for _ in range(300):
        first = generator.normal(0.5, 0.05, 5)
        second = first + generator.normal(0.03, 0.01, 5)
        hits += sequential(first, second, 5).verdict == "helped"
    assert hits > 270


def test_t_interval_is_scipys():
    from scipy import stats

    values = np.array([0.1, 0.3, 0.2, 0.5])
    expected = stats.t.interval(0.9, 3, loc=values.mean(), scale=stats.sem(values))
    assert t_interval(values, level=0.9, resolution=0.0) == pytest.approx(expected)


def test_equal_differences_are_no_surer_than_the_metrics_own_steps():
    first, second = [0.90] * 3, [0.91] * 3
    coarse = prove(arm("a", first), arm("b", second), metric="accuracy", most=3, resolution=0.02)
    fine = prove(arm("a", first), arm("b", second), metric="accuracy", most=3, resolution=1e-4)
    assert coarse.verdict == "undecided"
    assert fine.verdict == "helped"


def test_cured_is_helped_and_the_finding_gone_in_every_run():
    first = arm("sick", [0.1, 0.12, 0.11, 0.1, 0.13], ["A401"])
    second = arm("repaired", [0.9, 0.91, 0.92, 0.9, 0.89])
    assert prove(first, second, metric="accuracy", most=5, finding="A401").verdict == "cured"
    assert prove(first, second, metric="accuracy", most=5).verdict == "helped"
    half = arm("half", [0.9, 0.91, 0.92, 0.9, 0.89], ["A401"])
    assert prove(first, half, metric="accuracy", most=5, finding="A401").verdict == "helped"


def test_an_arm_that_crashes_counts_as_the_worst():
    first = arm("a", [0.8, 0.8, 0.81, 0.79, 0.8])
    second = arm("b", [None, math.nan, None, None, None])
    found = prove(first, second, metric="accuracy", most=5, worst=0.1)
    assert found.verdict == "worse"
    assert found.effect == pytest.approx(-0.7)


def test_a_difference_within_the_margin_is_no_effect():
    first = [0.9, 0.901, 0.899, 0.9, 0.9]
    second = [0.9, 0.9, 0.9, 0.9005, 0.8995]
    found = prove(arm("a", first), arm("b", second), metric="accuracy", most=5)
    assert found.verdict == "no effect"


def test_fewer_than_three_pairs_decide_nothing():
    found = prove(arm("a", [0.1, 0.1]), arm("b", [0.9, 0.9]), metric="accuracy", most=5, look=0)
    assert found.verdict == "undecided"
