"""Every edit can be had by name, keeps what it is given, and says why where it does not apply."""

from typing import Any

import pytest
import torch
from torch import nn

from tests.edit.programs import net, numbers, portrait, program
from trainwright.core.errors import TrainwrightError
from trainwright.core.words import use_language
from trainwright.edit.catalogue import edit_named, edits, rooms
from trainwright.edit.edit import Context, NotApplicable, changes
from trainwright.edit.program import Program
from trainwright.recipe import Recipe, edit, to_plain

SICK = {
    "model.activation": "none", "model.width": 32, "model.depth": 2, "model.init": "normal",
    "model.init_sd": 5.0, "model.dropout": 0.9, "loss.name": "absolute", "data.scale": "none",
    "algorithm.learning_rate": 3.0, "algorithm.schedule": "constant", "algorithm.batch_size": 16,
    "algorithm.keep": "last", "algorithm.weight_decay": 3.0, "budget": "50 steps",
}  # fmt: skip


def deep() -> nn.Module:
    """Units that saturate between norms that look at the batch."""
    return nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.Sigmoid(), nn.Linear(16, 16),
                         nn.Sigmoid(), nn.Dropout(0.9), nn.Linear(16, 3), nn.Softmax(-1))  # fmt: skip


def sickly() -> Program:
    """A program on which many edits find something to do."""
    given = program(
        deep, optimizer=lambda p: torch.optim.Adam(p, lr=1.0, eps=0.1, weight_decay=1.0)
    )
    return given.turned(shuffle=False, clears=False, trains=False)


def of_numbers() -> Program:
    """One that predicts numbers."""
    return program(lambda: net(1, end=nn.Sigmoid()), data=numbers(), loss=nn.MSELoss())


def test_every_edit_is_there_once() -> None:
    names = [each.name for room in rooms().values() for each in room]
    assert len(names) == len(set(names)) == len(edits())
    assert edit_named(" warm_up ").name == "warm_up"


def test_the_table_is_made_once_for_each_language_and_says_its_reasons_in_it() -> None:
    use_language("en")
    english = edits()
    use_language("zh-Hant")
    chinese = edits()
    assert list(english) == list(chinese)
    explained = [name for name, each in english.items() if each.instead]
    assert len(explained) > 10
    assert all(english[name].instead.isascii() for name in explained)
    assert not any(chinese[name].instead.isascii() for name in explained)
    assert edits() is chinese
    use_language("en")
    assert edits() is english
    assert rooms() is rooms()
    with pytest.raises(TypeError):
        english["warm_up"] = english["shuffle"]  # pyright: ignore[reportIndexIssue]


@pytest.mark.parametrize("make", [program, sickly, of_numbers])
def test_an_edit_of_a_program_changes_a_copy_or_says_why_not(make: Any) -> None:
    given = make()
    before = portrait(given)
    applied = 0
    for each in edits().values():
        try:
            after = each.apply(given, Context(facts=given.facts))
        except NotApplicable as error:
            assert error.what
            assert error.do
        else:
            applied += 1
            assert isinstance(after, Program)
            assert all(done.lines for done in changes(given, after))
            after.start(0)
        assert portrait(given) == before, each.name
    assert applied >= 15


@pytest.mark.parametrize("settings", [{}, SICK])
def test_an_edit_of_a_recipe_makes_another_recipe_or_says_why_not(settings: Any) -> None:
    given = edit(Recipe(), settings)
    before = to_plain(given)
    applied = 0
    for each in edits().values():
        try:
            after = each.apply(given, Context())
        except NotApplicable as error:
            assert error.what
            assert error.do
        else:
            applied += 1
            assert isinstance(after, Recipe)
            assert after != given
            assert all(done.lines[0].startswith("--set ") for done in changes(given, after))
        assert to_plain(given) == before
    assert applied >= 12


@pytest.mark.parametrize(
    ("asked", "near"),
    [("lower_learing_rate", "lower_learning_rate"), ("Add-Norm", "add_norm"),
     ("clip", "clip_gradient_norm"), ("dropout", "add_dropout")],
)  # fmt: skip
def test_a_wrong_name_is_answered_with_a_near_one_and_not_with_all(asked: str, near: str) -> None:
    with pytest.raises(TrainwrightError) as caught:
        edit_named(asked)
    assert near in caught.value.do
    assert "`trainwright explain remedies`" in caught.value.allowed
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("language", ["en", "zh-Hant"])
def test_a_name_like_none_is_sent_to_the_list(language: str) -> None:
    use_language(language)
    with pytest.raises(TrainwrightError) as caught:
        edit_named("\x1b[2Jxyzzy")
    assert "\x1b" not in str(caught.value)
    assert "`trainwright explain remedies`" in caught.value.allowed
    assert "`trainwright explain CODE`" in caught.value.do
    assert str(len(edits())) in caught.value.allowed
