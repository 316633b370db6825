"""C01 holds for the loop's own step, and not for a step that is another."""

import pytest

from trainwright.core.claims import ClaimResult
from trainwright.lecture.claim import Pace
from trainwright.lecture.step import CASES, RATE, judged, measure_c01, one_step
from trainwright.lecture.training import PLAIN_DESCENT, recipe_of
from trainwright.report.lecture import reading_words

NAME, SETTINGS, FORMULA = CASES[0]


def step(rate=RATE, **turned):
    settings = {**PLAIN_DESCENT, "algorithm.learning_rate": RATE, **SETTINGS, **turned}
    return one_step(recipe_of(settings, 0), FORMULA, rate)


def test_the_loops_step_is_the_formula():
    found = measure_c01(Pace(seeds=1))
    assert found.verdict == "holds"
    assert found.n == len(CASES)
    assert found.interval[1] == found.effect < 1e-6
    assert found.values["quotient"] < 1e-4
    assert reading_words(ClaimResult(claim="C01", measured=found, seconds=1.0, device=""))


@pytest.mark.parametrize(
    ("rate", "turned"),
    [(1.001 * RATE, {}), (RATE, {"algorithm.optimizer": "adam", "algorithm.momentum": "auto"}),
     (RATE, {"algorithm.l2": 0.01}), (RATE, {"loss.label_smoothing": 0.1})],
    ids=["another rate", "another optimiser", "a penalty", "another loss"],
)  # fmt: skip
def test_another_step_differs(rate, turned):
    assert judged([step(rate, **turned)], [NAME]).verdict == "differs"


def test_a_step_too_short_to_see_proves_nothing():
    short = 1e-5 * RATE
    found = one_step(
        recipe_of({**PLAIN_DESCENT, "algorithm.learning_rate": short, **SETTINGS}, 0),
        FORMULA,
        short,
    )
    assert judged([found], [NAME]).verdict == "undecided"
