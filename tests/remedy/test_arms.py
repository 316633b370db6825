"""Two recipes side by side: the same seeds, crashes that count, and no run beyond a clear answer."""

import pytest

import trainwright as tw
from tests.edit.programs import program
from trainwright import api
from trainwright.core.errors import TrainwrightError
from trainwright.remedy import arms
from trainwright.remedy.arms import Done, compare_targets
from trainwright.remedy.proof import Outcome
from trainwright.report.comparison import plain

SGD = {"optimizer": "sgd", "learning_rate": 0.1}


def recipe(**algorithm):
    return api.make_recipe("sklearn:digits", budget="60 steps", algorithm={**SGD, **algorithm},
                           model={"name": "mlp"})  # fmt: skip


def test_a_recipe_beside_itself_differs_in_nothing():
    found = tw.compare(recipe(), recipe(), seeds=3, processes=1, quiet=True)
    assert found.effect == 0.0
    assert found.interval[0] <= 0 <= found.interval[1]
    assert found.verdict in ("no effect", "undecided")
    assert [o.seed for o in found.arms[0].outcomes] == [0, 1, 2]
    scores = [[o.score for o in arm.outcomes] for arm in found.arms]
    assert scores[0] == scores[1]
    assert len(set(scores[0])) > 1, "seeds make different runs"


def test_a_rate_that_cannot_learn_is_told_from_one_that_can_and_the_answer_stops_the_runs():
    told = []
    found = tw.compare(recipe(learning_rate=1e-6), recipe(), seeds=9, processes=1, quiet=True)
    told = plain(found)
    assert found.verdict == "helped"
    assert found.n < 9
    assert told["n"] == found.n
    assert told["interval"][0] > 0.05


def test_an_arm_that_leaves_the_numbers_is_an_outcome():
    found = tw.compare(recipe(), recipe(learning_rate=1000.0), seeds=3, processes=1, quiet=True)
    assert found.effect < -0.5
    assert all(o.state != "finished" or o.score < 0.3 for o in found.arms[1].outcomes)


def test_neither_arm_can_be_trained():
    broken = api.make_recipe("no_such_file.csv", target="y")
    with pytest.raises(TrainwrightError, match="no run of either arm ended in a score"):
        tw.compare(broken, broken, seeds=1, processes=1, quiet=True)


@pytest.mark.parametrize("seeds", [0, -3])
def test_a_count_of_seeds_is_at_least_one(seeds):
    with pytest.raises(TrainwrightError, match="seeds"):
        tw.compare(recipe(), recipe(), seeds=seeds, quiet=True)


def test_what_is_no_recipe_is_refused_by_name():
    with pytest.raises(TrainwrightError, match="is no recipe"):
        tw.compare(3, recipe(), quiet=True)


def test_a_budget_that_cannot_be_read_is_refused_as_a_recipes_is():
    with pytest.raises(TrainwrightError, match="soon"):
        tw.compare(recipe(), recipe(), budget="soon", quiet=True)


def test_more_pairs_follow_only_where_the_planned_ones_are_not_clear(monkeypatch):
    """Scores by seed stand for training: the first arm fails at two seeds in three."""

    def run(target, seed, **how):
        bad = target is sick and seed % 3 != 1
        return Done(outcome=Outcome(seed=seed, score=0.1 if bad else 0.9), metric="accuracy")

    sick, well = program(), program()
    monkeypatch.setattr(arms, "run_one", run)
    monkeypatch.setattr(arms, "known_of", lambda *a, **k: None)
    three = compare_targets(sick, well, seeds=3, processes=1)
    nine = compare_targets(sick, well, seeds=3, more=6, processes=1)
    late = compare_targets(sick, well, seeds=3, more=6, processes=1, deadline=0.0)
    assert (three.n, three.verdict) == (3, "undecided")
    assert (nine.n, nine.verdict) == (9, "helped")
    assert (late.n, late.verdict) == (3, "undecided")
