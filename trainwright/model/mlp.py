"""Which networks read examples as plain vectors? A linear map, and a multilayer perceptron, for
tables with embeddings and, if asked for, several members in one."""

import math
from collections import OrderedDict

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from trainwright.core.records import Signature
from trainwright.model.features import RowInput
from trainwright.model.knobs import ModelKnobs
from trainwright.model.layers import Add, activation_at, has_bias, start, unit


class Linear(nn.Module):
    """W x + b, plus one learned vector per category: a linear map of the one-hot row."""

    def __init__(self, knobs: ModelKnobs, signature: Signature, num_outputs: int) -> None:
        super().__init__()
        features = math.prod(signature.shape)
        self.linear: nn.Linear | None = None  # a table may hold categories only
        if features:
            self.linear = start(nn.Linear(features, num_outputs, bias=False), "none", knobs)
        self.bias = nn.Parameter(torch.zeros(num_outputs))
        starts = torch.tensor((0, *signature.cardinalities)).cumsum(0)
        self.table = nn.EmbeddingBag(int(starts[-1]), num_outputs, mode="sum")
        nn.init.zeros_(self.table.weight)  # a convex problem: 0 is as good a start as any
        self.register_buffer("starts", starts[:-1], persistent=False)
        self.starts: Tensor

    def forward(
        self, numbers: Float[Tensor, "batch ..."], codes: Int64[Tensor, "batch column"]
    ) -> Float[Tensor, "batch output"]:
        outputs = self.table(codes + self.starts) + self.bias
        return outputs if self.linear is None else outputs + self.linear(numbers.flatten(1))


class RowMlp(nn.Module):
    """Input embedding, then hidden layers and head, plus a linear map of the embedded row where
    one is given: [batch, output]."""

    def __init__(self, row: RowInput, layers: nn.Sequential, wide: nn.Linear | None) -> None:
        super().__init__()
        self.input, self.layers, self.wide = row, layers, wide

    def forward(
        self, *inputs: Float[Tensor, "batch ..."] | Int64[Tensor, "batch column"]
    ) -> Float[Tensor, "batch output"]:
        row = self.input(*inputs)
        outputs = self.layers(row)
        return outputs if self.wide is None else outputs + self.wide(row)


class Members(nn.Module):
    """Members that share the hidden layers; each has its own factor r on every input column and
    its own head; a linear map of the embedded row is shared by all: [batch, member, output].

    Source: Gorishniy et al. 2025, TabM-mini, arXiv:2410.24210, section 3.3.
    """

    def __init__(
        self,
        row: nn.Module,
        chunks: tuple[int, ...],
        body: nn.Sequential,
        head: "MemberHeads",
        wide: nn.Linear | None,
    ) -> None:
        super().__init__()
        self.input, self.body, self.head, self.wide = row, body, head, wide
        by_column = torch.randn(head.members, len(chunks))
        if max(chunks) == 1:  # plain numbers: a sign keeps their scale
            by_column = by_column.sign()
        self.factor = nn.Parameter(by_column.repeat_interleave(torch.tensor(chunks), dim=1))

    def forward(
        self, *inputs: Float[Tensor, "batch ..."] | Int64[Tensor, "batch column"]
    ) -> Float[Tensor, "batch member output"]:
        row = self.input(*inputs).unsqueeze(1)
        rows = row * self.factor  # [batch, member, input]
        hidden = self.body(rows.flatten(0, 1))
        outputs = self.head(hidden.unflatten(0, rows.shape[:2]))
        return outputs if self.wide is None else outputs + self.wide(row)


class MemberHeads(nn.Module):
    """A linear map for each member: [batch, member, width] -> [batch, member, output]."""

    def __init__(self, members: int, width: int, num_outputs: int, knobs: ModelKnobs) -> None:
        super().__init__()
        self.members = members
        heads = [start(nn.Linear(width, num_outputs), "none", knobs) for _ in range(members)]
        self.weight = nn.Parameter(torch.stack([h.weight.detach().T for h in heads]))
        self.bias = nn.Parameter(torch.stack([h.bias.detach() for h in heads]).unsqueeze(1))

    def forward(
        self, hidden: Float[Tensor, "batch member width"]
    ) -> Float[Tensor, "batch member output"]:
        return torch.baddbmm(self.bias, hidden.transpose(0, 1), self.weight).transpose(0, 1)


def build_linear(knobs: ModelKnobs, signature: Signature, num_outputs: int) -> nn.Module:
    """A linear map of the flattened example; tokens are counted by `bag`."""
    if signature.cardinalities:
        return Linear(knobs, signature, num_outputs)
    layer = start(nn.Linear(math.prod(signature.shape), num_outputs), "none", knobs)
    return layer if len(signature.shape) == 1 else nn.Sequential(nn.Flatten(), layer)


def build_mlp(knobs: ModelKnobs, signature: Signature, num_outputs: int) -> nn.Module:
    """A plain nn.Sequential where nothing is embedded; see `RowMlp` and `Members` otherwise."""
    plain = not signature.cardinalities and not (knobs.input_scale is True or knobs.wide is True)
    members = knobs.members if isinstance(knobs.members, int) else 1
    if plain and knobs.numeric_embedding == "none" and members == 1:
        flatten = [("flatten", nn.Flatten())] if len(signature.shape) != 1 else []
        hidden, width = hidden_layers(knobs, math.prod(signature.shape))
        return nn.Sequential(OrderedDict([*flatten, *hidden, _head(knobs, width, num_outputs)]))
    row = RowInput(knobs, signature)
    hidden, width = hidden_layers(knobs, row.width)
    if members == 1:
        head = _head(knobs, width, num_outputs)
        layers = nn.Sequential(OrderedDict([*hidden, head]))
        return RowMlp(row, layers, _wide(knobs, row.width, num_outputs))
    heads = MemberHeads(members, width, num_outputs, knobs)
    body = nn.Sequential(OrderedDict(hidden))
    return Members(row, row.chunks, body, heads, _wide(knobs, row.width, num_outputs))


def _wide(knobs: ModelKnobs, width: int, num_outputs: int) -> nn.Linear | None:
    """Zero, without a draw, so that the network starts as it would without it. Source: Cheng et
    al. 2016, arXiv:1606.07792, figure 1."""
    if knobs.wide is not True:
        return None
    linear = nn.Linear(width, num_outputs, bias=False, device="meta").to_empty(device="cpu")
    nn.init.zeros_(linear.weight)
    return linear


def hidden_layers(knobs: ModelKnobs, width_in: int) -> tuple[list[tuple[str, nn.Module]], int]:
    """The named hidden layers on vectors of `width_in`, and the width they end with."""
    assert isinstance(knobs.depth, int), "knobs are resolved before building"
    assert isinstance(knobs.width, int)
    parts: list[tuple[str, nn.Module]] = []
    width = width_in
    for i in range(knobs.depth):
        activation = activation_at(knobs, i)
        linear = start(nn.Linear(width, knobs.width, bias=has_bias(knobs)), activation, knobs)
        layer = unit(
            linear, knobs, activation, width_in=width, width_out=knobs.width, dimensions=0,
            suffix=str(i + 1),
        )  # fmt: skip
        if knobs.skip and width == knobs.width:
            body = nn.Sequential(OrderedDict(layer))
            parts.append((f"block_{i + 1}", Add(body, nn.Identity())))
        else:
            parts += layer
        width = knobs.width
    return parts, width


def _head(knobs: ModelKnobs, width: int, num_outputs: int) -> tuple[str, nn.Module]:
    return "head", start(nn.Linear(width, num_outputs), "none", knobs)
