"""The gradient noise scale: its parts equal brute force, and its interval holds the truth."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from trainwright.core.stats import ratio_of_means
from trainwright.watch import budget
from trainwright.watch.noise import Noise, from_microbatches, from_successive
from trainwright.watch.watcher import Watcher

FEATURES, DISTANCE, NOISE_SD = 20, 0.5, 1.0


def _scale_of_a_linear_model():
    """B_simple of half the squared error, y = noise, x ~ N(0, 1), weights w: gradients x (x.w - e)
    have mean w and variance (|w|^2 + sd^2) features + |w|^2 in all."""
    square = FEATURES * DISTANCE**2
    return ((square + NOISE_SD**2) * FEATURES + square) / square


def _run(seed, *, num_steps, num_passes, budget=1.0):
    """A linear model at rest: nothing but the batches changes."""
    own = torch.Generator().manual_seed(seed)
    model = nn.Linear(FEATURES, 1, bias=False)
    nn.init.constant_(model.weight, DISTANCE)
    optimizer = torch.optim.SGD(model.parameters(), 0.0)
    with Watcher(model, optimizer, budget=budget) as watcher:
        for _ in range(num_steps):
            optimizer.zero_grad()
            for _ in range(num_passes):
                x = torch.randn(16, FEATURES, generator=own)
                y = NOISE_SD * torch.randn(16, 1, generator=own)
                (F.mse_loss(model(x), y) / 2 / num_passes).backward()
            optimizer.step()
    return watcher.history()


def _covers(num_passes, seeds, num_steps):
    truth, found = _scale_of_a_linear_model(), []
    for seed in seeds:
        read = _run(seed, num_steps=num_steps, num_passes=num_passes).by_step
        found.append(ratio_of_means(read["gradient_noise"], read["gradient_signal"]))
    assert all(f is not None for f in found)
    assert np.median([f[0] for f in found]) == pytest.approx(truth, rel=0.2)
    return np.mean([low <= truth <= high for _, low, high in found])


@pytest.mark.parametrize(("num_passes", "num_steps"), [(4, 12), (1, 120)])
def test_the_interval_holds_the_truth_in_95_of_100_runs(num_passes, num_steps):
    """Of 60 runs at least 52: fewer come by chance in 0.4 % of cases."""
    assert _covers(num_passes, range(60), num_steps) >= 52 / 60


def test_the_parts_of_an_accumulated_step_equal_brute_force():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 10), nn.Tanh(), nn.Linear(10, 3))
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    sizes = (8, 16, 12)
    batches = [(torch.randn(n, 6), torch.randint(0, 3, (n,))) for n in sizes]
    parts = []
    for x, y in batches:
        gradients = torch.autograd.grad(F.cross_entropy(model(x), y) / 3, list(model.parameters()))
        parts.append(torch.cat([g.reshape(-1) for g in gradients]).double())
    with Watcher(model, optimizer) as watcher:
        for x, y in batches:
            (F.cross_entropy(model(x), y) / 3).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1e-3)  # what comes later changes nothing
        optimizer.step()
    read = watcher.history().by_step
    crossed = sum(float(a @ b) for a in parts for b in parts if a is not b) / 6
    alone = sum(float(a @ a) for a in parts) / 3
    noise = (alone - crossed) / np.mean([1 / n for n in sizes])
    assert read["gradient_signal"][0] == pytest.approx(9 * crossed, rel=1e-4)
    assert read["gradient_noise"][0] == pytest.approx(9 * noise, rel=1e-4)


def test_a_scalers_factor_is_no_part_of_the_gradient():
    found = []
    for scale in (1.0, 2.0**12):
        torch.manual_seed(0)
        model = nn.Linear(6, 3)
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        scaler = torch.amp.GradScaler("cpu", init_scale=scale)
        with Watcher(model, optimizer) as watcher:
            for _ in range(3):
                x, y = torch.randn(8, 6), torch.randint(0, 3, (8,))
                scaler.scale(F.cross_entropy(model(x), y)).backward()
            scaler.step(optimizer)
            scaler.update()
        found.append(watcher.history().by_step["gradient_noise"][0])
    assert found[0] == pytest.approx(found[1], rel=1e-3)


def test_losses_that_share_a_forward_are_no_micro_batches():
    torch.manual_seed(0)
    model = nn.Linear(6, 3)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with Watcher(model, optimizer) as watcher:
        for _ in range(3):
            out = model(torch.randn(8, 6))
            out.square().mean().backward(retain_graph=True)
            out.abs().mean().backward()
            optimizer.step()
            optimizer.zero_grad()
    read = watcher.history().by_step["gradient_signal"]
    assert np.isnan(read[0])  # nothing on the first step: no gradient came before
    assert np.isfinite(read[1])  # two successive steps


def test_of_successive_steps_only_pairs_that_share_no_gradient_are_told(monkeypatch):
    monkeypatch.setattr(budget, "OPENING_SECONDS", math.inf)  # on a slow machine, too
    read = _run(0, num_steps=9, num_passes=1).by_step
    told = np.flatnonzero(np.isfinite(read["gradient_signal"]))
    assert told.tolist() == [1, 3, 5, 7]
    assert np.isfinite(read["gradient_noise"][told]).all()


def test_many_micro_batches_are_read_by_their_first_eight():
    read = _run(1, num_steps=40, num_passes=24).by_step
    found = ratio_of_means(read["gradient_noise"], read["gradient_signal"])
    assert found is not None
    assert found[0] == pytest.approx(_scale_of_a_linear_model(), rel=0.25)
    assert np.mean(read["gradient_signal"]) == pytest.approx(FEATURES * DISTANCE**2, rel=0.2)


def test_the_running_scale_of_known_gradients_is_found_within_a_third():
    generator = np.random.default_rng(0)
    noise, signal, B = Noise(), np.full(400, 0.1), 10
    found = []
    for _ in range(200):
        g, h = (signal + generator.normal(0, 1, 400) / math.sqrt(B) for _ in range(2))
        squares = float(g @ g + h @ h) / 2
        found.append(noise.add(from_successive(dot=float(g @ h), squares=squares, batch_size=B)))
    assert np.nanmedian(found[50:]) == pytest.approx(400 / 4.0, rel=0.34)
    noise = Noise()
    lost = [
        noise.add(from_successive(dot=float(a @ b), squares=float(a @ a + b @ b) / 2, batch_size=B))
        for a, b in (generator.normal(0, 1, (2, 400)) for _ in range(100))
    ]
    assert np.isnan(lost).mean() > 0.9


def test_what_is_not_known_has_no_parts():
    assert math.isnan(from_successive(dot=1.0, squares=2.0, batch_size=0).noise)
    assert math.isnan(from_successive(dot=math.inf, squares=2.0, batch_size=4).signal)
    assert math.isnan(from_microbatches([1.0], 1.0, [4], 1).signal)
    assert math.isnan(from_microbatches([1.0, math.nan], 1.0, [4, 4], 2).signal)
