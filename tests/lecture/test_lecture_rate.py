"""C04: the four regimes are told from curves by rule, and a sweep without one of them is not passed."""

import numpy as np
import pytest

from trainwright.core.claims import ClaimResult
from trainwright.lecture.claim import Pace
from trainwright.lecture.rate import LOOKS, RATES, Sweep, judged, measure_c04, regimes
from trainwright.report.lecture import reading_words

TIME = np.linspace(0, 1, LOOKS + 1)


def curve(rate: float, floor: float) -> np.ndarray:
    """Falls from 2.5 the faster the higher the rate, down to a floor; 10 and above climb."""
    if rate >= 4:
        return 2.5 * np.exp(TIME * rate / 4)
    return floor + (2.5 - floor) * np.exp(-60 * rate * TIME)


def sweep(seed: int, floor_of) -> Sweep:
    random = np.random.default_rng(seed)
    loss = np.array([curve(rate, floor_of(rate)) for rate in RATES])
    loss[:, 1:] *= np.exp(0.002 * random.standard_normal(loss[:, 1:].shape))
    return Sweep(rates=RATES, loss=loss)


def rises(rate):
    return 0.02 * (1 + (rate / 0.1) ** 0.7)  # the noise that a rate leaves


def flat(rate):
    return 0.02  # a problem that every rate solves in the end


def near_best(sweeps) -> list[float]:
    """What a good range test would find, seed by seed."""
    best = sweeps[0].rates[regimes(sweeps).best]
    return [best * factor for factor in (0.8, 1.0, 1.3, 1.1, 0.9)]


def test_all_four_are_seen_where_they_are():
    sweeps = [sweep(seed, rises) for seed in range(5)]
    found = regimes(sweeps)
    assert set(found.parts.values()) == {"holds"}
    assert found.high is not None
    assert RATES[found.best] < RATES[found.high] < 4
    assert found.interval[0] > 1
    shown = judged(sweeps, near_best(sweeps))
    assert shown.verdict == "holds"
    assert not shown.notes
    assert reading_words(ClaimResult(claim="C04", measured=shown, seconds=1.0, device=""))


def test_without_a_floor_that_rises_with_the_rate_nothing_is_called_high():
    sweeps = [sweep(seed, flat) for seed in range(5)]
    shown = judged(sweeps, near_best(sweeps))
    assert shown.verdict != "holds"
    assert "lecture.note.rate_high" in shown.notes
    assert reading_words(ClaimResult(claim="C04", measured=shown, seconds=1.0, device=""))


@pytest.mark.parametrize(
    ("off", "verdict"), [(4.0, "differs"), (0.2, "differs"), (3.0, "undecided")]
)
def test_a_range_test_that_is_off_is_said_to_be(off, verdict):
    sweeps = [sweep(seed, rises) for seed in range(5)]
    found = judged(sweeps, [off * rate for rate in near_best(sweeps)])
    assert found.verdict == verdict
    assert found.notes == ("lecture.note.rate_test",)


def test_a_sweep_that_ends_too_early_lacks_the_divergence():
    cut = [Sweep(rates=RATES[:6], loss=sweep(seed, rises).loss[:6]) for seed in range(5)]
    assert regimes(cut).parts["very_high"] == "differs"


def test_a_sweep_that_begins_at_the_best_lacks_the_low_regime():
    best = regimes([sweep(seed, rises) for seed in range(5)]).best
    cut = [Sweep(rates=RATES[best:], loss=sweep(seed, rises).loss[best:]) for seed in range(5)]
    found = regimes(cut)
    assert found.parts["good"] != "holds"
    assert judged(cut, near_best(cut)).verdict != "holds"


@pytest.mark.slow
def test_the_sweep_on_digits_has_a_best_rate_inside_and_diverges_at_its_end():
    found = measure_c04(Pace(seeds=0))
    assert RATES[0] < found.values["best"] < RATES[-1]
    assert found.values["highest_loss"] > found.values["lowest_loss"] > found.values["best_loss"]
