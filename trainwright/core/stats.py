"""How sure is a number? Intervals in closed form, and the bootstrap over rows."""

from collections.abc import Callable, Iterator
from math import exp, sqrt
from statistics import NormalDist

import numpy as np

CHUNK_BYTES = 1 << 24  # resampling weights held at once [assumed]
MOST_DRAWS = (
    20_000_000  # row draws of one bootstrap, about 0.4 s on one core [measured: one thread]
)
FEWEST_PAIRS = 4  # below it the ends of an interval for a ratio of means say little [assumed]
FEWEST_RESAMPLES = 200  # below it the ends of a 95 % interval rest on under 5 values [assumed]

Statistic = Callable[[np.ndarray], np.ndarray]  # weights [resample, row] -> values [resample]
Interval = tuple[float, float]


def normal_quantile(level: float) -> float:
    """Half the width of a two-sided interval of `level`, in standard deviations: 1.96 for 0.95."""
    assert 0 < level < 1, level
    return NormalDist().inv_cdf((1 + level) / 2)


def wilson(share: float, num: float, *, level: float = 0.95) -> Interval:
    """Interval for a share of `num` independent rows; never of no width, never outside [0, 1].

    With z the normal quantile: (p + z²/2n ± z sqrt(p(1-p)/n + z²/4n²)) / (1 + z²/n).
    `num` may be an effective number, p(1-p) / variance.

    Source: Wilson 1927; Brown, Cai & DasGupta 2001, Interval estimation for a binomial proportion.
    """
    assert 0 <= share <= 1, share
    assert num > 0, num
    z = normal_quantile(level)
    center = share + z * z / (2 * num)
    half = z * sqrt(share * (1 - share) / num + z * z / (4 * num * num))
    scale = 1 + z * z / num
    return max(0.0, min(share, (center - half) / scale)), min(
        1.0, max(share, (center + half) / scale)
    )


def normal_interval(value: float, deviation: float, *, level: float = 0.95) -> Interval:
    """value ± z deviation."""
    half = normal_quantile(level) * deviation
    return value - half, value + half


def log_normal_interval(value: float, deviation: float, *, level: float = 0.95) -> Interval:
    """value exp(± z deviation / value): the normal interval of log(value), for what is above 0."""
    if value <= 0:
        return value, value
    half = normal_quantile(level) * deviation / value
    return value * exp(-min(half, 700.0)), value * exp(min(half, 700.0))


def deviation_from_influence(influence: np.ndarray) -> float:
    """Standard deviation of a statistic from each row's influence, influence[k] = dT / dw[k].

    sd² = n / (n - 1) Σ_k (influence_k - mean)², the infinitesimal jackknife.

    Source: Efron 1982, The jackknife, the bootstrap and other resampling plans, chapter 6.
    """
    num = len(influence)
    if num < 2:
        return float("nan")
    return float(sqrt(num / (num - 1) * np.square(influence - influence.mean()).sum()))


def num_resamples(num_rows: int, *, most: int = 2000) -> int:
    """Resamples that `num_rows` allow within MOST_DRAWS, at least FEWEST_RESAMPLES."""
    return int(min(most, max(FEWEST_RESAMPLES, MOST_DRAWS // max(1, num_rows))))


def resample_weights(num_rows: int, resamples: int, *, seed: int) -> Iterator[np.ndarray]:
    """How often each row is drawn in each resample, float32 [some resamples, row], in chunks.

    Each line sums to `num_rows`. A pure function of its arguments.
    """
    assert num_rows > 0
    generator = np.random.default_rng(seed)
    chunk = max(1, min(resamples, CHUNK_BYTES // (4 * num_rows)))
    for start in range(0, resamples, chunk):
        lines = min(chunk, resamples - start)
        draws = generator.integers(0, num_rows, size=(lines, num_rows), dtype=np.int32)
        cells = draws + (np.arange(lines, dtype=np.int64) * num_rows)[:, None]
        counts = np.bincount(cells.ravel(), minlength=lines * num_rows)
        yield counts.astype(np.float32).reshape(lines, num_rows)


def bootstrap(statistic: Statistic, num_rows: int, *, resamples: int, seed: int) -> np.ndarray:
    """The statistic of each resample, [resample]; what is undefined in a resample is NaN."""
    chunks = [statistic(w) for w in resample_weights(num_rows, resamples, seed=seed)]
    return np.concatenate(chunks)


def percentile_interval(values: np.ndarray, *, level: float = 0.95) -> Interval | None:
    """The middle `level` of the bootstrap's finite values; None when under half are finite."""
    finite = values[np.isfinite(values)]
    if 2 * len(finite) < len(values) or not len(finite):
        return None
    low, high = np.quantile(finite, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def paired_difference(
    first: Statistic, second: Statistic, num_rows: int, *, seed: int, level: float = 0.95,
    resamples: int | None = None,
) -> Interval | None:  # fmt: skip
    """Percentile interval of first - second, both computed on the same resampled rows.

    What makes both of them better or worse at once (an easy draw) cancels.

    Source: Efron & Tibshirani 1993, An introduction to the bootstrap, chapter 13.
    """
    count = resamples or num_resamples(num_rows)
    values = bootstrap(lambda w: first(w) - second(w), num_rows, resamples=count, seed=seed)
    return percentile_interval(values, level=level)


def ratio_of_means(
    numerator: np.ndarray, denominator: np.ndarray, *, level: float = 0.95
) -> tuple[float, float, float] | None:
    """(ratio, low, high) of two means that cannot be negative, from independent pairs [pair]; for
    the readings gradient_noise and gradient_signal it is the simple noise scale, in examples.

    The interval holds each r >= 0 for which mean(numerator - r denominator) is zero within
    Student's t; `high` is infinite where the denominator may be zero. Pairs with NaN are left out.
    None, it cannot be told, below FEWEST_PAIRS pairs, when the denominator's mean is not above
    zero, or when every r is possible.

    Source: Fieller 1954, Some problems in interval estimation, J. R. Stat. Soc. B 16(2), section 2.
    """
    from scipy.special import stdtrit

    pairs = np.stack([numerator, denominator]).astype(float)
    pairs = pairs[:, np.isfinite(pairs).all(axis=0)]
    num = pairs.shape[1]
    if num < FEWEST_PAIRS:
        return None
    y, x = pairs.mean(axis=1)
    slack = stdtrit(num - 1, (1 + level) / 2) ** 2 / num * np.cov(pairs)
    # r is inside where a r² - 2 b r + c <= 0
    a, b, c = x * x - slack[1, 1], x * y - slack[0, 1], y * y - slack[0, 0]
    half = sqrt(max(b * b - a * c, 0.0))
    if x <= 0 or (a <= 0 and c <= 0) or (a > 0 and b + half < 0):
        return None
    if a <= 0:
        return y / x, c / (b + half), float("inf")
    return max(y, 0.0) / x, max((b - half) / a, 0.0), (b + half) / a
