"""What the loss curve says of the learning rate reaches whoever asks: the box, a machine, the page
and one's own loop."""

import json

import pytest
import torch
from torch import nn

import trainwright as tw
from trainwright.cli.app import run
from trainwright.recipe import Recipe


@pytest.fixture(scope="module")
def slow(tmp_path_factory):
    """A store with a run whose rate is low, though not so low that a rule names it."""
    store = str(tmp_path_factory.mktemp("slow") / "runs.db")
    tw.fit("sklearn:digits", recipe=Recipe(baselines=False), budget="300 steps", store=store,
           model={"name": "mlp", "width": 32}, name="slow", quiet=True,
           algorithm={"optimizer": "adamw", "learning_rate": 1e-4})  # fmt: skip
    return store


def test_the_box_the_json_and_the_page_of_a_run_say_it(slow, capsys, tmp_path):
    words = ["slow", "--store", slow]
    assert run(["diagnose", *words, "--strict"]) == 0, "it is no finding"
    box = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "nothing wrong found" in box
    assert "learning rate too low (very likely, 94 %), by the loss curve alone" in box

    assert run(["diagnose", *words, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["healthy"]
    assert told["rate"]["regime"] == "too_low"
    assert told["rate"]["evidence"][0]["value"] < told["rate"]["evidence"][0]["threshold"]

    assert run(["diagnose", *words, "--mute", "A402"]) == 0
    assert "by the loss curve alone" not in capsys.readouterr().out

    page = tw.load("slow", store=slow).report(tmp_path / "p.html").read_text(encoding="utf-8")
    assert "<strong>learning rate: </strong>too low" in page


def test_ones_own_loop_hears_of_it_too():
    generator = torch.Generator().manual_seed(0)
    weights = torch.randn(20, 1, generator=generator)
    inputs = torch.randn(512, 20, generator=generator)
    targets = inputs @ weights
    model = nn.Linear(20, 1)
    with torch.no_grad():
        model.weight.zero_()
    optimizer, criterion = torch.optim.SGD(model.parameters(), lr=2e-5), nn.MSELoss()
    with tw.watch(model, optimizer, loss=criterion, budget=1.0) as watch:
        for step in range(200):
            rows = torch.arange(64) + 64 * (step % 8)
            optimizer.zero_grad()
            criterion(model(inputs[rows]), targets[rows]).backward()
            optimizer.step()
    found = watch.diagnose()
    assert found.rate is not None
    assert found.rate.regime == "too_low"
    assert ("by the loss curve alone" in str(found)) == found.healthy
