"""Each edit of the network changes what it says, of programs and of recipes, and nothing else."""

import math
from typing import Any

import pytest
import torch
from torch import nn

from tests.edit.programs import changed, classes, net, program, refusal, turned
from trainwright.edit.loop import train
from trainwright.edit.program import Program
from trainwright.edit.surgery.observe import observe
from trainwright.edit.surgical import parts_of
from trainwright.recipe import Recipe, edit

RESOLVED = {"model": {"width": 64, "depth": 2, "dropout": 0.1, "norm": "none", "activation": "relu"},
            "algorithm": {"batch_size": 32}}  # fmt: skip
BENT = {"sigmoid": nn.Sigmoid, "tanh": nn.Tanh, "relu": nn.ReLU}


def chain(*between: nn.Module, width: int = 16) -> nn.Sequential:
    """Two linear layers with something between."""
    return nn.Sequential(nn.Linear(6, width), *between, nn.Linear(width, 3))


def made(given: Program, seed: int = 0) -> Any:
    """The network that the program trains."""
    return given.start(seed)[0]


def hidden(given: Program) -> list[str]:
    """The non-linearities that run in the network."""
    return [a.name for a in observe(made(given), parts_of(given.few())).activations]


def outputs(given: Program, x: torch.Tensor, *, mode: bool = False) -> torch.Tensor:
    """[example, 3]"""
    with torch.no_grad():
        return made(given).train(mode)(x)


# --- non-linearities ----------------------------------------------------------------------------


def test_two_linear_layers_are_no_longer_one() -> None:
    given = program(chain)
    after = changed("insert_nonlinearity", given)
    x = given.few().inputs[0]
    for of, bent in ((given, False), (after, True)):
        middle = (outputs(of, x) + outputs(of, -x)) / 2
        is_linear = torch.allclose(middle, outputs(of, 0 * x), atol=1e-5)
        assert is_linear is not bent
    assert hidden(after) == ["relu"]
    assert "already stands between" in refusal("insert_nonlinearity", after).what


@pytest.mark.parametrize("old", BENT)
def test_hidden_units_get_a_gradient_where_they_gave_nothing(old: str) -> None:
    given = program(lambda: chain(BENT[old]()))
    after = changed("leaky_activation", given)
    assert (hidden(given), hidden(after)) == ([old], ["leaky_relu"])
    model = made(after)
    with torch.no_grad():
        model[0].bias.fill_(-100.0)
    model(given.few().inputs[0]).square().sum().backward()
    assert float(model[0].weight.grad.abs().max()) > 0
    assert "there is no activation to replace" in refusal("leaky_activation", after).what


def test_functions_that_saturate_become_relu_and_the_head_stays() -> None:
    given = program(lambda: nn.Sequential(*chain(nn.Sigmoid()), nn.Softmax(-1)))
    after = changed("replace_activation", given)
    assert hidden(after) == ["relu", "softmax"]
    assert "there is no activation to replace" in refusal("replace_activation", after).what


# --- norms and skips -----------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "kind"), [(32, nn.BatchNorm1d), (4, nn.LayerNorm)])
def test_a_norm_stands_behind_the_hidden_layer_that_fits_the_batch(size: int, kind: Any) -> None:
    given = program(batch_size=size)
    after = changed("add_norm", given)
    found = [type(m) for m in made(after).modules()]
    assert found.count(kind) == 1
    assert kind not in [type(m) for m in made(given).modules()]
    _, optimizer = after.start(0)
    assert sum(len(g["params"]) for g in optimizer.param_groups) == 6  # with scale and shift
    assert "without a norm" in refusal("add_norm", after).what


def test_group_norm_looks_at_one_example_alone() -> None:
    given = program(lambda: chain(nn.BatchNorm1d(16), nn.ReLU()))
    after = changed("group_norm", given)
    x = given.few().inputs[0]
    alone = outputs(after, x[:2], mode=True)
    assert torch.allclose(outputs(after, x, mode=True)[:2], alone, atol=1e-6)
    assert not torch.allclose(
        outputs(given, x, mode=True)[:2], outputs(given, x[:2], mode=True), atol=1e-3
    )
    assert "it is so already" in refusal("group_norm", after).what
    assert "no batch norm" in refusal("group_norm", program()).what


def test_a_signal_also_goes_past_a_layer_as_wide_as_its_inputs() -> None:
    given = program(lambda: chain(nn.ReLU(), width=6))
    after = changed("add_skip", given)
    model, x = made(given), given.few().inputs[0]
    by_hand = model[2](torch.relu(model[0](x) + x))
    assert torch.allclose(outputs(after, x), by_hand, atol=1e-6)
    assert "skips" in refusal("add_skip", after).what
    assert "no hidden layer gives the shape" in refusal("add_skip", program()).what


# --- weights at the start ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "kind", "sd"),
    [
        ("reinitialise_he", nn.ReLU, math.sqrt(2 / 6)),
        ("reinitialise_xavier", nn.Tanh, 5 / 3 * math.sqrt(2 / (6 + 400))),
    ],
)
def test_weights_start_anew_by_the_fan_in_and_by_the_seed(name: str, kind: Any, sd: float) -> None:
    def alike() -> nn.Module:
        model = chain(kind(), width=400)
        for parameter in model.parameters():
            nn.init.constant_(parameter, 0.3)
        return model

    after = changed(name, program(alike))
    first = made(after).requires_grad_(False)[0]
    assert float(first.weight.std()) == pytest.approx(sd, rel=0.1)
    assert not first.bias.any()
    assert torch.equal(made(after)[0].weight, first.weight)
    assert not torch.equal(made(after, 1)[0].weight, first.weight)  # fresh seeds are fresh starts
    assert "it is so already" in refusal(name, after).what


def test_every_layer_gives_unit_outputs_whatever_the_inputs_scale() -> None:
    X, y = classes(scale=1e4)
    given = program(lambda: chain(nn.Tanh(), width=64), data=(X, y))
    after = changed("reinitialise_lsuv", given)
    model, few = made(after).requires_grad_(False), after.few().inputs[0]
    first = model[0](few)
    assert float(first.std()) == pytest.approx(1.0, abs=0.06)
    assert float(model[2](torch.tanh(first)).std()) == pytest.approx(1.0, abs=0.06)
    assert float(made(given).requires_grad_(False)[0](few).std()) > 100
    assert torch.equal(made(after)[0].weight, model[0].weight)
    assert not torch.equal(made(after, 1)[0].weight, model[0].weight)
    assert "it is so already" in refusal("reinitialise_lsuv", after).what


def test_units_that_start_alike_start_apart_by_lsuv_and_learn() -> None:
    def alike() -> nn.Module:
        model = net()
        for parameter in model.parameters():
            nn.init.constant_(parameter, 0.01)
        return model

    given = program(alike)
    was, now = train(given, 0).score, train(changed("reinitialise_lsuv", given), 0).score
    assert was is not None
    assert now is not None
    assert now > was + 0.1


def test_a_recipe_is_told_why_it_has_no_lsuv() -> None:
    assert "orthogonal" in refusal("reinitialise_lsuv", Recipe()).do


def test_what_a_change_draws_leaves_the_random_state_alone() -> None:
    after = changed("widen", changed("reinitialise_he", program()))
    before = torch.get_rng_state()
    first, second = made(after), made(after)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first[0].weight, second[0].weight)


# --- size -----------------------------------------------------------------------------------------


def test_hidden_layers_are_doubled_and_halved_and_trained() -> None:
    given = program()
    wide = changed("widen", given)
    small = changed("shrink", wide)
    assert [made(p)[0].out_features for p in (given, wide, small)] == [16, 32, 16]
    assert made(wide)[2].in_features == 32
    assert "out_features=32" in wide.done[-1].lines[0]
    assert "model[0] = torch.nn.Linear(" in wide.done[-1].lines[0]
    trained = train(wide, 0)
    assert trained.score is not None
    assert trained.score > 0.8


def test_one_more_layer_gives_at_first_what_was_given_and_is_trained() -> None:
    given = program()
    after = changed("deepen", given)
    x = given.few().inputs[0]
    assert torch.equal(outputs(after, x), outputs(given, x))
    assert hidden(after) == ["relu", "relu"]
    model, optimizer = after.start(0)
    assert sum(len(g["params"]) for g in optimizer.param_groups) == 6
    new = model.get_parameter("0.deeper.1.weight")
    assert torch.equal(new, torch.eye(16))
    trained = train(after, 0)
    assert not torch.equal(trained.model.get_parameter("0.deeper.1.weight"), torch.eye(16))
    assert trained.score is not None
    assert trained.score > 0.8
    assert hidden(changed("deepen", after)) == ["relu"] * 3
    assert made(changed("widen", after)).get_parameter("0.deeper.1.weight").shape == (32, 32)


@pytest.mark.parametrize(
    ("make", "reason"),
    [(chain, "no usual non-linearity"), (lambda: nn.Linear(6, 3), "no hidden layer")],
)
def test_where_one_more_layer_is_not_clear_it_says_so(make: Any, reason: str) -> None:
    assert reason in refusal("deepen", program(make)).what


def test_what_an_edit_put_in_before_is_as_wide_as_the_layers_after() -> None:
    after = changed("widen", changed("add_norm", program()))
    norms = [m.num_features for m in made(after).modules() if isinstance(m, nn.BatchNorm1d)]
    assert norms == [32]
    x = after.few().inputs[0]
    assert (outputs(after, x, mode=True) != outputs(after, x)).any()  # the norm runs


def test_a_network_that_writes_its_sizes_down_is_not_resized() -> None:
    class Fixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Linear(6, 16), nn.Linear(16, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.last(torch.relu(self.first(x)).view(len(x), 4, 4).flatten(1))

    assert "does not run" in refusal("widen", program(Fixed)).what


def test_a_network_with_skips_is_not_resized() -> None:
    class Skipping(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Linear(6, 6), nn.Linear(6, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.last(torch.relu(self.first(x)) + x)

    assert "only chains" in refusal("shrink", program(Skipping)).what


# --- dropout, modes, parameters -----------------------------------------------------------------


def test_a_third_of_the_hidden_units_is_dropped_in_training_only() -> None:
    given = program()
    after = changed("add_dropout", given)
    assert [m.p for m in made(after).modules() if isinstance(m, nn.Dropout)] == [0.3]
    x = given.few().inputs[0]
    model = made(after)
    assert not torch.equal(model(x), model(x))
    assert torch.equal(outputs(after, x), outputs(given, x))
    assert "it is so already" in refusal("add_dropout", after).what


@pytest.mark.parametrize(("now", "then"), [(0.9, 0.2), (0.1, 0.05)])
def test_dropout_becomes_weaker_whatever_it_was(now: float, then: float) -> None:
    after = changed("weaken_dropout", program(lambda: chain(nn.ReLU(), nn.Dropout(now))))
    assert made(after)[2].p == pytest.approx(then)
    assert "no dropout" in refusal("weaken_dropout", program()).what


def test_modes_are_set_before_training_and_before_judging() -> None:
    given = program(lambda: chain(nn.ReLU(), nn.Dropout(0.5))).turned(trains=False, judges=False)
    after = changed("call_train_eval", given)
    assert (after.habits.trains, after.habits.judges) == (True, True)
    assert train(after, 0).score == train(after, 0).score
    assert not (train(given, 0).losses == train(after, 0).losses).all()
    assert "it is so already" in refusal("call_train_eval", after).what


def test_the_optimiser_gets_what_it_was_not_given() -> None:
    model = net()
    given = program(model, optimizer=torch.optim.SGD([model[0].weight], lr=0.1, momentum=0.9))  # pyright: ignore[reportIndexIssue,reportArgumentType]
    after = changed("register_parameters", given)
    held = [sum(len(g["params"]) for g in of.start(0)[1].param_groups) for of in (given, after)]
    assert held == [1, 4]
    line = "optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)"
    assert after.done[-1].lines == (line,)
    assert "holds every parameter" in refusal("register_parameters", after).what


def test_frozen_weights_move_again() -> None:
    def frozen() -> nn.Module:
        model = net()
        model[0].requires_grad_(False)  # pyright: ignore[reportIndexIssue]
        return model

    given = program(frozen)
    after = changed("unfreeze", given)
    for of, moves in ((given, False), (after, True)):
        moved = not torch.equal(train(of, 0).model.state_dict()["0.weight"], made(of)[0].weight)
        assert moved is moves
    assert "it is so already" in refusal("unfreeze", after).what
    assert "it is so already" in refusal("unfreeze", program()).what


# --- by hand, and recipes -----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["fix_axis", "mask_future"])
def test_a_forward_is_mended_by_hand(name: str) -> None:
    assert "the forward of your network" in refusal(name, program()).do


@pytest.mark.parametrize("name", ["fix_axis", "mask_future"])
def test_no_knob_is_for_what_a_forward_does(name: str) -> None:
    assert "the forward of your network" in refusal(name, Recipe()).do


@pytest.mark.parametrize("name", ["call_train_eval", "register_parameters", "unfreeze"])
def test_what_a_recipe_always_does_needs_no_edit(name: str) -> None:
    assert "recipes do so by themselves" in refusal(name, Recipe()).do


@pytest.mark.parametrize(
    ("name", "settings", "knobs"),
    [
        ("insert_nonlinearity", {"model.activation": "none"}, {"model.activation": "relu"}),
        ("leaky_activation", {}, {"model.activation": "leaky_relu"}),
        ("replace_activation", {"model.activation": "sigmoid"}, {"model.activation": "relu"}),
        ("add_norm", {}, {"model.norm": "batch"}),
        ("add_norm", {"algorithm.batch_size": 4}, {"model.norm": "layer"}),
        ("group_norm", {"model.norm": "batch"}, {"model.norm": "group"}),
        ("add_skip", {}, {"model.skip": True}),
        ("reinitialise_he", {"model.init": "normal", "model.init_sd": 1.0},
         {"model.init": "he", "model.init_sd": 0.01}),
        ("reinitialise_he", {"model.init": "constant", "model.init_value": 2.0},
         {"model.init": "he", "model.init_value": 0.0}),
        ("reinitialise_xavier", {}, {"model.init": "xavier"}),
        ("widen", {"model.width": 64}, {"model.width": 128}),
        ("shrink", {"model.width": 64}, {"model.width": 32}),
        ("deepen", {"model.depth": 2}, {"model.depth": 3}),
        ("add_dropout", {}, {"model.dropout": 0.3}),
        ("weaken_dropout", {"model.dropout": 0.8}, {"model.dropout": 0.2}),
        ("weaken_dropout", {"model.dropout": 0.1}, {"model.dropout": 0.05}),
    ],
)  # fmt: skip
def test_a_recipe_gets_these_knobs(name: str, settings: Any, knobs: Any) -> None:
    assert turned(name, settings) == knobs


@pytest.mark.parametrize(
    ("name", "knobs"),
    [("widen", {"model.width": 128}), ("shrink", {"model.width": 32}),
     ("deepen", {"model.depth": 3}), ("weaken_dropout", {"model.dropout": 0.05}),
     ("add_dropout", {"model.dropout": 0.3})],
)  # fmt: skip
def test_auto_means_what_it_meant_in_the_run(name: str, knobs: Any) -> None:
    assert turned(name, {}, resolved=RESOLVED) == knobs


@pytest.mark.parametrize("name", ["widen", "shrink", "deepen", "weaken_dropout"])
def test_what_auto_meant_must_be_known(name: str) -> None:
    assert "what `auto` meant is not known" in refusal(name, Recipe()).what


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("insert_nonlinearity", {}),  # the run's auto was relu
        ("replace_activation", {"model.activation": "relu"}),
        ("add_skip", {"model.skip": True}),
        ("add_norm", {"model.norm": "layer"}),
        ("group_norm", {"model.norm": "group"}),
        ("reinitialise_he", {"model.init": "he"}),
        ("add_dropout", {"model.dropout": 0.5}),
        ("shrink", {"model.width": 1}),
    ],
)
def test_a_recipe_that_has_it_already_is_left_alone(name: str, settings: dict[str, Any]) -> None:
    given = edit(Recipe(), settings)
    now = {path.rpartition(".")[2]: value for path, value in settings.items()}
    resolved = {"model": RESOLVED["model"] | now}
    assert "it is so already" in refusal(name, given, resolved=resolved).what
