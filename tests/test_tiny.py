"""The whole story in seconds: a table, a recipe, a run that is stopped and gone on with, what it
predicts, how good that is, and its report; then the same from Python with a network of one's own."""

import json
import os
import re
import signal
import tomllib

import numpy as np
import polars
import pytest
import torch
from torch import nn

import trainwright as tw
from trainwright.cli.app import run as trainwright
from trainwright.run.messages import Looked, Progressed
from trainwright.train.step import EagerStep

FINISHED, INTERRUPTED = 0, 130  # exit codes
STEPS, STOPPED_AT = 60, 30
ELSEWHERE = r"""(?:src|href|action)\s*=\s*["']?\s*(?:https?:)?//|url\(\s*["']?(?:https?:)?//|@import|<link"""


@pytest.fixture
def orchard(tmp_path, monkeypatch):
    """An empty folder with a table of apples: sweet ones are large and red, most of the time."""
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    grams, red = random.normal(150, 30, 300), random.random(300)
    sweet = (grams - 150) / 30 + 4 * (red - 0.5) + 0.3 * random.normal(size=300) > 0
    table = {
        "grams": grams.round(1),
        "red": red.round(3),
        "tree": random.choice(["north", "south", "wall"], 300),
        "taste": np.where(sweet, "sweet", "sour"),
    }
    polars.DataFrame(table).write_csv("apples.csv")
    return tmp_path


def press_control_c_at(step: int, monkeypatch) -> None:
    """As a person would while the command runs: the signal comes in the middle of that step."""
    unhurried, steps_done = EagerStep.__call__, []

    def step_and_signal(self, *batches, **options):
        steps_done.append(1)
        if len(steps_done) == step:
            os.kill(os.getpid(), signal.SIGINT)
        return unhurried(self, *batches, **options)

    monkeypatch.setattr(EagerStep, "__call__", step_and_signal)


def test_from_a_table_to_a_report_in_the_shell(orchard, capsys, monkeypatch):
    def answer(*words: str) -> dict:
        """The last object that a command prints with --json."""
        capsys.readouterr()
        assert trainwright([*words, "--json"]) == FINISHED
        return json.loads(capsys.readouterr().out.splitlines()[-1])

    # A recipe is written from the table, for a person to read and change.
    assert trainwright(["recipe", "new", "apples.csv", "--target", "taste", "--out", "r.toml"]) == 0
    text = (orchard / "r.toml").read_text()
    assert tomllib.loads(text)["data"]["target"] == "taste"
    assert trainwright(["recipe", "check", "r.toml"]) == 0

    # It is trained once without a break, and once with Ctrl-C half-way.
    fit = ["fit", "apples.csv", "--recipe", "r.toml", "--budget", f"{STEPS} steps"]
    whole = answer(*fit, "--name", "whole", "--set", "baselines=false")
    with monkeypatch.context() as patched:
        press_control_c_at(STOPPED_AT, patched)
        assert trainwright([*fit, "--name", "broken"]) == INTERRUPTED
    broken = answer("show", "broken")
    assert (broken["state"], broken["steps"]) == ("interrupted", STOPPED_AT)

    # Gone on with, it ends at the same bit.
    gone_on = answer("resume", "broken")
    assert (gone_on["state"], gone_on["steps"]) == ("finished", STEPS)
    assert len(gone_on["weights_sha256"]) == 64
    assert gone_on["weights_sha256"] == whole["weights_sha256"]

    # It predicts apples whose taste nobody knows.
    polars.read_csv("apples.csv").drop("taste").write_csv("new.csv")
    assert trainwright(["predict", "broken", "new.csv", "--out", "tastes.csv"]) == FINISHED
    predicted = polars.read_csv("tastes.csv")
    assert predicted.columns == ["prediction", "probability_sour", "probability_sweet"]
    assert set(predicted["prediction"]) == {"sour", "sweet"}
    sums = predicted["probability_sour"] + predicted["probability_sweet"]
    assert np.allclose(sums, 1, atol=1e-6)

    # How good is that? Better than a guess, with an interval.
    accuracy = answer("evaluate", "broken", "apples.csv")["metrics"]["accuracy"]
    assert 0.8 < accuracy["low"] <= accuracy["value"] <= accuracy["high"] <= 1

    # The record has what was promised to whoever reads it by machine.
    shown = answer("show", "broken")
    assert shown["id"] == "broken"
    assert shown["recipe"]["data"]["target"] == "taste"
    assert len(shown["recipe_hash"]) == len(whole["recipe_hash"]) > 0
    assert shown["recipe_hash"] != whole["recipe_hash"]  # that one asked for no baselines
    assert shown["seconds"] > 0
    assert set(shown["metrics"]) == {"train", "valid", "test"}
    assert len(shown["baselines"]) == 5
    assert shown["verdict"] in {"worth_it", "no_gain", "not_worth_it", "undecided"}

    # And one page for people, which asks nothing of the network.
    assert trainwright(["report", "broken", "--out", "report.html"]) == FINISHED
    page = (orchard / "report.html").read_text()
    assert page.startswith("<!doctype html>")
    assert "taste" in page
    assert not re.search(ELSEWHERE, page, re.IGNORECASE)


class Taster(nn.Module):
    """A network of one's own: nothing in it knows of trainwright."""

    def __init__(self, in_features: int, num_classes: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(in_features, 16)
        self.noise = nn.Dropout(0.1)
        self.head = nn.Linear(16, num_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.noise(self.hidden(x).tanh()))


def test_from_arrays_to_a_report_in_python_with_an_own_network(orchard):
    apples = polars.read_csv("apples.csv")
    X = apples.select("grams", "red").to_numpy().astype("float32")
    y = np.array(apples["taste"].to_list())

    pressed = []

    def control_c(message) -> None:
        """Once, at the first word of that step or a later one."""
        told = isinstance(message, (Progressed, Looked)) and message.step >= STOPPED_AT
        if told and not pressed:
            pressed.append(os.kill(os.getpid(), signal.SIGINT))

    # Trained once without a break, and once with Ctrl-C half-way.
    recipe = {
        "model": Taster,
        "algorithm": {"learning_rate": 0.02},
        "data": {"scale": "standardise"},  # an own network gets arrays as they are, unless asked
        "budget": f"{STEPS} steps",
    }
    whole = tw.fit(X, y, **recipe, quiet=True)
    broken = tw.fit(X, y, **recipe, store="runs.db", name="broken", listener=control_c)
    assert broken.state == "interrupted"
    assert STOPPED_AT <= broken.record.steps < STEPS

    # Gone on with, it ends at the same bit.
    run = tw.resume("broken", store="runs.db", source=X, y=y, model=Taster, quiet=True)
    assert run.state == "finished"
    assert run.weights_sha256 == whole.weights_sha256

    # Loaded another day, it predicts as it did.
    loaded = tw.load("broken", store="runs.db", model=Taster)
    assert isinstance(loaded.model, Taster)
    assert loaded.classes == ("sour", "sweet")
    assert np.array_equal(loaded.predict_proba(X), run.predict_proba(X))
    assert (loaded.predict(X) == y).mean() > 0.8

    # Its record and its page are those of any other run.
    accuracy = loaded.metrics["test"]["accuracy"]
    assert accuracy.low <= accuracy.value <= accuracy.high
    assert loaded.history["step"].max() == STEPS
    page = loaded.report("report.html").read_text()
    assert not re.search(ELSEWHERE, page, re.IGNORECASE)
