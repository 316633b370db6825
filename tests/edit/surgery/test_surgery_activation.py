"""What bends is exchanged wherever it runs; heads and gates are left alone."""

import copy

import pytest
import torch
from surgery_patients import PATIENTS, ROWS, SERIES, TOKENS, built
from surgery_trial import outputs
from torch import nn
from torch.nn import functional as F

from trainwright.core.errors import TrainwrightError
from trainwright.edit.surgery.activation import (
    insert_nonlinearity,
    remove_head_activation,
    replace_activation,
    set_output_range,
)
from trainwright.edit.surgery.observe import observe


def opened(model, *batches):
    return model, observe(model, list(batches) or [ROWS])


class Loop(nn.Module):
    """The same line bends hidden layers and the outputs."""

    def __init__(self, gated=False):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(8, 8) for _ in range(3)])
        self.gate = nn.Linear(8, 8) if gated else None

    def forward(self, x):
        for layer in self.layers:
            x = torch.tanh(layer(x))
        return x if self.gate is None else self.layers[0](x * torch.sigmoid(self.gate(x)))


def test_the_head_is_left_alone_even_on_the_line_of_the_others():
    model, anatomy = opened(Loop())
    replace_activation(model, anatomy, new="relu")
    a, b, c = model.layers
    assert torch.equal(model(ROWS), torch.tanh(c(b(a(ROWS).relu()).relu())))


def test_the_head_is_replaced_when_it_is_asked_for():
    model, anatomy = opened(Loop())
    replace_activation(model, anatomy, new="relu", head=True)
    a, b, c = model.layers
    assert torch.equal(model(ROWS), c(b(a(ROWS).relu()).relu()).relu())


def test_a_gate_is_left_alone_unless_it_is_named():
    model, anatomy = opened(Loop(gated=True))
    replace_activation(model, anatomy, new="relu")
    x = ROWS
    for layer in model.layers:
        x = layer(x).relu()
    assert torch.equal(model(ROWS), model.layers[0](x * torch.sigmoid(model.gate(x))))
    named, anatomy = opened(Loop(gated=True))
    replace_activation(named, anatomy, "sigmoid", "relu")
    assert not torch.equal(named(ROWS), model(ROWS))


class Swish(nn.Module):
    def forward(self, x):
        return x * torch.sigmoid(x)


class Written(nn.Module):
    """Bends written out by hand, hidden and at the end, beside a function."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 2)
        self.bend, self.end = Swish(), Swish()

    def forward(self, x):
        return self.end(self.c(torch.sigmoid(self.b(self.bend(self.a(x))))))


def test_a_non_linearity_written_out_by_hand_is_replaced_as_one():
    model, anatomy = opened(Written())
    assert anatomy.layer("a").activation == "silu"
    replace_activation(model, anatomy, new="relu")
    expected = model.c(model.b(model.a(ROWS).relu()).relu())
    assert torch.equal(model(ROWS), expected * torch.sigmoid(expected))


def test_the_steps_of_one_written_by_hand_are_not_taken_for_what_is_named():
    model, anatomy = opened(Written())
    replace_activation(model, anatomy, "sigmoid", "relu")
    h = model.a(ROWS)
    expected = model.c(model.b(h * torch.sigmoid(h)).relu())
    assert torch.equal(model(ROWS), expected * torch.sigmoid(expected))


def test_only_what_is_named_is_replaced():
    model, anatomy = opened(built("data branch"), ROWS + 3, -ROWS - 3)
    before = model(ROWS)
    replace_activation(model, anatomy, "relu", "gelu")
    plain = built("data branch")
    h = torch.tanh(plain.first(ROWS))
    branch = plain.one if h.sum() > 0 else plain.two
    assert torch.equal(model(ROWS), plain.head(F.gelu(branch(h))))
    assert not torch.equal(model(ROWS), before)


def test_a_call_in_a_branch_that_the_dry_run_did_not_take_is_replaced_too():
    model, anatomy = opened(built("data branch"), ROWS + 3)
    ran = {each.name for each in anatomy.layers}
    replace_activation(model, anatomy, "relu", "gelu")
    other = -ROWS - 3
    plain = built("data branch")
    h = torch.tanh(plain.first(other))
    branch = plain.two if "one" in ran else plain.one
    assert torch.equal(model(other), plain.head(F.gelu(branch(h))))


class InPlace(nn.Module):
    """The results of functions that work in place are dropped."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(8, 8), nn.Linear(8, 2)

    def forward(self, x):
        x = self.a(x)
        F.relu(x, inplace=True)
        y = self.a(x)
        y.relu_()
        return self.b(y)


def test_what_works_in_place_is_replaced_in_place_with_the_right_gradient():
    model, anatomy = opened(InPlace())
    twin = copy.deepcopy(model)
    replace_activation(model, anatomy, new="gelu")
    expected = twin.b(F.gelu(twin.a(F.gelu(twin.a(ROWS)))))
    assert torch.equal(model(ROWS), expected)
    model(ROWS).square().sum().backward()
    expected.square().sum().backward()
    assert torch.allclose(model.a.weight.grad, twin.a.weight.grad, atol=1e-5)


@pytest.mark.parametrize("new", ["gelu", "relu", "silu"])
@pytest.mark.parametrize("train", [True, False])
def test_a_transformer_layer_of_torch_becomes_one_built_with_the_other(new, train):
    """In inference torch runs a fused kernel that does not ask for the function."""
    old = "relu" if new == "gelu" else "gelu"
    kinds = {"gelu": F.gelu, "relu": F.relu, "silu": F.silu}

    def build(activation):
        layer = nn.TransformerEncoderLayer(
            8, 2, 16, dropout=0.0, batch_first=True, activation=activation
        )
        return nn.Sequential(
            nn.Embedding(20, 8),
            nn.TransformerEncoder(layer, 2, enable_nested_tensor=False),
            nn.Linear(8, 2),
        )

    model, oracle = build(kinds[old]), build(kinds[new])
    oracle.load_state_dict(model.state_dict())
    replace_activation(model, observe(model, [TOKENS]), new=new)
    found, expected = (outputs(m, TOKENS, train=train) for m in (model, oracle))
    assert torch.allclose(found, expected, atol=1e-5)


def test_a_plain_recurrent_layer_becomes_one_built_with_the_other():
    model, anatomy = opened(built("LSTM and RNN"), SERIES)
    replace_activation(model, anatomy, new="relu")
    oracle = nn.RNN(10, 10, batch_first=True, nonlinearity="relu")
    oracle.load_state_dict(model.rnn.state_dict())
    given = torch.randn(2, 5, 10)
    assert torch.equal(model.rnn(given)[0], oracle(given)[0])


def test_a_recurrent_layer_cannot_bend_otherwise():
    model, anatomy = opened(built("LSTM and RNN"), SERIES)
    with pytest.raises(TrainwrightError, match="to replace"):
        replace_activation(model, anatomy, new="gelu")


def test_a_module_that_never_ran_is_replaced_too():
    model = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2))
    model[0].add_module("spare", nn.ReLU())
    replace_activation(model, observe(model, [ROWS]), new="tanh")
    assert torch.equal(model[0].spare(ROWS), torch.tanh(ROWS))


@pytest.mark.parametrize("name", ["Sequential", "functional in a loop", "shared ReLU", "U-Net"])
def test_without_its_head_activation_a_network_gives_logits(name):
    batch = PATIENTS[name].batches[0]
    model, anatomy = opened(built(name), batch)
    before = outputs(model, batch)
    assert anatomy.head_activation is not None
    kind = anatomy.head_activation.name
    remove_head_activation(model, anatomy)
    logits = outputs(model, batch)
    again = {"softmax": lambda z: z.softmax(-1), "log_softmax": lambda z: z.log_softmax(-1),
             "sigmoid": torch.sigmoid}[kind](logits)  # fmt: skip
    assert torch.allclose(again, before, atol=1e-6)
    with pytest.raises(TrainwrightError, match="no activation makes the outputs"):
        remove_head_activation(model, observe(model, [batch]))


@pytest.mark.parametrize(
    ("low", "high", "least", "most"), [(-1, 3, -1, 3), (2, None, 2, 1e9), (None, -2, -1e9, -2)]
)
def test_outputs_stay_in_their_range_for_any_weights(low, high, least, most):
    model, anatomy = opened(built("functional in a loop"))
    set_output_range(model, anatomy, low, high)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(5)
        found = model(ROWS)
    assert least <= float(found.min()) <= float(found.max()) <= most
    assert float(found.std()) > 0


@pytest.mark.parametrize("ends", [(None, None), (2, 1), (1, 1)])
def test_a_range_without_room_is_refused(ends):
    model, anatomy = opened(built("Sequential"))
    with pytest.raises(TrainwrightError, match="no range"):
        set_output_range(model, anatomy, *ends)


def test_a_bend_between_linear_layers_makes_the_network_more_than_one_map():
    model = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 2))
    assert torch.allclose(additive(model), torch.zeros(()), atol=1e-5)
    insert_nonlinearity(model, observe(model, [ROWS]), "relu")
    assert float(additive(model)) > 1e-2


def additive(model):
    """How far the model is from f(a + b) - f(a) - f(b) + f(0) = 0."""
    a, b = ROWS[:8], ROWS[8:]
    return (model(a + b) - model(a) - model(b) + model(torch.zeros_like(a))).abs().max().detach()


def test_a_bend_goes_behind_the_norm_that_follows():
    model = nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8), nn.Linear(8, 2))
    edited = insert_nonlinearity(model, observe(model, [ROWS]))
    assert edited.changed == ("1.nonlinearity",)


@pytest.mark.parametrize(
    "use", [insert_nonlinearity, lambda m, a, k: replace_activation(m, a, new=k)]
)
def test_an_unknown_activation_is_refused_with_the_nearest(use):
    model, anatomy = opened(built("Sequential"))
    with pytest.raises(TrainwrightError) as caught:
        use(model, anatomy, "geluu")
    assert "gelu" in caught.value.do
