"""How does a row of a table enter a network? Numbers as they are or as periodic vectors, categories
as learned vectors, each with a learned factor."""

import math

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from trainwright.core.records import Signature
from trainwright.model.knobs import ModelKnobs

PERIODS = 16  # functions per number [paper: Holzmueller et al. 2024, arXiv:2407.04491, table B.1]


class PeriodicEmbedding(nn.Module):
    """Each number x_i as a vector of its own: [batch, feature] -> [batch, feature * width].

    pbld: (x_i, W_i cos(2 pi f_i x_i + b_i) + c_i), f ~ N(0, sd), b ~ U(-pi, pi).
    plr: relu(W_i (cos(2 pi f_i x_i), sin(2 pi f_i x_i)) + c_i).
    Source: Gorishniy et al. 2022, arXiv:2203.05556, equation 4 (plr); Holzmueller et al. 2024,
    arXiv:2407.04491, section 3 (pbld).
    """

    def __init__(self, features: int, width: int, *, sd: float, with_bias: bool) -> None:
        super().__init__()
        self.with_bias = with_bias
        self.frequency = nn.Parameter(torch.randn(features, PERIODS) * sd)
        functions, learned = (PERIODS, width - 1) if with_bias else (2 * PERIODS, width)
        if with_bias:
            self.phase = nn.Parameter((torch.rand(features, PERIODS) * 2 - 1) * math.pi)
        bound = functions**-0.5
        self.weight = nn.Parameter((torch.rand(features, functions, learned) * 2 - 1) * bound)
        self.bias = nn.Parameter((torch.rand(features, 1, learned) * 2 - 1) * bound)

    def forward(self, x: Float[Tensor, "batch feature"]) -> Float[Tensor, "batch width"]:
        angle = 2 * math.pi * self.frequency * x.unsqueeze(-1)  # [batch, feature, period]
        if self.with_bias:
            waves = (angle + self.phase).cos()
        else:
            waves = torch.cat([angle.cos(), angle.sin()], dim=-1)
        # one small matrix per feature: [feature, batch, function] @ [feature, function, learned]
        learned = torch.baddbmm(self.bias, waves.transpose(0, 1), self.weight).transpose(0, 1)
        if self.with_bias:
            return torch.cat([x.unsqueeze(-1), learned], dim=-1).flatten(1)
        return learned.relu().flatten(1)


class CategoryEmbedding(nn.Module):
    """Codes int64 [batch, column] -> [batch, column * width], one learned vector per category.

    All columns share one table, each from its own row on. Code 0 (unseen or missing) starts at
    the zero vector, so that what training never showed adds nothing.
    """

    def __init__(self, cardinalities: tuple[int, ...], width: int) -> None:
        super().__init__()
        starts = torch.tensor((0, *cardinalities)).cumsum(0)
        self.table = nn.Embedding(int(starts[-1]), width)
        self.register_buffer("starts", starts[:-1], persistent=False)
        self.starts: Tensor
        with torch.no_grad():
            self.table.weight[self.starts] = 0

    def forward(self, codes: Int64[Tensor, "batch column"]) -> Float[Tensor, "batch width"]:
        return self.table(codes + self.starts).flatten(1)


class RowInput(nn.Module):
    """(numbers [batch, feature], codes [batch, column] or nothing) -> [batch, width]."""

    def __init__(self, knobs: ModelKnobs, signature: Signature) -> None:
        super().__init__()
        features = math.prod(signature.shape)
        kind = knobs.numeric_embedding if features else "none"
        self.numbers: nn.Module
        # how many neighbouring inputs come from one column, for factors that go by column
        self.chunks: tuple[int, ...] = (1,) * features
        if kind == "none":
            self.numbers = nn.Identity()
        else:
            self.numbers = PeriodicEmbedding(
                features, knobs.embedding_width, sd=knobs.frequency_sd, with_bias=kind == "pbld"
            )
            self.chunks = (knobs.embedding_width,) * features
        self.categories: nn.Module | None = None
        if signature.cardinalities:
            self.categories = CategoryEmbedding(signature.cardinalities, knobs.category_width)
            self.chunks += (knobs.category_width,) * len(signature.cardinalities)
        self.width = sum(self.chunks)
        self.scale = nn.Parameter(torch.ones(self.width)) if knobs.input_scale is True else None

    def forward(
        self,
        numbers: Float[Tensor, "batch ..."],
        codes: Int64[Tensor, "batch column"] | None = None,
    ) -> Float[Tensor, "batch width"]:
        row = self.numbers(numbers.flatten(1))
        if self.categories is not None:
            assert codes is not None, "this table has categories: call model(numbers, codes)"
            row = torch.cat([row, self.categories(codes)], dim=1)
        return row if self.scale is None else row * self.scale
