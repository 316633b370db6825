"""A file in the place of a run is told for a file, whichever command was given it, and nothing is
left behind."""

import pytest

import trainwright as tw
from trainwright.cli.app import run
from trainwright.core.errors import RunNotFound

COMMANDS = (
    ["heal"], ["try", "lower_learning_rate"], ["exam", "overfit_one_batch"], ["diagnose"],
)  # fmt: skip


@pytest.fixture
def desk(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data.csv").write_text("a,b\n1,2\n")
    return tmp_path


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: words[0])
@pytest.mark.parametrize("name", ["none.csv", "data/none", "none.parquet"])
def test_a_file_that_is_not_there_is_no_run_that_is_not_there(desk, capsys, words, name):
    command, *rest = words
    assert run([command, name, *rest]) == 2
    said = capsys.readouterr().err
    assert f"there is no file '{name}', and no run of that name" in said
    assert "allowed:" in said
    assert "the name of a run" in said
    assert "check the path" in said
    assert sorted(path.name for path in desk.iterdir()) == ["data.csv"]


@pytest.mark.parametrize("words", COMMANDS[1:], ids=lambda words: words[0])
def test_a_file_that_is_there_is_told_what_takes_it(desk, capsys, words):
    command, *rest = words
    assert run([command, "data.csv", *rest]) == 2
    said = capsys.readouterr().err
    assert "'data.csv' is a file or folder, and no run" in said
    assert "trainwright check" in said


def test_it_is_said_in_the_language_spoken(desk, capsys):
    assert run(["diagnose", "none.csv", "--language", "zh-Hant"]) == 2
    assert "沒有檔案 'none.csv'，也沒有同名的訓練" in capsys.readouterr().err


def test_a_run_whose_name_has_a_suffix_is_found_and_others_are_named_as_runs(desk, capsys):
    tw.fit("sklearn:iris", model={"name": "mlp", "width": 4}, budget="2 steps", store="runs.db",
           name="iris.final", quiet=True, watch=False)  # fmt: skip
    assert tw.load("iris.final", store="runs.db").id == "iris.final"
    assert run(["show", "iris.csv", "--store", "runs.db"]) == 2
    assert "there is no file 'iris.csv'" in capsys.readouterr().err
    assert run(["diagnose", "iris.fnial2", "--store", "other.db"]) == 2
    assert "there is no file" in capsys.readouterr().err
    assert run(["diagnose", "iris", "--store", "other.db"]) == 2
    said = capsys.readouterr().err
    assert "there is no store at 'other.db'" in said
    assert "no run 'iris'" in said
    with pytest.raises(RunNotFound, match="there is no run 'swift-otter-1'"):
        tw.load("swift-otter-1", store="runs.db")
    assert not (desk / "other.db").exists()
