"""The loop does what the formula says, tells what it did, and can be entered at any step."""

import numpy as np
import pytest
import torch
from torch import nn

import trainwright as tw
from trainwright import recipe as recipes
from trainwright.recipe import Live, Recipe
from trainwright.run.assemble import assemble
from trainwright.run.judge import look
from trainwright.run.surroundings import own_randomness
from trainwright.train.events import Ended, Evaluated, NonFinite, Stepped
from trainwright.train.loop import train
from trainwright.train.trainee import capture, is_better, restore

RNG = np.random.default_rng(0)
X = RNG.normal(size=(240, 6)).astype("float32")
Y = (X[:, 0] * X[:, 1] > 0).astype("int64")


def net() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Dropout(0.2), nn.Linear(16, 2))


def made(model=net, loss=None, X=X, Y=Y, **settings):
    chosen = {
        "budget": "40 steps", "algorithm.batch_size": 16, "algorithm.evaluate_every": 10, **settings
    }  # fmt: skip
    recipe = recipes.edit(Recipe(), chosen)
    live = Live(source=X, target=Y, model=model, loss=loss)
    return assemble(recipe.model_copy(update={"live": live}))


def events(a):
    yield from train(
        a.trainee, a.prepared.train, a.order, a.step, knobs=a.algorithm, plan=a.plan,
        look=look(a) if a.prepared.valid is not None else None, metric=a.metric,
    )  # fmt: skip


def weights(a):
    return torch.cat([p.detach().flatten() for p in a.module.parameters()])


def test_one_step_is_theta_minus_rate_times_gradient_computed_in_float64():
    a = made(
        lambda: nn.Linear(6, 2),
        **{"data.valid_fraction": 0, "data.test_fraction": 0, "budget": "1 steps",
           "algorithm.optimizer": "sgd", "algorithm.learning_rate": 0.3, "algorithm.momentum": 0,
           "algorithm.schedule": "constant", "algorithm.warmup_steps": 0},
    )  # fmt: skip
    W = a.module.weight.detach().double().clone().requires_grad_()
    b = a.module.bias.detach().double().clone().requires_grad_()
    (stepped, _) = events(a)
    batch = stepped.batches[0]
    loss = nn.functional.cross_entropy(batch.inputs[0].double() @ W.T + b, batch.target)
    loss.backward()
    assert torch.allclose(a.module.weight.double(), W - 0.3 * W.grad, atol=1e-6)
    assert torch.allclose(a.module.bias.double(), b - 0.3 * b.grad, atol=1e-6)
    assert stepped.loss.item() == pytest.approx(loss.item(), abs=1e-6)


def test_accumulating_three_batches_equals_one_batch_three_times_as_large():
    common = {
        "data.valid_fraction": 0, "data.test_fraction": 0, "algorithm.optimizer": "sgd",
        "budget": "5 steps", "algorithm.learning_rate": 0.1,
    }  # fmt: skip
    plain = lambda: nn.Linear(6, 2)  # noqa: E731  (no dropout: its draws differ by batch)
    one = made(plain, **common, **{"algorithm.batch_size": 48})
    three = made(plain, **common, **{"algorithm.batch_size": 16, "algorithm.accumulate": 3})
    for a in (one, three):
        assert sum(isinstance(e, Stepped) for e in events(a)) == 5
    assert torch.allclose(weights(one), weights(three), atol=1e-6)


@pytest.mark.parametrize("stop", [1, 9, 10, 23, 39])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"algorithm.optimizer": "sgd", "algorithm.average": "ema", "algorithm.accumulate": 2},
        {"algorithm.schedule": "plateau", "algorithm.sampler": "balanced"},
        {"algorithm.optimizer": "muon", "algorithm.precision": "bfloat16"},
    ],
)
def test_a_captured_trainee_goes_on_to_the_same_bit(stop, settings):
    with own_randomness(0):
        whole = made(**settings)
        looks = [e for e in events(whole) if isinstance(e, Evaluated)]
    with own_randomness(0):
        first = made(**settings)
        for event in events(first):
            if isinstance(event, Stepped) and event.step == stop:
                tensors, plain = capture(first.trainee)
                kept = {n: t.clone() for n, t in tensors.items()}
                best = first.trainee.best and dict(first.trainee.best.weights)
                break
    with own_randomness(99):
        second = made(**settings)
        restore(second.trainee, kept, plain, best)
        again = [e for e in events(second) if isinstance(e, Evaluated)]
    assert again == [e for e in looks if e.step > stop]  # what belongs to the stop was done
    for (step_a, a), (step_b, b) in [
        (whole.trainee.chosen(k), second.trainee.chosen(k)) for k in ("best", "last")
    ]:
        assert step_a == step_b
        assert all(torch.equal(a[name], b[name]) for name in a)


def test_equal_seeds_make_equal_weights_and_other_seeds_others():
    found = []
    for seed in (0, 0, 1):
        run = tw.fit(X, Y, model=net, budget="30 steps", seed=seed, quiet=True)
        found.append(run.weights_sha256)
    assert found[0] == found[1] != found[2]


def test_the_callers_random_state_and_the_models_gradients_of_others_are_left_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    tw.fit(X, Y, model=net, budget="5 steps", quiet=True)
    assert torch.equal(torch.rand(3), expected)


def test_a_loss_that_is_not_finite_ends_the_loop_before_its_update():
    def breaks_at_four(outputs, target):
        breaks_at_four.calls += 1
        loss = nn.functional.cross_entropy(outputs, target)
        return loss * float("nan") if breaks_at_four.calls == 4 else loss

    breaks_at_four.calls = -1000  # the builder may probe the loss
    a = made(loss=breaks_at_four, **{"algorithm.evaluate_every": 1000})
    breaks_at_four.calls = 0
    seen = []
    before = None
    for event in events(a):
        seen.append(event)
        if isinstance(event, Stepped) and event.step == 3:
            before = weights(a).clone()
    assert isinstance(seen[-1], NonFinite)
    assert seen[-1].step == 4
    assert len(seen[-1].batches[0].rows) == 16
    assert torch.equal(weights(a), before)


def test_early_stopping_counts_looks_without_gain():
    a = made(
        **{"algorithm.learning_rate": 1e-12, "algorithm.early_stopping": 2, "budget": "400 steps"}
    )
    seen = list(events(a))
    assert isinstance(seen[-1], Ended)
    assert seen[-1].reason == "early_stopping"
    assert sum(isinstance(e, Evaluated) for e in seen) <= 5


def test_the_rate_follows_the_schedule_and_batches_cover_each_epoch():
    a = made(**{"data.valid_fraction": 0, "data.test_fraction": 0, "budget": "2 epochs",
                "algorithm.schedule": "linear", "algorithm.warmup_steps": 0,
                "algorithm.learning_rate": 1.0, "algorithm.optimizer": "sgd"})  # fmt: skip
    stepped = [e for e in events(a) if isinstance(e, Stepped)]
    assert len(stepped) == 30
    assert [e.rate for e in stepped] == pytest.approx([1 - i / 30 for i in range(30)])
    for epoch in (stepped[:15], stepped[15:]):
        rows = torch.cat([e.batches[0].rows for e in epoch])
        assert sorted(rows.tolist()) == list(range(240))


def test_a_budget_of_seconds_becomes_one_of_steps_whatever_the_first_steps_cost(monkeypatch):
    now = 0.0

    def clock() -> float:
        return now

    monkeypatch.setattr("trainwright.train.loop.time.perf_counter", clock)
    a = made(budget="10s")
    for event in events(a):
        if isinstance(event, Stepped):
            now += 0.3 if event.step <= 3 else 0.01
    # 3 steps of 0.3 s leave 9.1 s, at 0.01 s each; a step is timed when the next one begins
    assert a.trainee.total_steps == pytest.approx(913, abs=3)
    assert a.trainee.seconds == pytest.approx(10, abs=0.1)


@pytest.mark.parametrize(
    ("new", "old", "metric", "better"),
    [
        ({"accuracy": 0.9, "loss": 1}, {"accuracy": 0.8, "loss": 0.1}, "accuracy", True),
        ({"accuracy": 0.8, "loss": 0.1}, {"accuracy": 0.8, "loss": 0.2}, "accuracy", True),
        ({"rmse": 2.0, "loss": 1}, {"rmse": 1.0, "loss": 1}, "rmse", False),
        ({"rmse": float("nan"), "loss": 1}, {"rmse": 1.0, "loss": 1}, "rmse", False),
        ({"rmse": 1.0, "loss": 1}, {"rmse": float("nan"), "loss": 1}, "rmse", True),
    ],
)
def test_better_means_the_metric_then_the_loss_and_never_nan(new, old, metric, better):
    assert is_better(new, old, metric) is better
