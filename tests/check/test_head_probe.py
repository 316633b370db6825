"""The head's kind and range come out right whatever the layers are called."""

import pytest
import torch
import torch.nn.functional as F
from check.families import Bare, Between, CharacterModel, Encoder, Recurrent, ResNet, table, text
from torch import nn

from trainwright.check.pairing.head import class_axis, head_facts
from trainwright.check.sample import sample_from
from trainwright.check.subject import Subject

CPU = torch.device("cpu")


def head_of(model, data):
    torch.manual_seed(0)
    return head_facts(Subject(model), sample_from(data, device=CPU), seconds=5.0)[0]


HEADS = {
    "softmax": lambda x: x.softmax(1),
    "log_softmax": lambda x: F.log_softmax(x, dim=1),
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "non_negative": F.relu,
    "linear": lambda x: x,
    "bounded": lambda x: 5 + 3 * torch.tanh(x),
}


@pytest.mark.parametrize("kind", HEADS)
def test_each_head_is_recognised_by_what_it_gives(kind):
    torch.manual_seed(0)
    assert head_of(Between(torch.relu, HEADS[kind]), table()).kind == kind


@pytest.mark.parametrize(
    ("function", "kind"),
    [(F.softplus, "non_negative"), (torch.exp, "non_negative"), (F.hardsigmoid, "sigmoid"),
     (F.softsign, "tanh"), (F.relu6, "bounded"), (lambda x: F.leaky_relu(x), "linear"),
     (lambda x: x.exp() / x.exp().sum(1, keepdim=True), "softmax")],
)  # fmt: skip
def test_functions_that_squash_alike_are_one_kind(function, kind):
    torch.manual_seed(0)
    assert head_of(Between(torch.tanh, function), table()).kind == kind


def test_a_softmax_over_one_unit_is_constant():
    head = head_of(Between(torch.relu, lambda x: x.softmax(1), outputs=1), table())
    assert (head.kind, head.low, head.high, head.num_outputs) == ("constant", 1.0, 1.0, 1)


def test_a_softmax_over_the_batch_is_told_from_one_over_classes():
    over_batch = head_of(Between(torch.relu, lambda x: x.softmax(0)), table())
    over_classes = head_of(Between(torch.relu, lambda x: x.softmax(1)), table())
    assert (over_batch.kind, over_batch.sums_over) == ("softmax", "batch")
    assert over_classes.sums_over == "class"


@pytest.mark.parametrize(
    "between", [nn.BatchNorm1d(8), nn.Dropout(0.5), nn.LayerNorm(8), torch.exp]
)
def test_norms_dropout_and_exponentials_below_do_not_blur_it(between):
    assert head_of(Between(between, torch.sigmoid, outputs=1), table()).kind == "sigmoid"
    assert head_of(Between(between, outputs=1), table()).kind == "linear"


@pytest.mark.parametrize("scale", [1e-3, 1.0, 255.0, 1e5])
def test_unscaled_inputs_do_not_blur_it(scale):
    x, y = table()
    assert head_of(Between(torch.relu, lambda z: z.softmax(1)), (x * scale, y)).kind == "softmax"
    assert head_of(Between(torch.relu), (x * scale, y)).kind == "linear"


def test_other_families_have_their_kinds():
    images = torch.randn(64, 3, 8, 8), torch.randint(0, 10, (64,))
    assert head_of(ResNet(), images).kind == "linear"
    assert head_of(Recurrent(), (torch.randn(64, 7, 5), torch.randn(64, 1))).kind == "linear"
    own = head_of(Bare(), (table()[0], torch.ones(200)))
    assert (own.kind, own.num_outputs, own.shape) == ("sigmoid", 1, ())
    characters = head_of(CharacterModel(), text())
    assert (characters.kind, characters.num_outputs) == ("linear", 11)
    tokens = torch.randint(0, 50, (64, 9)), torch.randint(0, 3, (64,))
    assert head_of(Encoder(), tokens).shape == (3,)


def test_a_segmenting_softmax_sums_over_channels():
    model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Softmax(dim=1))
    head = head_of(model, (torch.randn(64, 3, 6, 6), torch.randint(0, 4, (64, 6, 6))))
    assert (head.kind, head.sums_over, head.num_outputs) == ("softmax", "class", 4)


def test_the_class_axis_is_the_one_that_index_targets_lack():
    assert class_axis((8, 5), torch.zeros(8)) == 1
    assert class_axis((8, 7, 5), torch.zeros(8, 7)) == 2
    assert class_axis((8, 5, 7), torch.zeros(8, 7)) == 1
    assert class_axis((8,), torch.zeros(8)) is None


def test_few_draws_are_told():
    data = sample_from(table(), device=CPU)
    _, unseen = head_facts(Subject(Between(torch.relu)), data, seconds=0.0)
    assert unseen["head.draws"].startswith("4 of 24")
