"""C11: what explodes is saved by a threshold that was measured, and by no other; each part of the
rule can fail."""

import math
from dataclasses import replace

import numpy as np
import pytest

from trainwright.core.claims import ClaimResult
from trainwright.core.phrases import use_language
from trainwright.lecture import clipping
from trainwright.lecture.claim import Pace
from trainwright.lecture.clipping import LEARNED, RATES, Settled, Way, clipped_share, judged, way
from trainwright.report.lecture import reading_words

RATE = 0.5


@pytest.fixture(scope="module")
def exploded() -> Way:
    return way(200, RATE, None)


def test_at_a_rate_at_which_the_gradient_explodes_a_clipped_training_learns(exploded):
    assert exploded.lost
    assert exploded.accuracy == exploded.constant
    assert max(exploded.norm) > 100 * np.median(exploded.norm)
    threshold = clipping.quiet_norm(clipping._seen(exploded))
    clipped = way(200, RATE, threshold)
    assert not clipped.failed
    assert clipped.accuracy > LEARNED
    assert max(clipped.norm) <= threshold * 1.001
    assert 0.5 < clipped_share(clipped, threshold) <= 1


def test_a_threshold_that_clips_nothing_saves_nothing(exploded):
    unbound = way(200, RATE, 1e8)
    steps = len(exploded.norm) - 20  # until the explosion the two are the same training
    assert unbound.loss[:steps] == pytest.approx(exploded.loss[:steps])
    assert unbound.failed
    assert clipped_share(unbound, 1e8) < 0.1
    found = judged(fixed(), [(exploded, unbound)] * 5)
    assert found.verdict == "differs"


def test_the_rate_is_the_lowest_at_which_every_trial_seed_fails(monkeypatch):
    asked: list[tuple[int, float]] = []

    def made_up(seed, rate, threshold):
        asked.append((seed, rate))
        lost = rate >= 0.5 or (rate == 0.2 and seed == 100)
        return made(0.1 if lost else 0.6 + rate, lost=lost)

    monkeypatch.setattr(clipping, "way", made_up)
    found = clipping.settle(Pace(seeds=3))
    assert found.rate == 0.5
    assert found.lower_rate == 0.1
    assert found.lower == pytest.approx(0.7)
    assert found.threshold == pytest.approx(clipping.quiet_norm(clipping._seen(made(0.1))))
    assert {seed for seed, _ in asked} == {100, 101, 102}
    assert max(rate for _, rate in asked) == 0.5, "higher ones are not tried"


def test_where_nothing_fails_the_highest_rate_is_taken_and_nothing_holds(monkeypatch):
    monkeypatch.setattr(clipping, "way", lambda seed, rate, threshold: made(0.8))
    found = clipping.measure_c11(Pace(seeds=3))
    assert found.values["rate"] == RATES[-1]
    assert found.verdict == "differs"


def made(accuracy: float, *, lost: bool = False) -> Way:
    loss = (2.3, 1.0, math.nan if lost else 0.5)
    return Way(loss=loss, norm=(1.0, 2.0, 1.5), accuracy=accuracy, constant=0.1, rows=540)


def fixed(lower: float = 0.85) -> Settled:
    return Settled(rate=RATE, threshold=1.4, lower=lower, lower_rate=0.1, trials=5)


def pairs(plain: float = 0.1, clipped: float = 0.8, *, lost: bool = True) -> list[tuple[Way, Way]]:
    return [(made(plain, lost=lost), made(clipped + 0.01 * seed)) for seed in range(10)]


@pytest.mark.parametrize(
    ("ways", "verdict"),
    [
        (pairs(), "holds"),
        (pairs(0.11, lost=False), "holds"),
        (pairs(0.7, lost=False), "differs"),
        (pairs(clipped=0.2), "differs"),
        (pairs(clipped=0.46), "undecided"),
        ([*pairs()[:5], *pairs(0.7, lost=False)[5:]], "undecided"),
    ],
    ids=["all", "no better than one answer", "unclipped learns", "clipped does not", "near",
         "half of them fail"],
)  # fmt: skip
def test_each_part_can_fail(ways, verdict):
    assert judged(fixed(), ways).verdict == verdict


def test_a_network_that_learns_at_no_rate_proves_nothing():
    assert judged(fixed(lower=0.2), pairs()).verdict == "undecided"


def test_a_little_above_the_constant_answer_is_not_above_it_for_sure():
    assert made(0.12).failed
    assert not made(0.14).failed
    assert replace(made(0.9), loss=(2.3, math.inf)).failed


def test_a_curve_leaves_the_picture_where_it_explodes():
    assert clipping.until_lost((1.0, 20.0, 3e5, 1e30)) == (1.0, 20.0, clipping.SHOWN)
    assert clipping.until_lost((1.0, math.nan)) == (1.0, clipping.SHOWN)
    assert clipping.until_lost((2.0, 1.0)) == (2.0, 1.0)


@pytest.mark.parametrize("spoken", ["en", "zh-Hant"])
def test_it_can_be_read_and_drawn(spoken):
    found = judged(fixed(), pairs())
    use_language(spoken)
    try:
        said = reading_words(ClaimResult(claim="C11", measured=found, seconds=1.0, device=""))
    finally:
        use_language("en")
    assert "0.845" in said
    for picture in found.pictures:
        assert all(len(one.x) == len(one.y) > 1 for one in picture.series)
