"""Small programs that the tests of edits share."""

from typing import Any

import torch
from torch import nn

from trainwright.edit.given import program_from
from trainwright.edit.program import Program


def classes(num: int = 240, *, scale: float = 1.0) -> tuple[torch.Tensor, torch.Tensor]:
    """[example, 6] and class numbers of three clouds; one feature is `scale` times as wide."""
    own = torch.Generator().manual_seed(0)
    y = torch.arange(num) % 3
    X = torch.randn(num, 6, generator=own) + 2.5 * nn.functional.one_hot(y, 6)
    X[:, 0] *= scale
    return X, y


def net(outputs: int = 3, *, end: nn.Module | None = None) -> nn.Module:
    """A small network of six inputs."""
    layers: list[nn.Module] = [nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, outputs)]
    return nn.Sequential(*layers, *([end] if end is not None else []))


def adam(parameters: Any, rate: float = 1e-2) -> torch.optim.Optimizer:
    """Adam at a rate that suits the clouds."""
    return torch.optim.Adam(parameters, lr=rate)


def program(model: Any = net, **changed: Any) -> Program:
    """A healthy program of three classes."""
    parts: dict[str, Any] = {
        "data": classes(), "loss": nn.CrossEntropyLoss(), "optimizer": adam, "batch_size": 32,
        "epochs": 4,
    } | changed  # fmt: skip
    return program_from(model, parts.pop("data"), **parts)
