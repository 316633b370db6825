"""What stands between layers, and how do weights start? Tables of activations and norms, the order
of layer, norm, activation and dropout, and the initialisation by the activation that follows."""

from math import gcd
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from trainwright.core.errors import ModelError
from trainwright.core.phrases import phrase
from trainwright.model.knobs import Activation, ModelKnobs

GROUPS = 8  # group norm: at most so many groups [assumed] for widths of 32 to 256
LEAK = 0.01  # slope of leaky_relu below 0, torch's own

ACTIVATIONS: dict[Activation, type[nn.Module]] = {
    "relu": nn.ReLU, "leaky_relu": nn.LeakyReLU, "gelu": nn.GELU, "silu": nn.SiLU,
    "mish": nn.Mish, "elu": nn.ELU, "selu": nn.SELU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid,
    "softplus": nn.Softplus, "hardswish": nn.Hardswish, "none": nn.Identity,
}  # fmt: skip
_RELU_FAMILY = frozenset({"relu", "leaky_relu", "gelu", "silu", "mish", "elu", "hardswish"})


class ChannelRMS(nn.Module):
    """x / sqrt(mean over channels of x^2 + eps) * weight.

    Source: Zhang & Sennrich 2019, arXiv:1910.07467, equation 4.
    """

    def __init__(self, channels: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.eps = eps

    def forward(
        self, x: Float[Tensor, "batch channel *place"]
    ) -> Float[Tensor, "batch channel *place"]:
        scale = (x.square().mean(dim=1, keepdim=True) + self.eps).rsqrt()
        return x * scale * self.weight.reshape(-1, *[1] * (x.dim() - 2))


class Add(nn.Module):
    """shortcut(x) + body(x)."""

    def __init__(self, body: nn.Module, shortcut: nn.Module) -> None:
        super().__init__()
        self.body, self.shortcut = body, shortcut

    def forward(self, x: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch ..."]:
        return self.shortcut(x) + self.body(x)


def activation_at(knobs: ModelKnobs, layer: int) -> Activation:
    """The activation after hidden layer number `layer`, counted from 0; knobs are resolved.

    Raises ModelError when the list is of another length than the network is deep.
    """
    listed = knobs.activation
    if isinstance(listed, tuple):
        if len(listed) != knobs.depth:
            raise ModelError(
                phrase(
                    "activation names {num} layers, and the model has {depth}",
                    num=len(listed),
                    depth=knobs.depth,
                ),
                allowed=phrase("one name for all, or one for each hidden layer"),
                do=phrase(
                    "set model.depth = {num}, or name {depth} activations",
                    num=len(listed),
                    depth=knobs.depth,
                ),
            )
        return listed[layer]
    return cast(Activation, listed)


def build_norm(knobs: ModelKnobs, width: int, dimensions: int) -> nn.Module | None:
    """The norm for activations [batch, width] (dimensions 0), [batch, width, time] (1) or
    [batch, width, height, width] (2); None for none.

    layer in a convnet: over channels and positions. Raises ModelError for a norm that would
    leave nothing but zeros.
    """
    alone = knobs.norm == "instance" or (knobs.norm == "group" and gcd(width, GROUPS) == width)
    if dimensions == 0 and alone:
        raise ModelError(
            phrase(
                "{norm} norm of {width} single units subtracts each unit from itself",
                norm=knobs.norm,
                width=width,
            ),
            allowed=phrase("none, batch, layer, rms, or group with a width above 8"),
            do=phrase("write model.norm = 'layer'"),
        )
    match knobs.norm:
        case "batch":
            return (nn.BatchNorm1d, nn.BatchNorm1d, nn.BatchNorm2d)[dimensions](width)
        case "layer":
            return nn.LayerNorm(width) if dimensions == 0 else nn.GroupNorm(1, width)
        case "instance":
            return nn.GroupNorm(width, width)
        case "group":
            return nn.GroupNorm(gcd(width, GROUPS), width)
        case "rms":
            return nn.RMSNorm(width) if dimensions == 0 else ChannelRMS(width)
        case _:
            return None


def has_bias(knobs: ModelKnobs) -> bool:
    """Whether a hidden layer needs a bias: a norm right behind it that subtracts the mean of
    each unit would take it away again."""
    return not (knobs.norm in ("batch", "instance") and knobs.norm_position == "before_activation")


def unit(
    layer: nn.Module,
    knobs: ModelKnobs,
    activation: Activation,
    *,
    width_in: int,
    width_out: int,
    dimensions: int,
    suffix: str,
    dropout: bool = True,
) -> list[tuple[str, nn.Module]]:
    """Layer, norm, activation and dropout in the order of `norm_position`, with their names."""
    first = knobs.norm_position == "before_layer"
    norm = build_norm(knobs, width_in if first else width_out, dimensions)
    norms = [(f"norm_{suffix}", norm)] if norm is not None else []
    kind = "linear" if isinstance(layer, nn.Linear) else "conv"
    layers: list[tuple[str, nn.Module]] = [(f"{kind}_{suffix}", layer)]
    active: list[tuple[str, nn.Module]] = []
    if activation != "none":
        active = [(f"activation_{suffix}", ACTIVATIONS[activation]())]
    match knobs.norm_position:
        case "before_activation":
            parts = [*layers, *norms, *active]
        case "after_activation":
            parts = [*layers, *active, *norms]
        case "before_layer":
            parts = [*norms, *layers, *active]
    if dropout and knobs.dropout:
        parts.append((f"dropout_{suffix}", nn.Dropout(float(knobs.dropout))))
    return parts


def start(layer: Any, activation: Activation, knobs: ModelKnobs) -> Any:
    """Sets the weights of a linear or convolution layer that `activation` follows; returns it.

    With fan_in inputs and fan_out outputs per unit, variance of each weight:
        he      2 / fan_in (leaky_relu: 2 / ((1 + slope^2) fan_in)), normal
        xavier  2 / (fan_in + fan_out), uniform
        lecun   1 / fan_in, normal
        orthogonal  orthonormal rows or columns, times sqrt(2) before the ReLU family
    """
    if knobs.init == "torch":
        return layer
    weight: Tensor = layer.weight
    init = knobs.init if knobs.init != "auto" else _by_activation(activation)
    match init:
        case "he":
            slope = LEAK if activation == "leaky_relu" else 0.0
            nn.init.kaiming_normal_(weight, a=slope, nonlinearity="leaky_relu")
        case "xavier":
            nn.init.xavier_uniform_(weight)
        case "lecun":
            nn.init.kaiming_normal_(weight, nonlinearity="linear")
        case "orthogonal":
            nn.init.orthogonal_(weight, gain=2**0.5 if activation in _RELU_FAMILY else 1.0)
        case "normal":
            nn.init.normal_(weight, std=knobs.init_sd)
        case _:
            nn.init.constant_(weight, knobs.init_value)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def _by_activation(activation: Activation) -> str:
    if activation in _RELU_FAMILY:
        return "he"
    return "lecun" if activation == "selu" else "xavier"
