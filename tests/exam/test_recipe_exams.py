"""Exams of recipes: knobs are turned where a live network would need surgery, runs are run in memory,
and a stored run's step is taken again."""

import numpy as np
import pytest

from trainwright import api
from trainwright.exam.ask import asked_of, prepared, run_exam
from trainwright.exam.catalogue import EXAMS
from trainwright.exam.exam import NotHere
from trainwright.exam.settle import OVERHEAD


def wine(**model):
    return api.make_recipe("sklearn:wine", budget="60 steps", model={"name": "mlp", "width": 16, **model},
                           algorithm={"optimizer": "adam", "learning_rate": 1e-2})  # fmt: skip


def test_half_of_a_needless_depth_is_better():
    deep = wine(depth=4, activation="sigmoid", norm="none")
    found = run_exam(deep, "half_depth", budget=5.0)
    assert found.answer == "yes"
    assert found.shifts["M204"] > 1


def test_a_width_that_cannot_be_halved_is_said():
    with pytest.raises(NotHere, match=r"model\.width is 1"):
        run_exam(wine(width=1), "half_width", budget=2.0)


def test_twice_the_width_helps_two_units():
    found = run_exam(wine(width=1), "double_width", budget=5.0)
    assert found.values["steps"] == 60
    assert found.values["after"] > found.values["before"]


def test_runs_with_and_without_augmentation_are_compared():
    own = np.random.default_rng(0)
    classes = own.integers(0, 2, 120)
    images = own.normal(0, 0.5, (120, 1, 8, 8)).astype(np.float32)
    images[classes == 1, :, :, 4:] += 1.0  # a flip turns one class into the other
    recipe = api.make_recipe(images, classes, budget="40 steps", model={"name": "convnet"},
                             data={"augment": ("flip",)})  # fmt: skip
    found = run_exam(recipe, "augmentation_off", budget=6.0)
    assert 0 < found.values["before"] <= 1
    assert found.values["gain"] == pytest.approx(
        found.values["after"] - found.values["before"], abs=1e-9
    )
    with pytest.raises(NotHere, match="nothing is augmented"):
        run_exam(wine(), "augmentation_off", budget=2.0)


def test_what_auto_means_is_known_to_the_exams():
    program, terms = prepared(api.make_recipe("sklearn:wine", budget="20 steps",
                                              model={"name": "mlp"}))  # fmt: skip
    assert isinstance(terms.resolved["model"]["depth"], int)
    assert program.num_steps == 20
    assert EXAMS["half_depth"].price(program, 0.01) > OVERHEAD


def test_a_run_that_left_the_numbers_is_replayed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = api.fit("sklearn:diabetes", store=tmp_path / "runs.db", name="wild", quiet=True,
                  budget="60 steps", model={"name": "mlp", "width": 16, "norm": "none"},
                  algorithm={"optimizer": "sgd", "learning_rate": 1000.0})  # fmt: skip
    assert run.state == "failed"
    asked = asked_of("wild", "replay", store=str(tmp_path / "runs.db"), budget=5.0)
    assert asked.exams[0].answer == "yes"
    assert asked.exams[0].values["operation"]
    assert asked.run == "wild"
