"""`trainwright heal`: a sick recipe is healed and proven, a healthy one left alone, and mistakes are
answered before anything is trained."""

import json

import pytest

import trainwright as tw
from trainwright import treatment
from trainwright.cli.app import run
from trainwright.core.words import use_language
from trainwright.recipe import load

SICK = """budget = "150 steps"
[data]
source = "sklearn:digits"
[model]
name = "mlp"
width = 32
[algorithm]
optimizer = "sgd"
learning_rate = 10.0
"""
WELL = """budget = "300 steps"
[data]
source = "sklearn:wine"
[model]
name = "mlp"
width = 32
"""


@pytest.fixture
def desk(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sick.toml").write_text(SICK)
    (tmp_path / "well.toml").write_text(WELL)
    return tmp_path


@pytest.fixture
def trained_here(monkeypatch):
    """Arms run in this process: starting others costs more than these trainings."""
    monkeypatch.setattr("os.cpu_count", lambda: 1)


def test_a_sick_recipe_is_healed_proven_saved_and_shown(desk, trained_here, capsys):
    words = ["heal", "sick.toml", "--budget", "60s", "--save", "healed.toml", "--report", "p.html"]
    assert run([*words, "--strict"]) == 0
    said = capsys.readouterr()
    assert "cured:" in said.out
    assert "healed recipe written to healed.toml" in said.out
    assert "as it was" in said.err, "progress goes to the error stream"
    healed = load(desk / "healed.toml")
    assert healed.algorithm.learning_rate != 10.0
    page = (desk / "p.html").read_text(encoding="utf-8")
    assert "- algorithm.learning_rate = 10.0" in page
    assert page.count("<svg") >= 2  # of the proof; exams may draw more

    proven = tw.compare("sick.toml", "healed.toml", seeds=1, first_seed=77, quiet=True)
    assert proven.effect > 0.3, "the saved recipe is better on a seed that nobody has used"


def test_a_healthy_recipe_is_left_alone_and_machines_hear_of_it(desk, capsys):
    assert run(["heal", "well.toml", "--json", "--strict"]) == 0
    said = capsys.readouterr()
    told = json.loads(said.out)
    assert told["state"] == "left alone"
    assert told["changes"] == []
    assert told["proof"] is None
    assert len(told["steps"]) == 1
    assert said.err == ""


def test_without_its_remedies_it_is_stuck_and_strict_says_so(desk, monkeypatch, capsys):
    monkeypatch.setattr("trainwright.remedy.search.PATIENCE", 1)
    without = ("lower_learning_rate", "clip_gradient_norm", "warm_up", "swap_optimizer", "add_norm")
    words = [part for name in without for part in ("--without", name)]
    words += ["--budget", "3s", "--save", "same.toml"]
    assert run(["heal", "sick.toml", *words]) == 0
    assert run(["heal", "sick.toml", *words, "--strict"]) == 1
    assert "stuck" in capsys.readouterr().out
    assert load(desk / "same.toml") == load(desk / "sick.toml")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["sick.toml", "--without", "lower_learning_rat"], "lower_learning_rate"),
        (["sick.toml", "--budget", "3 epochs"], "is no time"),
        (["sick.toml", "--seeds", "-1"], "--seeds"),
        (["sick.toml", "--report", "/proc/no/heal.html"], "cannot be written"),
        (["sick.toml", "--save", "/proc/no/healed.toml"], "cannot be written"),
        (["no_such.toml"], "no_such.toml"),
        (["nobody-knows-this-run"], "nobody-knows-this-run"),
        (["none.csv"], "there is no file 'none.csv'"),
        (["data/none"], "there is no file 'data/none'"),
    ],
)
def test_mistakes_are_refused_before_anything_is_trained(
    desk, monkeypatch, capsys, words, expected
):
    def never(*given, **named):
        raise AssertionError("it was trained")

    monkeypatch.setattr("trainwright.remedy.heal.visit", never)
    assert run(["heal", *words]) == 2
    said = capsys.readouterr().err
    assert expected in said.replace("\n", " ")
    assert "do:" in said


def test_a_column_to_predict_can_be_named(desk, monkeypatch):
    heard = []

    def hear(target, **named):
        heard.append(target)
        raise KeyboardInterrupt

    monkeypatch.setattr(treatment, "heal", hear)
    run(["heal", "customers.csv", "--target", "churned"])
    run(["heal", "sick.toml", "--target", "churned"])
    assert [one.data.target for one in heard] == ["churned", "churned"]
    assert [one.data.source for one in heard] == ["customers.csv", "sklearn:digits"]


# --- from Python ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def healed():
    from trainwright.api import make_recipe

    sick = make_recipe("sklearn:digits", budget="150 steps", model={"name": "mlp", "width": 32},
                       algorithm={"optimizer": "sgd", "learning_rate": 10.0})  # fmt: skip
    return tw.heal(sick, budget=60, seeds=0, quiet=True)


def test_a_healing_prints_its_card_and_gives_recipe_and_diff(healed):
    assert str(healed).splitlines()[0].startswith("╭")
    assert healed.state in ("healthy", "improved")
    assert healed.proof is None, "no seeds, no proof"
    assert ("algorithm.learning_rate", 10.0) in [turned[:2] for turned in healed.diff]
    assert healed.recipe.algorithm.learning_rate != 10.0
    assert healed.steps[0].open == ("A401",)


def test_the_healed_network_is_trained_once_when_it_is_asked_for(healed):
    import torch

    with torch.no_grad():  # as one writes around predictions
        assert isinstance(healed.model, torch.nn.Module)
    assert healed.model is healed.model


def test_its_page_is_written_where_it_is_asked_for_or_refused(healed, tmp_path):
    place = healed.report(tmp_path / "new" / "heal.html")
    assert place.read_text(encoding="utf-8").startswith("<!doctype html>")
    with pytest.raises(tw.TrainwrightError, match="cannot be written"):
        healed.report("/proc/no/heal.html")


def test_a_healed_network_of_ones_own_comes_with_the_lines_to_change():
    import torch
    from sklearn.datasets import load_digits
    from torch import nn

    X, y = load_digits(return_X_y=True)
    X, y = torch.tensor(X / 16, dtype=torch.float32), torch.tensor(y)

    def make():
        return nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))

    found = tw.heal(
        make, (X, y), loss=nn.CrossEntropyLoss(), budget=20, seeds=0, epochs=6, quiet=True,
        optimizer=lambda parameters: torch.optim.SGD(parameters, lr=100.0),
        without=("standardise_inputs",),  # its model would take other inputs
    )  # fmt: skip
    assert found.state in ("healthy", "improved")
    assert found.recipe is None
    assert found.diff
    assert all(isinstance(line, str) for line in found.diff)
    assert found.diff[0] in str(found)
    with torch.no_grad():
        right = (found.model(X).argmax(1) == y).float().mean()
    assert right > 0.7


def test_the_card_is_said_in_chinese(healed):
    use_language("zh-Hant")
    assert "要轉動的旋鈕" in str(healed)


@pytest.mark.parametrize("budget", ["banana", "3 epochs"])
def test_a_budget_that_is_no_time_is_refused_with_what_is(desk, capsys, budget):
    assert run(["heal", "sick.toml", "--budget", budget]) != 0
    said = capsys.readouterr().err
    assert "is no time" in said
    assert "seconds or minutes, as 60s or 3min" in said
