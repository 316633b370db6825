"""A heal of a recipe that was stopped goes on from its runs, and leaves no file when it is over."""

from pathlib import Path

import pytest

from trainwright import api
from trainwright.core.errors import TrainwrightError
from trainwright.recipe import recipe_hash
from trainwright.remedy import past, search
from trainwright.remedy.heal import heal
from trainwright.remedy.search import Step

SICK = {"optimizer": "sgd", "learning_rate": 1e-5}


def sick():
    return api.make_recipe("sklearn:wine", budget="40 steps", algorithm=SICK,
                           model={"name": "mlp"})  # fmt: skip


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_stopped_heal_goes_on_with_the_runs_it_had(tmp_path, monkeypatch):
    def stop(told: object) -> None:
        if isinstance(told, Step) and told.judged == "better":
            raise KeyboardInterrupt

    monkeypatch.setattr(search, "RATES", ())  # what a range test finds depends on the time it has
    trained: list[str] = []
    whole = past.run_apart

    def noted(recipe, *args, **kwargs):
        trained.append(recipe_hash(recipe))
        return whole(recipe, *args, **kwargs)

    monkeypatch.setattr(past, "run_apart", noted)
    first = heal(sick(), budget=30, seeds=0, folder=tmp_path, tell=stop)
    assert first.notes
    assert files(tmp_path), "the runs are still there"
    before = set(trained)
    trained.clear()
    again = heal(sick(), budget=30, seeds=0, folder=tmp_path)
    assert len(before) >= 2
    assert not before & set(trained), "they were read, not trained"
    assert [s.score for s in again.steps[:2]] == [s.score for s in first.steps[:2]]
    assert again.notes == ()
    assert files(tmp_path) == []


def test_other_data_under_the_same_name_are_another_heal(tmp_path):
    table = tmp_path / "t.csv"
    table.write_text("a,b,y\n" + "".join(f"{i},{i % 7},{i % 2}\n" for i in range(60)))
    recipe = api.make_recipe(str(table), target="y")
    one = past.remember(recipe, tmp_path)
    table.write_text("a,b,y\n" + "".join(f"{i},{i % 5},{i % 3}\n" for i in range(80)))
    other = past.remember(recipe, tmp_path)
    assert one
    assert other
    assert one != other
    past.forget(one)
    past.forget(other)
    assert files(tmp_path) == ["t.csv"]


def test_a_folder_that_cannot_be_written_keeps_nothing(tmp_path):
    (tmp_path / "file").write_text("")
    assert past.remember(sick(), tmp_path / "file" / "below") == ""


@pytest.mark.parametrize("folder", [None])
def test_no_folder_keeps_nothing(folder):
    assert past.remember(sick(), folder) == ""


def test_a_recipe_that_cannot_be_trained_leaves_no_file(tmp_path):
    missing = api.make_recipe(str(tmp_path / "none.csv"), target="y")
    with pytest.raises(TrainwrightError, match="cannot be trained even once"):
        heal(missing, folder=tmp_path)
    assert files(tmp_path) == []
