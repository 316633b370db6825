"""Numbers read as people write them, and never as better than they are."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainwright.core.records import Metric
from trainwright.report import format as show


@pytest.mark.parametrize(
    ("value", "text"),
    [(12345.6, "12,346"), (0.012345, "0.01235"), (1.2345e-6, "1.23e-06"), (0.0, "0.000"),
     (-3.14159, "−3.142"), (math.nan, "NaN"), (-math.inf, "−∞"), (None, "–"), (999.96, "1,000")],
)  # fmt: skip
def test_a_number_has_four_figures(value, text):
    assert show.number(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (-0.0, "0"), (1e-9, "1e−9"), (1e-5, "1e−5"), (0.25, "0.25"), (999, "999"),
     (1e3, "1,000"), (-2.5, "−2.5"), (9999.96, "10,000"), (2e4, "20k"), (-12_500, "−12.5k"),
     (1.5e6, "1.5M"), (1_234_567, "1,234,567"), (1e8, "100M"), (2.5e9, "2.5e9"), (1e21, "1e21"),
     (-1e21, "−1e21"), (9.9999e20, "1e21"), (1e-300, "1e−300")],
)  # fmt: skip
def test_a_tick_is_short_and_has_no_two_units(value, text):
    assert show.tick(value) == text


@given(st.floats(-1e300, 1e300))
def test_a_tick_is_the_number_to_four_figures(value):
    text = show.tick(value)
    read = float(text.replace("−", "-").replace(",", "").replace("k", "e3").replace("M", "e6"))
    assert read == pytest.approx(value, rel=6e-4)
    assert len(text) <= 11


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.5, "0.50 s"), (12.44, "12.4 s"), (200, "3 min 20 s"), (3599.7, "1 h 00 min"),
     (7500, "2 h 05 min"), (math.nan, "–")],
)  # fmt: skip
def test_a_duration_is_told_in_its_own_unit(value, text):
    assert show.seconds(value) == text


@pytest.mark.parametrize(("value", "text"), [(21.2, "0:21"), (725, "12:05"), (3723, "1:02:03")])
def test_time_left_is_a_clock(value, text):
    assert show.clock(value) == text


@pytest.mark.parametrize(("value", "text"), [(512, "512 B"), (1500, "1.5 kB"), (3.2e6, "3.2 MB")])
def test_sizes_are_powers_of_a_thousand(value, text):
    assert show.data_size(value) == text


@given(st.floats(0, 1, exclude_max=True))
def test_only_a_perfect_score_is_shown_as_perfect(value):
    shown = show.share(value)
    assert float(shown) < 1 or value >= 1 - 5e-7
    assert abs(float(shown) - value) <= 5e-4


@given(st.floats(-1e8, 1e8))
def test_a_number_reads_back_to_four_figures(value):
    text = show.number(value).replace(",", "").replace("−", "-")
    assert float(text) == pytest.approx(value, rel=6e-3, abs=1e-7)


def test_an_interval_is_shown_only_where_there_is_one():
    assert show.with_interval("accuracy", Metric(value=0.9)) == "0.900"
    full = Metric(value=0.9, low=0.88, high=0.92)
    assert show.with_interval("accuracy", full) == "0.900 [0.880, 0.920]"
    assert show.signed("accuracy", 0.01) == "+0.010"
    assert show.signed("accuracy", -0.01) == "−0.010"
