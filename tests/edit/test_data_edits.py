"""Each edit of the data changes what it says, of programs and of recipes, and nothing else."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tests.edit.programs import changed, classes, net, numbers, program, refusal, turned
from trainwright.core.facts import Facts, TargetFacts
from trainwright.edit.catalogue import edit_named
from trainwright.edit.edit import Context
from trainwright.edit.loop import batches, train
from trainwright.edit.loss import OnLogits
from trainwright.edit.program import Program
from trainwright.recipe import Recipe, edit

MEASURED = "the score itself is measured on these examples"
NUMBERS = Facts(targets=TargetFacts(kind="real", task="regression", shape=(1,)))


def marked(num: int = 240) -> tuple[torch.Tensor, torch.Tensor]:
    """Clouds far apart, each example known by its last feature."""
    own = torch.Generator().manual_seed(1)
    y = torch.arange(num) % 3
    X = torch.randn(num, 6, generator=own) + 8 * nn.functional.one_hot(y, 6)
    X[:, 5] = torch.arange(num) / 256
    return X, y


def regression(**more: Any) -> Any:
    return program(lambda: net(1), data=numbers(), loss=nn.MSELoss(), **more)


# --- scale ------------------------------------------------------------------------------------


def test_inputs_are_standardised_by_the_training_rows_in_every_split() -> None:
    given = program(data=classes(scale=1000.0))
    after = changed("standardise_inputs", given)
    old, new = given.train.inputs[0], after.train.inputs[0]
    assert new.mean(0).abs().max() < 1e-5
    assert torch.allclose(new.std(0, correction=0), torch.ones(6), atol=1e-5)
    held = (given.judged.inputs[0] - old.mean(0)) / old.std(0, correction=0)
    assert torch.allclose(after.judged.inputs[0], held, atol=1e-4)
    assert after.valid is not None
    assert torch.equal(after.valid.inputs[0], after.judged.inputs[0])
    assert "it is so already" in refusal("standardise_inputs", after).what


def test_rows_of_a_sequence_share_one_scale_per_feature_and_images_one_in_all() -> None:
    X, y = classes()
    for shape in ((240, 3, 2), (240, 1, 2, 3)):
        given = program(lambda: nn.Sequential(nn.Flatten(), net()), data=(7 * X.view(shape) + 3, y))
        new = changed("standardise_inputs", given).train.inputs[0]
        axes = (0, 1) if len(shape) == 3 else (0, 1, 2, 3)
        assert new.mean(axes).abs().max() < 1e-5
        assert (new.std(axes) - 1).abs().max() < 1e-2


def test_numbers_of_tokens_are_not_scaled() -> None:
    X = torch.randint(0, 9, (60, 4), generator=torch.Generator().manual_seed(0))
    tokens = program(
        lambda: nn.Sequential(nn.Embedding(9, 3), nn.Flatten(), nn.Linear(12, 3)),
        data=(X, X[:, 0] % 3),
    )
    assert "no real numbers" in refusal("standardise_inputs", tokens).what
    assert "no real numbers" in refusal("fix_transform", tokens).what


def test_splits_that_were_scaled_apart_come_to_one_scale() -> None:
    (X, y), (V, v) = classes(), classes(90)
    given = program(data=(X, y), valid=(20 * V + 200, v))
    after = changed("fix_transform", given)
    for sample in (after.train, after.judged):
        assert sample.inputs[0].mean(0).abs().max() < 1e-4
        assert (sample.inputs[0].std(0) - 1).abs().max() < 1e-2
    assert "it is so already" in refusal("fix_transform", after).what
    once = changed("standardise_inputs", given)  # which leaves them apart
    assert once.judged.inputs[0].mean() > 50


def test_splits_of_one_scale_are_both_scaled_by_the_training_rows() -> None:
    X, y = classes()
    given = program(data=(X / 1000, y))
    after = changed("fix_transform", given)
    old = given.train.inputs[0]
    held = (given.judged.inputs[0] - old.mean(0)) / old.std(0, correction=0)
    assert torch.allclose(after.judged.inputs[0], held, atol=1e-4)


def test_a_target_is_standardised_and_answers_stay_in_the_users_unit() -> None:
    given = regression()
    after = changed("standardise_target", given)
    assert abs(float(after.train.targets.mean())) < 1e-4
    assert float(after.train.targets.std()) == pytest.approx(1.0, abs=1e-2)
    assert torch.equal(after.judged.targets, given.judged.targets)
    assert torch.allclose(after.decode(after.train.targets), given.train.targets, rtol=1e-4)
    assert "it is so already" in refusal("standardise_target", after).what
    assert "no real numbers" in refusal("standardise_target", program()).what
    was, now = train(given, 0).score, train(after, 0).score
    assert was is not None
    assert now is not None
    assert now > max(was, 0.5)  # of the same answers, in the same unit


# --- rows and classes ---------------------------------------------------------------------------


def test_batches_come_in_another_order_once_they_are_shuffled() -> None:
    given = program().turned(shuffle=False)
    after = changed("shuffle", given)
    first = next(batches(given.train, given.habits, 0)).inputs[0]
    assert torch.equal(first, given.train.inputs[0][:32])
    assert not torch.equal(next(batches(after.train, after.habits, 0)).inputs[0], first)
    assert "it is so already" in refusal("shuffle", after).what


def test_rare_classes_are_drawn_as_often_as_others() -> None:
    X, y = classes(300)
    kept = (y != 2) | (torch.arange(300) % 30 == 2)  # ten of the third class
    given = program(data=(X[kept], y[kept]))
    after = changed("weigh_classes", given)

    def share(of: Any) -> float:
        feed = batches(of.train, of.habits, 0)
        return float(np.mean([float((next(feed).targets == 2).float().mean()) for _ in range(60)]))

    assert share(given) < 0.1
    assert 0.25 < share(after) < 0.42
    assert "it is so already" in refusal("weigh_classes", after).what
    assert "no classes" in refusal("weigh_classes", regression()).what


def test_training_rows_without_numbers_or_far_out_are_left_out() -> None:
    X, y = classes()
    X[3, 2], X[7, 0], X[11, 4] = torch.nan, torch.inf, 1e6
    given = program(data=(X, y), valid=classes(60))
    after = changed("drop_rows", given)
    assert after.train.num_rows == given.train.num_rows - 3
    assert after.done[-1].values == {"count": 3}
    assert bool(torch.isfinite(after.train.inputs[0]).all())
    assert float(after.train.inputs[0].abs().max()) < 100
    assert after.judged is given.judged
    assert "it is so already" in refusal("drop_rows", after).what


def test_labels_that_contradict_their_examples_are_left_out() -> None:
    X, y = marked()
    wrong = torch.arange(0, 240, 16)
    y = y.clone()
    y[wrong] = (y[wrong] + 1) % 3
    given = program(data=(X, y), valid=marked(30))
    after = changed("clean_labels", given)
    kept = {round(float(v) * 256) for v in after.train.inputs[0][:, 5]}
    dropped = set(range(240)) - kept
    assert len(dropped & set(wrong.tolist())) >= 12  # of 15
    assert len(dropped - set(wrong.tolist())) <= 1
    assert after.judged is given.judged
    clean = program(data=marked(), valid=marked(30))
    assert "it is so already" in refusal("clean_labels", clean).what
    assert "no classes" in refusal("clean_labels", regression()).what


def test_class_numbers_begin_at_zero_in_every_split() -> None:
    X, y = classes()
    given = program(data=(X, y + 4))
    after = changed("encode_labels", given)
    assert sorted(set(after.train.targets.tolist())) == [0, 1, 2]
    assert torch.equal(after.judged.targets, given.judged.targets - 4)
    assert train(after, 0).score == train(program(data=(X, y)), 0).score
    assert "start at 0 already" in refusal("encode_labels", after).what
    assert "too many for 3 outputs" in refusal("encode_labels", program(data=(X, 9 * y + 1))).what
    assert "no class numbers" in refusal("encode_labels", regression()).what


def coded(codes: tuple[float, float], loss: Any, *, end: nn.Module | None = None) -> Program:
    """Whether a row is of the second cloud, written as two numbers."""
    X, y = classes()
    low, high = codes
    marks = torch.where(y == 1, high, low)[:, None]
    return program(lambda: net(1, end=end), data=(X, marks), loss=loss, epochs=8)


@pytest.mark.parametrize("codes", [(1.0, 2.0), (-1.0, 1.0), (5.0, 255.0)])
@pytest.mark.parametrize(
    ("loss", "end"), [(nn.BCEWithLogitsLoss(), None), (nn.BCELoss(), nn.Sigmoid())]
)
def test_two_numbers_become_zero_and_one_where_the_loss_wants_those(
    codes: Any, loss: Any, end: Any
) -> None:
    given = coded(codes, loss, end=end)
    after = changed("encode_labels", given)
    assert after.valid is not None
    for sample, old in ((after.train, given.train), (after.valid, given.judged)):
        assert torch.equal(sample.targets, (old.targets == codes[1]).float())
    assert torch.equal(after.judged.targets, given.judged.targets)  # the user's own
    assert f"(y_train == {codes[1]:g}).float()" in after.done[-1].lines[0]
    right = coded((0.0, 1.0), loss, end=end)
    assert train(after, 0).score == train(right, 0).score  # an accuracy, of the same answers
    assert "it is so already" in refusal("encode_labels", after).what


def test_before_the_labels_are_encoded_the_answers_are_judged_as_classes_too() -> None:
    given = coded((1.0, 2.0), nn.BCEWithLogitsLoss())
    assert given.facts.score is not None
    assert given.facts.score.metric == "accuracy"
    was, now = train(given, 0).score, train(changed("encode_labels", given), 0).score
    assert was == pytest.approx(1 / 3, abs=0.1)  # all are said to be the second
    assert now is not None
    assert now > 0.8


def test_a_fitting_loss_of_coded_labels_is_that_of_zero_and_one() -> None:
    given = coded((1.0, 2.0), nn.BCELoss(), end=nn.Sigmoid())
    for first, second in (("encode_labels", "pair_head_and_loss"),
                          ("pair_head_and_loss", "encode_labels")):  # fmt: skip
        after = changed(second, changed(first, given))
        assert isinstance(after.loss, OnLogits)
        assert after.loss.kind == "zero_one"
        found = train(after, 0).score
        assert found is not None
        assert found > 0.8
    signs = coded((-1.0, 1.0), nn.BCEWithLogitsLoss())
    kinds = [changed("pair_head_and_loss", of).loss
             for of in (signs, changed("encode_labels", signs))]  # fmt: skip
    assert [getattr(loss, "kind", "") for loss in kinds] == ["plus_minus_one", "zero_one"]


# --- a loss that wrong targets hurt less -----------------------------------------------------


def test_a_wrong_label_pulls_less_at_a_sure_answer() -> None:
    given = program()
    after = changed("robust_loss", given)
    logits, y = torch.tensor([[9.0, 0.0, 0.0]]), torch.tensor([0])
    smooth = nn.functional.cross_entropy(logits, y, label_smoothing=0.1)
    assert after.loss(logits, y) == pytest.approx(float(smooth))
    one_hot = OnLogits("one_hot", smoothing=0.1)
    assert one_hot(logits, nn.functional.one_hot(y, 3).float()) == pytest.approx(float(smooth))
    assert after.decode is given.decode
    assert "it is so already" in refusal("robust_loss", after).what


def test_a_stray_number_counts_by_its_size_instead_of_its_square() -> None:
    after = changed("robust_loss", regression())
    zero = torch.zeros(1, 1)
    far = [float(after.loss(zero, torch.full((1, 1), size))) for size in (1e5, 2e5, 3e5)]
    assert far[2] - far[1] == pytest.approx(far[1] - far[0], rel=1e-3)


def test_a_robust_loss_of_signs_is_there_already() -> None:
    X, y = classes()
    signs = program(lambda: net(1), data=(X, (2.0 * (y == 1) - 1)[:, None].float()),
                    loss=nn.SoftMarginLoss())  # fmt: skip
    assert "robust already" in refusal("robust_loss", signs).what


# --- by hand, and recipes --------------------------------------------------------------------


@pytest.mark.parametrize("name", ["realign_labels", "fix_split", "stratify"])
@pytest.mark.parametrize("make", [program, Recipe])
def test_what_the_score_is_measured_on_is_mended_by_hand(name: str, make: Any) -> None:
    assert MEASURED in refusal(name, make()).do


@pytest.mark.parametrize(
    ("name", "make", "word"),
    [("add_data", program, "collect more examples"), ("drop_rows", Recipe, "in the file"),
     ("clean_labels", Recipe, "look at the examples"), ("encode_labels", Recipe, MEASURED)],
)  # fmt: skip
def test_where_an_edit_does_not_reach_it_says_what_to_do(name: str, make: Any, word: str) -> None:
    assert word in refusal(name, make()).do


@pytest.mark.parametrize(
    ("name", "settings", "known", "knobs"),
    [
        ("standardise_inputs", {"data.scale": "none"}, {}, {"data.scale": "standardise"}),
        ("standardise_inputs", {}, {}, {"data.scale": "quantile"}),
        ("standardise_inputs", {"data.scale": "standardise"}, {}, {"data.scale": "quantile"}),
        ("fix_transform", {"data.scale": "none"}, {}, {"data.scale": "standardise"}),
        ("standardise_target", {"data.standardise_target": False}, {},
         {"data.standardise_target": True}),
        ("shuffle", {"algorithm.sampler": "balanced"}, {}, {"algorithm.sampler": "uniform"}),
        ("weigh_classes", {}, {}, {"loss.class_weights": "balanced"}),
        ("robust_loss", {}, {}, {"loss.label_smoothing": 0.1}),
        ("robust_loss", {"data.task": "regression"}, {}, {"loss.name": "huber"}),
        ("robust_loss", {}, {"facts": NUMBERS}, {"loss.name": "huber"}),
        ("add_data", {"data.augment": "none"}, {}, {"data.augment": "auto"}),
    ],
)  # fmt: skip
def test_a_recipe_gets_these_knobs(name: str, settings: Any, known: Any, knobs: Any) -> None:
    assert turned(name, settings, **known) == knobs


@pytest.mark.parametrize(
    ("name", "settings"),
    [("standardise_target", {}), ("shuffle", {}), ("add_data", {}),
     ("weigh_classes", {"loss.class_weights": "balanced"}),
     ("robust_loss", {"loss.label_smoothing": 0.2})],
)  # fmt: skip
def test_a_recipe_that_has_it_already_is_left_alone(name: str, settings: Any) -> None:
    assert "it is so already" in refusal(name, edit(Recipe(), settings)).what


def test_classes_are_not_weighed_where_numbers_are_predicted() -> None:
    assert "no classes" in refusal("weigh_classes", Recipe(), facts=NUMBERS).what


def test_a_knob_that_stands_against_another_one_is_refused_with_its_reason() -> None:
    hinge = edit(Recipe(), {"loss.name": "hinge"})
    assert "label_smoothing" in refusal("robust_loss", hinge).what


def test_rows_without_a_target_are_neither_learned_nor_judged() -> None:
    own = torch.Generator().manual_seed(0)
    X = torch.randn(100, 6, generator=own)
    y = X[:, :1].clone()
    y[::10] = float("nan")
    given = program(lambda: net(1), data=(X, y), loss=nn.MSELoss())
    after = edit_named("drop_rows").apply(given, Context())
    assert isinstance(after, Program)
    for sample in (after.train, after.judged):
        assert torch.isfinite(sample.targets).all()
    assert after.judged.num_rows < given.judged.num_rows
