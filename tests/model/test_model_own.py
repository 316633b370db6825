"""A user's own model is taken as it comes, tried without a trace, and refused with the way out."""

import dataclasses

import pytest
import torch
from torch import nn

from trainwright.core.errors import ModelError
from trainwright.core.records import Signature
from trainwright.model.own import adopt, first_output, try_forward

ROW = Signature(kind="features", shape=(6,))


class Net(nn.Module):
    def __init__(self, in_features, num_classes=10, hidden=4):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(in_features, hidden), nn.Linear(hidden, num_classes))

    def forward(self, x):
        return self.layers(x)


class Restless(nn.Module):
    """Draws numbers, counts its calls, has a batch norm and a frozen part."""

    def __init__(self):
        super().__init__()
        self.linear, self.norm = nn.Linear(6, 3), nn.BatchNorm1d(3)
        self.register_buffer("calls", torch.zeros(()))
        self.norm.eval()

    def forward(self, x):
        self.calls += 1
        return self.norm(self.linear(x)) + torch.rand(3)


def test_an_instance_is_used_itself():
    net = Net(6, 3)
    assert adopt(net, ROW, 3, 0) is net


def test_a_class_is_given_the_sizes_it_names():
    net = adopt(Net, ROW, 3, 0)
    assert try_forward(net, (torch.randn(2, 6),)) == (2, 3)


def test_a_factory_is_called_with_nothing_and_its_weights_come_from_the_seed():
    def factory():
        return nn.Linear(6, 3)

    first = adopt(factory, ROW, 3, 5)
    state = torch.get_rng_state()
    second, third = adopt(factory, ROW, 3, 5), adopt(factory, ROW, 3, 6)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(first.weight, second.weight)
    assert not torch.equal(first.weight, third.weight)


def test_channels_and_vocabulary_are_sizes_too():
    image = Signature(kind="image", shape=(3, 8, 8))
    assert adopt(lambda in_channels: nn.Conv2d(in_channels, 2, 3), image, 2, 0).in_channels == 3
    text = Signature(kind="text", shape=(9,), vocabulary=77)
    made = adopt(lambda vocab_size, n_classes: nn.Embedding(vocab_size, n_classes), text, 2, 0)
    assert made.weight.shape == (77, 2)


def test_a_class_that_wants_the_unknown_is_told_what_is_known():
    class Odd(nn.Module):
        def __init__(self, secret):
            super().__init__()

    with pytest.raises(ModelError) as caught:
        adopt(Odd, ROW, 3, 0)
    assert "'secret'" in caught.value.what
    assert "in_features" in caught.value.allowed
    assert "instance" in caught.value.do


@pytest.mark.parametrize(
    "candidate",
    [3, "net", lambda: 5, lambda: int("x"), lambda: nn.ReLU(), nn.Sequential()],
)
def test_what_is_no_model_is_refused_in_three_parts(candidate):
    with pytest.raises(ModelError) as caught:
        adopt(candidate, ROW, 3, 0)
    assert caught.value.what
    assert caught.value.allowed
    assert caught.value.do


@dataclasses.dataclass
class Reply:
    logits: torch.Tensor


def test_outputs_come_as_tensor_tuple_dict_or_object():
    z, other = torch.zeros(2, 3), torch.ones(2, 5)
    assert first_output(z) is z
    assert first_output((z, other)) is z
    assert first_output([z]) is z
    assert first_output({"hidden": other, "logits": z}) is z
    assert first_output({"output": z, "hidden": other}) is z
    assert first_output({"anything": z, "loss": 1.0}) is z
    assert first_output(Reply(logits=z)) is z


@pytest.mark.parametrize(
    "outputs", [{"a": torch.zeros(1), "b": torch.zeros(1)}, (), None, 3, "text", {"logits": 1}]
)
def test_outputs_without_an_answer_are_refused(outputs):
    with pytest.raises(ModelError, match="forward returned"):
        first_output(outputs)


def test_a_trial_leaves_no_trace():
    net = Restless()
    before = {key: value.clone() for key, value in net.state_dict().items()}
    state = torch.get_rng_state()
    assert try_forward(net, (torch.randn(2, 6),)) == (2, 3)
    torch.set_rng_state(state)
    assert all(torch.equal(before[key], value) for key, value in net.state_dict().items())
    assert net.training
    assert not net.norm.training  # a part that was frozen stays frozen
    assert all(p.grad is None for p in net.parameters())


def test_a_trial_draws_nothing_from_the_global_state():
    net, inputs = Restless(), (torch.randn(2, 6),)
    state = torch.get_rng_state()
    try_forward(net, inputs)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_lazy_module_is_completed_by_the_trial():
    net = nn.Sequential(nn.LazyLinear(4), nn.ReLU(), nn.Linear(4, 3))
    assert try_forward(adopt(net, ROW, 3, 0), (torch.randn(2, 6),)) == (2, 3)
    assert net[0].weight.shape == (4, 6)


def test_a_shape_that_does_not_fit_is_said_in_torchs_words_with_the_shapes():
    with pytest.raises(ModelError) as caught:
        try_forward(nn.Linear(5, 3), (torch.randn(2, 6),))
    assert "[2, 6] float32" in caught.value.what
    assert "mat1 and mat2" in caught.value.what
    assert caught.value.do


@pytest.mark.parametrize(
    "net", [nn.Conv1d(6, 3, 1), nn.Flatten(0), nn.Sequential(nn.Linear(6, 3), nn.Flatten(0))]
)
def test_outputs_that_are_not_one_row_per_example_are_refused(net):
    inputs = torch.randn(2, 6, 4) if isinstance(net, nn.Conv1d) else torch.randn(2, 6)
    with pytest.raises(ModelError, match="output of shape"):
        try_forward(net, (inputs,))


def test_outputs_after_argmax_are_refused():
    class Decided(nn.Module):
        def forward(self, x):
            return x.argmax(dim=1)

    with pytest.raises(ModelError, match="no gradient"):
        try_forward(Decided(), (torch.randn(2, 6),))
