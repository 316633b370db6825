"""Softmax, exponential and the like are exchanged where they bend hidden units, and nowhere else."""

import math

import pytest
import torch
from surgery_patients import CLASSES, ROWS
from surgery_trial import outputs, pickled
from torch import nn
from torch.nn import functional as F

from trainwright.core.errors import TrainwrightError
from trainwright.edit.surgery.activation import replace_activation
from trainwright.edit.surgery.anatomy import UNSUITED
from trainwright.edit.surgery.observe import observe
from trainwright.edit.surgery.record import fingerprint


class Bent(nn.Module):
    """Two hidden layers bent by a function, and a softmax at the end."""

    def __init__(self, bend):
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b, self.c = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 3)
        self.bend = bend

    def forward(self, x):
        return self.ends(self.bend(self.b(self.bend(self.a(x)))))

    def ends(self, x):
        return F.softmax(self.c(x), -1)


def over_classes(x):
    return F.softmax(x, dim=-1)


def through_norm(x):
    return F.dropout(F.layer_norm(x.exp(), (8,)), 0.1, training=False).reshape(-1, 8)


def cube(x):
    return x**3


def hard(x):
    return torch.clamp(0.2 * x + 0.5, 0, 1)


def again(x):
    return torch.exp(F.log_softmax(x, -1))


BENDS = {
    "softmax": over_classes, "log_softmax": lambda x: x.log_softmax(-1), "exp": torch.exp,
    "softmin": lambda x: F.softmin(x, -1), "sinh": torch.sinh, "pow": cube, "square": torch.square,
    "clamp": hard, "expm1": torch.expm1, "cosh": torch.cosh,
}  # fmt: skip


def opened(model, batch=ROWS):
    torch.manual_seed(1)
    return model, observe(model, [batch])


def changed(model, batch=ROWS, **settings):
    """Whether `replace_activation` finds anything, and changes the outputs."""
    before = outputs(model, batch)
    try:
        replace_activation(model, observe(model, [batch]), **settings)
    except TrainwrightError as error:
        assert "to replace" in error.what
        return False
    return not torch.equal(outputs(model, batch), before)


@pytest.mark.parametrize("name", BENDS)
def test_a_function_that_seldom_suits_is_exchanged_between_layers_and_not_at_the_end(name):
    assert name in UNSUITED
    model, anatomy = opened(Bent(BENDS[name]))
    a, b, c = model.a, model.b, model.c
    before = outputs(model, ROWS)
    was, keys = fingerprint(model), list(model.state_dict())
    edited = replace_activation(model, anatomy)
    h = 0.2 * a(ROWS) + 0.5 if name == "clamp" else a(ROWS)
    h = b(h.relu())
    h = 0.2 * h + 0.5 if name == "clamp" else h
    assert torch.equal(model(ROWS), F.softmax(c(h.relu()), -1))
    assert list(model.state_dict()) == keys
    edited.undo()
    assert fingerprint(model) == was
    assert torch.equal(outputs(model, ROWS), before)


def test_norms_dropout_and_reshapes_may_stand_before_the_next_layer():
    model, anatomy = opened(Bent(through_norm))
    replace_activation(model, anatomy)
    h = F.layer_norm(model.a(ROWS).relu(), (8,))
    h = F.layer_norm(model.b(h).relu(), (8,))
    assert torch.allclose(model(ROWS), F.softmax(model.c(h), -1), atol=1e-6)


def test_a_network_whose_softmax_was_exchanged_is_pickled_and_goes_on():
    model, anatomy = opened(Bent(over_classes))
    replace_activation(model, anatomy)
    assert torch.equal(outputs(pickled(model), ROWS), outputs(model, ROWS))


class Exponential(nn.Module):
    def forward(self, x):
        return torch.exp(x)


def chain(bend):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), bend(), nn.MaxPool2d(2), nn.BatchNorm2d(4), nn.Flatten(),
        nn.Dropout(0.1), nn.Linear(64, 8), bend(), nn.Linear(8, 3), nn.Softmax(-1),
    )  # fmt: skip


IMAGES = torch.rand(6, 1, 8, 8, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize(
    "bend",
    [lambda: nn.Softmax(1), lambda: nn.LogSoftmax(1), Exponential, nn.Hardtanh],
    ids=["Softmax", "LogSoftmax", "own Exponential", "Hardtanh"],
)
def test_modules_between_layers_become_relu_and_the_one_at_the_end_stays(bend):
    model, anatomy = opened(chain(bend), IMAGES)
    was = fingerprint(model)
    edited = replace_activation(model, anatomy)
    assert edited.changed == ("1", "7")
    assert edited.lines == ("model[1] = torch.nn.ReLU()", "model[7] = torch.nn.ReLU()")
    twin = chain(nn.ReLU)
    twin.load_state_dict(model.state_dict())
    assert torch.equal(outputs(model, IMAGES), outputs(twin, IMAGES))
    assert torch.equal(outputs(pickled(model), IMAGES), outputs(twin, IMAGES))
    edited.undo()
    assert fingerprint(model) == was


class Shared(nn.Module):
    """One softmax module for the hidden layer and for the end."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.act = nn.Linear(8, 8), nn.Linear(8, 3), nn.Softmax(-1)

    def forward(self, x):
        return self.act(self.b(self.act(self.a(x))))


def test_a_softmax_module_that_also_ends_the_network_is_exchanged_inside_only():
    model, anatomy = opened(Shared())
    was = fingerprint(model)
    edited = replace_activation(model, anatomy)
    assert torch.equal(model(ROWS), model.b(model.a(ROWS).relu()).softmax(-1))
    edited.undo()
    assert fingerprint(model) == was


class Shaped(nn.Module):
    """One sigmoid module within a sequence, for the hidden layer and for the end."""

    def __init__(self):
        super().__init__()
        act = nn.Sigmoid()
        self.layers = nn.Sequential(nn.Linear(8, 8), act, nn.Linear(8, 1), act)

    def forward(self, x):
        return self.layers(x)


def test_a_shared_module_in_a_sequence_is_exchanged_inside_only():
    model, anatomy = opened(Shaped())
    replace_activation(model, anatomy)
    first, _, second, _ = model.layers
    assert torch.equal(model(ROWS), torch.sigmoid(second(first(ROWS).relu())))


class Attention(nn.Module):
    """Softmax attention over rows, one hidden softmax beside it; how the weights are applied is
    given."""

    def __init__(self, weigh, *, hidden=False):
        super().__init__()
        torch.manual_seed(0)
        self.q, self.k, self.v = (nn.Linear(8, 8) for _ in range(3))
        self.up, self.out = nn.Linear(8, 8), nn.Linear(8, 3)
        self.weigh, self.hidden = weigh, hidden

    def forward(self, x):
        h = self.up(x)
        h = F.softmax(h, -1) if self.hidden else torch.relu(h)
        scores = self.q(h) @ self.k(h).transpose(-2, -1) / math.sqrt(8)
        return self.out(self.weigh(F.dropout(F.softmax(scores, -1), 0.1, False), self.v(h)))


WEIGHS = {
    "@": lambda p, v: p @ v,
    "bmm": lambda p, v: torch.bmm(p[None], v[None])[0],
    "einsum": lambda p, v: torch.einsum("ij,jd->id", p, v),
    "product": lambda p, v: (p[:, :, None] * v[None]).sum(1),
}


@pytest.mark.parametrize("weigh", WEIGHS)
def test_the_softmax_of_attention_is_left_alone(weigh):
    assert not changed(Attention(WEIGHS[weigh]))


def test_a_hidden_softmax_beside_attention_is_exchanged_alone():
    model, anatomy = opened(Attention(WEIGHS["@"], hidden=True))
    replace_activation(model, anatomy)
    twin = Attention(WEIGHS["@"])
    twin.load_state_dict(model.state_dict())
    assert torch.equal(model(ROWS), twin(ROWS))


class Additive(nn.Module):
    """Scores from a layer, softmax over the steps, a weighted mean of what is remembered."""

    def __init__(self):
        super().__init__()
        self.score, self.out = nn.Linear(4, 1), nn.Linear(4, 3)

    def forward(self, x):
        x = x.view(-1, 2, 4)
        return self.out((torch.softmax(self.score(x), 1) * x).sum(1))


class Squeeze(nn.Module):
    """Squeeze-and-excitation, the gate brought to shape before it multiplies."""

    def __init__(self, shape):
        super().__init__()
        self.conv, self.out = nn.Conv2d(1, 4, 3, padding=1), nn.Linear(4, 3)
        self.down, self.up = nn.Linear(4, 2), nn.Linear(2, 4)
        self.shape = shape

    def forward(self, x):
        h = self.conv(x).relu()
        gate = torch.sigmoid(self.up(self.down(h.mean((2, 3))).relu()))
        return self.out((h * self.shape(gate, h)).mean((2, 3)))


@pytest.mark.parametrize(
    "shape",
    [lambda g, h: g[:, :, None, None], lambda g, h: g.view(-1, 4, 1, 1).expand_as(h),
     lambda g, h: 2 * g.unsqueeze(-1).unsqueeze(-1)],
    ids=["index", "expand", "scaled"],
)  # fmt: skip
def test_the_gate_of_squeeze_and_excitation_is_left_alone(shape):
    torch.manual_seed(0)
    assert not changed(Squeeze(shape), IMAGES)


class Cell(nn.Module):
    """An LSTM cell written out, twice around."""

    def __init__(self, hidden):
        super().__init__()
        self.x, self.h, self.out = nn.Linear(4, 16), nn.Linear(4, 16), nn.Linear(4, 3)
        self.hidden, self.last = hidden, nn.Linear(4, 4)

    def forward(self, x):
        h = c = torch.zeros(len(x), 4)
        for step in x.view(-1, 2, 4).unbind(1):
            i, f, g, o = (self.x(step) + self.h(h)).chunk(4, 1)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(c)
        return self.out(self.hidden(self.last(h)))


def test_the_gates_and_the_contents_of_a_cell_written_out_are_left_alone():
    assert not changed(Cell(F.relu))
    model, anatomy = opened(Cell(torch.tanh))
    replace_activation(model, anatomy)
    twin = Cell(F.relu)
    twin.load_state_dict(model.state_dict())
    assert torch.equal(model(ROWS), twin(ROWS))


class Sampled(nn.Module):
    """A variational bottleneck: the exponential is a scale of noise."""

    def __init__(self, noise):
        super().__init__()
        self.mean, self.log_variance, self.out = nn.Linear(8, 4), nn.Linear(8, 4), nn.Linear(4, 3)
        self.noise = noise

    def forward(self, x):
        sd = torch.exp(0.5 * self.log_variance(x).clamp(-8, 8))
        return self.out(self.mean(x) + self.noise(sd) * sd)


class Distances(nn.Module):
    """Radial basis functions: the exponential of a squared distance."""

    def __init__(self):
        super().__init__()
        self.first, self.out = nn.Linear(8, 4), nn.Linear(5, 3)
        self.centres = nn.Parameter(torch.randn(5, 4))

    def forward(self, x):
        squares = ((self.first(x)[:, None] - self.centres) ** 2).sum(-1)
        return self.out(torch.exp(-squares))


class TwoOutputs(nn.Module):
    """Probabilities are given out, and a second head reads them."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(8, 4), nn.Linear(4, 2)

    def forward(self, x):
        p = F.softmax(self.first(x), -1)
        return p, self.second(p)


class SpokenBack(nn.Module):
    """What was said is heard at the next step."""

    def __init__(self):
        super().__init__()
        self.say, self.hear = nn.Linear(8, 4), nn.Linear(4, 8)

    def forward(self, x):
        said = []
        for _ in range(3):
            said.append(F.softmax(self.say(x), -1))
            x = x + self.hear(said[-1])
        return torch.stack(said, 1)


class Written(nn.Module):
    """A softmax and a norm spelt out with exponentials and squares."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(8, 8), nn.Linear(8, 3)

    def forward(self, x):
        h = self.a(x)
        h = h / (h.pow(2).mean(-1, keepdim=True) + 1e-6).sqrt()
        e = torch.exp(h - h.max(-1, keepdim=True).values)
        return self.b(h) + self.b(e / e.sum(-1, keepdim=True))


class Decayed(nn.Module):
    """A relu would leave nothing of it."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(8, 4), nn.Linear(4, 3)

    def forward(self, x):
        return self.b(torch.exp(-self.a(x).relu()))


LEFT = {
    "additive attention": Additive,
    "noise from a scale": lambda: Sampled(torch.randn_like),
    "noise of a shape": lambda: Sampled(lambda sd: torch.randn(sd.shape)),
    "two outputs": TwoOutputs,
    "spoken back": SpokenBack,
    "written out": Written,
    "decay": Decayed,
    "probabilities": lambda: nn.Sequential(nn.Linear(8, 4), Applied(again), nn.Linear(4, 3)),
    "of the inputs": lambda: nn.Sequential(nn.Softmax(-1), nn.Linear(8, 3)),
}


@pytest.mark.parametrize("name", LEFT)
def test_what_weighs_scales_or_is_given_out_is_left_alone(name):
    torch.manual_seed(0)
    assert not changed(LEFT[name]())


def test_the_exponential_of_a_distance_is_no_bend_of_units():
    torch.manual_seed(0)
    anatomy = observe(Distances(), [ROWS])
    found = {a.name: a.is_gate for a in anatomy.activations}
    assert found == {"pow": True, "exp": True}


class Branches(nn.Module):
    """In training a softmax that the dry run does not see makes a second output."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(8, 8), nn.Linear(8, 3)

    def forward(self, x):
        h = self.b(over_classes(self.a(x)))
        return h, F.softmax(h, -1) if self.training else None


def test_a_softmax_that_the_dry_run_did_not_see_is_left_alone():
    model, anatomy = opened(Branches())
    replace_activation(model, anatomy)
    logits, probabilities = model.train()(ROWS)
    assert torch.equal(logits, model.b(model.a(ROWS).relu()))
    assert torch.equal(probabilities, logits.softmax(-1))


def test_an_exponential_that_makes_the_outputs_is_a_link_and_stays():
    model = nn.Sequential(nn.Linear(8, 8), Exponential(), nn.Linear(8, 1), Exponential())
    anatomy = observe(model, [ROWS])
    assert anatomy.head_activation is None
    replace_activation(model, anatomy)
    assert torch.equal(model(ROWS), torch.exp(model[2](model[0](ROWS).relu())))


def test_a_head_softmax_stays_even_where_heads_are_asked_for_unless_it_is_named():
    model = nn.Sequential(nn.Linear(8, 3), nn.Softmax(-1))
    assert not changed(model, head=True)
    assert changed(model, head=True, old="softmax")


@pytest.mark.parametrize("bend", [over_classes, torch.exp, cube], ids=["softmax", "exp", "cube"])
def test_after_the_exchange_a_network_learns_better(bend):
    left = []
    for edit in (False, True):
        torch.manual_seed(0)
        model = nn.Sequential(*(part for _ in range(3) for part in (nn.Linear(8, 8), Applied(bend))),
                              nn.Linear(8, 3))  # fmt: skip
        if edit:
            replace_activation(model, observe(model, [ROWS]))
        optimizer = torch.optim.Adam(model.parameters(), 0.01)
        for _ in range(150):
            optimizer.zero_grad()
            F.cross_entropy(model(ROWS), CLASSES).backward()
            optimizer.step()
        left.append(float(F.cross_entropy(model(ROWS), CLASSES).detach().nan_to_num(99.0, 99.0)))
    without, with_edit = left
    assert with_edit < 0.2
    assert with_edit < 0.5 * without


class Applied(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)
