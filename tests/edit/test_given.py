"""What users hand over becomes a program, and nothing of theirs is changed."""

import copy

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from tests.edit.programs import adam, classes, net, program
from trainwright.core.errors import TrainwrightError
from trainwright.edit.given import maker_of
from trainwright.edit.surgery.initial import redraw


def test_a_factory_gives_equal_networks_for_equal_seeds_and_leaves_the_random_state() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    make = maker_of(net)
    a, b, c = make(3), make(3), make(4)
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))
    assert not torch.equal(next(a.parameters()), next(c.parameters()))


def test_a_module_starts_from_its_own_weights_and_is_not_touched() -> None:
    torch.manual_seed(0)
    model = net()
    kept = copy.deepcopy(model.state_dict())
    made = program(model)
    start, _ = made.start(0)
    assert all(torch.equal(kept[n], p) for n, p in start.state_dict().items())
    other, _ = made.start(1)
    assert not torch.equal(kept["0.weight"], other.state_dict()["0.weight"])
    assert all(torch.equal(kept[n], p) for n, p in model.state_dict().items())


def test_redrawing_keeps_each_tensors_entries_and_leaves_equal_rows_alone() -> None:
    model = net()
    nn.init.constant_(model[2].weight, 0.3)  # pyright: ignore[reportIndexIssue,reportArgumentType]
    before = copy.deepcopy(model.state_dict())
    redraw(model, 7)
    after = model.state_dict()
    assert torch.equal(before["0.weight"].flatten().sort().values,
                       after["0.weight"].flatten().sort().values)  # fmt: skip
    assert not torch.equal(before["0.weight"], after["0.weight"])
    assert torch.equal(before["2.weight"], after["2.weight"])


def test_an_instance_of_an_optimiser_is_rebuilt_with_its_groups_and_its_gaps() -> None:
    model = net()
    optimizer = torch.optim.SGD(
        [{"params": [model[0].weight], "lr": 0.5},  # pyright: ignore[reportIndexIssue]
         {"params": [model[0].bias, model[2].weight]}],  # pyright: ignore[reportIndexIssue]
        lr=0.1, momentum=0.9,
    )  # fmt: skip
    plan = program(model, optimizer=optimizer).optimizer
    rebuilt = plan.build(net())
    rates = {group["lr"]: len(group["params"]) for group in rebuilt.param_groups}
    assert rates == {0.5: 1, 0.1: 2}
    assert plan.without == {"2.bias"}
    assert all(group["momentum"] == 0.9 for group in rebuilt.param_groups)


def test_batches_of_a_loader_are_joined_whole() -> None:
    X, y = classes(100)
    made = program(data=DataLoader(TensorDataset(X, y), batch_size=10))
    assert made.train.num_rows == 80
    assert made.judged.num_rows == 20
    assert made.habits.batch_size == 32


@pytest.mark.parametrize(
    ("model", "optimizer", "word"),
    [
        (3, adam, "makes no network"),
        (lambda: 3, adam, "makes no network"),
        (net, 3, "no optimiser"),
        (net, lambda parameters: 3, "no optimiser"),
        (net(), torch.optim.SGD(net().parameters(), lr=0.1), "no parameter of the model"),
    ],
)
def test_what_cannot_be_built_again_is_refused_with_a_way_out(
    model: object, optimizer: object, word: str
) -> None:
    with pytest.raises(TrainwrightError, match=word) as caught:
        program(model, optimizer=optimizer)
    assert caught.value.do


def test_a_factory_of_other_shapes_each_time_is_refused() -> None:
    def unsteady() -> nn.Module:
        return net(3 + int(torch.randint(2, 50, ())))

    with pytest.raises(TrainwrightError, match="other shapes"):
        program(unsteady)


def test_a_factory_that_uses_a_part_again_gives_networks_that_share_nothing() -> None:
    bend = nn.ReLU()
    made = program(lambda: nn.Sequential(nn.Linear(6, 8), bend, nn.Linear(8, 3)))
    a, b = made.start(0)[0], made.start(0)[0]
    assert not {id(m) for m in a.modules()} & {id(m) for m in b.modules()}
    assert all(m is not bend for m in a.modules())
    assert torch.equal(a.state_dict()["0.weight"], b.state_dict()["0.weight"])


def test_a_factory_that_hands_out_one_network_is_taken_for_that_network() -> None:
    model = net()
    kept = copy.deepcopy(model.state_dict())
    made = program(lambda: model)
    assert made.start(0)[0] is not model
    assert torch.equal(made.start(0)[0].state_dict()["0.weight"], kept["0.weight"])
    assert not torch.equal(made.start(1)[0].state_dict()["0.weight"], kept["0.weight"])
    assert torch.equal(model.state_dict()["0.weight"], kept["0.weight"])
