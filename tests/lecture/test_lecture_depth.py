"""C08 to C10: lines are lines, and each part of a rule can fail."""

import math

import pytest

from trainwright.lecture.depth import judged_exploding, judged_skip, judged_vanishing, line_through


def profiles(slope: float, *, bend: float = 0.0, num: int = 5) -> list:
    """Starts whose log gradient changes by `slope` a layer, seen from the loss."""
    return [
        line_through([slope * (19 - i) + 0.01 * k * (i % 2) + bend * (i - 10) ** 2
                      for i in range(20)])
        for k in range(num)
    ]  # fmt: skip


def test_a_line_gives_back_its_slope() -> None:
    (found,) = profiles(-1.5, num=1)
    assert found.slope == pytest.approx(-1.5)
    assert found.r2 == pytest.approx(1.0)


def test_vanishing_holds_only_when_it_shrinks_on_a_line_and_depth_is_to_blame() -> None:
    low, high = [0.1] * 5, [0.97] * 5
    assert judged_vanishing(profiles(-1.5), low, high).verdict == "holds"
    assert judged_vanishing(profiles(0.5), low, high).verdict == "differs"
    assert judged_vanishing(profiles(-1.5), high, high).verdict == "differs"
    assert judged_vanishing(profiles(-1.5), low, low).verdict == "undecided"
    assert judged_vanishing(profiles(-0.05, bend=1.0), low, high).verdict != "holds"


def test_exploding_holds_only_when_it_grows_and_most_starts_diverge() -> None:
    usual = [0.97] * 8
    assert judged_exploding(profiles(0.6, num=8), [True] * 8, usual).verdict == "holds"
    assert judged_exploding(profiles(-0.6, num=8), [True] * 8, usual).verdict == "differs"
    assert judged_exploding(profiles(0.6, num=8), [False] * 8, usual).verdict == "differs"
    assert judged_exploding(profiles(0.6, num=8), [True] * 8, [0.1] * 8).verdict == "undecided"


def test_skip_holds_only_when_the_slope_is_flat_and_there_was_something_to_mend() -> None:
    good, bad = [0.97] * 5, [0.1] * 5
    ill = profiles(-1.5)
    found = judged_skip(profiles(0.0), ill, good, bad)
    assert found.verdict == "holds"
    assert found.effect == pytest.approx(1.0, abs=0.01)
    assert judged_skip(profiles(-1.0), ill, good, bad).verdict == "differs"
    assert judged_skip(profiles(0.0), ill, good, good).verdict == "undecided"
    assert math.isfinite(found.interval[0])
