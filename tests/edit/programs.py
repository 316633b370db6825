"""Small programs that the tests of edits share, and what each edit must do whatever it changes."""

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import nn

from trainwright.edit.catalogue import edit_named
from trainwright.edit.edit import Context, NotApplicable
from trainwright.edit.given import program_from
from trainwright.edit.program import Program
from trainwright.recipe import Recipe, diff, edit, to_plain


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


def numbers(num: int = 240) -> tuple[torch.Tensor, torch.Tensor]:
    """[example, 6] and a number far from zero for each, [example, 1]."""
    X, _ = classes(num)
    return X, 100 * X[:, 1:2] + 1000


def portrait(given: Program) -> list[Any]:
    """All of a program that an edit could touch; equal where nothing was."""
    model, _ = given.start(0)
    tensors = [*given.train.inputs, given.train.targets, *given.judged.inputs,
               given.judged.targets, *model.state_dict().values()]  # fmt: skip
    plan = given.optimizer
    settings = [plan.kind, dict(plan.settings), dict(plan.by_name), plan.without]
    bits = [(tuple(t.shape), t.numpy().tobytes()) for t in tensors]
    modes = [(name, module.training) for name, module in model.named_modules()]
    return [bits, settings, modes, given.habits, id(given.loss), given.decode, given.done]


def changed(name: str, given: Program, **known: Any) -> Program:
    """The edited program: the given one is as it was, and the lines to write are there."""
    before = portrait(given)
    after = edit_named(name).apply(given, Context(**known))
    assert isinstance(after, Program)
    assert portrait(given) == before
    assert portrait(after) != before
    new = after.done[len(given.done) :]
    assert after.done[: len(given.done)] == given.done
    assert name in [done.name for done in new]
    assert all(done.lines and all(done.lines) for done in new)
    return after


def refusal(name: str, given: Program | Recipe, **known: Any) -> NotApplicable:
    """The error with which an edit does not apply."""
    with pytest.raises(NotApplicable) as caught:
        edit_named(name).apply(given, Context(**known))
    assert caught.value.allowed
    assert caught.value.do
    return caught.value


def turned(name: str, settings: Mapping[str, Any], **known: Any) -> dict[str, Any]:
    """The knobs that an edit turns in a recipe of these settings, which stays as it was."""
    given = edit(Recipe(), settings)
    before = to_plain(given)
    after = edit_named(name).apply(given, Context(**known))
    assert to_plain(given) == before
    assert isinstance(after, Recipe)
    return {path: new for path, _, new in diff(given, after)}
