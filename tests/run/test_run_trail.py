"""The trail of a killed script is the history that its watcher had."""

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

import trainwright as tw
from trainwright.run.attach import Watch
from trainwright.run.trail import diagnose_trail


def _watched(path, *, rate=0.1, num_steps=60):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    optimizer = torch.optim.SGD(model.parameters(), rate)
    watch = Watch(model, optimizer, budget=0.5, trail=path).attach()
    for _ in range(num_steps):
        optimizer.zero_grad()
        F.cross_entropy(model(torch.randn(8, 4)), torch.randint(0, 3, (8,))).backward()
        optimizer.step()
    return watch


def test_what_is_on_disk_while_it_runs_is_what_the_watcher_knows(tmp_path, monkeypatch):
    seen = []
    judge = tw.run.trail.judge
    monkeypatch.setattr(
        "trainwright.run.trail.judge", lambda facts, history: seen.append(history) or judge(facts)
    )
    watch = _watched(tmp_path / "readings")
    assert diagnose_trail(tmp_path / "readings") is not None
    expected, (found,) = watch.history, seen
    watch.detach()
    assert found.layers == expected.layers
    np.testing.assert_array_equal(found.steps, expected.steps)
    for name, values in expected.by_layer.items():
        np.testing.assert_allclose(found.by_layer[name], values, rtol=1e-6)
    for name, values in expected.by_step.items():
        np.testing.assert_array_equal(found.by_step[name], values)


def test_a_line_that_was_cut_off_is_left_out(tmp_path):
    path = tmp_path / "readings"
    _watched(path, rate=50.0).detach()
    whole = path.read_text()
    path.write_text(whole[: 2 * len(whole) // 3])
    assert diagnose_trail(path) is not None
    path.write_text(whole[:10])
    assert diagnose_trail(path) is None
    path.write_text("")
    assert diagnose_trail(path) is None
