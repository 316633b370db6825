"""Losses find their steps however rarely they are collected; the flight recorder keeps the last
batches within its bounds."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from trainwright.watch import flight as flight_module
from trainwright.watch.attach import Guard
from trainwright.watch.budget import OPENING_LEAST, Purse
from trainwright.watch.course import Course
from trainwright.watch.flight import Flight
from trainwright.watch.lasting import BURST_STEPS, LastingHooks
from trainwright.watch.losses import LossBuffer
from trainwright.watch.record import Recorder
from trainwright.watch.watcher import Watcher


@given(
    per_step=st.integers(1, 4),
    blocks=st.lists(st.integers(1, 9), min_size=1, max_size=8),
    as_tensors=st.booleans(),
)
def test_each_step_gets_the_mean_of_its_own_losses_wherever_blocks_are_cut(
    per_step, blocks, as_tensors
):
    recorder = Recorder()
    buffer, step, expected = LossBuffer(recorder), 0, []
    for length in blocks:
        for _ in range(length):
            step += 1
            losses = [float(step * 10 + k) for k in range(per_step)]
            buffer.pending += [torch.tensor(x) if as_tensors else x for x in losses]
            expected.append(np.mean(losses))
        buffer.close_steps(step)
        if length % 2:
            buffer.flush()
        elif length % 3 == 0 and as_tensors:
            buffer.pack()
    buffer.flush()
    curve = recorder.losses.curve()
    assert list(curve.steps) == list(range(1, step + 1))
    assert curve.values == pytest.approx(expected)


def test_losses_that_are_fewer_than_steps_are_spread_over_them():
    recorder = Recorder()
    buffer = LossBuffer(recorder)
    buffer.pending += [1.0, 2.0, 3.0]
    buffer.close_steps(12)
    buffer.flush()
    assert list(recorder.losses.curve().steps) == [4, 8, 12]


@pytest.mark.parametrize("after", [False, True], ids=["before the step", "after the step"])
def test_a_told_loss_belongs_to_its_step_wherever_in_the_loop_it_is_told(after):
    torch.manual_seed(0)
    model, X = nn.Linear(4, 1), torch.randn(60, 8, 4)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3)
    seen = []
    with Watcher(model, optimizer, budget=1) as watcher:
        for x in X:
            optimizer.zero_grad()
            loss = (model(x) - x.sum(1, keepdim=True)).abs().clamp(min=0.1).mean()
            loss.backward()
            seen.append(loss.item())
            if not after:
                watcher.loss(loss)
            optimizer.step()
            if after:
                watcher.loss(loss)
        history = watcher.history()
    assert history.loss.steps.tolist() == list(range(1, 61))
    assert history.loss.values == pytest.approx(seen)
    share = history.step("penalty_share")
    assert share is None or np.nanmax(np.abs(share)) < 1e-6
    assert history.step("loss") == pytest.approx([seen[step - 1] for step in history.steps])


def test_a_hook_that_is_too_dear_is_there_on_a_share_of_the_steps_in_runs():
    criterion, purse, guard = nn.MSELoss(), Purse(0.02), Guard()
    purse.ends.extend(k * 500e-6 for k in range(20))
    hooks = LastingHooks(guard)
    hooks.costs = {"criterion": 20e-6, "root": 20e-6, "counter": 1e-6}
    hooks.add_criterion(criterion, lambda *_: None)
    hooks.add_roots([criterion], lambda *_: None)
    there = []
    for step in range(1, 9000):
        if step >= hooks.turn_at:
            hooks.turn(step)
        hooks.economise(purse, step)
        there.append(len(criterion._forward_hooks))
    assert not criterion._forward_pre_hooks
    assert all(there[:100])
    late = there[200:]
    assert np.mean(late) == pytest.approx(hooks.duty, abs=0.05)
    assert 0.1 < hooks.duty < 0.3
    changes = np.flatnonzero(np.diff(there))
    assert (np.diff(changes)[1::2] == BURST_STEPS).all() or (
        np.diff(changes)[::2] == BURST_STEPS
    ).all()
    assert set(guard.unseen) == {"flight recorder", "loss of every step"}
    hooks.drop(purse, "criterion", 9000)
    assert not criterion._forward_hooks
    assert purse.each == pytest.approx(0)


def test_the_last_eight_batches_are_kept_by_reference_and_fewer_when_they_are_large(monkeypatch):
    model = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), 1e-3)
    batches = [torch.randn(5, 4) for _ in range(12)]
    with Watcher(model, optimizer, budget=1.0) as watcher:
        for x in batches:
            optimizer.zero_grad()
            model(x).sum().backward()
            optimizer.step()
    flown = watcher.flight.batches()
    assert [f.step for f in flown] == list(range(5, 13))
    assert all(f.inputs[0] is x for f, x in zip(flown, batches[4:], strict=True))
    assert len(watcher.flight.random) >= OPENING_LEAST  # of sampled steps, fewer on a slow machine
    monkeypatch.setattr(flight_module, "MAX_RING_BYTES", 3 * 80)
    watcher.flight.keep_within()
    assert [f.step for f in watcher.flight.batches()] == [10, 11, 12]
    assert watcher.flight.too_large


def test_a_snapshot_is_a_copy_of_weights_and_buffers():
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    flight = Flight()
    flight.take_snapshot(7, [model])
    before = {n: t.clone() for n, t in model.state_dict().items()}
    with torch.no_grad():
        model[0].weight.zero_()
    assert flight.snapshot is not None
    assert flight.snapshot.step == 7
    assert all(torch.equal(t, before[n]) for n, t in flight.snapshot.weights.items())


@pytest.mark.parametrize("criterion", [None, nn.CrossEntropyLoss()])
def test_between_samples_steps_pass_without_a_look(criterion, monkeypatch):
    model = nn.Linear(4, 3)
    optimizer = torch.optim.SGD(model.parameters(), 1e-3)
    looks = []
    wake = Course._wake_up
    monkeypatch.setattr(Course, "_wake_up", lambda course: (looks.append(1), wake(course))[1])
    function = criterion or nn.functional.cross_entropy
    with Watcher(model, optimizer, loss=criterion):
        for step in range(900):
            if step == 300:
                looks.clear()
            optimizer.zero_grad()
            function(model(torch.randn(8, 4)), torch.randint(0, 3, (8,))).backward()
            optimizer.step()
    assert len(looks) < 120
