"""Every change of the learning rate is known, between samples too."""

import torch
from torch import nn

from trainwright.watch.watcher import Watcher


def _run(schedule, num_steps):
    torch.manual_seed(0)
    model, X = nn.Linear(3, 1), torch.randn(8, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=schedule(1))
    with Watcher(model, optimizer, budget=0.001) as watcher:
        for step in range(1, num_steps + 1):
            optimizer.param_groups[0]["lr"] = schedule(step)
            optimizer.zero_grad()
            model(X).square().mean().backward()
            optimizer.step()
        return watcher.history().train["learning_rate"]


def test_a_constant_rate_is_one_point():
    curve = _run(lambda step: 0.1, 300)
    assert curve.steps.tolist() == [1]
    assert curve.values.tolist() == [0.1]


def test_a_sudden_fall_between_samples_is_seen_at_its_step():
    curve = _run(lambda step: 0.1 if step < 207 else 1e-6, 300)
    assert curve.steps.tolist() == [1, 207]
    assert curve.values.tolist() == [0.1, 1e-6]


def test_a_slow_decay_is_told_in_steps_of_five_percent():
    curve = _run(lambda step: 0.1 * 0.99**step, 300)
    fall = curve.values[1:] / curve.values[:-1]
    assert ((fall < 0.95) & (fall > 0.93)).all()


def test_a_rate_that_swings_at_every_step_stays_bounded():
    assert len(_run(lambda step: 0.1 if step % 2 else 0.01, 4000).steps) < 1600
