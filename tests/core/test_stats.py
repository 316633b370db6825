"""Intervals cover what they promise, and resampling is what the textbook says."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainwright.core.stats import (
    bootstrap,
    deviation_from_influence,
    log_normal_interval,
    normal_quantile,
    num_resamples,
    paired_difference,
    percentile_interval,
    ratio_of_means,
    resample_weights,
    wilson,
)


def test_normal_quantile_equals_scipy():
    from scipy.stats import norm

    for level in (0.5, 0.8, 0.95, 0.99):
        assert normal_quantile(level) == pytest.approx(norm.ppf((1 + level) / 2), abs=1e-12)


@pytest.mark.parametrize(("hits", "num"), [(0, 10), (10, 10), (3, 17), (150, 200), (1, 1)])
def test_wilson_equals_scipy(hits, num):
    from scipy.stats import binomtest

    oracle = binomtest(hits, num).proportion_ci(method="wilson")
    assert wilson(hits / num, num) == pytest.approx((oracle.low, oracle.high), abs=1e-12)


@given(share=st.floats(0, 1), num=st.floats(0.5, 1e7), level=st.floats(0.5, 0.999))
def test_wilson_holds_the_share_and_stays_within_0_and_1(share, num, level):
    low, high = wilson(share, num, level=level)
    assert 0 <= low <= share <= high <= 1
    assert high > low


@given(value=st.floats(0, 1e12), deviation=st.floats(0, 1e12))
def test_log_normal_interval_holds_the_value_and_never_falls_below_nothing(value, deviation):
    low, high = log_normal_interval(value, deviation)
    assert 0 <= low <= value <= high


def test_deviation_from_influence_of_a_mean_is_its_standard_error():
    values = np.random.default_rng(0).normal(size=50)
    influence = (values - values.mean()) / 50
    assert deviation_from_influence(influence) == pytest.approx(values.std(ddof=1) / 50**0.5)


@given(num=st.integers(1, 60), resamples=st.integers(1, 40), seed=st.integers(0, 99))
def test_each_resample_draws_as_many_rows_as_there_are(num, resamples, seed):
    lines = np.concatenate(list(resample_weights(num, resamples, seed=seed)))
    assert lines.shape == (resamples, num)
    assert (lines.sum(axis=1) == num).all()
    again = np.concatenate(list(resample_weights(num, resamples, seed=seed)))
    assert np.array_equal(lines, again)


def test_chunks_stay_small_and_all_resamples_come():
    chunks = list(resample_weights(100_000, 200, seed=0))
    assert len(chunks) > 1
    assert sum(len(chunk) for chunk in chunks) == 200
    assert max(chunk.nbytes for chunk in chunks) <= 1 << 24


def test_bootstrap_deviation_of_a_mean_is_its_standard_error():
    values = np.random.default_rng(1).normal(size=300)
    means = bootstrap(lambda w: w @ values / 300, 300, resamples=4000, seed=0)
    assert means.std() == pytest.approx(values.std() / 300**0.5, rel=0.05)


def test_rows_shared_by_both_sides_cancel_in_a_paired_difference():
    rng = np.random.default_rng(2)
    hard = rng.normal(size=200) * 100
    gain = rng.normal(1.0, 0.1, size=200)
    interval = paired_difference(
        lambda w: w @ (hard + gain) / 200, lambda w: w @ hard / 200, 200, seed=0
    )
    assert interval is not None
    assert 0.95 < interval[0] < gain.mean() < interval[1] < 1.05


def test_paired_difference_of_a_thing_with_itself_is_nothing():
    values = np.arange(20.0)
    interval = paired_difference(lambda w: w @ values, lambda w: w @ values, 20, seed=0)
    assert interval == (0.0, 0.0)


def test_an_interval_is_withheld_when_most_resamples_are_undefined():
    assert percentile_interval(np.array([1.0, np.nan, np.nan])) is None
    assert percentile_interval(np.array([1.0, 1.0, np.nan])) == (1.0, 1.0)


def test_more_rows_allow_fewer_resamples_but_never_too_few():
    assert num_resamples(100) == 2000
    assert num_resamples(100_000) == 200
    assert num_resamples(10**9) == 200


@pytest.mark.parametrize("num", [5, 40])
@pytest.mark.parametrize("mean", [3.0, 0.5])
def test_the_interval_of_a_ratio_holds_the_truth_however_near_to_zero_the_denominator_is(num, mean):
    generator, held, told = np.random.default_rng(0), 0, 0
    for _ in range(600):
        shared = generator.normal(0, 1, num)
        x = mean + generator.normal(0, 1, num) + shared
        y = 6.0 + generator.normal(0, 1, num) - shared
        found = ratio_of_means(y, x)
        if found is not None:
            told += 1
            held += found[1] <= 6.0 / mean <= found[2]
            assert found[1] <= found[0] <= found[2]
    assert told > 400
    assert held / told == pytest.approx(0.95, abs=0.03)


def test_a_ratio_over_what_may_be_zero_has_no_upper_end_and_over_less_than_zero_cannot_be_told():
    y = np.array([10.0, 11.0, 9.0, 10.5, 9.5, 10.0])
    wild = np.array([4.0, -2.0, 1.0, -1.0, 3.0, 0.5])
    found = ratio_of_means(y, wild)
    assert found is not None
    assert math.isinf(found[2])
    assert 0 < found[1] < found[0]
    assert ratio_of_means(y, -y) is None
    assert ratio_of_means(wild - wild.mean(), wild) is None  # everything is possible
    assert ratio_of_means(y[:3], y[:3]) is None
    assert ratio_of_means(np.append(y, math.nan), np.append(y, 1.0)) == pytest.approx((1, 1, 1))
