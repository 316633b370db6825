"""Losses that do not fit are refused with the way out; own losses are called rightly."""

from functools import partial

import pytest
import torch
from pydantic import ValidationError
from torch import nn
from torch.nn import functional

from trainwright import recipe as recipes
from trainwright.core.errors import ModelError, RecipeError
from trainwright.core.knob import knobs_of, problems_of
from trainwright.core.task import Task
from trainwright.core.words import known_codes
from trainwright.loss.build import (
    build_objective,
    check_target,
    needs_raw_target,
    num_outputs_for_loss,
)
from trainwright.loss.knobs import LossKnobs
from trainwright.recipe import Recipe

BINARY = Task(kind="binary", classes=("no", "yes"))
THREE = Task(kind="multiclass", classes=("a", "b", "c"))
LABELS = Task(kind="multilabel", classes=("x", "y", "z"))
NUMBER = Task(kind="regression")


def own(custom, task, num_outputs):
    return build_objective(
        LossKnobs(), task, class_counts=None, custom=custom, num_outputs=num_outputs
    )


def message_of(**knobs) -> str:
    with pytest.raises(ValidationError) as caught:
        LossKnobs(**knobs)
    (problem,) = problems_of(caught.value, LossKnobs, "loss.")
    return f"{problem.path} {problem.what} {problem.allowed} {problem.do}"


@pytest.mark.parametrize("name", ["zero_one", "0-1", "accuracy", "zero-one"])
def test_the_zero_one_loss_is_refused_with_its_reason_where_gradients_train(name):
    with pytest.raises(RecipeError) as caught:
        recipes.edit(Recipe(), {"loss.name": name})
    (problem,) = caught.value.problems
    assert problem.path == "loss.name"
    for part in ("gradient is zero", "cross_entropy", "hinge", "'zero_one'", "'evolution'"):
        assert part in problem.what


def test_the_zero_one_loss_is_taken_where_no_gradient_is_asked_for():
    turned = {"loss.name": "zero_one", "algorithm.optimizer": "evolution"}
    recipe = recipes.edit(Recipe(), turned)
    assert recipes.parse(recipes.render(recipe)) == recipe
    with pytest.raises(RecipeError, match="evolution"):
        recipes.edit(recipe, {"algorithm.optimizer": "adamw"})


@pytest.mark.parametrize("task", [BINARY, THREE])
def test_the_zero_one_loss_is_the_share_of_wrong_answers(task):
    for outputs in (1, 2) if task is BINARY else (3,):
        made = build_objective(
            LossKnobs(name="zero_one"), task, class_counts=None, num_outputs=outputs
        )
        z = torch.randn(50, outputs, generator=torch.Generator().manual_seed(0))
        y = torch.arange(50) % len(task.classes)
        wrong = (made.predict(z).argmax(dim=1) != y).float()
        assert torch.equal(made.per_example(z, y), wrong)
        assert made(z, y).item() == pytest.approx(wrong.mean().item())


def test_the_zero_one_loss_of_several_labels_is_the_mean_over_labels():
    made = build_objective(LossKnobs(name="zero_one"), LABELS, class_counts=None, num_outputs=3)
    z = torch.tensor([[1.0, -1.0, 2.0], [-1.0, -1.0, -1.0]])
    y = torch.tensor([[1.0, 1.0, 1.0], [0.0, 0.0, 0.0]])
    assert made.per_example(z, y).tolist() == pytest.approx([1 / 3, 0.0])


def test_it_is_not_among_the_losses_that_a_misfit_is_sent_to():
    with pytest.raises(RecipeError) as caught:
        num_outputs_for_loss(LossKnobs(name="squared"), THREE)
    (problem,) = caught.value.problems
    assert "zero_one" not in problem.allowed


def test_misspelt_and_foreign_names_are_answered_with_the_right_one():
    assert "did you mean 'cross_entropy'" in message_of(name="crossentropy")
    assert "'squared'" in message_of(name="MSE")
    assert "'binary_cross_entropy'" in message_of(name="bce")


@pytest.mark.parametrize(
    "knobs",
    [
        {"label_smoothing": 1.0},
        {"label_smoothing": float("nan")},
        {"quantile": 0.0},
        {"huber_delta": -1},
        {"hinge_power": 3},
        {"class_weights": {"a": 0.0}},
        {"class_weights": {"a": float("inf")}},
        {"class_weights": "balance"},
        {"name": "squared", "label_smoothing": 0.1},
        {"name": "hinge", "label_smoothing": 0.1},
        {"name": "huber", "class_weights": "balanced"},
        {"name": "squared", "huber_delta": 2.0},
        {"quantile": 0.9},
    ],
)
def test_settings_out_of_bounds_or_without_effect_are_refused(knobs):
    assert message_of(**knobs).startswith("loss")


def test_own_code_may_be_named():
    assert LossKnobs(name="mypkg.losses:focal").name == "mypkg.losses:focal"


def test_every_knob_says_what_and_why():
    for info in knobs_of(LossKnobs):
        assert info.doc.endswith("."), info.path
        assert "[" in info.why, info.path


@pytest.mark.parametrize(
    ("name", "task"),
    [("squared", BINARY), ("cross_entropy", NUMBER), ("hinge", LABELS), ("poisson", THREE)],
)
def test_a_loss_that_does_not_fit_the_task_names_those_that_do(name, task):
    with pytest.raises(RecipeError) as caught:
        build_objective(LossKnobs(name=name), task, class_counts=None, num_outputs=1)
    (problem,) = caught.value.problems
    assert problem.path == "loss.name"
    assert task.kind in problem.what
    assert problem.allowed.startswith("auto")
    assert problem.do


def test_all_problems_are_told_at_once():
    knobs = LossKnobs(name="cross_entropy", label_smoothing=0.1, class_weights="balanced")
    with pytest.raises(RecipeError) as caught:
        build_objective(knobs, NUMBER, class_counts=None, num_outputs=1)
    assert len(caught.value.problems) == 3


def test_weights_of_unknown_classes_name_the_nearest():
    with pytest.raises(RecipeError, match="did you mean 'yes'"):
        build_objective(
            LossKnobs(class_weights={"yess": 2.0}), BINARY, class_counts=None, num_outputs=1
        )


def test_a_head_that_does_not_fit_is_refused_in_three_parts():
    with pytest.raises(ModelError) as caught:
        build_objective(LossKnobs(), THREE, class_counts=None, num_outputs=5)
    assert "5 outputs" in caught.value.what
    assert "3" in caught.value.allowed
    assert caught.value.do


@pytest.mark.parametrize(
    ("name", "num", "taken"),
    [("cross_entropy", 1, "binary_cross_entropy"), ("auto", 2, "cross_entropy")],
)
def test_an_own_binary_model_may_have_one_or_two_outputs_and_is_told(name, num, taken):
    made = build_objective(LossKnobs(name=name), BINARY, class_counts=None, num_outputs=num)
    assert made.pairing is not None
    assert made.pairing.loss == taken
    assert [notice.code for notice in made.notices] == ["loss_follows_outputs"]
    assert made.predict(torch.randn(4, num)).shape == (4, 2)
    for language in ("en", "zh-Hant"):
        assert "notice.loss_follows_outputs" in known_codes(language)


def test_counts_below_zero_are_refused_for_poisson():
    check_target(LossKnobs(name="poisson"), torch.tensor([0.0, 3.0]))
    with pytest.raises(RecipeError, match="-2"):
        check_target(LossKnobs(name="poisson"), torch.tensor([1.0, -2.0]))
    assert needs_raw_target(LossKnobs(name="poisson"))
    assert not needs_raw_target(LossKnobs())


TORCH_LOSSES = [
    (nn.CrossEntropyLoss(), BINARY, 2, "int"),
    (nn.CrossEntropyLoss(label_smoothing=0.1), THREE, 3, "int"),
    (nn.CrossEntropyLoss, THREE, 3, "int"),
    (functional.cross_entropy, THREE, 3, "int"),
    (partial(functional.cross_entropy, label_smoothing=0.1), THREE, 3, "int"),
    (nn.MultiMarginLoss(), THREE, 3, "int"),
    (nn.BCEWithLogitsLoss(), BINARY, 1, "float"),
    (functional.binary_cross_entropy_with_logits, BINARY, 1, "float"),
    (nn.BCEWithLogitsLoss(), LABELS, 3, "rows"),
    (nn.BCEWithLogitsLoss(), BINARY, 2, "one_hot"),
    (nn.MSELoss(), THREE, 3, "one_hot"),
    (nn.MSELoss(), NUMBER, 1, "number"),
    (nn.L1Loss(), NUMBER, 1, "number"),
    (nn.SmoothL1Loss(), NUMBER, 1, "number"),
    (nn.HuberLoss(reduction="sum"), NUMBER, 1, "number"),
    (nn.PoissonNLLLoss(), NUMBER, 1, "number"),
    (functional.l1_loss, NUMBER, 1, "number"),
]


@pytest.mark.parametrize(("custom", "task", "num", "form"), TORCH_LOSSES)
def test_torchs_own_losses_get_the_target_they_expect(custom, task, num, form):
    outputs = torch.randn(7, num, generator=torch.Generator().manual_seed(0), requires_grad=True)
    target = {
        "rows": torch.ones(7, 3),
        "number": torch.rand(7),
    }.get(form, torch.arange(7) % max(len(task.classes), 1))
    made = own(custom, task, num)
    value = made(outputs, target)
    plain = custom() if isinstance(custom, type) else custom
    given = outputs[:, 0] if num == 1 else outputs
    wanted = {
        "float": target.float(),
        "one_hot": functional.one_hot(target.long(), num).float() if form == "one_hot" else target,
    }.get(form, target)
    assert torch.allclose(value, plain(given, wanted))
    value.backward()
    assert outputs.grad is not None
    assert bool(outputs.grad.abs().sum() > 0)
    assert made.per_example(outputs.detach(), target).shape == (7,)
    predicted = made.predict(outputs)
    assert predicted.shape == ((7, len(task.classes)) if task.classes else (7,))


def test_an_own_loss_gets_indices_for_classes_and_flat_numbers():
    seen = []

    def spy(outputs, target):
        seen.append((tuple(outputs.shape), target.dtype, tuple(target.shape)))
        return (outputs.flatten() ** 2).sum()

    own(spy, THREE, 3)(torch.randn(4, 3), torch.tensor([0, 1, 2, 0]))
    own(spy, NUMBER, 1)(torch.randn(4, 1), torch.rand(4))
    assert seen == [((4, 3), torch.int64, (4,)), ((4,), torch.float32, (4,))]


def test_an_own_loss_may_give_one_value_per_example_or_a_scalar():
    def each(outputs, target):
        return (outputs - target).abs()

    def scalar(outputs, target):
        return (outputs - target).abs().mean()

    outputs, target = torch.randn(6, 1), torch.rand(6)
    assert torch.allclose(own(each, NUMBER, 1)(outputs, target), scalar(outputs[:, 0], target))
    assert torch.allclose(
        own(scalar, NUMBER, 1).per_example(outputs, target), each(outputs[:, 0], target)
    )


@pytest.mark.parametrize(
    "broken",
    [
        lambda outputs, target: 1.0,
        lambda outputs: outputs.sum(),
        lambda outputs, target: outputs @ target,
        lambda outputs, target: outputs[:2],
    ],
)
def test_a_broken_own_loss_is_explained_without_its_traceback_as_the_message(broken):
    with pytest.raises(ModelError) as caught:
        own(broken, THREE, 3)(torch.randn(4, 3), torch.tensor([0, 1, 2, 0]))
    assert "loss" in caught.value.what
    assert caught.value.allowed
    assert caught.value.do


def test_an_index_loss_on_numbers_or_on_one_output_is_refused():
    with pytest.raises(RecipeError, match="one class per example"):
        own(nn.CrossEntropyLoss(), NUMBER, 1)
    with pytest.raises(ModelError, match="one output per class"):
        own(nn.CrossEntropyLoss(), BINARY, 1)


def test_the_number_of_outputs_follows_the_loss():
    assert num_outputs_for_loss(LossKnobs(), BINARY) == 1
    assert num_outputs_for_loss(LossKnobs(name="cross_entropy"), BINARY) == 2
    assert num_outputs_for_loss(LossKnobs(), BINARY, nn.CrossEntropyLoss()) == 2
    assert num_outputs_for_loss(LossKnobs(), BINARY, nn.BCEWithLogitsLoss()) == 1
    assert num_outputs_for_loss(LossKnobs(), THREE, nn.MSELoss()) == 3
    assert num_outputs_for_loss(LossKnobs(), NUMBER, nn.MSELoss()) == 1


def test_knobs_that_do_not_reach_an_own_loss_are_refused():
    with pytest.raises(RecipeError, match="do not reach"):
        build_objective(
            LossKnobs(label_smoothing=0.1), THREE, class_counts=None, num_outputs=3,
            custom=nn.CrossEntropyLoss(),
        )  # fmt: skip


def test_moving_takes_the_weights_along():
    made = build_objective(
        LossKnobs(class_weights={"a": 2.0}), THREE, class_counts=None, num_outputs=3
    ).to("meta")
    assert made.mean.keywords["weight"].device.type == "meta"


def test_the_knobs_need_no_torch():
    import subprocess
    import sys

    code = "import sys, trainwright.loss.pairing; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
