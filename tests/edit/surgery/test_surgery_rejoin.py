"""Rejoined calls and registered layers are undone to the bit, copied and pickled, and leave no trace
where gradients are off."""

import copy
import threading
from typing import Any

import pytest
import torch
from surgery_trial import pickled
from torch import Tensor, nn
from torch.overrides import _get_current_function_mode_stack

from trainwright.check.sample import Sample
from trainwright.core.errors import TrainwrightError
from trainwright.edit.surgery.activation import replace_activation
from trainwright.edit.surgery.cuts import cuts_to_mend, rejoined
from trainwright.edit.surgery.observe import observe
from trainwright.edit.surgery.permanent import make_permanent
from trainwright.edit.surgery.record import fingerprint
from trainwright.edit.surgery.register import register
from trainwright.edit.surgery.rejoin import DETOURS, FLAT

X = torch.randn(24, 5, generator=torch.Generator().manual_seed(0))
Y = torch.arange(24) % 3
CRITERION = nn.CrossEntropyLoss()


class Sick(nn.Module):
    """A cut, a rounding, and a list of layers."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(5, 8), nn.Linear(8, 3)
        self.between = [nn.Linear(8, 8), nn.BatchNorm1d(8)]

    def forward(self, x: Tensor) -> Tensor:
        h = torch.relu(self.first(x)).detach()
        for layer in self.between:
            h = layer(h)
        return self.last((4 * h).round())


def sick() -> Any:
    torch.manual_seed(1)
    return Sick().train()


def cuts(model: nn.Module):
    few = Sample(inputs=(X,), targets=Y)
    trained = {name for name, _ in model.named_parameters()}
    return cuts_to_mend(model, few, CRITERION, operations=DETOURS | FLAT, trained=trained)


def steps(model: nn.Module, count: int = 3) -> None:
    optimizer = torch.optim.Adam(model.parameters(), 0.1)
    for _ in range(count):
        optimizer.zero_grad()
        CRITERION(model(X), Y).backward()
        optimizer.step()


def reached(model: nn.Module) -> set[str]:
    model.zero_grad()
    CRITERION(model(X), Y).backward()
    return {n for n, p in model.named_parameters() if p.grad is not None and p.grad.any()}


def values(model: nn.Module) -> Tensor:
    with torch.no_grad():
        return copy.deepcopy(model).eval()(X)


def test_both_cuts_on_one_way_are_found_and_looking_changes_nothing() -> None:
    model = sick()
    was, state = fingerprint(model), torch.get_rng_state()
    found = cuts(model)
    assert {cut.operation for cut in found} == {"detach", "round"}
    assert fingerprint(model) == was
    assert torch.equal(torch.get_rng_state(), state)


def test_rejoined_calls_are_undone_to_the_bit_whatever_was_trained() -> None:
    model = sick()
    was, keys, before = fingerprint(model), list(model.state_dict()), values(model)
    edited = rejoined(model, None, cuts(model))
    assert "first.weight" in reached(model)
    assert list(model.state_dict()) == keys
    assert torch.equal(values(model), before)
    steps(model)
    edited.undo()
    assert fingerprint(model) == was
    assert torch.equal(values(model), before)
    assert "first.weight" not in reached(model)


def test_registered_layers_are_undone_to_the_bit_whatever_was_trained() -> None:
    model = sick()
    held, before, was = model.between, values(model), fingerprint(model)
    edited = register(model)
    assert type(model.between).__name__ == "ModuleList"
    assert set(model.state_dict()) > set(sick().state_dict())
    start = model.between[0].weight.detach().clone()
    rejoin = rejoined(model, None, cuts(model))
    steps(model)
    assert not torch.equal(model.between[0].weight, start)
    rejoin.undo()
    edited.undo()
    assert model.between is held
    assert torch.equal(held[0].weight, start)
    assert held[1].num_batches_tracked == 0
    assert fingerprint(model) == was
    assert torch.equal(values(model), before)


@pytest.mark.parametrize("way", [copy.deepcopy, pickled])
def test_a_copy_keeps_the_gradient_and_shares_nothing(way) -> None:
    model = sick()
    register(model)
    rejoined(model, None, cuts(model))
    twin = way(model)
    assert reached(twin) == reached(model) == {n for n, _ in model.named_parameters()}
    assert torch.equal(values(twin), values(model))
    model.zero_grad()
    steps(twin)
    assert model.get_parameter("first.weight").grad is None


def test_nothing_is_changed_without_gradients_and_no_mode_is_left() -> None:
    model = sick()
    chosen = cuts(model)
    edited = rejoined(model, None, chosen)
    with torch.no_grad():
        assert not model(X).requires_grad
    depth = len(_get_current_function_mode_stack())
    with pytest.raises(RuntimeError):
        model(X[:, :2])
    assert len(_get_current_function_mode_stack()) == depth
    edited.undo()
    assert "forward" not in vars(model)


def test_two_threads_run_one_rejoined_network() -> None:
    model = sick().eval()
    rejoined(model, None, cuts(model))
    found: list[Tensor] = []
    threads = [threading.Thread(target=lambda: found.append(model(X))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(torch.equal(each, found[0]) and each.grad_fn is not None for each in found)


def test_other_operations_go_on_beside_it() -> None:
    model = sick()
    register(model)
    chosen = cuts(model)
    rejoined(model, None, chosen)
    first = replace_activation(model, observe(model, [X]), new="gelu")
    assert reached(model) == {n for n, _ in model.named_parameters()}
    first.undo()
    with pytest.raises(TrainwrightError, match="no module can stand"):
        make_permanent(model)


def test_a_compiled_network_keeps_the_gradient() -> None:
    model = sick()
    rejoined(model, None, cuts(model))
    torch._dynamo.reset()
    compiled = torch.compile(model, backend="eager")
    CRITERION(compiled(X), Y).backward()
    assert model.get_parameter("first.weight").grad is not None


def test_a_network_that_hides_nothing_is_refused() -> None:
    with pytest.raises(TrainwrightError, match="every parameter is registered"):
        register(nn.Linear(2, 2))
