"""The command line: every command does its work, speaks JSON when asked, and turns every mistake
into a sentence and an exit code."""

import json
import subprocess
import sys

import polars
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trainwright.cli.app import run


@pytest.fixture
def place(tmp_path, monkeypatch):
    """An empty folder with a small table."""
    monkeypatch.chdir(tmp_path)
    rows = [
        {"age": 20 + i % 50, "town": ("Rome", "Bern", "Oslo")[i % 3], "=cmd|' /C calc'!A0": i % 7,
         "left": ("yes", "no")[int(i % 50 > 20)]}
        for i in range(200)
    ]  # fmt: skip
    polars.DataFrame(rows).write_csv(tmp_path / "people.csv")
    return tmp_path


FIT = ["fit", "people.csv", "--target", "left", "--budget", "40 steps", "--set", "baselines=false"]


def words(capsys):
    found = capsys.readouterr()
    return found.out, found.err


def lines_of_json(text):
    return [json.loads(line) for line in text.splitlines()]


def test_a_table_is_fitted_shown_reported_and_predicted(place, capsys):
    assert run([*FIT, "--name", "one"]) == 0
    out, err = words(capsys)
    assert "one" in out
    assert "town" in err
    assert run(["show", "one", "--json"]) == 0
    (shown,) = lines_of_json(words(capsys)[0])
    for key in ("id", "state", "recipe", "recipe_hash", "steps", "seconds", "metrics", "baselines",
                "verdict", "weights_sha256"):  # fmt: skip
        assert key in shown
    assert shown["state"] == "finished"
    assert shown["steps"] == 40
    assert set(shown["metrics"]) == {"train", "valid", "test"}
    accuracy = shown["metrics"]["test"]["accuracy"]
    assert accuracy["low"] <= accuracy["value"] <= accuracy["high"]
    assert len(shown["weights_sha256"]) == 64
    assert run(["predict", "one", "people.csv", "--out", "p.csv"]) == 0
    predicted = polars.read_csv(place / "p.csv")
    assert predicted.columns == ["prediction", "probability_no", "probability_yes"]
    assert len(predicted) == 200
    words(capsys)
    assert run(["evaluate", "one", "people.csv", "--json"]) == 0
    measured = lines_of_json(words(capsys)[0])[-1]
    assert 0 <= measured["metrics"]["accuracy"]["value"] <= 1
    assert run(["report", "one", "--out", "r.html"]) == 0
    page = (place / "r.html").read_text()
    assert page.startswith("<!doctype html>")
    words(capsys)
    assert run(["runs", "--json"]) == 0
    assert lines_of_json(words(capsys)[0])[-1][0]["id"] == "one"


def test_json_events_are_lines_that_end_with_the_record(place, capsys):
    assert run([*FIT, "--json"]) == 0
    events = lines_of_json(words(capsys)[0])
    assert events[0]["event"] == "understood"
    assert events[-1]["event"] == "finished"
    assert events[-1]["state"] == "finished"


def test_predictions_cope_with_missing_extra_reordered_and_unseen(place, capsys):
    assert run([*FIT, "--name", "one"]) == 0
    frame = polars.DataFrame({"extra": [1, 2], "town": ["Paris", None], "age": ["30", "old"]})
    frame.write_csv(place / "new.csv")
    assert run(["predict", "one", "new.csv", "--out", "p.csv"]) == 0
    assert len(polars.read_csv(place / "p.csv")) == 2
    polars.DataFrame({"nothing": [1]}).write_csv(place / "other.csv")
    words(capsys)
    assert run(["predict", "one", "other.csv"]) == 2
    assert "do:" in words(capsys)[1]


@pytest.mark.parametrize(
    "line",
    [
        ["fit"],
        ["fti", "people.csv"],
        ["fit", "people.csv", "--tagret", "left"],
        ["fit", "peopel.csv"],
        ["fit", "people.csv", "--target", "lefft"],
        ["fit", "people.csv", "--set", "model.widht=3"],
        ["fit", "people.csv", "--set", "algorithm.learning_rate=-1"],
        ["fit", "people.csv", "--budget", "soon"],
        ["fit", "people.csv", "--seed", "x"],
        ["fit", "people.csv", "--recipe", "none.toml"],
        ["fit", "people.csv", "--store", "mysql://x"],
        ["fit", "people.csv", "--set", "loss.name=squared"],
        ["fit", "people.csv", "--set", "model.name=os:system"],
        ["fit", "people.csv", "--set", "loss.name=zero_one"],
        ["fit", "people.csv", "--language", "tlh"],
        ["show", "nobody"],
        ["resume", "nobody"],
        ["predict", "nobody", "people.csv"],
        ["report", "nobody"],
        ["explain", "learning_rat"],
        ["recipe", "check", "people.csv"],
        ["recipe", "chekc", "people.csv"],
    ],
)
def test_wrong_use_is_one_sentence_and_exit_code_two(place, capsys, line):
    assert run(line) == 2
    _, err = words(capsys)
    assert err.strip()
    assert "Traceback" not in err


def test_a_misspelt_target_names_the_near_column(place, capsys):
    assert run(["fit", "people.csv", "--target", "lefft"]) == 2
    assert "left" in words(capsys)[1]


def test_code_in_a_recipe_runs_only_when_allowed(place, capsys):
    (place / "nets_for_test.py").write_text(
        "from torch import nn\n"
        "class Net(nn.Sequential):\n"
        "    def __init__(self, in_features, num_outputs):\n"
        "        super().__init__(nn.Linear(in_features, num_outputs))\n"
    )
    line = [*FIT, "--name", "code", "--set", "model.name=nets_for_test:Net"]
    assert run(line) == 2
    assert "allow-code" in words(capsys)[1]
    assert "nets_for_test" not in sys.modules
    assert run([*line, "--allow-code"]) == 0
    assert run(["predict", "code", "people.csv", "--out", "p.csv"]) == 2
    assert run(["predict", "code", "people.csv", "--out", "p.csv", "--allow-code"]) == 0


def test_a_recipe_is_written_from_data_checked_and_used(place, capsys):
    assert run(["recipe", "new", "people.csv", "--target", "left", "--out", "r.toml"]) == 0
    text = (place / "r.toml").read_text()
    assert 'target = "left"' in text
    assert "# " in text
    assert run(["recipe", "check", "r.toml"]) == 0
    assert run(["fit", "people.csv", "--recipe", "r.toml", "--budget", "5 steps",
                "--set", "baselines=false"]) == 0  # fmt: skip
    (place / "bad.toml").write_text("sed = 1\nbudget = 3\n[model]\nwidht = 2\n")
    words(capsys)
    assert run(["recipe", "check", "bad.toml", "--json"]) == 2
    (found,) = lines_of_json(words(capsys)[0])
    assert len(found["problems"]) == 3
    assert run(["recipe", "schema"]) == 0
    assert json.loads(words(capsys)[0])["title"] == "Recipe"


@pytest.mark.parametrize("topic", ["learning_rate", "model.width", "accuracy", "weights_sha256"])
def test_explain_answers_for_knobs_metrics_and_columns(topic, capsys):
    assert run(["explain", topic]) == 0
    assert len(words(capsys)[0]) > 40
    assert run(["explain", topic, "--json"]) == 0
    assert json.loads(words(capsys)[0])


def test_both_languages_speak(place, capsys):
    assert run(["--help", "--language", "zh-Hant"]) == 0
    assert "訓練" in words(capsys)[0]
    assert run([*FIT, "--name", "zh", "--language=zh-Hant"]) == 0
    out, _ = words(capsys)
    assert "準確率" in out
    assert len(out.splitlines()) <= 30


def test_colour_follows_no_color_and_pipes(place):
    code = "from trainwright.cli.app import main; main(['--help'])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "\x1b" not in found.stdout


@given(st.lists(st.text(max_size=8), max_size=4))
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_command_line_is_answered_in_words(place, line):
    assert run(line) in (0, 2)
