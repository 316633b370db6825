"""Gathering facts leaves no trace, says what it could not see, and refuses wrong use in words."""

import copy
import random

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from check.families import Between, CharacterModel, Recurrent, ResNet, Siamese, table, text
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from trainwright.check.gather import final_score, gather
from trainwright.core.errors import TrainwrightError


class NoCopy(Between):
    def __deepcopy__(self, memo):
        raise TypeError("cannot be copied")


def programs():
    images = torch.randn(48, 3, 8, 8), torch.randint(0, 10, (48,))
    norm = nn.Sequential(nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3))
    return {
        "mlp": (Between(nn.Sequential(nn.ReLU(), nn.Dropout(0.5))), table(), F.cross_entropy),
        "convnet": (ResNet(), images, nn.CrossEntropyLoss()),
        "recurrent": (Recurrent(), (torch.randn(48, 7, 5), torch.randn(48, 1)), nn.MSELoss()),
        "decoder": (CharacterModel(), text(), lambda o, y: F.cross_entropy(o.transpose(1, 2), y)),
        "pair": (Siamese(), ((torch.randn(48, 6), torch.randn(48, 6)), torch.randn(48, 1)),
                 lambda o, y: F.mse_loss(o[0], y)),
        "not copied": (NoCopy(norm), table(), F.cross_entropy),
    }  # fmt: skip


def trained(name, checked):
    torch.manual_seed(3)
    model, (x, y), loss = programs()[name]
    frozen = next(model.parameters())
    frozen.requires_grad_(name == "mlp")
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], 1e-2)
    x = x if isinstance(x, tuple) else (x,)
    loss(model(*x), y).backward()
    modules = list(model.modules())
    modules[-1].training = False
    np.random.seed(1)
    random.seed(1)
    before = [(p.grad is None, p.requires_grad) for p in model.parameters()]
    keys = [set(vars(m)) for m in modules]
    if checked:
        gather(model, (x if len(x) > 1 else x[0], y), loss=loss, optimizer=optimizer)
        assert not modules[-1].training
    assert before == [(p.grad is None, p.requires_grad) for p in model.parameters()]
    assert keys == [set(vars(m)) for m in modules]
    for _ in range(4):
        loss(model(*x), y).backward()  # gradients accumulate on those kept
        optimizer.step()
    numbers = torch.rand(3), np.random.rand(3), random.random()
    return copy.copy(model.state_dict()), numbers, [p.grad for p in model.parameters()]


@pytest.mark.parametrize("name", ["mlp", "convnet", "recurrent", "decoder", "pair", "not copied"])
def test_training_afterwards_is_bit_equal(name):
    plain, watched = trained(name, checked=False), trained(name, checked=True)
    assert all(torch.equal(plain[0][k], watched[0][k]) for k in plain[0])
    assert torch.equal(plain[1][0], watched[1][0])
    assert np.array_equal(plain[1][1], watched[1][1])
    assert plain[1][2] == watched[1][2]
    for a, b in zip(plain[2], watched[2], strict=True):
        assert (a is None and b is None) or torch.equal(a, b)


def test_a_shuffling_loader_gives_the_order_that_it_would_have_given():
    def orders(checked):
        torch.manual_seed(0)
        own = torch.Generator().manual_seed(5)
        loaders = [DataLoader(TensorDataset(*table()), batch_size=16, shuffle=True),
                   DataLoader(TensorDataset(*table()), 16, shuffle=True, generator=own)]  # fmt: skip
        if checked:
            for loader in loaders:
                gather(Between(torch.relu), loader, loss=nn.CrossEntropyLoss())
        else:
            for _ in loaders:
                Between(torch.relu)
        return [y for loader in loaders for _, y in loader]

    assert all(torch.equal(a, b) for a, b in zip(orders(False), orders(True), strict=True))


def test_a_loader_and_its_arrays_give_the_same_facts():
    x, y = table(rows=96)
    torch.manual_seed(0)
    model = Between(torch.relu)
    by_arrays = gather(model, (x.numpy(), y.numpy()), loss=nn.CrossEntropyLoss(), batch_size=32)
    loader = DataLoader(TensorDataset(x, y), batch_size=32)
    by_batches = gather(model, loader, loss=nn.CrossEntropyLoss())
    assert by_arrays.inputs == by_batches.inputs
    assert by_arrays.targets == by_batches.targets
    assert by_arrays.loss == by_batches.loss
    assert (by_batches.batch_size, by_batches.steps_per_epoch) == (32, 3)


def test_the_optimiser_is_compared_with_the_model():
    model, other = Between(torch.relu), nn.Linear(2, 2)
    optimizer = torch.optim.SGD(
        [{"params": model.a.parameters()}, {"params": other.parameters()}], lr=0.1, momentum=0.9
    )
    second = torch.optim.Adam([model.a.bias], lr=0.2)
    facts = gather(model, table(), loss=nn.CrossEntropyLoss(), optimizer=[optimizer, second])
    assert facts.optimizer is not None
    assert facts.optimizer.missing == ("b.weight", "b.bias")
    assert facts.optimizer.foreign == 2
    assert facts.optimizer.twice == ("a.bias",)
    assert (facts.optimizer.name, facts.optimizer.momentum) == ("SGD", 0.9)


def test_warnings_of_torch_are_kept_once():
    x, _ = table()
    facts = gather(nn.Linear(6, 1), (x, x[:, 0]), loss=nn.MSELoss())
    assert len(facts.warnings) == 1
    assert "target size" in facts.warnings[0]
    assert facts.loss is not None
    assert facts.loss.broadcasts


@pytest.mark.parametrize(("model", "data", "loss", "words"), [
    (nn.ReLU(), table(), nn.CrossEntropyLoss(), "no parameters"),
    (nn.LazyLinear(3), table(), nn.CrossEntropyLoss(), "lazy"),
    (nn.Linear(6, 3), table(), nn.CrossEntropyLoss(reduction="none"), "not a scalar"),
    (nn.Linear(6, 3), (table()[0], table()[1][:5]), nn.CrossEntropyLoss(), "200 rows"),
    (nn.Linear(6, 3), 7, nn.CrossEntropyLoss(), "int"),
    (nn.Linear(6, 3), iter([table()]), nn.CrossEntropyLoss(), "iterator"),
    (nn.Linear(6, 3), [], nn.CrossEntropyLoss(), "list"),
    (nn.Linear(6, 3, device="meta"), table(), nn.CrossEntropyLoss(), "meta"),
])  # fmt: skip
@pytest.mark.filterwarnings("ignore:Lazy modules")
def test_wrong_use_is_refused_with_advice(model, data, loss, words):
    with pytest.raises(TrainwrightError, match=words) as caught:
        gather(model, data, loss=loss)
    assert caught.value.allowed
    assert caught.value.do


def test_a_forward_that_raises_is_told_and_the_data_are_still_looked_at():
    facts = gather(nn.Linear(5, 3), table(), loss=nn.CrossEntropyLoss())
    assert "forward" in facts.unseen
    assert facts.model is None
    assert facts.inputs is not None
    assert facts.targets is not None


def test_the_score_of_a_trained_model_is_its_accuracy_and_nothing_moves():
    torch.manual_seed(0)
    (x, y), (xv, yv) = table(rows=300), table(rows=400, seed=0)
    xv, yv = xv[300:], yv[300:]
    model = Between(nn.Sequential(nn.BatchNorm1d(8), nn.ReLU()))
    facts = gather(model, (x, y), loss=nn.CrossEntropyLoss(), valid=(xv, yv))
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(60):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
    before = copy.deepcopy(model.state_dict())
    score = final_score(model, (x, y), (xv, yv), facts)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert model.training
    model.eval()
    said = model(xv).argmax(1)
    assert score.valid == pytest.approx(float((said == yv).float().mean()))
    recalls = [float((said[yv == k] == k).float().mean()) for k in range(3)]
    assert score.recalls == pytest.approx(recalls)
    assert facts.score is not None
    assert score.reference == facts.score.reference


@pytest.mark.parametrize(("head", "loss", "threshold"), [
    (torch.sigmoid, nn.BCELoss(), 0.5), (lambda x: x, nn.BCEWithLogitsLoss(), 0.0),
    (lambda x: x, nn.MSELoss(), 0.5)])  # fmt: skip
def test_one_output_changes_sides_where_its_head_implies(head, loss, threshold):
    torch.manual_seed(0)
    x = torch.randn(200, 6)
    y = (x[:, :1] > 0.5).float()
    model = Between(torch.relu, head, outputs=1)
    score = final_score(model, (x, y), None, gather(model, (x, y), loss=loss))
    said = (model.eval()(x) > threshold).float()
    assert score.train == pytest.approx(float((said == y).float().mean()))


def test_numbers_are_scored_by_the_share_of_variance():
    torch.manual_seed(0)
    x = torch.randn(200, 6)
    y = x[:, :1] * 3 + 1
    model = nn.Linear(6, 1)
    facts = gather(model, (x, y), loss=nn.MSELoss())
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[3.0, 0, 0, 0, 0, 0]]))
        model.bias.fill_(1.0)
    assert final_score(model, (x, y), None, facts).train == pytest.approx(1.0)
