"""The optimiser follows the edit, and an edit that does not train is refused."""

import copy

import pytest
import torch
from surgery_patients import PATIENTS, ROWS, built
from torch import nn, optim

from trainwright.core.errors import TrainwrightError
from trainwright.edit.surgery.norm import insert_norm
from trainwright.edit.surgery.observe import observe
from trainwright.edit.surgery.optimizer import perform, prove_whole, rebuild_optimizer
from trainwright.edit.surgery.permanent import make_permanent
from trainwright.edit.surgery.record import fingerprint

NAME = "functional in a loop"
PATIENT = PATIENTS[NAME]
KINDS = {
    "Adadelta": {"rho": 0.8}, "Adafactor": {"lr": 0.02}, "Adagrad": {"lr": 0.1},
    "Adam": {"betas": (0.8, 0.9), "weight_decay": 0.1}, "AdamW": {"lr": 0.01},
    "Adamax": {"lr": 0.01}, "ASGD": {"lr": 0.1}, "LBFGS": {"history_size": 3},
    "NAdam": {"lr": 0.01}, "RAdam": {"lr": 0.01}, "RMSprop": {"momentum": 0.5},
    "Rprop": {"etas": (0.4, 1.1)}, "SGD": {"lr": 0.1, "momentum": 0.9, "nesterov": True},
}  # fmt: skip


def step(model, optimizer):
    def closure():
        optimizer.zero_grad()
        loss = PATIENT.loss(model.eval()(ROWS), PATIENT.targets)
        loss.backward()
        return loss

    optimizer.step(closure)


def normed(model):
    return insert_norm(model, observe(model, [ROWS]), "layer")


@pytest.mark.parametrize("kind", KINDS)
def test_every_optimiser_is_rebuilt_with_its_settings_and_trains_the_new_parameters(kind):
    model = built(NAME)
    old = getattr(optim, kind)(model.parameters(), **KINDS[kind])
    normed(model)
    new = rebuild_optimizer(old, model)
    assert type(new) is type(old)
    skipped = {"params", "weight_decay"}
    for group in new.param_groups:
        assert {k: v for k, v in group.items() if k not in skipped} == {
            k: v for k, v in old.param_groups[0].items() if k not in skipped
        }
    held = {id(p) for group in new.param_groups for p in group["params"]}
    assert held == {id(p) for p in model.parameters()}
    before = model.layers[0].norm.weight.clone()
    step(model, new)
    assert not torch.equal(model.layers[0].norm.weight, before)


@pytest.mark.parametrize("kind", KINDS)
def test_with_its_state_kept_the_next_step_is_the_one_that_would_have_been(kind):
    made = [built(NAME), built(NAME)]
    optimizers = [getattr(optim, kind)(m.parameters(), **KINDS[kind]) for m in made]
    for model, optimizer in zip(made, optimizers, strict=True):
        step(model, optimizer)
    optimizers[1] = rebuild_optimizer(optimizers[1], made[1], keep_state=True)
    for model, optimizer in zip(made, optimizers, strict=True):
        step(model, optimizer)
    for one, other in zip(made[0].parameters(), made[1].parameters(), strict=True):
        assert torch.equal(one, other)


def test_new_parameters_join_the_group_of_their_layer_without_decay():
    model = built(NAME)
    groups = [
        {"params": model.layers.parameters(), "lr": 0.1, "weight_decay": 0.2},
        {"params": model.out.parameters(), "lr": 0.01},
    ]
    old = optim.SGD(groups, lr=1.0)
    normed(model)
    found = [
        (len(g["params"]), g["lr"], g["weight_decay"])
        for g in rebuild_optimizer(old, model).param_groups
    ]
    assert found == [(6, 0.1, 0.2), (2, 0.01, 0), (6, 0.1, 0.0)]


def test_groups_with_names_keep_them():
    model = built(NAME)
    old = optim.AdamW(model.named_parameters(), weight_decay=0.1)
    normed(model)
    new = rebuild_optimizer(old, model)
    names = [n for g in new.param_groups for n in g["param_names"]]
    assert sorted(names) == sorted(n for n, _ in model.named_parameters())


def test_what_the_optimiser_never_held_stays_out():
    model = built(NAME)
    old = optim.SGD(model.layers.parameters(), lr=0.1)
    normed(model)
    new = rebuild_optimizer(old, model)
    held = {id(p) for g in new.param_groups for p in g["params"]}
    assert not held & {id(p) for p in model.out.parameters()}
    assert len(held) == 12


def test_a_copy_is_matched_by_name():
    model = built(NAME)
    old = optim.Adam(model.parameters())
    step(model, old)
    twin = copy.deepcopy(model)
    normed(twin)
    new = rebuild_optimizer(old, twin, before=model, keep_state=True)
    held = {id(p) for g in new.param_groups for p in g["params"]}
    assert held == {id(p) for p in twin.parameters()}
    moments = new.state[twin.out.weight]["exp_avg"]
    assert torch.equal(moments, old.state[model.out.weight]["exp_avg"])
    assert moments is not old.state[model.out.weight]["exp_avg"]
    with pytest.raises(TrainwrightError, match="none of the model's parameters"):
        rebuild_optimizer(old, twin)


def test_a_permanent_edit_is_followed_too():
    model = built(NAME)
    old = optim.SGD(model.parameters(), lr=0.1, weight_decay=0.1)
    normed(model)
    make_permanent(model)
    sizes = [len(g["params"]) for g in rebuild_optimizer(old, model).param_groups]
    assert sizes == [8, 6]


class OwnSGD(optim.SGD):
    """Somebody's own."""


def test_an_optimiser_that_torch_does_not_know_is_refused():
    model = built(NAME)
    with pytest.raises(TrainwrightError, match="'OwnSGD' is no optimiser"):
        rebuild_optimizer(OwnSGD(model.parameters(), lr=0.1), model)


@pytest.mark.skipif(not hasattr(optim, "Muon"), reason="this torch has no Muon")
def test_an_optimiser_that_takes_matrices_only_says_so():
    model = built("bare parameters")
    matrices = [p for p in model.parameters() if p.ndim == 2]
    old = optim.Muon(matrices, lr=0.1)
    insert_norm(model, observe(model, [ROWS]), "layer")
    with pytest.raises(TrainwrightError, match="'Muon' refuses the parameters"):
        rebuild_optimizer(old, model)


@pytest.mark.parametrize("kind", ["Adam", "LBFGS", "SGD"])
def test_a_proof_leaves_model_optimiser_and_random_states_as_they_were(kind):
    model = built(NAME)
    optimizer = getattr(optim, kind)(model.parameters(), **KINDS[kind])
    step(model, optimizer)
    was, state, random = fingerprint(model), str(optimizer.state_dict()), torch.get_rng_state()
    proof = prove_whole(model, (ROWS, PATIENT.targets), PATIENT.loss, optimizer)
    assert proof.num_moved == 8
    assert proof.gradient_norm > 0
    assert fingerprint(model) == was
    assert str(optimizer.state_dict()) == state
    assert torch.equal(torch.get_rng_state(), random)


class Cut(nn.Module):
    """What stands behind `a` is cut off from the loss."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(8, 8), nn.Linear(8, 3)

    def forward(self, x):
        return self.b(self.a(x).relu().detach())


def bad_loss(outputs, targets):
    return outputs.sum() * float("nan")


@pytest.mark.parametrize(
    ("model", "loss", "why"),
    [
        (Cut(), PATIENT.loss, "does not reach a.norm.weight, a.norm.bias"),
        (nn.Sequential(nn.Linear(8, 4), nn.Linear(4, 3)), bad_loss, "loss is not a finite"),
        (nn.Sequential(nn.Linear(8, 4), nn.Linear(4, 3)), lambda o, t: o, "a step failed"),
    ],
)
def test_a_step_that_does_not_work_says_why_and_leaves_nothing(model, loss, why):
    was = fingerprint(model)
    with pytest.raises(TrainwrightError, match=why):
        perform(model, normed, (ROWS, PATIENT.targets), loss, optim.SGD(model.parameters(), 0.1))
    assert fingerprint(model) == was


def test_a_proven_edit_is_there_with_its_optimiser():
    model = built(NAME)
    old = optim.Adam(model.parameters())
    edited, new = perform(model, normed, (ROWS, PATIENT.targets), PATIENT.loss, old)
    assert edited.changed == ("layers.0.norm", "layers.1.norm", "layers.2.norm")
    assert sum(len(g["params"]) for g in new.param_groups) == 14
