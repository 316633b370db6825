"""The purse pays what sampling costs, and no more than its share of time."""

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainwright.watch.budget import (
    INDIRECT,
    LATER_SECONDS,
    OPENING_SECONDS,
    OPENING_STEPS,
    Purse,
    looks_odd,
    odd_above,
)
from trainwright.watch.course import TIMED_STEPS


def _simulate(share, step, cost, num_steps, each=0.0, slow=(), after=()):
    """A run on a clock of its own: (seconds spent sampling, elapsed, sampled steps, purse).

    `after`: seconds that the steps after a sampled one take longer, which is spent on sampling too.
    """
    purse = Purse(share)
    purse.begin(0.0)
    purse.each = each
    now, spent, sampled, due, second = 0.0, 0.0, [], 1, False
    for number in range(1, num_steps + 1):
        began = now
        now += step + each + (10.0 if number in slow else 0.0)
        behind = number - sampled[-1] - 1 if sampled else len(after)
        if number != due and behind < len(after):
            now += after[behind]
            spent += after[behind]
        paid = number == due and (
            purse.in_opening or second or purse.grants(number) or purse.affordable(now, number)
        )
        if not paid:
            if len(purse.ends) <= TIMED_STEPS:
                purse.ends.append(now)
            due = purse.next_step(number, now) if number == due else due
            continue
        now += cost
        spent += cost
        sampled.append(number)
        purse.settle(began=began, ended=now, direct=cost * 0.7)
        second = not purse.in_opening and number - 1 not in sampled[-2:]
        due = number + 1 if second else purse.next_step(number, now)
    return spent, now, sampled, purse


@given(
    share=st.floats(0.005, 0.1), step=st.floats(1e-4, 0.5), ratio=st.floats(0.2, 20),
    each=st.floats(0, 0.9),
)  # fmt: skip
def test_no_more_is_spent_than_the_opening_or_the_share_of_the_time(share, step, ratio, each):
    lasting = each * share * step
    spent, now, sampled, purse = _simulate(share, step, ratio * step, 3000, each=lasting)
    opening = [s for s in sampled if s <= OPENING_STEPS + 1]
    total = spent + lasting * 3000 - LATER_SECONDS - 2 * ratio * step
    assert (
        total
        <= max(share * now + 2 * ratio * step, (len(opening) + 2) * ratio * step + lasting * 3000)
        * 1.01
    )
    paid = (spent + lasting * 3000) / now
    assert purse.share_spent(now, 3000) == pytest.approx(paid, rel=0.1, abs=0.002)


def test_the_opening_is_dense_and_ends_at_twelve_steps_or_18_milliseconds_but_not_before_six():
    assert _simulate(0.02, 0.01, 0.001, 30)[2][:12] == list(range(1, 13))
    dense = math.ceil(OPENING_SECONDS / (1.54e-3 * INDIRECT))
    assert _simulate(0.02, 3e-4, 2.2e-3, 39)[2] == list(range(1, 1 + dense))
    assert _simulate(0.02, 3e-4, 0.1, 60)[2] == list(range(1, 7))


def test_a_short_run_is_seen_to_its_end_in_pairs_ever_farther_apart_within_twelve_milliseconds():
    late = [s for s in _simulate(0.02, 3e-4, 1e-3, 1100)[2] if s > OPENING_STEPS]
    assert {40, 41, 120, 121, 360, 361, 1080, 1081} <= set(late)
    dear = [s for s in _simulate(0.02, 3e-4, 5e-3, 1100)[2] if s > OPENING_STEPS]
    assert 40 in dear
    assert 120 not in dear


def test_the_allowance_is_used_in_the_long_run():
    spent, now, sampled, _ = _simulate(0.02, 1e-3, 2e-3, 20_000)
    assert 0.6 * 0.02 < spent / now <= 0.0201
    late = [s for s in sampled if s > 4000]
    assert max(b - a for a, b in pairwise(late)) < 1000


def test_what_the_steps_after_a_sample_lose_is_paid_like_the_sample():
    after = (4e-4, 2e-4, 1e-4, *[5e-5] * 12)
    spent, now, sampled, purse = _simulate(0.02, 1e-3, 2e-3, 20_000, after=after)
    assert spent > 1.2 * 2e-3 * len(sampled)
    assert purse.share_spent(now, 20_000) == pytest.approx(spent / now, rel=0.02)
    assert spent / now <= 0.0205


def test_a_pause_soon_after_a_sampled_step_is_not_charged_as_if_it_were_ours():
    slow = tuple(range(3, 4000, 5))
    _, now, sampled, purse = _simulate(0.02, 1e-3, 2e-3, 4000, slow=slow)
    assert purse.spent / len(sampled) < 2 * 2e-3 + 10e-3
    assert now > 100


def test_a_pause_inside_a_sampled_step_is_not_charged_as_if_it_were_ours():
    slow = tuple(range(1, 4000, 50))
    _, _, sampled, purse = _simulate(0.02, 1e-3, 1e-3, 4000, slow=slow)
    assert any(s in slow for s in sampled)
    assert purse.spent / len(sampled) < 4e-3


def test_after_an_alarm_steps_are_sampled_in_a_row_as_far_as_the_purse_reaches():
    purse = Purse(0.5)
    purse.begin(0.0)
    for k in range(1, 25):
        purse.settle(began=k - 1.0, ended=float(k), direct=0.01)
    for k in range(25, 40):
        purse.ends.append(float(k))
    purse.settle(began=39.0, ended=40.0, direct=0.01)
    assert purse.next_step(40, 40.0) > 41
    purse.alarm()
    assert [purse.next_step(k, float(k)) for k in range(41, 49)] == list(range(42, 50))
    assert purse.next_step(49, 49.0) > 50


def test_a_loss_is_odd_when_it_leaves_those_before_it_far_behind():
    calm = [1.0, 0.9, 1.1, 1.0, 0.95, 1.05, 1.0, 0.9, 1.0]
    assert not looks_odd([*calm, 1.9])
    assert looks_odd([*calm, 2.3])
    assert looks_odd([*calm, math.nan])
    assert looks_odd([math.inf])
    assert not looks_odd([])
    assert not looks_odd([5.0, 1.0])
    assert odd_above([-10.0] * 9) == 0.0
