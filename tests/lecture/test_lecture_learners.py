"""C03: the hinge net is as accurate as the machine, and a net that was not trained is not."""

import pytest

from trainwright.core.claims import ClaimResult
from trainwright.lecture.learners import OTHERS, SETS, SVM, compared, hinge_recipe, judged
from trainwright.recipe import edit
from trainwright.report.lecture import reading_words


@pytest.fixture(scope="module")
def wine():
    return [compared(hinge_recipe("wine", seed)) for seed in range(3)]


def judged_on(scores):
    return judged([dict.fromkeys(SETS, one) for one in scores])


def test_every_learner_is_there_and_the_net_is_near_the_machine(wine):
    assert {"net", SVM, *OTHERS} <= set(wine[0])
    found = judged_on(wine)
    assert abs(found.effect) < 0.05
    assert found.interval[0] < found.effect < found.interval[1]
    assert reading_words(ClaimResult(claim="C03", measured=found, seconds=1.0, device=""))


def test_the_penalty_is_the_machines_own():
    recipe = hinge_recipe("wine", 0)
    assert recipe.algorithm.l2 == pytest.approx(1 / 125)  # 70 % of 178 rows


def test_a_net_that_hardly_moves_is_not_alike(wine):
    still = [
        compared(
            edit(
                hinge_recipe("wine", seed), {"algorithm.learning_rate": 1e-6, "budget": "20 steps"}
            )
        )
        for seed in range(3)
    ]
    found = judged_on(still)
    assert found.verdict != "holds"
    assert found.effect < -0.2


@pytest.mark.parametrize(
    ("differences", "verdict"),
    [((0.001, -0.002, 0.003), "holds"), ((0.05, -0.05, 0.01), "undecided"),
     ((-0.1, -0.11, -0.1), "differs"), ((0.1, 0.11, 0.1), "differs")],
)  # fmt: skip
def test_alike_means_that_the_whole_interval_is_within_the_margin(differences, verdict, wine):
    scores = [{**wine[0], "net": wine[0][SVM] + d} for d in differences]
    assert judged_on(scores).verdict == verdict
