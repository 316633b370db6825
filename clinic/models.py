"""Which networks are planted on? Six architectures over one small set of options; users' habits
(Sequential, own modules, functional calls, dict outputs) are all among them."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Exponential(nn.Module):
    """exp(x): grows without bound."""

    def forward(self, x: Tensor) -> Tensor:
        return x.exp()


class FeatureSoftmax(nn.Module):
    """Softmax over the features or channels, axis 1 of [batch, feature, …]."""

    def forward(self, x: Tensor) -> Tensor:
        return x.softmax(1)


class SquareWithSign(nn.Module):
    """x |x|: a gain that grows with the signal."""

    def forward(self, x: Tensor) -> Tensor:
        return x * x.abs()


ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "elu": nn.ELU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "softplus": nn.Softplus,
    "exponential": Exponential,
    "square": SquareWithSign,
    "softmax": FeatureSoftmax,
    "none": nn.Identity,
}
FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "leaky_relu": F.leaky_relu,
    "gelu": F.gelu,
    "silu": F.silu,
    "elu": F.elu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "softplus": F.softplus,
    "exponential": torch.exp,
    "square": lambda x: x * x.abs(),
    "softmax": lambda x: F.softmax(x, dim=1),
    "none": lambda x: x,
}
HEADS: dict[str, Callable[[], nn.Module]] = {
    "linear": nn.Identity,
    "softmax": lambda: nn.Softmax(dim=1),
    "batch_softmax": lambda: nn.Softmax(dim=0),
    "log_softmax": lambda: nn.LogSoftmax(dim=1),
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What a network is made for: `inputs` without the batch axis, `outputs` numbers per example."""

    inputs: tuple[int, ...]
    outputs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How it is made. `misuse` plants a fault that lives in the code of the network itself:
    python_list, detach, mix, round, argmax; None in a healthy one."""

    width: int = 64
    depth: int = 2
    activation: str = "relu"
    norm: str | None = None  # batch, group, layer
    input_norm: bool = False
    dropout: float = 0.0
    head: str = "linear"
    pool: str = "max"  # or mean, of convnets
    he: bool = False  # weights drawn as He et al. 2015 say, biases zero
    misuse: str | None = None


def mlp(shape: Shape, options: Options) -> nn.Module:
    """Flatten, `depth` hidden layers, a linear head: one nn.Sequential."""
    size = 1
    for axis in shape.inputs:
        size *= axis
    layers: list[nn.Module] = [nn.Flatten()] if len(shape.inputs) > 1 else []
    if options.input_norm:
        layers.append(nn.BatchNorm1d(size))
    for _ in range(options.depth):
        layers.append(nn.Linear(size, options.width))
        if options.norm:
            layers.append(
                nn.BatchNorm1d(options.width) if options.norm == "batch" else nn.LayerNorm(options.width)
            )  # fmt: skip
        layers.append(ACTIVATIONS[options.activation]())
        if options.dropout:
            layers.append(nn.Dropout(options.dropout))
        size = options.width
    layers += [nn.Linear(size, shape.outputs), *_head(options)]
    return nn.Sequential(*layers)


def convnet(shape: Shape, options: Options) -> nn.Module:
    """[batch, 1, 8, 8] (flat rows are reshaped): `depth` convolutions, pooling, a linear head."""
    layers: list[nn.Module] = [nn.Unflatten(1, (1, 8, 8))]
    channels, width = 1, max(2, options.width // 4)
    if options.input_norm:
        layers.append(nn.BatchNorm2d(1))
    for number in range(options.depth):
        layers.append(nn.Conv2d(channels, width, 3, padding=1))
        if options.norm:
            layers.append(
                nn.BatchNorm2d(width) if options.norm == "batch" else nn.GroupNorm(4, width)
            )
        layers.append(ACTIVATIONS[options.activation]())
        if number in (0, options.depth - 1):
            layers.append(nn.MaxPool2d(2) if options.pool == "max" else nn.AvgPool2d(2))
        channels = width
    side = 4 if options.depth == 1 else 2
    layers += [nn.Flatten(), *([nn.Dropout(options.dropout)] if options.dropout else [])]
    layers += [nn.Linear(channels * side * side, shape.outputs), *_head(options)]
    return nn.Sequential(*layers)


class Recurrent(nn.Module):
    """[batch, time, feature] (flat rows of 64 are cut in 8): GRU, LSTM or RNN, last state, head."""

    def __init__(self, shape: Shape, options: Options, cell: str) -> None:
        super().__init__()
        features = shape.inputs[-1] if len(shape.inputs) == 2 else 8
        self.misuse = options.misuse
        self.input_norm = nn.LayerNorm(features) if options.input_norm else nn.Identity()
        kinds = {"gru": nn.GRU, "lstm": nn.LSTM, "rnn": nn.RNN}
        layers = min(options.depth, 2)
        self.cell = kinds[cell](features, options.width, num_layers=layers, batch_first=True)
        self.dropout = nn.Dropout(options.dropout)
        self.hidden = nn.Linear(options.width, options.width)
        self.activation = ACTIVATIONS[options.activation]()
        self.head = nn.Linear(options.width, shape.outputs)
        self.last = HEADS[options.head]()

    def forward(self, x: Tensor) -> Tensor:
        x = x if x.ndim == 3 else x.view(len(x), 8, 8)
        if self.misuse == "mix":  # [time, batch] wanted, and a view taken for a transposition
            x = x.reshape(x.shape[1], x.shape[0], -1).transpose(0, 1)
        states, _ = self.cell(self.input_norm(x))
        state = states[:, -1]
        if self.misuse == "detach":
            state = state.detach()
        hidden = self.activation(self.hidden(self.dropout(state)))
        return misused(self.last(self.head(hidden)), self.misuse)


class Encoder(nn.Module):
    """A transformer encoder over rows, learned positions, mean over time, head."""

    def __init__(self, shape: Shape, options: Options) -> None:
        super().__init__()
        time, features = shape.inputs if len(shape.inputs) == 2 else (8, 8)
        width = max(4, options.width // 2)
        self.misuse = options.misuse
        self.input_norm = nn.LayerNorm(features) if options.input_norm else nn.Identity()
        self.embed = nn.Linear(features, width)
        self.positions = nn.Parameter(torch.randn(time, width) * 0.1)
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(
                width, max(1, width // 16), 2 * width, options.dropout,
                activation=FUNCTIONS[options.activation], batch_first=options.misuse != "mix",
                norm_first=True,
            )
            for _ in range(options.depth)
        )  # fmt: skip
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, shape.outputs)
        self.last = HEADS[options.head]()

    def forward(self, x: Tensor) -> Tensor:
        x = x if x.ndim == 3 else x.view(len(x), 8, 8)
        x = self.embed(self.input_norm(x)) + self.positions
        for block in self.blocks:
            x = block(x)
        if self.misuse == "detach":
            x = x.detach()
        return misused(self.last(self.head(self.norm(x).mean(1))), self.misuse)


class Functional(nn.Module):
    """Somebody's own module: functional calls, layers in a dict by number, a dict as output."""

    def __init__(self, shape: Shape, options: Options) -> None:
        super().__init__()
        size = 1
        for axis in shape.inputs:
            size *= axis
        self.options = options
        self.norm_in = nn.LayerNorm(size) if options.input_norm else None
        sizes = [size] + [options.width] * options.depth
        hidden = [nn.Linear(a, b) for a, b in pairwise(sizes)]
        self.hidden = hidden if options.misuse == "python_list" else nn.ModuleList(hidden)
        self.norms = nn.ModuleList(
            (nn.BatchNorm1d if options.norm == "batch" else nn.LayerNorm)(options.width)
            for _ in hidden if options.norm
        )  # fmt: skip
        self.out = nn.Linear(options.width, shape.outputs)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        act = FUNCTIONS[self.options.activation]
        h = x.flatten(1)
        h = h if self.norm_in is None else self.norm_in(h)
        if self.options.misuse == "mix":  # a reshape taken for a transposition and back
            h = h.T.reshape(len(h), -1)
        for number, layer in enumerate(self.hidden):
            h = layer(h)
            h = act(self.norms[number](h) if self.options.norm else h)
            h = F.dropout(h, self.options.dropout, self.training) if self.options.dropout else h
        if self.options.misuse == "detach":
            h = h.detach()
        return {"outputs": misused(HEADS[self.options.head]()(self.out(h)), self.options.misuse), "features": h}  # fmt: skip


def misused(outputs: Tensor, misuse: str | None) -> Tensor:
    """What some users do to the outputs before the loss, and what cuts the path."""
    if misuse == "round":
        return outputs.round()
    if misuse == "argmax":
        return F.one_hot(outputs.argmax(1), outputs.shape[1]).float().requires_grad_()
    if misuse == "reborn":
        return torch.tensor(outputs.detach().numpy(), requires_grad=True)
    return outputs


class Misusing(nn.Module):
    """Any network with `misused` outputs, or detached or listed parts."""

    def __init__(self, inner: nn.Sequential, misuse: str) -> None:
        super().__init__()
        self.misuse = misuse
        children = list(inner)
        self.body = children[:-1] if misuse == "python_list" else nn.ModuleList(children[:-1])
        self.head = children[-1]

    def forward(self, x: Tensor) -> Tensor:
        if self.misuse == "mix":
            flat = x.flatten(1)
            x = flat.T.reshape(flat.shape).reshape(x.shape)
        for layer in self.body:
            x = layer(x)
        return misused(self.head(x.detach() if self.misuse == "detach" else x), self.misuse)


def network(name: str, shape: Shape, options: Options) -> nn.Module:
    """The architecture `name`: mlp, convnet, gru, lstm, rnn, encoder, functional."""
    model = _plain_network(name, shape, options)
    if options.he:
        for layer in weighty(model):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(bias_of(layer))
    return model


def weighty(model: nn.Module) -> list[nn.Linear | nn.Conv2d]:
    """Linear and convolution layers in order of definition, the head last."""
    return [m for m in model.modules() if isinstance(m, nn.Linear | nn.Conv2d)]


def bias_of(layer: nn.Linear | nn.Conv2d) -> Tensor:
    """The bias, which every layer of these networks has."""
    assert layer.bias is not None, layer
    return layer.bias


def _plain_network(name: str, shape: Shape, options: Options) -> nn.Module:
    match name:
        case "mlp" | "convnet":
            inner = (mlp if name == "mlp" else convnet)(shape, options)
            assert isinstance(inner, nn.Sequential)
            return Misusing(inner, options.misuse) if options.misuse else inner
        case "gru" | "lstm" | "rnn":
            return Recurrent(shape, options, name)
        case "encoder":
            return Encoder(shape, options)
        case "functional":
            return Functional(shape, options)
    raise AssertionError(f"no architecture {name!r}")


def _head(options: Options) -> list[nn.Module]:
    return [] if options.head == "linear" else [HEADS[options.head]()]
