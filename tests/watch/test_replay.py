"""A step gone through again names the operation, the layer, the line and the example."""

import inspect
import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from trainwright.watch.replay import replay


class Log(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden = nn.Linear(4, 4)
        self.drop = nn.Dropout(0.5)
        self.norm = nn.BatchNorm1d(4)

    def forward(self, x):
        return torch.log(self.drop(self.norm(self.hidden(x))).relu())  # here


class Root(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden = nn.Linear(4, 4)

    def forward(self, x):
        return torch.sqrt(self.hidden(x) * 0 + x.relu())


def _line_of(marker):
    source, first = inspect.getsourcelines(Log)
    return first + next(i for i, text in enumerate(source) if marker in text)


def test_the_first_operation_that_is_not_finite_is_named_with_line_and_range():
    torch.manual_seed(0)
    found = replay(Log(), nn.MSELoss(), (torch.randn(6, 4),), torch.zeros(6, 4))
    assert found.culprit is not None
    assert (found.culprit.name, found.culprit.direction) == ("log", "forward")
    assert found.culprit.line is not None
    assert found.culprit.line.endswith(f"test_replay.py:{_line_of('# here')}")
    assert found.culprit.input_low == 0.0
    assert found.culprit.num_bad > 0
    assert math.isinf(found.loss) or math.isnan(found.loss)


def test_a_gradient_that_breaks_is_found_on_the_way_back():
    torch.manual_seed(0)
    found = replay(Root(), nn.MSELoss(), (torch.randn(6, 4),), torch.zeros(6, 4))
    assert math.isfinite(found.loss)
    assert found.culprit is not None
    assert found.culprit.direction == "backward"
    assert "Sqrt" in found.culprit.name
    assert math.isnan(found.gradient_norm)


def test_the_example_with_the_largest_loss_is_pointed_at():
    torch.manual_seed(0)
    x, y = torch.randn(8, 4), torch.zeros(8, 4)
    x[5] *= 1e4
    found = replay(nn.Linear(4, 4), F.mse_loss, (x,), y)
    assert found.culprit is None
    assert found.example == 5
    assert found.example_share is not None
    assert found.example_share > 0.99
    assert found.largest is not None
    assert found.largest.name in ("mse_loss", "linear")


def test_an_example_that_is_not_finite_is_pointed_at():
    x = torch.randn(8, 4)
    x[3, 1] = math.nan
    assert replay(nn.Linear(4, 4), F.mse_loss, (x,), torch.zeros(8, 4)).example == 3


def test_module_gradients_buffers_and_random_streams_are_left_alone():
    torch.manual_seed(0)
    model = Log()
    model.hidden.weight.grad = torch.ones(4, 4)
    state = {n: t.clone() for n, t in model.state_dict().items()}
    stream = torch.get_rng_state()
    weights = {n: torch.full_like(t, 2.0) for n, t in model.named_parameters()}
    found = replay(
        model,
        nn.MSELoss(),
        (torch.randn(6, 4, generator=torch.Generator().manual_seed(1)),),
        torch.zeros(6, 4),
        weights=weights,
    )
    assert found.num_operations > 5
    assert torch.equal(stream, torch.get_rng_state())
    assert all(torch.equal(t, state[n]) for n, t in model.state_dict().items())
    assert torch.equal(model.hidden.weight.grad, torch.ones(4, 4))
    assert model.hidden.bias.grad is None
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_weights_of_a_snapshot_are_the_ones_that_run():
    model = nn.Linear(4, 1, bias=False)
    weights = {"weight": torch.full((1, 4), 3.0)}
    found = replay(model, F.mse_loss, (torch.ones(2, 4),), torch.zeros(2, 1), weights=weights)
    assert found.loss == pytest.approx(144.0)
    assert found.gradient_norm == pytest.approx(2 * 12 * 2)


def test_an_error_of_the_users_code_is_reported_and_not_raised():
    found = replay(nn.Linear(4, 1), F.mse_loss, (torch.ones(2, 3),), torch.zeros(2, 1))
    assert found.error is not None
    assert "shapes" in found.error
