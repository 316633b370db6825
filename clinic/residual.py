"""How do healthy networks with skips, and deep ones without, look? Some of their parts start at zero, and
what lies behind gets no gradient in the first step."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clinic import score
from clinic.data import load
from clinic.program import Built

Maker = Callable[[int], Built]


class Residual(nn.Module):
    """A convolutional block with batch norm and a skip; the branch's last gain starts at zero."""

    def __init__(self, channels: int, zero: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        if zero:
            nn.init.zeros_(self.bn2.weight)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))))


def resnet(zero: bool) -> Maker:
    """Stem, three blocks, global mean."""

    def make(seed: int) -> Built:
        data = load("digits", seed)
        model = nn.Sequential(
            nn.Unflatten(1, (1, 8, 8)), nn.Conv2d(1, 12, 3, padding=1, bias=False),
            nn.BatchNorm2d(12), nn.ReLU(), Residual(12, zero), nn.MaxPool2d(2), Residual(12, zero),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, 10),
        )  # fmt: skip
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)
        return Built(
            model=model, loss=nn.CrossEntropyLoss(), optimizer=optimizer, X=data.X, y=data.y,
            Xv=data.Xv, yv=data.yv, batch_size=64, steps=200,
        )  # fmt: skip

    return make


class ResidualMlp(nn.Module):
    """Pre-norm residual branches whose last linear layer starts at zero: identity at first."""

    def __init__(self, size: int, outputs: int, depth: int) -> None:
        super().__init__()
        self.stem = nn.Linear(size, 48)
        self.branches = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(48), nn.Linear(48, 96), nn.GELU(), nn.Linear(96, 48))
            for _ in range(depth)
        )
        for branch in self.branches:
            last = branch[3]  # pyright: ignore[reportIndexIssue]
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)
        self.head = nn.Linear(48, outputs)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for branch in self.branches:
            x = x + branch(x)
        return self.head(x)


def zero_residual(data_name: str) -> Maker:
    """Eight residual branches on a table."""

    def make(seed: int) -> Built:
        data = load(data_name, seed)
        model = ResidualMlp(data.X.shape[1], data.num_outputs, 8)
        number = data.task == "numbers"
        return Built(
            model=model, loss=nn.MSELoss() if number else nn.CrossEntropyLoss(),
            optimizer=torch.optim.AdamW(model.parameters(), lr=2e-3), X=data.X, y=data.y,
            Xv=data.Xv, yv=data.yv, batch_size=64, steps=300, metric="r2" if number else "accuracy",
            score=score.skill_of_number if number else score.skill_of_classes,
        )  # fmt: skip

    return make


def deep_tanh(seed: int) -> Built:
    """Eight tanh layers without norm, Xavier gain 5/3."""
    data = load("digits", seed)
    layers: list[nn.Module] = []
    for size in (64, *[64] * 7):
        layer = nn.Linear(size, 64)
        nn.init.xavier_normal_(layer.weight, gain=5 / 3)
        nn.init.zeros_(layer.bias)
        layers += [layer, nn.Tanh()]
    model = nn.Sequential(*layers, nn.Linear(64, 10))
    return Built(
        model=model, loss=nn.CrossEntropyLoss(),
        optimizer=torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9), X=data.X, y=data.y,
        Xv=data.Xv, yv=data.yv, batch_size=64, steps=400,
    )  # fmt: skip
