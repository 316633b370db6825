"""How did other packages fare? The 21 planted faults and 3 healthy runs on which they were measured:
digits, 400 steps, an MLP (and, beside the figure, the same faults on a convnet)."""

from collections.abc import Callable
from functools import partial

import torch

from clinic.fault import Fault, built_with, choosing
from clinic.models import weighty
from clinic.plant import data, model
from clinic.program import Built, Program
from clinic.setting import Setting, assemble

ADAM = Setting()
SGD = Setting(optimizer="sgd", learning_rate=0.1)
CONVNET = Setting(architecture="convnet", learning_rate=3e-3)
CONVNET_SGD = Setting(architecture="convnet", optimizer="sgd", learning_rate=0.1)


@torch.no_grad()
def _times_ten(built: Built) -> None:
    for layer in weighty(built.model):
        layer.weight.mul_(10)


def _rare(built: Built) -> None:
    """Two digits against the rest, 97 : 3, by nine noisy pixels: the classes overlap."""
    middle = torch.zeros(8, 8)
    middle[2:5, 2:5] = 1
    for name in ("X", "Xv"):
        x = getattr(built, name)
        setattr(built, name, (x + 0.6 * torch.randn_like(x)) * middle.flatten())
    built.y, built.yv = ((y >= 8).long() for y in (built.y, built.yv))
    data.rare(built)


# name -> code, kind, accepted, change of the setting, plant, whether on plain SGD
Planted = tuple[str, tuple[str, ...], Callable[[Setting], Setting], Callable[[Built], None], bool]


def _same(setting: Setting) -> Setting:
    return setting


def _nothing(built: Built) -> None:
    """The fault lies in the setting."""


def _left_out(built: Built) -> None:
    """The second hidden layer is not in the optimiser."""
    own = {id(p) for p in weighty(built.model)[1].parameters()}
    for group in built.optimizer.param_groups:
        group["params"] = [p for p in group["params"] if id(p) not in own]


PLANTED: dict[str, Planted] = {
    "sgd_rate_20": ("A401", (), choosing(learning_rate=20.0), _nothing, True),
    "adam_rate_0.3": ("A401", (), choosing(learning_rate=0.3), _nothing, False),
    "rate_1e-5": ("A402", (), choosing(learning_rate=1e-5), _nothing, False),
    "twelve_sigmoids": ("M204", (), built_with(depth=12, activation="sigmoid"), _nothing, False),
    "exploding_start": ("M205", ("M206",), built_with(depth=4), _times_ten, True),
    "relu_bias_-5": ("M202", ("M206",), _same, model.low_biases, False),
    "tanh_x20": ("M203", ("M206",), built_with(activation="tanh"), model.hidden_rescaled_20, True),
    "no_activation": ("M201", (), built_with(activation="none"), _nothing, False),
    "zero_start": ("M206", (), _same, model.zero, False),
    "input_x255_plus_1000": ("D101", (), _same, data.unscaled, False),
    "softmax_before_cross_entropy": ("L301", (), built_with(head="softmax"), _nothing, False),
    "no_zero_grad": ("A406", (), choosing(body="never_clear"), _nothing, True),
    "layer_not_in_optimizer": ("M211", (), _same, _left_out, False),
    "labels_60_percent_noise": ("D104", (), _same, data.noisy_labels(0.6), False),
    "labels_shuffled": ("D105", (), _same, data.shuffled_labels, False),
    "sixty_samples": ("D110", ("M208",), _same, data.few_examples, False),
    "two_units": ("M207", (), built_with(width=2), _nothing, False),
    "batch_of_two": ("A404", (), choosing(batch_size=2), _nothing, True),
    "97_to_3": ("D107", (), choosing(outputs=2), _rare, False),
    "label_leaked": ("D108", (), _same, data.leaked_label, False),
    "nan_row": ("D111", (), _same, data.nan_row, False),
}
NOT_ON_CONVNETS = frozenset({"twelve_sigmoids"})  # eight by eight pixels have no room for them
HEALTHY: dict[str, Setting] = {
    "peers_healthy_mlp": ADAM,
    "peers_healthy_mlp_sgd": SGD,
    "peers_healthy_convnet": CONVNET,
}


def peers() -> dict[str, Program]:
    """The programs of the comparison by name; `peers/…` is the figure, `peers_convnet/…` beside it."""
    programs = {
        name: Program(name=name, family=setting.architecture, make=partial(assemble, setting))
        for name, setting in HEALTHY.items()
    }
    for name, planted in PLANTED.items():
        programs |= _one("peers", name, planted, SGD if planted[4] else ADAM)
        if name not in NOT_ON_CONVNETS:
            base = CONVNET_SGD if planted[4] else CONVNET
            programs |= _one("peers_convnet", name, planted, base)
    return programs


def _one(group: str, name: str, planted: Planted, base: Setting) -> dict[str, Program]:
    code, accepted, change, plant, _ = planted
    fault = Fault(code=code, kind=name, on=(), change=change, plant=plant, accepted=accepted)
    full = f"{group}/{name}"
    twin = "peers_healthy_convnet" if base.architecture == "convnet" else "peers_healthy_mlp"
    return {
        full: Program(
            name=full, family=base.architecture, make=partial(fault.make, base), fault=code,
            kind=name, accepted=accepted, twin=twin,
        )
    }  # fmt: skip
