"""A step without a gradient: the same whichever way the tries run, and resumed to the same bit."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn

import trainwright as tw
from trainwright import recipe as recipes
from trainwright.recipe import Live, Recipe
from trainwright.run.assemble import assemble
from trainwright.run.surroundings import own_randomness
from trainwright.train.events import NonFinite, Stepped
from trainwright.train.loop import train
from trainwright.train.trainee import capture, restore

RNG = np.random.default_rng(0)
X = RNG.normal(size=(240, 6)).astype("float32")
Y = (X[:, 0] > 0.3 * X[:, 1]).astype("int64")


class Net(nn.Module):
    """Dropout, a batch norm and an output dict: what tries must cope with."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Linear(6, 16), nn.BatchNorm1d(16), nn.Tanh(), nn.Dropout(0.2), nn.Linear(16, 2)
        )

    def forward(self, x):
        return {"logits": self.body(x)}


class Branching(Net):
    """Asks for a value in the middle, which many weights at once cannot give."""

    def forward(self, x):
        outputs = self.body(x)
        return outputs if outputs.sum().item() < 1e9 else -outputs


def made(model=Net, loss=None, **settings):
    chosen = {
        "budget": "30 steps", "algorithm.batch_size": 32, "algorithm.optimizer": "evolution",
        "algorithm.population": 8, "algorithm.sigma": 0.1, "data.valid_fraction": 0,
        "data.test_fraction": 0, **settings,
    }  # fmt: skip
    recipe = recipes.edit(Recipe(), chosen)
    live = Live(source=X, target=Y, model=model, loss=loss)
    return assemble(recipe.model_copy(update={"live": live}))


def events(a):
    return train(
        a.trainee, a.prepared.train, a.order, a.step, knobs=a.algorithm, plan=a.plan, look=None,
        metric=a.metric,
    )  # fmt: skip


def state(a):
    return {name: tensor.clone() for name, tensor in a.module.state_dict().items()}


def count_wrong(outputs, target):
    """No tensor of it has a gradient."""
    return (outputs.argmax(dim=1) != target).float().mean()


@pytest.mark.parametrize("model", [Net, Branching])
@pytest.mark.parametrize("stop", [1, 17])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"algorithm.average": "ema", "algorithm.accumulate": 2, "algorithm.momentum": 0.5},
        {"algorithm.schedule": "step", "algorithm.precision": "bfloat16", "loss.name": "zero_one"},
    ],
)
def test_a_captured_trainee_goes_on_to_the_same_bit(model, stop, settings):
    with own_randomness(0):
        whole = made(model, **settings)
        assert sum(isinstance(e, Stepped) for e in events(whole)) == 30
    with own_randomness(0):
        first = made(model, **settings)
        for event in events(first):
            if isinstance(event, Stepped) and event.step == stop:
                tensors, plain = capture(first.trainee)
                kept = {n: t.clone() for n, t in tensors.items()}
                break
    with own_randomness(99):
        second = made(model, **settings)
        restore(second.trainee, kept, plain, None)
        list(events(second))
    a, b = state(whole), state(second)
    assert all(torch.equal(a[name], b[name]) for name in a)
    ours, theirs = whole.trainee.weights(), second.trainee.weights()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_tries_one_by_one_move_the_weights_as_tries_all_at_once_do():
    found = []
    for at_once in (True, False):
        with own_randomness(3):
            a = made(
                lambda: nn.Sequential(nn.Linear(6, 8), nn.Dropout(0.3), nn.Linear(8, 2)),
                **{"budget": "5 steps", "algorithm.population": 4},
            )
            assert a.step._at_once
            a.step._at_once = at_once
            list(events(a))
            found.append(state(a))
    for name in found[0]:
        assert torch.allclose(found[0][name], found[1][name], atol=1e-6)


def test_code_that_cannot_run_on_many_weights_at_once_is_tried_one_by_one():
    assert made(Net).step._at_once
    assert not made(Branching).step._at_once


def test_batch_norm_keeps_the_statistics_of_the_unchanged_network_only():
    a = made(Net, **{"budget": "1 steps", "algorithm.learning_rate": 1e-9})
    linear = a.module.body[0]
    before = linear.weight.detach().clone(), linear.bias.detach().clone()
    stepped = next(events(a))
    expected = 0.1 * nn.functional.linear(stepped.batches[0].inputs[0], *before).mean(dim=0)
    assert torch.allclose(a.module.body[1].running_mean, expected, atol=1e-6)
    assert int(a.module.body[1].num_batches_tracked) == 1


def test_frozen_weights_stay_and_no_gradient_is_left_behind():
    def frozen():
        net = Net()
        net.body[0].weight.requires_grad_(False)
        return net

    a = made(frozen)
    before = state(a)
    list(events(a))
    after = state(a)
    assert torch.equal(before["body.0.weight"], after["body.0.weight"])
    assert not torch.equal(before["body.4.weight"], after["body.4.weight"])
    assert all(p.grad is None for p in a.module.parameters())


def test_a_loss_that_is_not_finite_ends_the_loop_before_its_update():
    a = made(Net, loss=lambda outputs, target: outputs["logits"].sum() * float("nan")
             if isinstance(outputs, dict) else outputs.sum() * float("nan"))  # fmt: skip
    before = state(a)
    (event,) = events(a)
    assert isinstance(event, NonFinite)
    after = state(a)
    assert torch.equal(before["body.0.weight"], after["body.0.weight"])


@pytest.mark.parametrize("loss", ["zero_one", "cross_entropy", count_wrong])
def test_it_learns_whether_or_not_the_loss_has_a_gradient(loss):
    run = tw.fit(
        X, Y, model={"name": "mlp", "depth": 1, "width": 8}, loss=loss, budget="120 steps",
        algorithm={"optimizer": "evolution", "population": 32}, quiet=True, watch=False,
    )  # fmt: skip
    assert run.record.metrics["train"]["accuracy"].value > 0.9


def test_an_optimiser_of_gradients_refuses_a_loss_without_one_and_names_the_way():
    a = made(Net, loss=count_wrong, **{"algorithm.optimizer": "adamw",
                                                 "algorithm.population": "auto",
                                                 "algorithm.sigma": "auto"})  # fmt: skip
    with pytest.raises(tw.TrainwrightError, match="no gradient leads") as caught:
        list(events(a))
    assert "'evolution'" in str(caught.value)


def test_a_model_that_cannot_be_copied_is_refused_with_the_way_out():
    class Locked(Net):
        def __init__(self) -> None:
            super().__init__()
            self.own = iter(lambda: 1, 2)
            self.kept = (value for value in range(3))

    with pytest.raises(tw.TrainwrightError, match="cannot be copied") as caught:
        made(Locked)
    assert "adamw" in str(caught.value)


@pytest.mark.slow
def test_the_raw_zero_one_loss_trains_digits_to_where_gradients_of_a_surrogate_do():
    images, digits = load_digits(return_X_y=True)
    run = tw.fit(
        images, digits, model={"name": "mlp", "depth": 1, "width": 32}, loss="zero_one",
        algorithm={"optimizer": "evolution"}, budget="1000 steps", quiet=True, watch=False,
    )  # fmt: skip
    assert run.record.metrics["test"]["accuracy"].value > 0.85
