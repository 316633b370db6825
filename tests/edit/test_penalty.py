"""Decay and penalties pull weights toward zero by what they say, and can be weakened again."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.edit.programs import changed, classes, net, program, refusal, turned
from trainwright.edit.loop import train
from trainwright.edit.program import Penalty, Program
from trainwright.recipe import Recipe, edit


def plain(parameters: Any) -> torch.optim.Optimizer:
    """Steps of exactly the gradient."""
    return torch.optim.SGD(parameters, lr=1.0)


def decays(of: Program) -> list[float]:
    """The weight decay of each group of a fresh optimiser."""
    return sorted(group["weight_decay"] for group in of.start(0)[1].param_groups)


def after_one_step(of: Program) -> dict[str, Tensor]:
    """The parameters that one step leads to."""
    return train(of, 0, steps=1).model.state_dict()


def started(of: Program) -> dict[str, Tensor]:
    """The parameters before any step."""
    return of.start(0)[0].state_dict()


# --- weight decay --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "usual"),
    [
        (plain, 1e-4),
        (lambda p: torch.optim.Adam(p, lr=1e-3), 1e-4),
        (lambda p: torch.optim.AdamW(p, lr=1e-3, weight_decay=0.0), 0.01),
        (lambda p: torch.optim.NAdam(p, lr=1e-3, decoupled_weight_decay=True), 0.01),
    ],
)
def test_the_optimisers_own_decay_starts_at_the_usual_and_grows_tenfold_to_a_limit(
    make: Any, usual: float
) -> None:
    after = changed("add_weight_decay", program(optimizer=make))
    assert decays(after) == [usual]
    tenfold = changed("add_weight_decay", after)
    assert decays(tenfold) == [pytest.approx(10 * usual)]
    assert decays(changed("weaken_penalty", tenfold)) == [pytest.approx(usual)]
    assert decays(changed("weaken_penalty", after)) == [pytest.approx(usual / 10)]
    most = changed("add_weight_decay", tenfold)
    assert decays(most) == [pytest.approx(100 * usual)]
    assert "strong already" in refusal("add_weight_decay", most).what


def test_a_step_shrinks_each_weight_by_the_rate_times_the_decay_times_itself() -> None:
    given = program(optimizer=plain)
    after = changed("add_weight_decay", changed("add_weight_decay", given))
    was, now, start = after_one_step(given), after_one_step(after), started(given)
    for name, value in start.items():
        assert torch.allclose(was[name] - now[name], 1e-3 * value, atol=1e-6)
    assert after.done[-1].lines == (
        "optimizer = torch.optim.SGD(model.parameters(), lr=1, weight_decay=0.001)",
    )


def test_groups_without_decay_stay_without() -> None:
    def grouped(parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
        weights = [p for p in parameters if p.ndim > 1]
        biases = [p for p in parameters if p.ndim == 1]
        return torch.optim.SGD([{"params": weights, "weight_decay": 3e-3}, {"params": biases}],
                               lr=0.1)  # fmt: skip

    given = program(optimizer=grouped)
    assert decays(changed("add_weight_decay", given)) == [0.0, pytest.approx(0.01)]  # the most


def test_an_optimiser_without_decay_gets_a_penalty_on_squares_of_matrices() -> None:
    given = program(optimizer=lambda p: torch.optim.Rprop(p, lr=1e-3))
    after = changed("add_weight_decay", given)
    assert after.habits.penalties == tuple(
        Penalty(parameter=name, l2=5e-5) for name in ("0.weight", "2.weight")
    )
    assert after.done[-1].lines == (
        "loss = loss + 5e-05 * sum((p ** 2).sum() for p in model.parameters() if p.ndim > 1)",
    )
    tenfold = changed("add_weight_decay", after)
    assert [p.l2 for p in tenfold.habits.penalties] == pytest.approx([5e-4] * 2)
    weaker = changed("weaken_penalty", tenfold).habits.penalties
    assert [p.l2 for p in weaker] == pytest.approx([5e-5] * 2)
    # its slope is that of a decay of 1e-4, as an optimiser of which both are known shows
    by_penalty = replace(after, optimizer=program(optimizer=plain).optimizer)
    by_decay = changed("add_weight_decay", program(optimizer=plain))
    one, other = after_one_step(by_penalty), after_one_step(by_decay)
    assert torch.allclose(one["0.weight"], other["0.weight"], atol=1e-6)


def test_what_takes_no_such_gradient_says_so() -> None:
    def rows() -> nn.Module:
        return nn.Sequential(nn.Embedding(9, 4, sparse=True), nn.Flatten(), nn.Linear(24, 3))

    X, y = classes()
    numbers = (X - X.min()).long().clamp(0, 8)
    given = program(rows, data=(numbers, y), optimizer=lambda p: torch.optim.SGD(p, lr=0.1))
    assert "a step with it fails" in refusal("add_weight_decay", given).what


# --- L1 ------------------------------------------------------------------------------------------


def test_a_step_moves_each_weight_toward_zero_by_the_same_and_no_bias() -> None:
    given = program(optimizer=plain)
    after = changed("add_l1", given)
    was, now, start = after_one_step(given), after_one_step(after), started(given)
    for name, value in start.items():
        pulled = 1e-4 * value.sign() if value.ndim > 1 else torch.zeros_like(value)
        assert torch.allclose(was[name] - now[name], pulled, atol=1e-6)
    assert after.done[-1].lines == (
        "loss = loss + 0.0001 * sum(p.abs().sum() for p in model.parameters() if p.ndim > 1)",
    )
    assert train(given, 0, steps=1).losses[0] == train(after, 0, steps=1).losses[0]


def test_it_grows_tenfold_to_a_limit_and_can_be_weakened() -> None:
    once = changed("add_l1", program())
    twice = changed("add_l1", once)
    most = changed("add_l1", twice)
    for of, strength in ((once, 1e-4), (twice, 1e-3), (most, 1e-2)):
        assert [p.l1 for p in of.habits.penalties] == pytest.approx([strength] * 2)
    assert "strong already" in refusal("add_l1", most).what
    weaker = changed("weaken_penalty", twice)
    assert [p.l1 for p in weaker.habits.penalties] == pytest.approx([1e-4] * 2)
    assert (train(twice, 0).losses == train(twice, 0).losses).all()


def test_trained_weights_are_smaller_with_either() -> None:
    def size(of: Program) -> float:
        model = train(of, 0).model
        return sum(float(p.detach().abs().sum()) for p in model.parameters() if p.ndim > 1)

    given = program(optimizer=lambda p: torch.optim.SGD(p, lr=0.1), epochs=10)
    for name in ("add_weight_decay", "add_l1"):
        after = given
        for _ in range(3):
            after = changed(name, after)
        assert size(after) < 0.98 * size(given)


def test_frozen_matrices_get_no_penalty() -> None:
    def frozen(*at: int) -> nn.Sequential:
        model = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 3))
        for place in at:
            model[place].get_parameter("weight").requires_grad_(False)
        return model

    after = changed("add_l1", program(lambda: frozen(0)))
    assert [p.parameter for p in after.habits.penalties] == ["2.weight"]
    bare = program(lambda: frozen(0, 2))
    assert "no matrix of weights is trained" in refusal("add_l1", bare).what


def test_lbfgs_feels_a_penalty_too_and_its_losses_are_without_it() -> None:
    given = program(net, optimizer=lambda p: torch.optim.LBFGS(p, lr=0.1))
    strong = given.turned(penalties=(Penalty(parameter="0.weight", l2=1.0),))
    was, now = train(given, 0, steps=2), train(strong, 0, steps=2)
    assert was.losses[0] == now.losses[0]
    sizes = [of.model.get_parameter("0.weight").detach().norm() for of in (was, now)]
    assert sizes[1] < 0.9 * sizes[0]


# --- recipes -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "settings", "knobs"),
    [
        ("add_weight_decay", {}, {"algorithm.weight_decay": 0.1}),  # auto of adamw is 0.01
        ("add_weight_decay", {"algorithm.weight_decay": 0.0}, {"algorithm.weight_decay": 0.01}),
        ("add_weight_decay", {"algorithm.optimizer": "adam"}, {"algorithm.weight_decay": 0.01}),
        ("add_weight_decay", {"algorithm.optimizer": "adam", "algorithm.l2": 1e-3},
         {"algorithm.l2": 0.01}),
        ("add_weight_decay", {"algorithm.optimizer": "sgd"}, {"algorithm.l2": 1e-4}),
        ("add_weight_decay", {"algorithm.optimizer": "sgd", "algorithm.weight_decay": 1e-3},
         {"algorithm.weight_decay": 0.01}),
        ("add_l1", {"algorithm.optimizer": "sgd"}, {"algorithm.l1": 1e-4}),
        ("add_l1", {"algorithm.l1_form": "penalty"}, {"algorithm.l1": 1e-4}),
        ("add_l1", {}, {"algorithm.l1": 0.01}),
        ("add_l1", {"algorithm.l1": 0.02}, {"algorithm.l1": 0.2}),
    ],
)  # fmt: skip
def test_a_recipe_gets_these_knobs(name: str, settings: Any, knobs: Any) -> None:
    assert turned(name, settings) == {path: pytest.approx(value) for path, value in knobs.items()}


def test_what_a_recipe_decays_by_in_its_run_is_what_grows_and_can_be_weakened() -> None:
    resolved = {"algorithm": {"weight_decay": 0.05}}
    knobs = turned("add_weight_decay", {}, resolved=resolved)
    assert knobs == {"algorithm.weight_decay": pytest.approx(0.5)}
    weaker = turned("weaken_penalty", knobs)
    assert weaker == {"algorithm.weight_decay": pytest.approx(0.05)}
    l1 = turned("add_l1", {})
    assert turned("weaken_penalty", l1) == {"algorithm.l1": pytest.approx(0.001)}


def test_a_recipe_with_strong_ones_gets_no_stronger_one() -> None:
    for name, settings in (
        ("add_weight_decay", {"algorithm.weight_decay": 2.0}), ("add_l1", {"algorithm.l1": 1.0}),
    ):  # fmt: skip
        assert "strong already" in refusal(name, edit(Recipe(), settings)).what
    strategy = {"algorithm.optimizer": "evolution", "algorithm.l1_form": "penalty"}
    assert "l1_form = 'proximal'" in refusal("add_l1", edit(Recipe(), strategy)).what
