"""Programs to examine: one healthy classifier of digits, and the same with one thing changed."""

from dataclasses import replace
from functools import cache

import torch
from sklearn.datasets import load_digits
from torch import nn

from trainwright.edit.given import program_from
from trainwright.edit.program import Program, mapped_inputs


def net(*, dropout: float = 0.0, width: int = 32) -> nn.Module:
    return nn.Sequential(nn.Linear(64, width), nn.ReLU(), nn.Dropout(dropout),
                         nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 10))  # fmt: skip


@cache
def healthy() -> Program:
    """SGD with momentum at a good rate, 120 steps, about 0.93 on 120 held-out rows."""
    x, y = load_digits(return_X_y=True)
    x = torch.tensor(x[:600] / 16, dtype=torch.float32)
    made = program_from(net, (x, torch.tensor(y[:600])), loss=nn.CrossEntropyLoss(), epochs=8,
                        optimizer=lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9))  # fmt: skip
    assert made.num_steps == 120
    return made


class Maker:
    """seed -> a network, made by a function without arguments."""

    def __init__(self, make):
        self.make = make

    def __call__(self, seed):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return self.make()


def of_network(make) -> Program:
    return replace(healthy(), make_model=Maker(make))


def at_rate(factor: float) -> Program:
    return replace(healthy(), optimizer=healthy().optimizer.times(factor))


def with_inputs(change) -> Program:
    base = healthy()
    parts = {"train": base.train, "judged": base.judged, "valid": base.valid}
    return replace(base, **{name: mapped_inputs(s, change) for name, s in parts.items()})


def with_targets_of_others() -> Program:
    base = healthy()
    own = torch.Generator().manual_seed(1)
    parts = {}
    for name in ("train", "judged", "valid"):
        sample = getattr(base, name)
        order = torch.randperm(sample.num_rows, generator=own)
        parts[name] = replace(sample, targets=sample.targets[order])
    return replace(base, **parts)
