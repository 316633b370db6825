"""The plain loop does what its habits say, alike for the same seed."""

import numpy as np
import pytest
import torch
from torch import nn

from tests.edit.programs import classes, net, program
from trainwright.edit.loop import batches, rate_factor, score, train
from trainwright.edit.program import Habits, Penalty


def test_equal_seeds_train_to_equal_bits_and_the_global_generator_stands_still() -> None:
    made = program()
    state = torch.get_rng_state()
    a, b, c = train(made, 0), train(made, 0), train(made, 1)
    assert torch.equal(torch.get_rng_state(), state)
    assert np.array_equal(a.losses, b.losses)
    assert not np.array_equal(a.losses, c.losses)
    assert a.score is not None
    assert a.score > 0.8


def test_the_loop_equals_one_written_by_hand() -> None:
    made = program().turned(epochs=1)
    mine = train(made, 0)
    torch.manual_seed(0)
    model, optimizer = made.start(0)
    losses = []
    feed = batches(made.train, made.habits, 0)
    for _ in range(made.num_steps):
        batch = next(feed)
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(batch.inputs[0]), batch.targets)
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert mine.losses == pytest.approx(losses, abs=1e-6)


def test_each_epoch_visits_every_example_once_and_classes_can_be_balanced() -> None:
    made = program(data=classes(90))
    feed = batches(made.train, made.habits, 3)
    rows = sum(len(next(feed).targets) for _ in range(3))
    assert rows == made.train.num_rows
    skewed = made.train.pick(np.flatnonzero((made.train.targets != 0).numpy()))
    few = torch.cat([skewed.targets[:10], skewed.targets.new_zeros(2)])
    lopsided = made.train.pick(np.arange(12))
    from dataclasses import replace

    lopsided = replace(lopsided, targets=few)
    drawn = batches(lopsided, replace(made.habits, balanced=True, batch_size=12), 0)
    share = np.mean([float((next(drawn).targets == 0).float().mean()) for _ in range(60)])
    assert 0.25 < share < 0.42  # 2 of 12 examples, a third of the draws


def test_warmup_rises_and_a_cosine_ends_near_zero() -> None:
    habits = Habits(batch_size=8, epochs=1, warmup_steps=4, schedule="cosine")
    factors = [rate_factor(habits, step, 100) for step in range(100)]
    assert factors[:4] == [0.25, 0.5, 0.75, 1.0]
    assert factors[4] == pytest.approx(1.0)
    assert factors[99] < 1e-2
    assert factors[4:] == sorted(factors[4:], reverse=True)


def test_clipping_penalties_and_forgotten_clearing_change_the_way() -> None:
    plain = train(program(), 0).losses
    for habits in (
        {"clip_norm": 1e-3},
        {"clears": False},
        {"penalties": (Penalty(parameter="0.weight", l2=0.5),)},
        {"accumulate": 2},
    ):
        other = train(program().turned(**habits), 0).losses
        assert not np.array_equal(plain[: len(other)], other), habits


def test_a_loss_that_leaves_the_numbers_ends_the_loop_without_a_score() -> None:
    class Broken(nn.Module):
        def forward(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
            return nn.functional.cross_entropy(outputs, targets) * 1e38 * 1e38

    healthy = program()
    from dataclasses import replace

    seen = train(replace(healthy, loss=Broken()), 0)
    assert seen.state == "failed"
    assert len(seen.losses) == 1


def test_answers_are_scored_on_the_scale_of_the_users_targets() -> None:
    X, _ = classes()
    y = 100 * X[:, 1:2] + 1000
    made = program(lambda: net(1), data=(X, y), loss=nn.MSELoss(), epochs=1)
    model, _ = made.start(0)

    class Exact(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x[:, 1:2]

    from dataclasses import replace

    decoded = replace(made, decode=lambda outputs: outputs * 100 + 1000)
    assert score(decoded, Exact()) == pytest.approx(1.0)
    bad = score(made, model)
    assert bad is not None
    assert bad < -50  # nowhere near 1000
