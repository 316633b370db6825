"""Each edit of the learning algorithm changes what it says, of programs and of recipes, and nothing
else."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tests.edit.programs import adam, changed, classes, net, program, refusal, turned
from trainwright.core.diagnosis import Finding
from trainwright.core.history import History
from trainwright.edit.algorithm import quiet_norm
from trainwright.edit.catalogue import edit_named
from trainwright.edit.edit import Context
from trainwright.edit.loop import rate_factor, train
from trainwright.edit.program import Penalty, Program
from trainwright.recipe import Recipe, edit

RESOLVED = {"algorithm": {"learning_rate": 0.003, "batch_size": 64, "weight_decay": 0.01,
                          "schedule": "cosine", "optimizer": "adamw"}}  # fmt: skip


def history(*norms: float) -> History:
    """A run of which nothing but the norms of its gradients is known."""
    return History(by_step={"gradient_norm_all": np.array(norms)})


def grouped(parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    """Weights decay and move slowly, biases do neither."""
    weights = [p for p in parameters if p.ndim > 1]
    return torch.optim.SGD(
        [{"params": weights, "lr": 0.01, "weight_decay": 0.4},
         {"params": [p for p in parameters if p.ndim == 1]}], lr=0.1, momentum=0.9,
    )  # fmt: skip


def rates(given: Any) -> list[float]:
    """The rate of each group of a fresh optimiser."""
    return sorted(group["lr"] for group in given.start(0)[1].param_groups)


# --- rates ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "factor"), [("lower_learning_rate", 0.1), ("raise_learning_rate", 10)]
)
def test_every_rate_changes_tenfold_and_nothing_else_of_the_optimiser(
    name: str, factor: float
) -> None:
    given = program(optimizer=grouped)
    after = changed(name, given)
    assert rates(given) == pytest.approx([0.01, 0.1])
    assert rates(after) == pytest.approx([0.01 * factor, 0.1 * factor])
    again = changed(name, after)  # a rate can be wrong by more than tenfold
    assert rates(again) == pytest.approx([0.01 * factor**2, 0.1 * factor**2])


@pytest.mark.parametrize(
    ("name", "liked", "rate"),
    [
        ("lower_learning_rate", 0.002, 0.002),
        ("lower_learning_rate", 0.2, 0.001),  # the exam points the other way
        ("lower_learning_rate", 0.009, 0.001),  # and here it says nothing
        ("raise_learning_rate", 0.04, 0.04),
        ("raise_learning_rate", 0.001, 0.1),
    ],
)
def test_a_rate_goes_where_an_exam_liked_it_if_that_is_the_same_way(
    name: str, liked: float, rate: float
) -> None:
    after = changed(name, program(), rate=liked)  # whose rate is 0.01
    assert after.optimizer.learning_rate == pytest.approx(rate)
    assert after.done[-1].lines == (
        f"optimizer = torch.optim.Adam(model.parameters(), lr={rate:g})",
    )
    assert turned(name, {"algorithm.learning_rate": 0.01}, rate=liked) == {
        "algorithm.learning_rate": pytest.approx(rate)
    }


def test_the_first_steps_are_small() -> None:
    after = changed("warm_up", program(epochs=20))
    assert after.habits.warmup_steps == 6  # a twentieth of 120
    assert rate_factor(after.habits, 0, 120) == pytest.approx(1 / 6)
    assert "total_iters=6" in after.done[-1].lines[0]
    assert "it is so already" in refusal("warm_up", after).what


def test_the_rate_falls_to_zero() -> None:
    after = changed("decay_learning_rate", program())
    assert rate_factor(after.habits, after.num_steps - 1, after.num_steps) < 0.05
    assert "it is so already" in refusal("decay_learning_rate", after).what


# --- steps and batches ---------------------------------------------------------------------------


def test_the_loop_takes_twice_the_steps() -> None:
    given = program(epochs=3)
    after = changed("train_longer", given)
    assert len(train(after, 0).losses) == 2 * len(train(given, 0).losses) == 36
    assert after.done[-1].lines == ("epochs = 6",)
    capped = program(epochs=3).turned(most_steps=5)
    assert "ends the loop at 5 steps" in refusal("train_longer", capped).what


@pytest.mark.parametrize(
    ("name", "size", "steps"), [("larger_batch", 128, 2), ("smaller_batch", 8, 24)]
)
def test_a_batch_is_four_times_larger_or_smaller(name: str, size: int, steps: int) -> None:
    given = program(epochs=1)
    after = changed(name, given)
    assert (after.habits.batch_size, after.train.batch_size, after.num_steps) == (size, size, steps)
    assert f"batch_size={size}" in after.done[-1].lines[0]


def test_a_batch_is_at_most_the_data_and_at_least_one_example() -> None:
    assert changed("larger_batch", program(batch_size=100)).habits.batch_size == 192
    assert "it is so already" in refusal("larger_batch", program(batch_size=192)).what
    assert changed("smaller_batch", program(batch_size=3)).habits.batch_size == 1
    assert "it is so already" in refusal("smaller_batch", program(batch_size=1)).what


# --- the loop ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "sick"),
    [("zero_grad", {"clears": False}), ("keep_best_checkpoint", {}), ("stop_early", {})],
)
def test_a_habit_of_the_loop_is_set_once(name: str, sick: dict[str, Any]) -> None:
    given = program().turned(**sick)
    after = changed(name, given)
    assert after.habits == program().turned(keeps_best=not sick).habits
    assert "it is so already" in refusal(name, after).what


def test_the_best_weights_are_kept_where_later_ones_are_worse() -> None:
    given = program(optimizer=lambda p: adam(p, 3.0), data=classes(90), epochs=10)
    kept = train(changed("keep_best_checkpoint", given), 0).score
    last = train(given, 0).score
    assert kept is not None
    assert last is not None
    assert kept > last


def test_gradients_are_clipped_where_the_quiet_ones_end() -> None:
    after = changed(
        "clip_gradient_norm", program(), history=history(1, 1, 1, 2, 3, 500, 900, math.nan)
    )
    assert after.habits.clip_norm == pytest.approx(1.7)  # nine tenths of 1, 1, 1, 2
    assert "clip_grad_norm_(model.parameters(), 1.7)" in after.done[-1].lines[0]
    assert changed("clip_gradient_norm", program()).habits.clip_norm == 1.0
    assert "it is so already" in refusal("clip_gradient_norm", after, history=history(9, 9)).what


def test_a_loss_with_the_wrong_sign_is_turned_and_one_with_the_right_sign_is_not() -> None:
    given = program(loss=lambda o, y: -nn.functional.cross_entropy(o, y))
    after = changed("fix_sign", given)
    outputs, y = (
        torch.randn(4, 3, generator=torch.Generator().manual_seed(0)),
        torch.tensor([0, 1, 2, 0]),
    )
    assert torch.equal(after.loss(outputs, y), -given.loss(outputs, y))
    assert "it is so already" in refusal("fix_sign", after).what
    assert "it is so already" in refusal("fix_sign", program()).what


def test_an_optimiser_that_climbs_goes_down_again() -> None:
    given = program(optimizer=lambda p: torch.optim.SGD(p, lr=0.1, maximize=True))
    after = changed("fix_sign", given)
    assert after.done[-1].lines == ("optimizer = torch.optim.SGD(model.parameters(), lr=0.1)",)
    losses = train(after, 0).losses
    assert losses[-1] < losses[0] < train(given, 0).losses[-1]


# --- the optimiser -------------------------------------------------------------------------------


def test_adamw_takes_over_at_its_usual_rate_or_at_the_one_that_an_exam_liked() -> None:
    given = program(optimizer=lambda p: torch.optim.SGD(p, lr=0.5, momentum=0.9))
    after = changed("swap_optimizer", given)
    optimizer = after.start(0)[1]
    assert type(optimizer) is torch.optim.AdamW
    assert optimizer.defaults["lr"] == 1e-3
    assert changed("swap_optimizer", given, rate=0.02).optimizer.learning_rate == 0.02
    assert "it is so already" in refusal("swap_optimizer", after).what


@pytest.mark.parametrize(
    ("make", "usual"),
    [
        (lambda p: torch.optim.Adam(p, lr=0.01, eps=0.5, betas=(0.2, 0.3)),
         {"eps": 1e-8, "betas": (0.9, 0.999), "lr": 0.01}),
        (lambda p: torch.optim.RMSprop(p, lr=0.01, alpha=0.1), {"alpha": 0.99, "lr": 0.01}),
        (lambda p: torch.optim.Adagrad(p, lr=0.01, eps=1.0), {"eps": 1e-10, "lr": 0.01}),
        (lambda p: torch.optim.Adadelta(p, lr=0.01, rho=0.1), {"rho": 0.9, "eps": 1e-6}),
    ],
)  # fmt: skip
def test_an_optimisers_memory_goes_back_to_its_own_defaults(make: Any, usual: Any) -> None:
    after = changed("set_eps", program(optimizer=make))
    group = after.start(0)[1].param_groups[0]
    assert {name: group[name] for name in usual} == usual
    assert "it is so already" in refusal("set_eps", after).what


@pytest.mark.parametrize("make", [adam, grouped, lambda p: torch.optim.Adagrad(p)])
def test_usual_settings_are_left_alone(make: Any) -> None:
    assert "it is so already" in refusal("set_eps", program(optimizer=make)).what


def test_decay_is_weaker_in_the_groups_that_have_it_and_penalties_are_too() -> None:
    penalty = Penalty(parameter="0.weight", l1=0.5, l2=2.0)
    given = program(optimizer=grouped).turned(penalties=(penalty,))
    after = changed("weaken_penalty", given)
    decays = sorted(g["weight_decay"] for g in after.start(0)[1].param_groups)
    assert decays == pytest.approx([0.0, 0.04])
    assert after.habits.penalties == (Penalty(parameter="0.weight", l1=0.05, l2=0.2),)
    assert len(after.done[-1].lines) == 2
    plain = program(optimizer=lambda p: torch.optim.SGD(p, lr=0.1))
    assert "no penalty and no weight decay" in refusal("weaken_penalty", plain).what


def test_the_line_to_write_names_what_is_not_the_optimisers_default() -> None:
    plan = program(
        optimizer=lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True)
    ).optimizer
    assert (
        plan.written() == "torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, nesterov=True)"
    )

    class Mine(torch.optim.SGD):
        """Somebody's own."""

    mine = program(optimizer=lambda p: Mine(p, lr=0.1)).optimizer
    assert mine.written() == "Mine(model.parameters(), lr=0.1)"
    optimizer = built_from(plan.written())
    assert (optimizer.defaults["momentum"], optimizer.defaults["nesterov"]) == (0.9, True)


def built_from(line: str) -> torch.optim.Optimizer:
    """What the line makes, read as Python's own grammar has it."""
    import ast

    call = ast.parse(line, mode="eval").body
    assert isinstance(call, ast.Call)
    assert isinstance(call.func, ast.Attribute)
    given = {k.arg: ast.literal_eval(k.value) for k in call.keywords if k.arg}
    return getattr(torch.optim, call.func.attr)(net().parameters(), **given)


# --- by hand, and recipes ------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["reorder_steps", "call_step"])
@pytest.mark.parametrize("make", [program, Recipe])
def test_the_order_of_a_loop_is_mended_by_hand(name: str, make: Any) -> None:
    assert "the order of the lines" in refusal(name, make()).do


@pytest.mark.parametrize("name", ["zero_grad", "fix_sign"])
def test_what_a_recipe_always_does_needs_no_edit(name: str) -> None:
    assert "recipes do so by themselves" in refusal(name, Recipe()).do


def test_a_strategy_without_gradients_needs_a_recipe() -> None:
    assert "algorithm.optimizer = 'evolution'" in refusal("evolution_strategy", program()).do


@pytest.mark.parametrize(
    ("name", "settings", "knobs"),
    [
        ("lower_learning_rate", {"algorithm.learning_rate": 1.0}, {"algorithm.learning_rate": 0.1}),
        ("raise_learning_rate", {"algorithm.learning_rate": 500.0},
         {"algorithm.learning_rate": 1000.0}),  # the most that the knob allows
        ("warm_up", {"algorithm.warmup_steps": 0}, {"algorithm.warmup_steps": "auto"}),
        ("decay_learning_rate", {"algorithm.schedule": "constant"},
         {"algorithm.schedule": "cosine"}),
        ("train_longer", {"budget": "300 steps"}, {"budget": "600 steps"}),
        ("train_longer", {"budget": "30s"}, {"budget": "60s"}),
        ("train_longer", {"budget": "2.5 epochs"}, {"budget": "5 epochs"}),
        ("larger_batch", {"algorithm.batch_size": 32}, {"algorithm.batch_size": 128}),
        ("smaller_batch", {"algorithm.batch_size": 2}, {"algorithm.batch_size": 1}),
        ("accumulate", {"algorithm.accumulate": 2}, {"algorithm.accumulate": 8}),
        ("swap_optimizer",
         {"algorithm.optimizer": "sgd", "algorithm.learning_rate": 0.5, "algorithm.nesterov": True},
         {"algorithm.optimizer": "adamw", "algorithm.learning_rate": "auto",
          "algorithm.nesterov": "auto"}),
        ("swap_optimizer", {"algorithm.optimizer": "evolution", "algorithm.population": 8},
         {"algorithm.optimizer": "adamw", "algorithm.population": "auto"}),
        ("set_eps", {"algorithm.eps": 0.1}, {"algorithm.eps": "auto"}),
        ("clip_gradient_norm", {}, {"algorithm.clip_norm": 1.0}),
        ("weaken_penalty", {"algorithm.l2": 1.0, "algorithm.l1": 0.5},
         {"algorithm.l2": 0.1, "algorithm.l1": 0.05}),
        ("weaken_penalty", {"algorithm.weight_decay": 2.0}, {"algorithm.weight_decay": 0.2}),
        ("keep_best_checkpoint", {"algorithm.keep": "last"}, {"algorithm.keep": "best"}),
        ("stop_early", {}, {"algorithm.early_stopping": 10}),
        ("evolution_strategy", {"algorithm.optimizer": "sgd", "algorithm.learning_rate": 0.5},
         {"algorithm.optimizer": "evolution", "algorithm.learning_rate": "auto"}),
    ],
)  # fmt: skip
def test_a_recipe_gets_these_knobs(name: str, settings: Any, knobs: Any) -> None:
    assert turned(name, settings) == knobs


@pytest.mark.parametrize(
    ("name", "knobs"),
    [("lower_learning_rate", {"algorithm.learning_rate": pytest.approx(0.0003)}),
     ("raise_learning_rate", {"algorithm.learning_rate": pytest.approx(0.03)}),
     ("larger_batch", {"algorithm.batch_size": 256}), ("smaller_batch", {"algorithm.batch_size": 16}),
     ("weaken_penalty", {"algorithm.weight_decay": pytest.approx(0.001)})],
)  # fmt: skip
def test_auto_means_what_it_meant_in_the_run(name: str, knobs: Any) -> None:
    assert turned(name, {}, resolved=RESOLVED) == knobs


@pytest.mark.parametrize(
    ("name", "word"),
    [("lower_learning_rate", "the rate that `auto` meant"),
     ("raise_learning_rate", "the rate that `auto` meant"),
     ("larger_batch", "the batch size that `auto` meant"),
     ("smaller_batch", "the batch size that `auto` meant"), ("train_longer", "the budget is auto")],
)  # fmt: skip
def test_what_auto_meant_must_be_known(name: str, word: str) -> None:
    found = refusal(name, Recipe()).what
    assert word in found
    assert name in found


@pytest.mark.parametrize(
    ("name", "settings"),
    [("warm_up", {}), ("decay_learning_rate", {}), ("swap_optimizer", {}), ("set_eps", {}),
     ("keep_best_checkpoint", {}), ("stop_early", {"algorithm.early_stopping": 3}),
     ("weaken_penalty", {}), ("evolution_strategy", {"algorithm.optimizer": "evolution"}),
     ("smaller_batch", {"algorithm.batch_size": 1})],
)  # fmt: skip
def test_a_recipe_that_has_it_already_is_left_alone(name: str, settings: Any) -> None:
    assert "it is so already" in refusal(name, edit(Recipe(), settings)).what


def test_a_knob_that_stands_against_it_is_named() -> None:
    given = edit(Recipe(), {"algorithm.l2": 0.1})
    assert "l2 and the l1 penalty" in refusal("evolution_strategy", given).what


def test_a_run_that_exploded_within_a_few_steps_is_clipped_at_what_was_quiet():
    assert quiet_norm(Context(history=history(1.0, 2.0, 1e5, 1e11))) <= 20.0
    usual = history(*np.linspace(1.0, 2.0, 100).tolist())
    assert 1.4 < quiet_norm(Context(history=usual)) < 1.5


def test_norms_that_were_read_behind_too_tight_a_clipping_say_nothing_of_a_fitting_one():
    tight = Finding(code="A410", name="x", severity="serious", confidence=0.9)
    context = Context(finding=tight, history=history(1e-4, 1e-4, 1e-4))
    given = program().turned(clip_norm=1e-4)
    after = edit_named("clip_gradient_norm").apply(given, context)
    assert isinstance(after, Program)
    assert after.habits.clip_norm == 1.0
    made = edit(Recipe(), {"algorithm.clip_norm": 1e-4})
    turned_up = edit_named("clip_gradient_norm").apply(made, context)
    assert isinstance(turned_up, Recipe)
    assert turned_up.algorithm.clip_norm == 1.0
