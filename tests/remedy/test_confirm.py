"""Of targets that did about as well on one seed, the one that holds on others is kept."""

import time
from dataclasses import replace

import pytest

from tests.edit.programs import program
from trainwright.core.facts import ScoreFacts
from trainwright.edit.edit import Context
from trainwright.remedy.confirm import CLOSE, ROUNDS, Again, confirmed
from trainwright.remedy.search import Node, Step
from trainwright.remedy.visit import Visit

ROOM = ScoreFacts(metric="accuracy", constant=0.0, reference=1.0)
PATHS = ((), ("swap_optimizer",), ("swap_optimizer", "decay_learning_rate"), ("warm_up",))


def node(number: int, score: float, seconds: float = 0.0) -> Node:
    """A node at seed 0: `seen.seed` of its later looks tells them apart."""
    step = Step(number=number, parent=number - 1, remedy="", code="", judged="better", score=score,
                skill=score, seconds=seconds)  # fmt: skip
    path = tuple((name, Context()) for name in PATHS[number])
    return Node(step=step, target=replace(program(), done=()), path=path,
                seen=Visit(seed=0, score=score, seconds=seconds))  # fmt: skip


def asked(nodes: list[Node], scores: dict[int, float], *, deadline: float = float("inf")):
    """(the kept step, what was told); every later run of a step has its score in `scores`."""
    told: list[Again] = []
    place = {id(one.target): one.step.number for one in nodes}

    def again(target, seed):
        assert seed != 0
        return Visit(seed=seed, score=scores[place[id(target)]])

    best = max(nodes, key=lambda one: one.step.rank)
    kept = confirmed(nodes, best, again=again, seed=0, deadline=deadline, tell=told.append)
    return kept.step.number, told


def test_a_lucky_seed_is_not_kept_before_one_that_holds():
    nodes = [node(0, 0.1), node(1, 0.90), node(2, 0.93)]
    kept, told = asked(nodes, {1: 0.9, 2: 0.5})
    assert kept == 1
    assert len(told) == 2 * ROUNDS
    assert {one.step for one in told} == {1, 2}, "the first one, far below, is not asked again"


def test_of_equals_the_fewest_edits_are_kept():
    nodes = [node(0, 0.1), node(1, 0.90), node(2, 0.905)]
    assert asked(nodes, {1: 0.9, 2: 0.9})[0] == 1


def test_nothing_is_trained_again_where_nothing_is_close_or_no_time_is_left():
    far = [node(0, 0.1), node(1, 0.9 - CLOSE - 0.01), node(2, 0.9)]
    assert asked(far, {}) == (2, [])
    slow = [node(0, 0.1), node(1, 0.89, 5.0), node(2, 0.9, 5.0)]
    assert asked(slow, {}, deadline=time.perf_counter() + 9) == (2, [])


@pytest.mark.parametrize("score", [None, 0.2])
def test_one_that_fails_on_another_seed_is_not_kept(score):
    nodes = [node(0, 0.1), node(1, 0.9), node(3, 0.9)]
    assert asked(nodes, {1: 0.88, 3: score})[0] == 1
