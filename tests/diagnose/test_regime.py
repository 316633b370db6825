"""One curve tells the regime of its learning rate where the textbook draws it plainly."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainwright.diagnose.regime import SURE, regime, shape_of

STEPS = np.arange(400)
NOISE = np.random.default_rng(0).normal(size=400)


def noisy(curve, share=0.05):
    return curve * (1 + share * NOISE)


# What each rate does to the squared error of a line with noise: descent on x^2 / 2 + 0.2.
def descent(rate, start=3.0):
    x, losses = start, []
    for _ in STEPS:
        losses.append(x * x / 2 + 0.2)
        x = np.clip(x - rate * x, -1e150, 1e150)
    return np.array(losses)


@pytest.mark.parametrize(
    ("curve", "expected"),
    [
        (noisy(descent(1e-4)), "too_low"),
        (noisy(descent(3e-4)), "too_low"),
        (noisy(descent(0.05)), "good"),
        (noisy(descent(0.5)), "good"),
        (descent(2.05), "diverging"),
        (np.where(STEPS < 20, descent(0.05), np.nan), "diverging"),
        (noisy(2.3 + 9 * np.exp(-((STEPS - 8) ** 2) / 20)), "high"),
        (
            np.where(STEPS < 9, 1.0, 0.2 + 0.9 * np.sin(STEPS / 15) ** 2 + 3 * (STEPS == 9)),
            "oscillating",
        ),
        (0.5 + 0.25 * np.sin(STEPS / 15) + 2 * np.exp(-STEPS / 8), "high"),
        (noisy(4 * np.exp(-STEPS / 150) + 0.1), "too_low"),
    ],
)
def test_a_curve_as_the_textbook_draws_it_is_told(curve, expected):
    told = regime(curve)
    assert told is not None
    assert told.regime == expected
    assert 0 < told.confidence < 1
    assert told.evidence
    assert all(one.provenance or one.threshold == "finite" for one in told.evidence)


def test_descent_on_a_parabola_goes_from_too_low_over_good_to_diverging():
    order = ["too_low", "good", "diverging"]
    told = [regime(noisy(descent(rate))) for rate in 10.0 ** np.arange(-5, 1.5, 0.5)]
    places = [order.index(one.regime) for one in told if one is not None]
    assert places == sorted(places)
    assert set(places) == {0, 1, 2}


@given(st.floats(1e-6, 1e6))
def test_the_unit_of_the_loss_does_not_matter(unit):
    for rate in (1e-4, 0.05, 2.05):
        curve = np.minimum(descent(rate), 1e6)
        plain, scaled = regime(curve), regime(curve * unit)
        assert plain is not None
        assert scaled is not None
        assert plain.regime == scaled.regime


def test_a_decay_at_the_end_is_left_aside():
    rates = np.where(STEPS < 300, 1.0, 0.01)
    falling = noisy(np.where(STEPS < 300, 4 * np.exp(-STEPS / 90) + 0.1, 0.32))
    alone, with_rates = regime(falling), regime(falling, None, rates)
    assert alone is not None
    assert with_rates is not None
    assert (alone.regime, with_rates.regime) == ("good", "too_low")


def test_a_start_far_above_the_prior_is_measured_from_the_prior():
    curve = noisy(np.where(STEPS < 3, 40.0, 2.3))
    assert shape_of(curve, 2.3).level == pytest.approx(1.0, abs=0.05)
    assert shape_of(curve, None).level < 1.1


@pytest.mark.parametrize("curve", [np.ones(39), np.zeros(400), -np.ones(400), np.array([])])
def test_what_cannot_be_told_is_not_told(curve):
    assert regime(curve) is None


def test_no_way_to_a_verdict_is_surer_than_its_runs_were():
    assert all(0.5 <= share < 1 for share in SURE.values())
