"""Layers, gradients, cuts, modes, mixing and causality are read off a few passes."""

import pytest
import torch
import torch.nn.functional as F
from check.families import (
    Bare,
    Between,
    CharacterModel,
    Encoder,
    Recurrent,
    ResNet,
    Siamese,
    table,
    text,
)
from torch import nn

from trainwright.check.gather import gather, gather_model
from trainwright.check.sample import sample_from

CPU = torch.device("cpu")


def cross_entropy(o, y):
    return F.cross_entropy(o.transpose(1, 2) if o.ndim == 3 else o, y)


def network(model, data=None, loss=cross_entropy):
    torch.manual_seed(0)
    facts = gather_model(model, sample_from(data or table(), device=CPU), loss=loss)
    assert facts.model is not None, facts.unseen
    return facts.model


def layer(found, name):
    return next(item for item in found.layers if item.name == name)


# --- layers ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("function", "name"), [
    (torch.relu, "relu"), (nn.ReLU(), "relu"), (nn.ReLU(inplace=True), "relu"), (F.gelu, "gelu"),
    (nn.Tanh(), "tanh"), (lambda x: x.sigmoid(), "sigmoid"), (lambda x: x * x.sigmoid(), "gated"),
    (nn.Sequential(nn.BatchNorm1d(8), nn.Dropout(0.2), nn.SiLU()), "silu"),
    (lambda x: x.clamp(min=0), "clamp"), (lambda x: x, None), (nn.Dropout(0.5), None),
])  # fmt: skip
def test_the_nonlinearity_after_a_layer_is_seen_however_it_is_called(function, name):
    found = network(Between(function))
    assert layer(found, "a").nonlinearity == name
    assert (("a", "b") in found.linear_pairs) is (name is None)


@pytest.mark.parametrize(("between", "affine"), [
    (lambda x: x, True), (nn.Dropout(0.5), True), (nn.BatchNorm1d(8), True), (torch.relu, False),
    (torch.tanh, False), (nn.LayerNorm(8), False), (lambda x: 3 * x + 1, True),
    (lambda x: x * x, False)])  # fmt: skip
@pytest.mark.parametrize("head", [None, lambda x: x.softmax(1), lambda x: F.log_softmax(x, 1)])
def test_only_maps_without_a_bend_are_affine(between, affine, head):
    assert network(Between(between, head)).affine is affine


def test_a_sigmoid_head_alone_is_no_hidden_nonlinearity():
    data = table()[0], torch.rand(200, 1).round()
    deep = network(Between(lambda x: x, torch.sigmoid, outputs=1), data, nn.BCELoss())
    assert deep.affine is True
    assert deep.linear_pairs == (("a", "b"),)
    assert network(Bare(), (data[0], data[1][:, 0]), nn.BCELoss()).affine is False


def test_a_max_pool_bends_and_an_average_pool_does_not():
    images = torch.randn(16, 1, 8, 8), torch.randint(0, 3, (16,))
    for pool, pairs in ((nn.MaxPool2d(2), ()), (nn.AvgPool2d(2), (("0", "3"),))):
        model = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), pool, nn.Flatten(), nn.Linear(64, 3))
        assert network(model, images).linear_pairs == pairs


def test_relu_twice_is_noticed_and_relu_once_is_not():
    twice = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Dropout(0.1), nn.ReLU(), nn.Linear(8, 3))
    assert network(twice).repeated_nonlinearities == ("0",)
    assert network(Between(torch.relu)).repeated_nonlinearities == ()


def test_layers_come_in_the_order_in_which_they_run_with_norms_and_lines():
    found = network(ResNet(channels=3), (torch.randn(16, 3, 8, 8), torch.randint(0, 10, (16,))))
    names = [item.name for item in found.layers]
    assert names[:4] == ["stem", "norm", "blocks.0.c1", "blocks.0.b1"]
    assert names[-1] == "head"
    stem = layer(found, "stem")
    assert (stem.kind, stem.has_norm, stem.nonlinearity) == ("convolution", True, "relu")
    assert (stem.line or "").split(":")[0].endswith("families.py")
    assert found.normalisation == ("batch",)
    assert not found.linear_pairs


def test_a_residual_branch_that_starts_at_zero_is_meant_so():
    found = network(ResNet(), (torch.randn(16, 3, 8, 8), torch.randint(0, 10, (16,))))
    assert layer(found, "blocks.0.c2").residual_start
    assert not layer(found, "blocks.0.c1").residual_start


def test_tied_weights_are_two_layers_and_one_parameter():
    found = network(CharacterModel(), text())
    assert layer(found, "embed").kind == "embedding"
    assert layer(found, "head").kind == "linear"
    assert layer(found, "up").nonlinearity == "gelu"
    assert layer(found, "qkv").nonlinearity == "scaled_dot_product_attention"
    assert found.num_parameters == sum(p.numel() for p in CharacterModel().parameters())


def test_recurrent_and_attention_layers_have_their_kinds():
    lstm = network(Recurrent(), (torch.randn(32, 7, 5), torch.randn(32, 1)), nn.MSELoss())
    assert [item.kind for item in lstm.layers] == ["recurrent", "linear"]
    assert lstm.dropout == (0.2,)
    tokens = torch.randint(0, 50, (32, 9)), torch.randint(0, 3, (32,))
    encoder = network(Encoder(), tokens, lambda o, y: F.cross_entropy(o["logits"], y))
    assert "attention" in {item.kind for item in encoder.layers}
    assert not encoder.gradient_missing


def test_statistics_of_a_layer_are_those_of_its_outputs():
    torch.manual_seed(0)
    model, (x, y) = Between(torch.relu), table(rows=100)
    found = layer(network(model, (x, y)), "a")
    h = model.a(x).detach()
    assert found.preactivation_sd == pytest.approx(float(h.std(unbiased=False)), rel=1e-4)
    assert found.preactivation_mean == pytest.approx(float(h.mean()), abs=1e-5)
    assert found.dead_share == float((h <= 0).all(0).float().mean())


def test_gradients_by_layer_are_those_of_autograd():
    torch.manual_seed(0)
    model, (x, y) = Between(torch.relu), table(rows=100)
    found = layer(network(model, (x, y)), "a")
    h = model.a(x)
    loss = F.cross_entropy(model.b(torch.relu(h)), y)
    by_output, weight, bias = torch.autograd.grad(loss, [h, model.a.weight, model.a.bias])
    assert found.gradient_rms == pytest.approx(float(by_output.square().mean().sqrt()), rel=1e-4)
    both = torch.cat([weight.flatten(), bias])
    assert found.weight_gradient_norm == pytest.approx(float(both.norm()), rel=1e-4)


@pytest.mark.parametrize(("function", "plant", "check"), [
    (torch.relu, lambda m: nn.init.constant_(m.a.bias, -50.0), lambda f: f.dead_share == 1.0),
    (torch.tanh, lambda m: m.a.weight.data.mul_(100), lambda f: f.saturated_share > 0.9),
    (torch.sigmoid, lambda m: m.a.weight.data.mul_(100), lambda f: f.saturated_share > 0.8),
    (torch.relu, lambda m: nn.init.constant_(m.a.weight, 0.3), lambda f: f.constant),
    (torch.relu, lambda m: m.a.weight.data.copy_(m.a.weight.data[:1].expand(8, 6)),
     lambda f: f.rows_equal and not f.constant),
    (torch.relu, lambda m: nn.init.constant_(m.a.bias, -5.0), lambda f: f.bias_mean == -5.0),
])  # fmt: skip
def test_planted_starts_show_and_sound_ones_do_not(function, plant, check):
    torch.manual_seed(0)
    model = Between(function)
    assert not check(layer(network(model), "a"))
    plant(model)
    assert check(layer(network(model), "a"))


# --- gradients and cuts ---------------------------------------------------------------------------


def without_gradient(x):
    with torch.no_grad():
        return x * 2


@pytest.mark.parametrize(("function", "name"), [
    (lambda x: x.detach(), "detach"), (lambda x: x.data, "data"),
    (lambda x: torch.from_numpy(x.detach().numpy()), "detach"),
    (lambda x: torch.tensor(x.tolist()), "tolist"),
    (lambda x: F.one_hot(x.argmax(1), 8).float(), "argmax"),
    (lambda x: x.long().float(), "long"), (without_gradient, "no_grad (mul)"),
    (lambda x: (x > 0).float(), "gt"),
])  # fmt: skip
def test_the_operation_that_cuts_the_graph_is_named_with_its_line(function, name):
    found = network(Between(function))
    assert set(found.gradient_missing) == {"a.weight", "a.bias"}
    assert [operation for operation, _ in found.cuts] == [name]
    assert found.cuts[0][1].split(":")[0].endswith("test_network_probe.py")


@pytest.mark.parametrize("function", [torch.round, torch.sign, torch.floor])
def test_functions_without_slope_are_named(function):
    found = network(Between(function))
    assert "a.weight" in found.gradient_zero
    assert [operation for operation, _ in found.cuts] == [function.__name__]


def test_a_cut_in_the_loss_is_found_there():
    found = network(Between(torch.relu), loss=lambda o, y: (o.argmax(1) != y).float().mean())
    assert found.cuts[0][0] == "argmax"
    assert len(found.gradient_missing) == 4


@pytest.mark.parametrize("function", [
    torch.relu, lambda x: x * (x > 0), lambda x: x + (x.round() - x).detach(),
    lambda x: torch.where(x > 0, x, 0.1 * x), lambda x: x / x.detach().abs().mean()])  # fmt: skip
def test_masks_and_stopped_gradients_on_the_side_are_no_cuts(function):
    found = network(Between(function))
    assert not found.cuts
    assert not found.gradient_missing


class Squared(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx, grad):
        return 2 * grad * ctx.saved_tensors[0]


class SquaredWrongly(Squared):
    @staticmethod
    def backward(ctx, grad):
        return grad * ctx.saved_tensors[0]


class StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.round()

    @staticmethod
    def backward(ctx, grad):
        return grad


def test_a_wrong_backward_is_found_by_finite_differences_and_surrogates_are_left_alone():
    wrong = network(Between(SquaredWrongly.apply)).bad_gradients
    assert [name for name, _ in wrong] == ["SquaredWrongly"]
    assert wrong[0][1] > 0.05
    assert network(Between(Squared.apply)).bad_gradients == ()


def test_frozen_and_unregistered_parameters_are_named():
    model = Between(torch.relu)
    model.a.requires_grad_(False)
    model.extra = [nn.Linear(2, 2)]
    model.deep = {"x": [nn.Parameter(torch.zeros(2))]}
    model.known = [model.b]
    found = network(model)
    assert found.frozen == ("a.weight", "a.bias")
    assert found.unregistered == ("extra[0]", "deep['x'][0]")


# --- behaviour ------------------------------------------------------------------------------------


def test_batch_norm_with_statistics_of_other_data_differs_by_mode_and_dropout_does_not():
    model = Between(nn.BatchNorm1d(8))
    model.between(torch.randn(50, 8) * 30 + 100)
    assert (network(model).mode_difference or 0) > 0.3
    assert network(Between(nn.Dropout(0.9))).mode_difference == 0.0
    assert network(Between(lambda x: F.dropout(x, 0.9))).mode_difference == 0.0
    assert network(Between(nn.BatchNorm1d(8))).mode_difference is None


@pytest.mark.parametrize(("function", "mixes"), [
    (lambda x: x.softmax(0), True), (lambda x: x - x.mean(0), True),
    (lambda x: x.t().reshape(x.shape), True), (lambda x: x + x.sum(), True),
    (torch.relu, False), (lambda x: x.softmax(1), False), (nn.BatchNorm1d(8), False),
    (nn.LayerNorm(8), False)])  # fmt: skip
def test_examples_that_steer_each_other_are_noticed(function, mixes):
    assert ((network(Between(function)).mixes_examples or 0) > 1e-3) is mixes


def test_a_model_without_a_mask_sees_the_future():
    assert network(CharacterModel(causal=True), text()).sees_future == 0.0
    assert (network(CharacterModel(causal=False), text()).sees_future or 0) > 0.01
    assert network(Between(torch.relu)).sees_future is None


def test_a_norm_before_the_first_weights_is_seen():
    model = nn.Sequential(nn.BatchNorm1d(6), nn.Linear(6, 3))
    assert network(model).input_norm
    assert not network(nn.Sequential(nn.Linear(6, 3), nn.BatchNorm1d(3))).input_norm


def test_several_inputs_and_outputs_are_taken():
    a, b = torch.randn(64, 6), torch.randn(64, 6)
    model = Siamese()
    facts = gather(
        model, ((a, b), torch.rand(64, 1).round()),
        loss=lambda o, y: F.binary_cross_entropy_with_logits(o[0], y),
    )  # fmt: skip
    assert facts.head is not None
    assert facts.head.kind == "linear"
    assert facts.loss is not None
    assert facts.loss.expects == "logits"
    assert facts.model is not None
    assert facts.model.dropout[:1] == (0.3,)


def test_a_probe_that_fails_is_named_and_the_rest_is_measured():
    class Sometimes(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.Linear(6, 3)

        def forward(self, x):
            if not self.training:
                raise ValueError("only for training")
            return self.a(x)

    model = Sometimes()
    facts = gather_model(model, sample_from(table(), device=CPU), loss=cross_entropy)
    assert "only for training" in facts.unseen["forward"]
