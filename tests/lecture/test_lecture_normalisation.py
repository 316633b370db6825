"""C12: each part of the rule can fail."""

from typing import Any

import pytest

from trainwright.lecture.normalisation import Crossing, Rescue, judged, not_behind


def rescues(behind: float = 0.99, without: float = 0.1) -> list[Rescue]:
    """Five seeds on which every norm ends there."""
    return [
        Rescue(
            without={"mlp": without, "convnet": without},
            behind=dict.fromkeys(("batch", "layer", "group", "instance"), behind),
            in_front={"batch": behind, "layer": without},
        )
        for _ in range(5)
    ]


def crossings(small: float = 0.03, large: float = 0.0) -> list[Crossing]:
    """Five seeds on which group norm is ahead by so much at 2 and at 32."""
    return [
        Crossing(
            batch={2: 0.90 + 0.001 * seed, 32: 0.95},
            group={2: 0.90 + small, 32: 0.95 + large + 0.001 * (seed - 2)},
        )
        for seed in range(5)
    ]


@pytest.mark.parametrize(
    ("changed", "verdict"),
    [
        ({}, "holds"),
        ({"behind": 0.5}, "differs"),
        ({"without": 0.95}, "undecided"),
        ({"small": -0.03}, "differs"),
        ({"large": -0.01}, "differs"),
    ],
)
def test_it_holds_only_when_every_part_does(changed: dict[str, Any], verdict: str) -> None:
    first = {k: v for k, v in changed.items() if k in ("behind", "without")}
    second = {k: v for k, v in changed.items() if k in ("small", "large")}
    found = judged(rescues(**first), crossings(**second))
    assert found.verdict == verdict
    assert found.n == 5


def test_at_32_a_wide_interval_decides_nothing() -> None:
    assert not_behind((-0.05, 0.01)) == "undecided"
    assert not_behind((-0.01, 0.01)) == "holds"
    assert not_behind((-0.012, -0.001)) == "differs"
