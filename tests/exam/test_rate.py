"""The range test finds the best rate, leaves everything as it was, and `measured` becomes a number."""

import copy
import math
from dataclasses import replace

import pytest
import torch
from exam_programs import Maker, at_rate, healthy
from torch import nn

import trainwright as tw
from trainwright import api
from trainwright.core.errors import RecipeError, TrainwrightError
from trainwright.edit.given import program_from
from trainwright.exam.rate import advise, range_test, shortened, with_measured_rate
from trainwright.run.messages import Said


def quadratic(rate):
    """y = w x without noise, x of unit variance: gradient descent on the whole of it is quickest at
    half the inverse curvature and diverges from its inverse on."""
    x = torch.randn(64, 1, generator=torch.Generator().manual_seed(0))
    x = (x - x.mean()) / x.std(correction=0)
    make = Maker(lambda: nn.Linear(1, 1, bias=False))
    program = program_from(
        lambda: nn.Linear(1, 1, bias=False), (x, 3 * x), loss=nn.MSELoss(), valid=(x, 3 * x),
        optimizer=lambda p: torch.optim.SGD(p, lr=rate), batch_size=64, epochs=40,
    )  # fmt: skip
    return replace(program, make_model=make)


def test_on_a_parabola_the_edge_is_where_theory_has_it():
    found = range_test(quadratic(0.02), steps=20)
    assert found.best / 3 <= 0.5 <= found.best * 3  # curvature 2: one step gets there at 1/2
    assert found.diverges_at is not None
    assert 1.0 <= found.diverges_at * 1.001 <= math.sqrt(10) * 1.001
    assert found.low <= found.best <= found.high
    assert list(found.rates) == sorted(found.rates)


def test_a_rate_far_off_on_either_side_is_found_again():
    best = range_test(healthy(), steps=60).best
    for factor in (1e-2, 30):
        found = range_test(at_rate(factor), steps=60)
        assert found.best / 3.2 <= best <= found.best * 3.2


def test_nothing_changes_to_the_bit():
    own = nn.Sequential(nn.Linear(64, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 10))
    x, y = healthy().train.inputs[0][:100], healthy().train.targets[:100]
    optimizer = torch.optim.SGD(own.parameters(), lr=0.1)
    weights, state = copy.deepcopy(own.state_dict()), torch.get_rng_state()
    program = program_from(own, (x, y), loss=nn.CrossEntropyLoss(), optimizer=optimizer, epochs=4)
    found = range_test(program, steps=10)
    assert found.best > 0
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(weights[name], value) for name, value in own.state_dict().items())
    assert all(p.grad is None for p in own.parameters())
    assert optimizer.param_groups[0]["lr"] == 0.1


def test_it_says_the_same_twice():
    first, second = (range_test(healthy(), steps=30, seed=5) for _ in range(2))
    assert first.losses == second.losses
    assert range_test(healthy(), steps=30, seed=6).losses != first.losses


def test_a_short_training_goes_through_the_whole_schedule():
    long = healthy().turned(schedule="cosine", warmup_steps=20)
    short = shortened(long, 30)
    assert short.num_steps == 30
    assert short.habits.warmup_steps == 5
    assert shortened(long, 10_000).num_steps == long.num_steps


def test_advice_is_a_rate_that_learns():
    found = advise(at_rate(1e-3), seconds=6.0)
    assert 0.003 < found.rate < 1.0
    assert len(found.arms) == 3
    assert min(loss for _, loss in found.arms) < found.range.start_loss
    picture = found.range.picture()
    assert picture.log_x
    assert len(picture.series[0].x) <= len(found.range.rates)


def test_it_ends_with_its_seconds_after_one_rate_each_way():
    found = range_test(at_rate(1e-3), seconds=0.0)
    assert len(found.rates) == 3
    assert found.steps == 20


def test_an_optimiser_without_a_rate_is_refused():
    program = replace(healthy(), optimizer=healthy().optimizer.turned(lr=0.0))
    with pytest.raises(TrainwrightError, match="no learning rate"):
        range_test(program)


def digits(**algorithm):
    return api.make_recipe("sklearn:digits", budget="30 steps", model={"name": "mlp"},
                           algorithm={"learning_rate": "measured", **algorithm})  # fmt: skip


def test_measured_becomes_a_number_where_a_run_is_started():
    heard = []
    run = tw.fit("sklearn:digits", recipe=digits(optimizer="sgd"), store=None,
                 listener=heard.append)  # fmt: skip
    rate = run.recipe.algorithm.learning_rate
    assert isinstance(rate, float)
    assert 1e-3 < rate < 10
    said = [m.notice for m in heard if isinstance(m, Said) and m.notice.code == "rate_measured"]
    assert [notice.values["rate"] for notice in said] == [rate]
    assert said[0] in run.record.notices


def test_measuring_keeps_the_rest_of_the_recipe():
    recipe = digits()
    found, notice = with_measured_rate(recipe, seconds=2.0)
    assert [path for path, *_ in tw_diff(recipe, found)] == ["algorithm.learning_rate"]
    assert notice.values["low"] <= notice.values["high"]


def tw_diff(before, after):
    from trainwright.recipe import diff

    return diff(before, after)


def test_what_was_not_measured_is_not_guessed():
    from trainwright.doctor import check_recipe

    with pytest.raises(RecipeError, match=r"algorithm\.learning_rate: 'measured' has not been"):
        check_recipe(digits())
