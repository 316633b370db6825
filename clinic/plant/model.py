"""How is a network spoilt? M201-M216: initial weights, activations, size, mode, wiring."""

import math
from collections.abc import Callable

import torch
from torch import nn

from clinic.fault import Fault, both, built_with, choosing
from clinic.models import bias_of, weighty
from clinic.plant.data import FOUR, FOUR_SGD
from clinic.program import Built

FLIPPED = ("flipped_mlp", "flipped_convnet", "flipped_functional")
DEEP = ("digits_mlp_deep", "digits_convnet_deep", "digits_functional_deep")
FOURTH = ("digits_mlp_four", "digits_convnet_four", "digits_functional_four")
TANH = ("digits_mlp_tanh", "digits_convnet_tanh", "digits_functional_tanh")
DROPOUT = ("digits_mlp_dropout", "digits_convnet_dropout", "digits_functional_dropout", "digits_gru_dropout")  # fmt: skip
BATCH_NORM = ("digits_mlp_batch_norm", "digits_convnet_batch_norm", "digits_functional_batch_norm")
REAL = ("friedman_mlp", "ink_convnet", "sums_gru", "friedman_functional")


@torch.no_grad()
def low_biases(built: Built) -> None:
    """Every hidden bias at -5: no ReLU opens."""
    for layer in weighty(built.model)[:-1]:
        nn.init.constant_(bias_of(layer), -5.0)


def rescaled(factor: float, *, recurrent: bool = False) -> Callable[[Built], None]:
    """All weights times `factor`, the head's too."""

    @torch.no_grad()
    def plant(built: Built) -> None:
        for name, parameter in built.model.named_parameters():
            if parameter.ndim > 1 and (not recurrent or "weight_hh" in name):
                parameter.mul_(factor)

    return plant


@torch.no_grad()
def hidden_rescaled_20(built: Built) -> None:
    """Hidden weights times 20: tanh and sigmoid flat everywhere."""
    for layer in weighty(built.model)[:-1]:
        layer.weight.mul_(20)


@torch.no_grad()
def gates_rescaled_20(built: Built) -> None:
    """Recurrent net: input and state weights times 20."""
    for name, parameter in built.model.named_parameters():
        if "cell.weight" in name:
            parameter.mul_(20)


@torch.no_grad()
def growing(built: Built) -> None:
    """Weights of a deep ReLU net at three times He's standard deviation."""
    for layer in weighty(built.model):
        fan_in = layer.weight[0].numel()
        nn.init.normal_(layer.weight, std=3 * math.sqrt(2 / fan_in))


@torch.no_grad()
def constant(built: Built) -> None:
    """All weights 0.1: units of a layer stay equal for ever."""
    for parameter in built.model.parameters():
        nn.init.constant_(parameter, 0.1 if parameter.ndim > 1 else 0.0)


@torch.no_grad()
def zero(built: Built) -> None:
    """All parameters zero."""
    for parameter in built.model.parameters():
        parameter.zero_()


@torch.no_grad()
def biased_head(built: Built) -> None:
    """One output starts at 150, the others at 0."""
    head = weighty(built.model)[-1]
    nn.init.zeros_(bias_of(head))
    bias_of(head)[0] = 150.0


@torch.no_grad()
def distant_head(built: Built) -> None:
    """The output of a regression starts at 80 sd."""
    nn.init.constant_(bias_of(weighty(built.model)[-1]), 80.0)


def frozen(built: Built) -> None:
    """Everything below the head is frozen at its (mediocre) start, by mistake."""
    for parameter in _below_head(built):
        parameter.requires_grad_(False)


def left_out(built: Built) -> None:
    """The optimiser was given the head only; the rest asks for gradients in vain."""
    below = {id(p) for p in _below_head(built)}
    for group in built.optimizer.param_groups:
        group["params"] = [p for p in group["params"] if id(p) not in below]


def _below_head(built: Built) -> list[nn.Parameter]:
    head = weighty(built.model)[-1]
    own = {id(p) for p in head.parameters()}
    return [p for p in built.model.parameters() if id(p) not in own]


def overfit(built: Built) -> None:
    """150 training examples with noise that cannot be predicted, in the inputs (classes) or the
    targets (numbers), learned by heart by a large network."""
    if built.y.dtype == torch.int64:
        built.X, built.Xv = (x + torch.randn_like(x) for x in (built.X, built.Xv))
    else:
        built.truth = (built.Xv, built.yv)
        built.y = built.y + torch.randn_like(built.y)
    built.X, built.y, built.batch_size = built.X[:150], built.y[:150], 32


def stale_statistics(built: Built) -> None:
    """Running statistics that hardly move: momentum 1e-4, inputs far from the initial 0 and 1."""
    for module in built.model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.momentum = 1e-4
    built.X, built.Xv = built.X * 4 + 3, built.Xv * 4 + 3


def pairs_of_two(built: Built) -> None:
    """Batch norm on two examples."""
    built.batch_size = 2
    built.steps = 1000
    cut = len(built.X) - len(built.X) % 2
    built.X, built.y = built.X[:cut], built.y[:cut]


def far_inputs(built: Built) -> None:
    """Inputs that the norm layers were meant to bring to scale."""
    built.X, built.Xv = built.X * 20 + 30, built.Xv * 20 + 30


narrow_flipped = both(built_with(width=16, depth=3), choosing(steps=600))
FAULTS: tuple[Fault, ...] = (
    Fault(code="M201", kind="no_activation", on=(*FLIPPED, "rings_mlp"), change=built_with(activation="none")),
    Fault(code="M202", kind="low_biases", on=("digits_mlp", "digits_convnet", "digits_functional", "digits_gru", "friedman_mlp"), plant=low_biases, accepted=("M206",)),
    Fault(code="M203", kind="tanh", on=TANH, plant=hidden_rescaled_20, accepted=("M206",)),
    Fault(code="M203", kind="sigmoid", on=("digits_mlp_four", "digits_functional_four", "digits_convnet_four"), change=built_with(activation="sigmoid", depth=2), plant=hidden_rescaled_20, accepted=("M206",)),
    Fault(code="M203", kind="recurrent", on=("digits_rnn_sgd", "digits_gru_sgd"), plant=gates_rescaled_20, accepted=("M206", "M205")),
    Fault(code="M204", kind="sigmoids", on=DEEP, change=built_with(activation="sigmoid", he=False)),
    Fault(code="M205", kind="gain", on=DEEP, plant=growing, accepted=("M206",)),
    Fault(code="M205", kind="exponential", on=("digits_mlp_four", "digits_functional_four", "digits_convnet_four"), change=built_with(activation="exponential", depth=3), accepted=("M216",)),
    Fault(code="M205", kind="recurrent", on=("digits_rnn",), plant=rescaled(6.0, recurrent=True), accepted=("M206", "M203")),
    Fault(code="M206", kind="constant", on=(*FOUR, "digits_mlp_sgd"), plant=constant),
    Fault(code="M206", kind="zero", on=(*FOUR, "digits_mlp_sgd"), plant=zero),
    Fault(code="M206", kind="too_large", on=(*FOUR_SGD, "digits_functional"), plant=rescaled(30.0), accepted=("M205",)),
    Fault(code="M206", kind="too_small", on=FOURTH, plant=rescaled(1e-3), accepted=("M204",)),
    Fault(code="M206", kind="bias", on=("digits_mlp", "digits_convnet", "digits_functional", "digits_gru"), plant=biased_head),
    Fault(code="M206", kind="distant", on=REAL, plant=distant_head),
    Fault(code="M207", kind="two_units", on=("digits_mlp", "digits_gru", "digits_functional", "flipped_functional"), change=built_with(width=2)),
    Fault(code="M207", kind="two_channels", on=("flipped_convnet",), change=built_with(width=2, depth=2)),
    Fault(code="M208", kind="by_heart", on=("digits_mlp", "digits_functional", "friedman_mlp"), change=both(choosing(steps=1500), built_with(width=256)), plant=overfit, accepted=("D110",)),
    Fault(code="M208", kind="convnet", on=("digits_convnet",), change=both(choosing(steps=700), built_with(width=128)), plant=overfit, accepted=("D110",)),
    Fault(code="M208", kind="encoder", on=("digits_encoder",), change=choosing(steps=800), plant=overfit, accepted=("D110",)),
    Fault(code="M209", kind="dropout", on=DROPOUT, change=built_with(dropout=0.95)),
    Fault(code="M209", kind="decay", on=FOUR_SGD, change=choosing(extra=(("weight_decay", 0.3),))),
    Fault(code="M209", kind="penalty", on=("digits_mlp", "digits_convnet", "digits_functional"), change=choosing(body="penalty_squares"), accepted=("L307",)),
    Fault(code="M210", kind="eval_always", on=BATCH_NORM, change=choosing(trains_in="eval"), plant=far_inputs, accepted=("D101",)),
    Fault(code="M210", kind="valid_in_train", on=DROPOUT[:3], change=both(choosing(validates_in="train"), built_with(dropout=0.7))),
    Fault(code="M210", kind="batch_of_two", on=(BATCH_NORM[0], BATCH_NORM[2], "digits_mlp_four_batch_norm"), plant=pairs_of_two, accepted=("A404",)),
    Fault(code="M210", kind="stale", on=BATCH_NORM, plant=stale_statistics),
    Fault(code="M211", kind="frozen", on=FLIPPED, change=narrow_flipped, plant=frozen),
    Fault(code="M211", kind="frozen_recurrent", on=("first_sign_gru",), plant=frozen),
    Fault(code="M211", kind="left_out", on=(*FLIPPED, "first_sign_gru"), change=narrow_flipped, plant=left_out),
    Fault(code="M211", kind="python_list", on=FLIPPED, change=both(narrow_flipped, built_with(misuse="python_list"))),
    Fault(code="M211", kind="detached", on=(*FLIPPED, "first_sign_gru", "attention_flipped"), change=both(narrow_flipped, built_with(misuse="detach")), accepted=("L306",)),
    Fault(code="M212", kind="batch_softmax", on=("digits_mlp", "digits_convnet", "digits_functional", "digits_encoder"), change=built_with(head="batch_softmax"), accepted=("L301",), harm=False),
    Fault(code="M212", kind="reshape", on=("digits_mlp", "digits_convnet", "digits_gru", "digits_functional", "digits_encoder"), change=built_with(misuse="mix")),
    Fault(code="M214", kind="twenty_layers", on=("digits_mlp", "digits_functional", "digits_convnet"), change=both(built_with(depth=20), choosing(steps=300)), accepted=("M204",)),
    Fault(code="M216", kind="hidden_softmax", on=("digits_mlp_sgd", "digits_convnet_sgd", "digits_functional_sgd"), change=built_with(activation="softmax")),
)  # fmt: skip
