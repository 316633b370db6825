"""Features come to lie between 0 and 1, and columns that teach nothing, or too much, are left out."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.edit.programs import adam, changed, classes, net, program, refusal
from trainwright.core.history import History
from trainwright.diagnose.case import Case
from trainwright.diagnose.data import leakage
from trainwright.diagnose.scale import inputs_not_scaled
from trainwright.edit.columns import ranger
from trainwright.edit.loop import train
from trainwright.edit.program import Program
from trainwright.recipe import Recipe


def by_hand(given: Program, after: Program, **names: Tensor) -> dict[str, Any]:
    """What the printed lines make of a user's own tensors."""
    found: dict[str, Any] = {"torch": torch, **names}
    lines = [line for done in after.done[len(given.done) :] for line in done.lines]
    exec("\n".join(lines), found)
    return found


# --- range ------------------------------------------------------------------------------------


def test_each_feature_of_the_training_rows_fills_zero_to_one_and_held_out_ones_follow() -> None:
    given = program(data=classes(scale=1000.0))
    after = changed("min_max_inputs", given)
    old, new, held = given.train.inputs[0], after.train.inputs[0], given.judged.inputs[0]
    assert torch.allclose(new.amin(0), torch.zeros(6))
    assert torch.allclose(new.amax(0), torch.ones(6))
    low, high = old.min(0).values, old.max(0).values
    assert torch.allclose(after.judged.inputs[0], (held - low) / (high - low), atol=1e-6)
    assert after.valid is not None
    assert torch.equal(after.valid.inputs[0], after.judged.inputs[0])
    own = by_hand(given, after, X_train=old, X_valid=held)
    assert torch.allclose(own["X_train"], new, atol=1e-6)
    assert torch.allclose(own["X_valid"], after.judged.inputs[0], atol=1e-6)
    assert "it is so already" in refusal("min_max_inputs", after).what


@pytest.mark.parametrize("shape", [(240, 3, 2), (240, 1, 2, 3)])
def test_a_sequence_has_a_range_for_each_feature_and_images_one_in_all(shape: Any) -> None:
    X, y = classes()
    given = program(lambda: nn.Sequential(nn.Flatten(), net()), data=(7 * X.view(shape) + 3, y))
    after = changed("min_max_inputs", given)
    axes = (0, 1) if len(shape) == 3 else (0, 1, 2, 3)
    new = after.train.inputs[0]
    assert torch.allclose(new.amin(axes), torch.zeros(1))
    assert torch.allclose(new.amax(axes), torch.ones(1))
    own = by_hand(given, after, X_train=given.train.inputs[0], X_valid=given.judged.inputs[0])
    assert torch.allclose(own["X_train"], new, atol=1e-6)


def test_what_does_not_vary_or_is_no_number_has_no_range() -> None:
    table = torch.tensor(
        [[4.0, torch.nan, 1.0], [4.0, torch.nan, torch.inf], [4.0, torch.nan, 3.0]]
    )
    new = ranger(table)(table)
    assert new[:, 0].tolist() == [0, 0, 0]
    assert bool(new[:, 1].isnan().all())
    assert new[[0, 2], 2].tolist() == [0, 1]


def test_tokens_have_no_range() -> None:
    X = torch.randint(0, 9, (60, 4), generator=torch.Generator().manual_seed(0))
    tokens = program(
        lambda: nn.Sequential(nn.Embedding(9, 3), nn.Flatten(), nn.Linear(12, 3)),
        data=(X, X[:, 0] % 3),
    )
    assert "no real numbers" in refusal("min_max_inputs", tokens).what
    assert "no table of real numbers" in refusal("drop_columns", tokens).what


def test_inputs_far_from_zero_are_sent_to_it_last() -> None:
    X, y = classes()
    finding = inputs_not_scaled(Case(facts=program(data=(900 * X, y)).facts, history=History()))
    assert getattr(finding, "remedies", ())[-1] == "min_max_inputs"


# --- columns ----------------------------------------------------------------------------------


def with_idle_columns() -> tuple[Tensor, Tensor]:
    """Column 1 never varies, column 4 is column 0 again."""
    X, y = classes()
    X[:, 1], X[:, 4] = 7.0, X[:, 0]
    X[3, 0], X[3, 4] = 0.0, -0.0
    return X, y


def test_columns_that_are_constant_or_copies_become_zero_in_every_split() -> None:
    given = program(data=with_idle_columns())
    after = changed("drop_columns", given)
    assert after.valid is not None
    for new, old in ((after.train, given.train), (after.judged, given.judged),
                     (after.valid, given.valid)):  # fmt: skip
        assert old is not None
        assert not new.inputs[0][:, [1, 4]].any()
        assert torch.equal(new.inputs[0][:, [0, 2, 3, 5]], old.inputs[0][:, [0, 2, 3, 5]])
    assert after.done[-1].values == {"count": 2}
    assert after.done[-1].lines[-1] == "X = X[:, kept]  # and a first layer of 4 inputs"
    assert "it is so already" in refusal("drop_columns", after).what
    assert "it is so already" in refusal("drop_columns", program()).what


def test_the_network_answers_as_one_that_was_built_for_the_columns_left() -> None:
    given = program(data=with_idle_columns())
    after = changed("drop_columns", given)
    left = by_hand(given, after, X=given.judged.inputs[0])
    model = after.start(0)[0]
    smaller = nn.Linear(4, 16)
    with torch.no_grad():
        smaller.weight.copy_(model[0].weight[:, left["kept"]])
        smaller.bias.copy_(model[0].bias)
        small = nn.Sequential(smaller, *model[1:])
        assert torch.allclose(small(left["X"]), model(after.judged.inputs[0]), atol=1e-6)


def test_a_column_that_only_varies_where_it_is_judged_is_left_out_too() -> None:
    (X, y), (V, v) = classes(), classes(60)
    X[:, 2] = 0.0
    after = changed("drop_columns", program(data=(X, y), valid=(V, v)))
    assert not after.judged.inputs[0][:, 2].any()


def test_a_column_that_gives_the_answer_away_is_left_out_where_it_is_the_finding() -> None:
    own = torch.Generator().manual_seed(0)
    y = torch.randint(0, 3, (240,), generator=own)
    X = torch.randn(240, 6, generator=own)
    X[:, 2] = 3.0 * y
    given = program(data=(X, y), epochs=20, optimizer=lambda p: adam(p, 3e-2))
    finding = leakage(Case(facts=given.facts, history=History()))
    assert getattr(finding, "remedies", ()) == ("drop_columns", "fix_split")
    assert "it is so already" in refusal("drop_columns", given).what
    after = changed("drop_columns", given, finding=finding)
    assert not after.train.inputs[0][:, 2].any()
    assert torch.equal(after.judged.targets, given.judged.targets)
    was, now = train(given, 0).score, train(after, 0).score
    assert was is not None
    assert now is not None
    assert was > 0.9
    assert now < 0.55  # a third by chance


def test_images_and_tables_of_nothing_else_are_refused() -> None:
    X, y = classes()
    images = program(lambda: nn.Sequential(nn.Flatten(), net()), data=(X.view(240, 1, 2, 3), y))
    assert "no table of real numbers" in refusal("drop_columns", images).what
    assert "no column would be left" in refusal("drop_columns", program(data=(0 * X + 1, y))).what


# --- recipes ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "word"), [("min_max_inputs", "data.scale"), ("drop_columns", "{name = 'ignored'}")]
)
def test_a_recipe_is_told_its_own_knob(name: str, word: str) -> None:
    assert word in refusal(name, Recipe()).do
