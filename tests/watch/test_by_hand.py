"""Steps without a torch optimiser are counted and read as those of one are."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from watch.programs import PROGRAMS

from trainwright.watch import by_hand
from trainwright.watch.watcher import Watcher

RATE = 0.1


def _things(hidden=8):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, hidden), nn.ReLU(), nn.Linear(hidden, 3))
    return model, torch.randn(64, 4), torch.randint(0, 3, (64,))


def _update(model):
    with torch.no_grad():
        for p in model.parameters():
            p.sub_(p.grad, alpha=RATE)
            p.grad = None


def _train(model, x, y, num_steps, update=_update):
    for step in range(num_steps):
        rows = torch.arange(16) + 16 * (step % 4)
        F.cross_entropy(model(x[rows]), y[rows]).backward()
        update(model)


def _stepping(optimizer):
    def step(_):
        optimizer.step()
        optimizer.zero_grad()

    return step


def test_readings_equal_those_of_the_same_steps_taken_by_an_optimiser():
    model, x, y = _things()
    with Watcher(model, None) as watcher:
        _train(model, x, y, 6)
    found = watcher.history()
    model, x, y = _things()
    optimizer = torch.optim.SGD(model.parameters(), RATE)

    with Watcher(model, optimizer) as watcher:
        _train(model, x, y, 6, _stepping(optimizer))
    expected = watcher.history()
    assert list(found.steps) == list(expected.steps) == [1, 2, 3, 4, 5, 6]
    assert found.num_steps == 6
    assert found.layers == expected.layers
    for name, values in expected.by_layer.items():
        np.testing.assert_allclose(found.by_layer[name], values, rtol=1e-5, err_msg=name)
    lost = {"learning_rate", "clip_ratio", "seconds_waiting", "seconds_updating"}
    assert set(expected.by_step) - set(found.by_step) == lost
    for name in set(found.by_step) - {"seconds_computing"}:
        np.testing.assert_allclose(
            found.by_step[name], expected.by_step[name], rtol=1e-4, atol=1e-9, err_msg=name
        )
    assert found.train == {}
    assert "learning rate" in found.unseen["optimizer"]
    assert "optimizer" not in expected.unseen


@pytest.mark.parametrize(
    ("name", "num_steps"),
    [("by_hand", 60), ("by_data", 60), ("by_autograd", 60), ("by_hand_accumulated", 40)],
)
def test_every_step_is_counted_also_between_samples(name, num_steps):
    kept = []

    def watching(model, optimizer, **options):
        kept.append(Watcher(model, optimizer, budget=0.001, **options))
        return kept[-1]

    torch.manual_seed(0)
    PROGRAMS[name](watching)
    history = kept[0].history()
    assert history.num_steps == num_steps
    assert len(history.steps) < num_steps
    assert (history.by_layer["update_norm"] > 0).all()
    assert (history.by_step["update_along_gradient"] > 0).all()
    if name == "by_hand_accumulated":
        assert set(history.by_step["num_backwards"]) == {3.0}
        assert np.isfinite(history.by_step["gradient_signal"]).all()
    if name == "by_hand":
        assert list(history.loss.steps) == list(range(1, num_steps + 1))


def test_a_long_run_is_seen_to_its_end_and_its_losses_find_their_steps():
    model, x, y = _things()
    criterion, expected = nn.CrossEntropyLoss(), []
    with Watcher(model, None, loss=criterion, budget=0.5) as watcher:
        for step in range(700):
            rows = torch.arange(16) + 16 * (step % 4)
            loss = criterion(model(x[rows]), y[rows])
            loss.backward()
            _update(model)
            expected.append(loss.item())
    history = watcher.history()
    assert history.num_steps == 700
    assert history.steps[-1] > 600
    assert history.loss.values == pytest.approx([expected[s - 1] for s in history.loss.steps])


def test_weights_held_elsewhere_are_said_and_each_forward_is_a_step():
    model, x, y = _things()
    weights = {n: p.detach().clone() for n, p in model.named_parameters()}
    with Watcher(model, None) as watcher:
        for _ in range(100):
            leaves = {n: w.requires_grad_() for n, w in weights.items()}
            loss = F.cross_entropy(torch.func.functional_call(model, leaves, (x,)), y)
            gradients = torch.autograd.grad(loss, list(leaves.values()))
            weights = {
                n: (w - RATE * g).detach()
                for (n, w), g in zip(leaves.items(), gradients, strict=True)
            }
    history = watcher.history()
    assert history.num_steps == 100 - by_hand.MOST_FORWARDS + 1
    assert "do not move" in history.unseen["updates"]
    assert history.by_step["loss"][-1] < history.by_step["loss"][0]


def test_many_forwards_before_the_first_step_of_an_optimiser_are_forgotten():
    """As the first step of a script that adds up more micro-batches than are waited for."""
    model, x, y = _things()
    optimizer = torch.optim.SGD(model.parameters(), RATE)
    with Watcher(model, None) as watcher:
        for _ in range(2 * by_hand.MOST_FORWARDS):
            F.cross_entropy(model(x), y).backward()
        assert watcher.num_steps > 1
        watcher.adopt(optimizer)
        optimizer.step()
        for _ in range(3):
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
    history = watcher.history()
    assert history.num_steps == 4
    assert list(history.steps[:2]) == [1, 2]
    assert (history.by_layer["update_norm"] > 0).all()
    assert "updates" not in watcher.unseen


def test_an_optimiser_that_turns_up_after_steps_by_hand_goes_on_counting():
    model, x, y = _things()
    optimizer = torch.optim.SGD(model.parameters(), RATE)

    with Watcher(model, None) as watcher:
        _train(model, x, y, 30)
        watcher.adopt(optimizer)
        assert watcher.num_steps in (29, 30)  # the last may be a sampled one, not yet over
        before = watcher.num_steps
        _train(model, x, y, 20, _stepping(optimizer))
        assert watcher.num_steps == before + 20
    history = watcher.history()
    assert history.by_step["learning_rate"][-1] == RATE
    assert "optimizer" not in history.unseen
    assert list(history.train["learning_rate"].values) == [RATE]


@pytest.mark.parametrize("num_steps", [0, 1, 5, 60])
def test_nothing_is_left_behind(num_steps):
    model, x, y = _things()
    with Watcher(model, None):
        _train(model, x, y, num_steps)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    for p in model.parameters():
        assert not vars(p)
        assert not p._backward_hooks
        assert not p._post_accumulate_grad_hooks
    assert not torch.overrides._get_current_function_mode_stack()


def test_a_model_that_never_trains_has_no_steps():
    model, x, _ = _things()
    with Watcher(model, None) as watcher:
        with torch.no_grad():
            for _ in range(100):
                model(x)
        model(x)
    history = watcher.history()
    assert history.num_steps == 0
    assert "no weight moved" in history.unseen["optimizer"]
