"""`trainwright try` and `compare --report`: one remedy against the run as it was, on fresh seeds."""

import json

import pytest

from trainwright.cli.app import run

RECIPE = """budget = "60 steps"
[data]
source = "sklearn:wine"
[model]
name = "mlp"
width = 16
[algorithm]
optimizer = "sgd"
learning_rate = 1e-4
"""


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    """A folder with a store in which one slow run lies."""
    folder = tmp_path_factory.mktemp("desk")
    (folder / "slow.toml").write_text(RECIPE)
    (folder / "fast.toml").write_text(RECIPE.replace("1e-4", "0.1"))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert run(["fit", "sklearn:wine", "--recipe", "slow.toml", "--name", "slow"]) == 0
    return folder


@pytest.fixture(autouse=True)
def at_the_desk(desk, monkeypatch):
    monkeypatch.chdir(desk)
    monkeypatch.setattr("os.cpu_count", lambda: 1)  # arms run in this process


def test_a_remedy_is_tried_on_seeds_that_the_run_did_not_use(capsys):
    words = ["try", "slow", "swap_optimizer", "--seeds", "3", "--json"]
    assert run(words) == 0
    told = json.loads(capsys.readouterr().out)
    assert [arm["name"] for arm in told["arms"]] == ["before", "swap_optimizer"]
    assert [o["seed"] for o in told["arms"][0]["outcomes"]] == [1000, 1001, 1002]
    assert told["effect"] > 0


def test_a_card_and_a_page_come_for_people(desk, capsys):
    assert run(["try", "slow", "raise_learning_rate", "--seeds", "3", "--report", "t.html"]) == 0
    said = capsys.readouterr().out
    assert "before → raise_learning_rate" in said
    assert "page written to t.html" in said
    page = (desk / "t.html").read_text(encoding="utf-8")
    assert "before against raise_learning_rate" in page


def test_compare_writes_the_same_page(desk, capsys):
    assert run(["compare", "slow.toml", "fast.toml", "--seeds", "3", "--report", "c.html"]) == 0
    assert "page written to c.html" in capsys.readouterr().out
    assert "slow.toml against fast.toml" in (desk / "c.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["slow", "lower_learning_rat"], "lower_learning_rate"),
        (["slow", "D108"], "not among the findings"),
        (["slow", "reorder_steps"], "cannot be applied"),
        (["slow", "swap_optimizer", "--seeds", "0"], "seeds"),
        (["nobody", "swap_optimizer"], "nobody"),
        (["slow", "swap_optimizer", "--report", "/proc/no/t.html"], "cannot be written"),
    ],
)
def test_mistakes_are_answered_in_three_parts(capsys, words, expected):
    assert run(["try", *words]) == 2
    said = capsys.readouterr().err
    assert expected in said.replace("\n", " ")
    assert "do:" in said
