"""The first remedy of a finding about lost gradients is the one that fits what was found."""

import pytest
import torch
from case_builder import changed, healthy_facts, layer
from torch import nn

from trainwright.diagnose.judge import judge
from trainwright.edit.catalogue import edit_named
from trainwright.edit.edit import Context
from trainwright.edit.given import program_from
from trainwright.edit.program import Program


class Sick(nn.Module):
    """Two layers, the first in a plain list if `listed`, with something between them."""

    def __init__(self, between, *, listed=False):
        super().__init__()
        first = nn.Linear(6, 8)
        self.first, self.between = [first] if listed else nn.ModuleList([first]), between
        self.last = nn.Linear(8, 3)

    def forward(self, x):
        return self.last(self.between(self.first[0](x)))


def hard(x):
    return (x > 0).float()


def chosen(x):
    return nn.functional.one_hot(x.argmax(1), x.shape[1]).float()


SICK = {
    "detach": (lambda: Sick(lambda x: torch.relu(x).detach()), "L306", "reattach_gradient"),
    "numpy": (lambda: Sick(lambda x: torch.from_numpy(x.detach().numpy())), "L306",
              "reattach_gradient"),
    "round": (lambda: Sick(torch.round), "L306", "straight_through"),
    "comparison": (lambda: Sick(hard), "L306", "straight_through"),
    "argmax": (lambda: Sick(chosen), "L306", "straight_through"),
    "list": (lambda: Sick(torch.relu, listed=True), "M211", "register_parameters"),
}  # fmt: skip


@pytest.mark.parametrize("name", SICK)
def test_a_sick_forward_is_named_and_its_first_remedy_can_be_applied(name):
    make, code, remedy = SICK[name]
    X = torch.randn(120, 6, generator=torch.Generator().manual_seed(0))
    given: Program = program_from(make, (X, X[:, :3].argmax(1)), loss=nn.CrossEntropyLoss(),
                                  optimizer=torch.optim.Adam)  # fmt: skip
    finding = next(f for f in judge(given.facts).findings if f.code == code)
    assert finding.remedies[0] == remedy
    mended = edit_named(remedy).apply(given, Context(finding=finding))
    assert isinstance(mended, Program)
    few = mended.few()
    model = mended.start(0)[0]
    mended.loss(few.call(model), few.targets).backward()
    assert all(p.grad is not None and p.grad.any() for p in model.parameters())
    assert len(list(model.parameters())) == 4


@pytest.mark.parametrize(
    ("model", "remedy"),
    [
        ({"unregistered": ("body[0]",)}, "register_parameters"),
        ({"gradient_missing": ("fc1.weight",)}, "reattach_gradient"),
        ({"frozen": ("head.weight",)}, "unfreeze"),
    ],
)
def test_what_is_untrained_for_a_reason_has_that_reasons_remedy(model, remedy):
    facts = changed(healthy_facts(), "model", **model)
    finding = next(f for f in judge(facts).findings if f.code == "M211")
    assert finding.remedies[0] == remedy


def test_parameters_that_no_optimiser_holds_are_given_to_it_first():
    facts = changed(healthy_facts(), "optimizer", missing=("fc1.weight",))
    finding = next(f for f in judge(facts).findings if f.code == "M211")
    assert finding.remedies[0] == "register_parameters"


def test_a_block_without_gradients_is_told_by_the_remedy_for_what_leaves_the_graph():
    cuts = (("no_grad (linear)", "net.py:7"),)
    facts = changed(healthy_facts(), "model", cuts=cuts, gradient_missing=("fc1.weight",))
    finding = next(f for f in judge(facts).findings if f.code == "L306")
    assert finding.remedies[0] == "reattach_gradient"


@pytest.mark.parametrize(
    ("kind", "remedies"),
    [
        ("linear", ()),
        ("attention", ("layer_norm",)),
        ("recurrent", ("layer_norm", "reinitialise_orthogonal")),
    ],
)
def test_signals_that_grow_over_time_are_told_the_remedies_of_recurrent_layers(kind, remedies):
    grown = (layer("fc1"), layer("fc2", kind=kind, preactivation_sd=1e6), layer("head"))
    facts = changed(healthy_facts(), "model", layers=grown)
    finding = next(f for f in judge(facts).findings if f.code == "M205")
    usual = ["reinitialise_he", "add_norm", "replace_activation", "reinitialise_lsuv"]
    assert [name for name in finding.remedies if name not in remedies] == usual
    assert set(remedies) <= set(finding.remedies)
    assert finding.remedies[1] == "add_norm"  # the first choice among norms


def test_a_wrong_start_is_told_every_rule_for_weights_and_the_one_that_reads_data_last():
    alike = tuple(layer(name, rows_equal=True) for name in ("fc1", "fc2"))
    facts = changed(healthy_facts(), "model", layers=(*alike, layer("head", nonlinearity=None)))
    finding = next(f for f in judge(facts).findings if f.code == "M206")
    rules = ("he", "xavier", "orthogonal", "lsuv")
    assert finding.remedies == tuple(f"reinitialise_{rule}" for rule in rules)
