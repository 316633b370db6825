"""The last layer's bias is set, written as code and undone to the bit, or the network is refused."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from trainwright.core.errors import TrainwrightError
from trainwright.edit.surgery.bias import start_bias
from trainwright.edit.surgery.observe import observe
from trainwright.edit.surgery.record import Edited, fingerprint

X = torch.randn(16, 6, generator=torch.Generator().manual_seed(0))


def same(values: Tensor) -> Tensor:
    return values


def started(model: nn.Module, *values: float) -> Edited:
    return start_bias(model, observe(model, [X, X[:8]]), values, same,
                      ("start = [0.5, -2.0]", "torch.tensor(start)"), axis=1, batch=X)  # fmt: skip


def network(end: Any = None) -> nn.Sequential:
    torch.manual_seed(0)
    layers = [nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 2)]
    return nn.Sequential(*layers, *([end] if end else []))


def test_the_bias_is_set_and_undone_with_all_else_as_it_was() -> None:
    model = network()
    before, weight = fingerprint(model), model[4].weight.clone()
    random, modes = torch.get_rng_state(), [m.training for m in model.modules()]
    edit = started(model, 0.5, -2.0)
    assert model[4].bias.tolist() == [0.5, -2.0]
    assert torch.equal(model[4].weight, weight)
    assert torch.equal(torch.get_rng_state(), random)
    assert [m.training for m in model.modules()] == modes
    assert edit.changed == ("4.bias",)
    twin = network()
    exec("\n".join(edit.lines), {"torch": torch, "model": twin})
    assert torch.equal(twin[4].bias, model[4].bias)
    edit.undo()
    assert fingerprint(model) == before


def test_a_network_that_is_refused_keeps_its_weights() -> None:
    for model, values in ((network(nn.Sigmoid()), (0.5, -2.0)), (network(), (0.5, 1.0, 2.0))):
        before = fingerprint(model)
        with pytest.raises(TrainwrightError, match="bias"):
            started(model, *values)
        assert fingerprint(model) == before
