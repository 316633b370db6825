"""Every way to watch takes the same shares of the time."""

import math

import pytest
import torch
from torch import nn

import trainwright as tw
from trainwright.cli import doctor as command
from trainwright.core.errors import TrainwrightError
from trainwright.run.attach import Watch
from trainwright.watch.watcher import Watcher


def _things():
    model = nn.Linear(2, 1)
    return model, torch.optim.SGD(model.parameters(), 0.1)


WAYS = {
    "tw.watch": lambda budget: tw.watch(*_things(), budget=budget),
    "Watch": lambda budget: Watch(*_things(), budget=budget),
    "Watcher": lambda budget: Watcher(*_things(), budget=budget),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("budget", [1e-6, 0.5, 1, 1.0])
def test_shares_up_to_the_whole_are_taken(way, budget):
    WAYS[way](budget)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("budget", [0, -0.1, 1.01, 7, math.nan, math.inf])
def test_what_is_no_share_is_refused_with_the_range(way, budget):
    with pytest.raises(TrainwrightError, match="at most 1"):
        WAYS[way](budget)


@pytest.mark.parametrize("budget", [-0.1, 1.5])
def test_the_command_and_a_fit_refuse_it_alike(budget, tmp_path):
    script = tmp_path / "train.py"
    script.write_text("")
    with pytest.raises(TrainwrightError, match="at most 1"):
        command.watch(str(script), budget=budget)
    with pytest.raises(TrainwrightError, match="at most 1"):
        tw.fit("sklearn:wine", budget="5 steps", watch=budget, quiet=True)
